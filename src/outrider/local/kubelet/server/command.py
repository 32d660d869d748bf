"""A command as a process of its own, in the surroundings of a container, with pipes or a terminal."""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from outrider.local.kubelet.handlers import Target
from outrider.local.kubelet.leftovers import MARKER, kill_leftovers
from outrider.local.kubelet.server import launch
from outrider.local.kubelet.server.streams import Output, TerminalSize

POLL_SECONDS = 0.05
"""Where the system cannot tell us that a process has ended, we look this often."""
END_OF_INPUT = b"\x04"
"""What a terminal takes for the end of the input."""


class Command:
    """A command that was started. `close` it, whatever happens."""

    def __init__(self, process: "subprocess.Popen[bytes]", mark: Path) -> None:
        self.outputs: list[tuple[Output, asyncio.StreamReader]] = []
        self._process = process
        self._mark = mark
        self._stdin: asyncio.StreamWriter | None = None
        self._terminal: BinaryIO | None = None
        self._transports: list[asyncio.BaseTransport] = []

    @classmethod
    async def start(cls, words: Sequence[str], target: Target, *, stdin: bool, tty: bool) -> "Command":
        """Start it. A program that cannot be executed is a command that says so and ends.

        Raises:
            OSError: not even a process could be made.
        """
        # A mark of its own, within that of the container's run: what the command leaves behind is found by it.
        mark = Path(target.env[MARKER]) / f"exec-{uuid.uuid4().hex}"
        script = str(Path(launch.__file__))
        argv = [sys.executable, "-I", "-S", script, str(os.getpid()), str(int(tty)), str(target.cwd), *words]
        env = {**target.env, MARKER: str(mark)}
        if tty:
            return await cls._with_terminal(argv, {"TERM": "xterm", **env}, mark)
        return await cls._with_pipes(argv, env, mark, stdin=stdin)

    @classmethod
    async def _with_pipes(cls, argv: Sequence[str], env: Mapping[str, str], mark: Path, *, stdin: bool) -> "Command":
        process = _popen(argv, env, subprocess.PIPE if stdin else subprocess.DEVNULL, subprocess.PIPE)
        command = cls(process, mark)
        assert process.stdout is not None
        assert process.stderr is not None
        await command._read("stdout", process.stdout)
        await command._read("stderr", process.stderr)
        if process.stdin is not None:
            await command._write(process.stdin)
        return command

    @classmethod
    async def _with_terminal(cls, argv: Sequence[str], env: Mapping[str, str], mark: Path) -> "Command":
        ours, theirs = pty.openpty()
        terminal = os.fdopen(ours, "rb", buffering=0)
        try:
            process = _popen(argv, env, theirs, theirs)
        except BaseException:
            terminal.close()
            raise
        finally:
            os.close(theirs)
        command = cls(process, mark)
        command._terminal = terminal
        await command._write(os.fdopen(os.dup(ours), "wb", buffering=0))
        await command._read("stdout", terminal)
        return command

    async def _read(self, name: Output, pipe: IO[bytes]) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        self._transports.append(transport)
        self.outputs.append((name, reader))

    async def _write(self, pipe: IO[bytes]) -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
        self._transports.append(transport)
        self._stdin = asyncio.StreamWriter(transport, protocol, None, loop)

    async def write(self, data: bytes) -> None:
        """Give it input, and wait if it is slow to take it. Raises `OSError` if it takes none any more."""
        if self._stdin is not None:
            self._stdin.write(data)
            await self._stdin.drain()

    async def end_input(self) -> None:
        """Its input is at its end. Raises `OSError` if it takes none any more."""
        if self._stdin is None:
            return
        if self._terminal is not None:
            await self.write(END_OF_INPUT)
        else:
            self._stdin.close()

    def resize(self, size: TerminalSize) -> None:
        """Tell its terminal the size; the kernel tells those that run in it (SIGWINCH)."""
        if self._terminal is None or self._terminal.closed:
            return
        with contextlib.suppress(OSError, struct.error):
            packed = struct.pack("HHHH", size.height, size.width, 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)

    async def wait(self) -> int:
        """Wait until it ends, and kill what it started; the exit code, 128 + signal if it was killed.

        What is left of its group may hold its pipes open for ever: so it is not their end that is waited for.
        """
        if self._process.returncode is None:
            await _ended(self._process.pid)
        self.kill()  # before it is reaped: so long its number is no other's
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """Kill it and all that is in its group."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill it and all it has started, wherever that has gone, and let go of everything."""
        self.kill()
        await self.wait()
        await asyncio.to_thread(kill_leftovers, self._mark)
        for transport in self._transports:
            transport.close()


def _popen(argv: Sequence[str], env: Mapping[str, str], stdin: int, stdout: int) -> "subprocess.Popen[bytes]":
    """A new process in a session of its own. Not by a thread: with that, the process would die as well."""
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stdout, env=env, start_new_session=True)  # noqa: S603


async def _ended(pid: int) -> None:
    """Wait until our child has ended. It is not reaped yet."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        while not _has_ended(pid):  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
