"""One program of the control plane: started, started again when it ends, and ended."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from outrider.kube.clock import Clock
from outrider.local.controlplane import tether

RESTART_FIRST, RESTART_MAX, STEADY_SECONDS = 0.2, 5.0, 30.0
"""Pause before a restart, doubling up to the maximum; a program that ran for `STEADY_SECONDS` begins anew."""
STOP_SECONDS = 5.0
LOG_BYTES = 5 * 1024 * 1024
TAIL_LINES = 8

log = structlog.get_logger(__name__)


class SupervisedProcess:
    """Keeps one program running. Its output goes to a log file, which is put aside when it has grown too large."""

    def __init__(
        self, name: str, argv: Sequence[str], logs: Path, clock: Clock, *, stop_signal: signal.Signals
    ) -> None:
        self.name = name
        self.restarts = 0
        self._argv = tuple(argv)
        self._log = logs / f"{name}.log"
        self._clock = clock
        self._stop_signal = stop_signal
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Start the program, again and again, until `stop` or until cancelled; then it is ended."""
        pause = RESTART_FIRST
        try:
            while not self._stopping:
                began = self._clock.monotonic()
                code = await self._run_once()
                if self._stopping:
                    return
                self.restarts += 1
                log.warning("a program of the control plane ended and is started again", program=self.name, code=code)
                pause = RESTART_FIRST if self._clock.monotonic() - began > STEADY_SECONDS else pause
                await self._clock.sleep(pause)
                pause = min(pause * 2, RESTART_MAX)
        finally:
            await self.stop()

    async def _run_once(self) -> int:
        self._put_log_aside()
        with self._log.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid())),
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C on the terminal is for us, who end them in order
            )
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and kill it if it takes too long."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self._stop_signal)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def tail(self) -> str:
        """The last lines that it printed, for an error message."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-TAIL_LINES:])

    def _put_log_aside(self) -> None:
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > LOG_BYTES:
                self._log.replace(self._log.with_suffix(".log.old"))
