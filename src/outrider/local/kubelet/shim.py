"""One run of one container: `python -I -S shim.py LOCK`, the description of the run as JSON on standard input.

The shim is to a container what conmon is to CRI-O: a small process between the kubelet and the program. It owns the
output pipe, so a crash of the kubelet loses no line; it waits for the program, so it loses no exit code; it adopts what
the program leaves behind, so nothing outlives the container. Standard library only, and few modules of it: one of these
runs per container.

LOCK is the number of an inherited, locked file: as long as the shim lives, nobody else can lock it.

Files, all in the folder of the run:

* `run.json`: who runs, written as soon as the program was started: `shim` and `pid` (process ids), `start` (the
  program's start time as the system tells it), `startedAt` (seconds since the epoch).
* `log/000000.log`, `log/000001.log`, ...: output in the CRI's format, `TIME stdout|stderr F|P TEXT`; the highest number
  is current.
* `exit.json`: how it ended, written last: `exitCode`, `signal`, `reason`, `message`, `startedAt`, `finishedAt`,
  `reaped` (processes that the program left behind).

Signals: SIGTERM asks the program to end, SIGUSR1 kills all of it. When the program ends, what it started is killed.
"""

# pathlib and contextlib would take longer to import than all the rest of the shim:
# ruff: noqa: PTH103, PTH105, PTH108, PTH110, PTH112, PTH118, PTH123, PTH208, SIM105

import ctypes
import errno
import json
import os
import select
import signal
import sys
import time

# From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

LINE_BYTES = 16 * 1024
"""A longer line is written in parts tagged P, as container runtimes do."""
READ_BYTES = 64 * 1024
KILL_SECONDS = 10.0
"""How long killed processes are waited for: one that hangs in the kernel must not hide that the container ended."""
START_ERROR = 128
"""Exit code of a program that could not be started, as runtimes report it."""

TYPE_CHECKING = False  # as type checkers know it; importing typing would double the start time
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]
    """`folder`, `argv`, `env`, `cwd`, `maxLogBytes`, `maxLogFiles`."""


def prctl(option: int, value: int) -> None:
    """Linux's prctl; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def write_atomically(path: str, content: dict[str, object]) -> None:
    temporary = path + ".tmp"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        json.dump(content, handle)
    os.replace(temporary, path)


def start_time(pid: int) -> str:
    """When the process was started, as a text that no other process of the same number has; "" if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            ticks = handle.read().rpartition(b")")[2].split()[19].decode()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return f"{handle.read().strip()}:{ticks}"
    except OSError:
        pass
    if os.path.exists("/proc/self/stat"):
        return ""
    with os.popen(f"LC_ALL=C ps -o lstart= -p {int(pid)}") as handle:  # noqa: S605  (a number cannot inject)
        return " ".join(handle.read().split())


class Log:
    """The numbered log files. A full disk costs lines, never the program."""

    def __init__(self, folder: str, max_bytes: int, max_files: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.number = 0
        self.size = 0
        self.descriptor = -1
        self.second = -1
        self.second_text = ""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.open()

    def path(self, number: int) -> str:
        return os.path.join(self.folder, f"{number:06d}.log")

    def open(self) -> None:
        try:
            self.descriptor = os.open(self.path(self.number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self.size = os.fstat(self.descriptor).st_size
        except OSError:
            self.descriptor = -1

    def rotate(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.number += 1
        self.open()
        oldest = self.number - self.max_files
        if oldest >= 0:
            try:
                os.unlink(self.path(oldest))
            except OSError:
                pass

    def timestamp(self) -> str:
        second, fraction = divmod(time.time_ns(), 1_000_000_000)
        if second != self.second:
            self.second = second
            self.second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self.second_text}.{fraction:09d}Z"

    def write(self, stream: str, lines: list[tuple[bytes, bytes]]) -> None:
        """Append (tag, text) pairs, all with the time of now."""
        prefix = f"{self.timestamp()} {stream} ".encode()
        pending = bytearray()
        for tag, text in lines:
            pending += prefix + tag + b" " + text + b"\n"
            if self.size + len(pending) >= self.max_bytes:
                self.flush(pending)
                pending = bytearray()
                self.rotate()
        self.flush(pending)

    def flush(self, data: bytearray) -> None:
        if not data:
            return
        if self.descriptor < 0:
            self.open()
        view = memoryview(data)
        try:
            while view:
                written = os.write(self.descriptor, view)
                self.size += written
                view = view[written:]
        except OSError:
            return


class Stream:
    """One of the program's two output pipes, cut into lines."""

    def __init__(self, name: str, descriptor: int, log: Log) -> None:
        self.name = name
        self.descriptor = descriptor
        self.log = log
        self.rest = b""
        os.set_blocking(descriptor, False)

    def read(self) -> bool:
        """Take what is there. False at the end of the stream."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            self.finish()
            return False
        *lines, rest = (self.rest + data).split(b"\n")
        out = []
        for line in lines:
            while len(line) > LINE_BYTES:
                out.append((b"P", line[:LINE_BYTES]))
                line = line[LINE_BYTES:]
            out.append((b"F", line))
        while len(rest) > LINE_BYTES:
            out.append((b"P", rest[:LINE_BYTES]))
            rest = rest[LINE_BYTES:]
        self.rest = rest
        self.log.write(self.name, out)
        return True

    def drain(self) -> None:
        """Take all that is left in the pipe, without waiting for more."""
        while True:
            try:
                if not select.select([self.descriptor], [], [], 0)[0] or not self.read():
                    break
            except OSError:
                break
        self.finish()

    def finish(self) -> None:
        if self.rest:
            self.log.write(self.name, [(b"F", self.rest)])
            self.rest = b""


def execute(spec: "Spec", stdout: int, stderr: int, errors: int, shim: int) -> None:
    """In the child: become the program. Never returns."""
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != shim:
            os._exit(START_ERROR)
        # A handler is reset by exec, but "ignore" is inherited, and Python ignores SIGPIPE and SIGXFSZ.
        for name in ("SIGHUP", "SIGINT", "SIGPIPE", "SIGXFSZ", "SIGTERM", "SIGUSR1", "SIGCHLD"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.chdir(spec["cwd"])
        os.umask(0o022)
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606  (running it is the purpose)
    except OSError as error:
        os.write(errors, f"{error.errno}".encode())
    finally:
        os._exit(START_ERROR)


def children() -> list[int]:
    """Processes whose parent we are: our program, and where the system has subreapers those that it left to us."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as handle:
            return [int(pid) for pid in handle.read().split()]
    except OSError:  # not Linux, or a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in all_processes() if parent(pid) == me]


def all_processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            return int(handle.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


class Container:
    """The program and all it starts."""

    def __init__(self, spec: "Spec") -> None:
        self.spec = spec
        self.pid = 0
        self.status: int | None = None
        self.reaped = 0
        self.started_at = time.time()
        self.error = ""

    def start(self, log: Log) -> list[Stream]:
        """Start the program. Returns its two streams; on failure `error` says why."""
        shim = os.getpid()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        error_read, error_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            execute(self.spec, out_write, err_write, error_write, shim)
        for descriptor in (out_write, err_write, error_write):
            os.close(descriptor)
        with open(error_read, "rb") as handle:
            number = handle.read()
        if number:
            program = self.spec["argv"][0]
            self.error = f'exec: "{program}": {os.strerror(int(number))}'
            if int(number) == errno.ENOENT and not os.path.isdir(self.spec["cwd"]):
                self.error = f'chdir to working directory "{self.spec["cwd"]}": {os.strerror(int(number))}'
        return [Stream("stdout", out_read, log), Stream("stderr", err_read, log)]

    def terminate(self) -> None:
        """Ask the program alone, as a container runtime asks process 1: it knows how to drain what it started."""
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.status is None:
            self.kill_group()

    def kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def ended(self) -> bool:
        """Whether the program has ended. Its number stays taken until its group is killed: only then it is reaped."""
        if hasattr(os, "waitid"):
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                return False
            self.kill_group()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        if not hasattr(os, "waitid"):
            self.kill_group()
        self.status = status
        return True

    def reap(self) -> None:
        """Bury processes that the program left to us. While it lives it is not touched here."""
        for pid in children():
            if pid != self.pid or self.status is not None:
                try:
                    self.reaped += os.waitpid(pid, os.WNOHANG)[0] != 0
                except ChildProcessError:
                    pass

    def kill_rest(self) -> None:
        """Kill what has left the group as well (a daemon with its own session), until nobody is left."""
        deadline = time.monotonic() + KILL_SECONDS
        while time.monotonic() < deadline:
            for pid in children():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid:
                self.reaped += 1
            else:
                time.sleep(0.005)

    def ending(self) -> dict[str, object]:
        """The content of `exit.json`."""
        code = os.waitstatus_to_exitcode(self.status or 0)
        result: dict[str, object] = {
            "exitCode": code if code >= 0 else 128 - code,
            "signal": max(0, -code),
            "reason": "Completed" if code == 0 else "Error",
            "message": "",
            "startedAt": self.started_at,
            "finishedAt": time.time(),
            "reaped": self.reaped,
        }
        if self.error:
            result.update(exitCode=START_ERROR, signal=0, reason="StartError", message=self.error)
        return result


def serve(container: Container, streams: list[Stream], wakeup: int) -> None:
    """Copy output and heed signals until the program has ended."""
    open_streams = {stream.descriptor: stream for stream in streams}
    poller = select.poll()
    for descriptor in (*open_streams, wakeup):
        poller.register(descriptor, select.POLLIN)
    while not container.ended():
        for descriptor, _ in poller.poll():
            if descriptor == wakeup:
                received = os.read(wakeup, 512)
                if signal.SIGUSR1 in received:
                    container.kill()
                elif signal.SIGTERM in received:
                    container.terminate()
                if signal.SIGCHLD in received:
                    container.reap()
            elif not open_streams[descriptor].read():
                poller.unregister(descriptor)
    container.kill_rest()
    for stream in streams:
        stream.drain()


def prepare_signals() -> int:
    """Signals become bytes in a pipe; those of a closing terminal are not for us."""
    wakeup, notify = os.pipe()
    os.set_blocking(notify, False)
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    for name in ("SIGHUP", "SIGINT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    for name in ("SIGTERM", "SIGUSR1", "SIGCHLD"):
        signal.signal(getattr(signal, name), lambda _number, _frame: None)
    return wakeup


def answer(content: dict[str, object]) -> None:
    """Tell the kubelet, if it is still there, and let go of its pipes."""
    try:
        os.write(1, json.dumps(content).encode())
    except OSError:
        pass
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def main() -> None:
    lock = int(sys.argv[1])
    os.set_inheritable(lock, False)
    # Files that the kubelet's own parents have let it inherit are no business of the program's.
    os.closerange(3, lock)
    os.closerange(lock + 1, min(65536, os.sysconf("SC_OPEN_MAX")))
    wakeup = prepare_signals()
    os.setsid()
    with open(0, "rb", closefd=False) as handle:
        text = handle.read()
    try:
        spec = json.loads(text)
    except ValueError:
        return  # The kubelet died while it described the run: then there is none.
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    folder = spec["folder"]
    container = Container(spec)
    streams = container.start(Log(os.path.join(folder, "log"), spec["maxLogBytes"], spec["maxLogFiles"]))
    running: dict[str, object] = {
        "shim": os.getpid(),
        "pid": container.pid,
        "start": start_time(container.pid),
        "startedAt": container.started_at,
    }
    write_atomically(os.path.join(folder, "run.json"), running)
    answer(running)
    serve(container, streams, wakeup)
    write_atomically(os.path.join(folder, "exit.json"), container.ending())


if __name__ == "__main__":
    main()
