"""Starting, adopting and ending the runs of containers, each under a shim of its own (`shim.py`)."""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from outrider.kube.files import make_private_folder
from outrider.local.kubelet import shim
from outrider.local.kubelet.layout import write_atomically
from outrider.local.kubelet.leftovers import MARKER, kill_leftovers

POLL_SECONDS = 0.1
"""Where the system cannot tell us that a process that is not our child has ended, we look this often."""
START_SECONDS = 5.0
"""How long a shim that is only just starting is given to say what it runs."""
REAP_ATTEMPTS, REAP_SECONDS = 100, 0.01
"""A shim gives up its lock a moment before it is gone."""
UNKNOWN_EXIT = 137
HIGH_DESCRIPTOR = 10
"""Above those that the shim is given, so that none of them is in the way of another."""

log = structlog.get_logger(__name__)


class RunExit(msgspec.Struct, frozen=True, rename="camel"):
    """How a run ended: the content of `exit.json`. Times are seconds since the epoch."""

    exit_code: int
    signal: int = 0
    reason: str = "Error"
    message: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    reaped: int = 0

    @property
    def intended(self) -> bool:
        """Whether we ended it, or the machine did: no sign that the program is broken."""
        return self.reason in ("ContainerStatusUnknown", "Stopped")


class RunInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Who runs: the content of `run.json`."""

    shim: int
    pid: int
    start: str = ""
    started_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    argv: tuple[str, ...]
    env: dict[str, str]
    """All of the environment: nothing is inherited."""
    cwd: Path
    log_bytes: int = 10 * 1024 * 1024
    log_files: int = 5


class ShimFailedError(Exception):
    """The shim itself could not be started."""


class Run:
    """One run of one container that is under way, or has ended."""

    def __init__(self, folder: Path, info: RunInfo, *, poll: bool = False) -> None:
        self.folder = folder
        self.info = info
        self.exit: RunExit | None = None
        self.stopping = False
        """Set by who ends the run because of its own end, not because of the container."""
        self._ended: asyncio.Future[RunExit] = asyncio.get_running_loop().create_future()
        self._finishing: asyncio.Task[None] | None = None
        self._pidfd = None if poll else _open_pidfd(info.shim)
        if self._pidfd is None:
            self._finishing = asyncio.create_task(self._poll())
        else:
            asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)

    async def wait(self) -> RunExit:
        """Wait until the run has ended and its output is complete."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """SIGTERM to the program."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the program and to all it has started."""
        self._signal(signal.SIGUSR1)

    def abandon(self) -> None:
        """Stop watching; the run goes on, and can be adopted."""
        self._close()
        if self._finishing is not None:
            self._finishing.cancel()
        if not self._ended.done():
            self._ended.cancel()

    def _signal(self, number: signal.Signals) -> None:
        """Signal the shim. It cannot hit another process: the pidfd names the shim itself, not its number."""
        if self.exit is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            elif is_locked(self.folder):
                os.kill(self.info.shim, number)

    def _on_end(self) -> None:
        self._close()
        self._finishing = asyncio.create_task(self._finish())

    def _close(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    async def _poll(self) -> None:
        while is_locked(self.folder):  # noqa: ASYNC110  (another process's end sets no event)
            await asyncio.sleep(POLL_SECONDS)
        await self._finish()

    async def _reap(self) -> None:
        """Leave no zombie of a shim that is our child; one that was adopted is somebody else's."""
        for _ in range(REAP_ATTEMPTS):
            try:
                if os.waitpid(self.info.shim, os.WNOHANG)[0]:  # noqa: ASYNC222  (does not wait)
                    return
            except ChildProcessError:
                return
            await asyncio.sleep(REAP_SECONDS)

    async def _finish(self) -> None:
        await self._reap()
        ending = read_exit(self.folder)
        if ending is None:
            ending = await asyncio.to_thread(_bury, self.folder, self.info)
        elif self.stopping:
            ending = msgspec.structs.replace(ending, reason="Stopped")
            _note(self.folder, ending)
        self.exit = ending
        if not self._ended.done():
            self._ended.set_result(ending)


class Runtime:
    """Starts runs. A start that is under way is finished even if who asked for it no longer waits.

    `poll` looks for ends in short intervals even where the system could tell us, as it must be where it cannot (macOS).
    """

    def __init__(self, *, poll: bool = False) -> None:
        self._poll = poll
        self._starting: set[asyncio.Task[RunInfo]] = set()

    async def start(self, folder: Path, spec: RunSpec) -> Run:
        """Start a run in its own, new folder. A program that cannot be executed is a run that ends at once.

        Raises:
            ShimFailedError: not even the shim could be started.
        """
        task = asyncio.create_task(asyncio.to_thread(_spawn, folder, spec))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return Run(folder, await asyncio.shield(task), poll=self._poll)

    async def adopt(self, folder: Path) -> Run | None:
        """The run in this folder if it is still under way, else None (then `read_exit` tells how it ended)."""
        deadline = time.monotonic() + START_SECONDS
        while is_locked(folder):
            info = read_run(folder)
            if info is not None:
                return Run(folder, info, poll=self._poll)
            if time.monotonic() > deadline:
                log.warning("a shim does not say what it runs and is killed", folder=str(folder))
                await asyncio.to_thread(kill_leftovers, folder)
                return None
            await asyncio.sleep(0.02)
        return None

    async def settle(self, folder: Path) -> RunExit | None:
        """How the run in this folder ended, after making sure that nothing of it is left. None if it never began."""
        ending = read_exit(folder)
        if ending is None and (info := read_run(folder)) is not None:
            ending = await asyncio.to_thread(_bury, folder, info)
        return ending

    async def close(self) -> None:
        """Wait for starts that are under way."""
        await asyncio.gather(*self._starting, return_exceptions=True)


def is_locked(folder: Path) -> bool:
    """Whether the run's shim lives: it holds the run's lock from before its first breath until its end."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_run(folder: Path) -> RunInfo | None:
    try:
        return msgspec.json.decode((folder / "run.json").read_bytes(), type=RunInfo)
    except (OSError, msgspec.MsgspecError):
        return None


def read_exit(folder: Path) -> RunExit | None:
    try:
        return msgspec.json.decode((folder / "exit.json").read_bytes(), type=RunExit)
    except (OSError, msgspec.MsgspecError):
        return None


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where there are none, or it has ended."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _bury(folder: Path, info: RunInfo) -> RunExit:
    """The shim is dead and left no exit code: end what is left of the run and write down that its end is unknown."""
    killed = kill_leftovers(folder)
    log.warning("a container's shim died", folder=str(folder), pid=info.pid, processes_killed=killed)
    ending = RunExit(
        exit_code=UNKNOWN_EXIT,
        reason="ContainerStatusUnknown",
        message="The process that watched over the container was killed, or the machine was restarted.",
        started_at=info.started_at,
        finished_at=time.time(),
    )
    _note(folder, ending)
    return ending


def _note(folder: Path, ending: RunExit) -> None:
    """Write down how the run ended. That the disk is full must keep nobody waiting for an end that has come."""
    try:
        write_atomically(folder / "exit.json", msgspec.json.encode(ending))
    except OSError as error:
        log.warning("how a container ended could not be written down", folder=str(folder), error=str(error))


def _spawn(folder: Path, spec: RunSpec) -> RunInfo:
    """Start a shim and wait for its first words."""
    make_private_folder(folder)
    description = msgspec.json.encode(
        {
            "folder": str(folder),
            "argv": spec.argv,
            "env": {**spec.env, MARKER: str(folder)},
            "cwd": str(spec.cwd),
            "maxLogBytes": spec.log_bytes,
            "maxLogFiles": spec.log_files,
        }
    )
    opened = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    lock = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
    os.close(opened)
    try:
        # The lock belongs to the open file, which the shim inherits: it is held without a gap until the shim ends.
        fcntl.flock(lock, fcntl.LOCK_EX)
        pid, answer = _talk(lock, description, {MARKER: str(folder)})
    finally:
        os.close(lock)
    try:
        return msgspec.json.decode(answer, type=RunInfo)
    except msgspec.MsgspecError:
        os.waitpid(pid, 0)
        raise ShimFailedError(f"the shim that should run {spec.argv[0]!r} did not start ({folder})") from None


def _talk(lock: int, description: bytes, env: dict[str, str]) -> tuple[int, bytes]:
    """Start the shim, give it its description on its standard input, and read its answer (empty if it died)."""
    input_read, input_write = os.pipe()
    answer_read, answer_write = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, input_read, 0),
        (os.POSIX_SPAWN_DUP2, answer_write, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, lock, 3),
    ]
    argv = [sys.executable, "-I", "-S", str(Path(shim.__file__)), "3"]
    try:
        pid = os.posix_spawn(sys.executable, argv, env, file_actions=actions)
    finally:
        os.close(input_read)
        os.close(answer_write)
    try:
        with os.fdopen(input_write, "wb") as handle:
            handle.write(description)
    except BrokenPipeError:
        pass  # it died at once: no answer will come
    with os.fdopen(answer_read, "rb") as reader:
        return pid, reader.read()
