"""Finding and killing what a container left behind after its shim died: nothing may outlive its pod."""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from outrider.local.kubelet.shim import start_time

MARKER = "OUTRIDER_RUN"
"""Environment variable of every process of a run: the run's folder. Process numbers are used again, folders are not."""
KILL_SECONDS = 10.0
PAUSE = 0.01


def marked(folder: Path) -> list[int]:
    """The processes that belong to runs in `folder`, or to the run whose folder it is. Linux only; elsewhere none."""
    try:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    except OSError:
        return []
    return [pid for pid in pids if _is_marked(pid, folder)]


def kill_leftovers(folder: Path) -> int:
    """Kill all processes of the runs in `folder`, shims included, and wait until they are gone. Tells how many.

    Blocks for up to 10 s; to be called in a thread.
    """
    if sys.platform != "linux":
        return _kill_recorded_groups(folder)
    killed: set[int] = set()
    deadline = time.monotonic() + KILL_SECONDS
    while (found := marked(folder)) and time.monotonic() < deadline:
        for pid in found:
            if _kill_if_marked(pid, folder):
                killed.add(pid)
        time.sleep(PAUSE)
    return len(killed)


def _is_marked(pid: int, folder: Path) -> bool:
    """Whether the process was started with our mark. A process that has ended has no environment any more."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    prefix = f"{MARKER}={folder}".encode()
    return any(entry == prefix or entry.startswith(prefix + b"/") for entry in environment.split(b"\0"))


def _kill_if_marked(pid: int, folder: Path) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Asked again now that the descriptor pins the process: the number may have changed hands before.
        if not _is_marked(pid, folder):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _kill_recorded_groups(folder: Path) -> int:
    """Without /proc: kill the process groups that the shims wrote down, if the leader is still the same process."""
    killed = 0
    for path in [*folder.glob("run.json"), *folder.glob("**/run.json")]:
        try:
            run = msgspec.json.decode(path.read_bytes())
            if run["start"] and start_time(run["pid"]) == run["start"]:
                os.killpg(run["pid"], signal.SIGKILL)
                killed += 1
        except (OSError, msgspec.MsgspecError, KeyError):
            continue
    return killed
