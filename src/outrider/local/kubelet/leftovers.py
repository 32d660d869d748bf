"""Finding and killing what a container left behind after its shim died: nothing may outlive its pod.

A process belongs to a run when it has the run's mark in its environment, or is in the run's process group and session.
The mark alone does not do: a process that sets its title writes it over its environment (vLLM's engine and workers
do), and one may clean its environment.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from outrider.local.kubelet.shim import start_time

MARKER = "OUTRIDER_RUN"
"""Environment variable of every process of a run: the run's folder. Process numbers are used again, folders are not."""
KILL_SECONDS = 10.0
PAUSE = 0.01
RECORD_DEPTH = 4
"""Folders between that of all nodes and that of a run: node, pod, container, attempt."""


@dataclass(frozen=True)
class _Family:
    """The processes of a run, as the system numbers them since this boot.

    The numbers of a group and of a session are not given to new processes while there is a member. That both are those
    of the run, of a process that is no older, is as good as its name.
    """

    group: int
    session: int
    since: int
    """Start of the program, in clock ticks since boot."""
    run: Path
    """The run's folder."""


def marked(folder: Path) -> list[int]:
    """The processes that belong to runs in `folder`, or to the run whose folder it is. Linux only; elsewhere none."""
    families = _families(folder)
    return [pid for pid in _all_processes() if _run_of(pid, folder, families) is not None]


def programs(folder: Path) -> dict[int, Path]:
    """The processes that run for containers of pods in `folder`, and the run's folder of each; without the shims.

    Linux only; elsewhere none.
    """
    families = _families(folder)
    runs = {family.run for family in families}
    shims = {family.session for family in families}
    found = {}
    for pid in _all_processes():
        run = _run_of(pid, folder, families)
        if run is not None and pid not in shims:
            # A command that a client runs has a mark of its own, within that of the run.
            found[pid] = run if run in runs else run.parent
    return found


def kill_leftovers(folder: Path) -> int:
    """Kill all processes of the runs in `folder`, shims included, and wait until they are gone. Tells how many.

    Blocks for up to 10 s; to be called in a thread.
    """
    if sys.platform != "linux":
        return _kill_recorded_groups(folder)
    killed: set[int] = set()
    deadline = time.monotonic() + KILL_SECONDS
    while (found := marked(folder)) and time.monotonic() < deadline:
        families = _families(folder)
        for pid in found:
            if _kill_if_ours(pid, folder, families):
                killed.add(pid)
        time.sleep(PAUSE)
    return len(killed)


def _all_processes() -> list[int]:
    try:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    except OSError:
        return []


def _run_of(pid: int, folder: Path, families: frozenset[_Family]) -> Path | None:
    """The run in `folder` that the process is of, if any. One that has ended, and is only waited for, is of none."""
    if mark := _mark(pid):
        return Path(mark) if mark == str(folder) or mark.startswith(f"{folder}/") else None
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    state, group, session, started = fields[0], int(fields[2]), int(fields[3]), int(fields[19])
    if state in (b"Z", b"X"):
        return None
    same = (one.run for one in families if (one.group, one.session) == (group, session) and one.since <= started)
    return next(same, None)


def _mark(pid: int) -> str:
    """The folder of the run that the process says it belongs to; empty if it does not say."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    prefix = f"{MARKER}=".encode()
    return next(
        (os.fsdecode(entry[len(prefix) :]) for entry in environment.split(b"\0") if entry.startswith(prefix)), ""
    )


def _families(folder: Path) -> frozenset[_Family]:
    """Of all runs in the folder that began since this boot."""
    boot = start_time(os.getpid()).partition(":")[0]
    found = set()
    for path, run in _records(folder):
        since_boot, _, ticks = str(run["start"]).partition(":")
        if since_boot == boot and ticks.isdecimal():
            found.add(_Family(int(run["pid"]), int(run["shim"]), int(ticks), path))
    return frozenset(found)


def _records(folder: Path, depth: int = RECORD_DEPTH) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What the shims wrote about the runs in the folder: of one run, one container, one pod, one node, or all.

    Others remove folders meanwhile, those of pods that are gone: what vanishes while it is read has no record. (Before
    Python 3.13 `Path.glob` raises then.)
    """
    try:
        run = msgspec.json.decode((folder / "run.json").read_bytes())
    except (OSError, msgspec.MsgspecError):
        run = None
    if isinstance(run, dict) and {"start", "pid", "shim"} <= run.keys():
        yield folder, run
    if depth:
        for inner in _folders(folder):
            yield from _records(inner, depth - 1)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _kill_if_ours(pid: int, folder: Path, families: frozenset[_Family]) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Asked again now that the descriptor pins the process: the number may have changed hands before.
        if _run_of(pid, folder, families) is None:
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
    for _, run in _records(folder):
        with contextlib.suppress(OSError):
            if run["start"] and start_time(run["pid"]) == run["start"]:
                os.killpg(run["pid"], signal.SIGKILL)
                killed += 1
    return killed
