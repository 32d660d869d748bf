"""Progress of everything that takes longer than a moment: what is awaited, since when, how many of how many."""

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO


class Progress:
    """One line that says what is awaited, rewritten in place on a terminal; elsewhere a line is printed per change.

    It writes to standard error, so that standard output stays what the command was asked for.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet
        self._now = now
        self._columns = columns
        self._started = now()
        self._last = ""
        self._width = 0
        self._live = self._stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    @property
    def elapsed(self) -> float:
        """Seconds since this wait began."""
        return self._now() - self._started

    def show(self, message: str) -> None:
        """Say what is awaited now. On a terminal, call it often: it shows the seconds."""
        if self._quiet:
            return
        if self._live:
            line = _fitted(message, f" ({self.elapsed:.0f}s)", self._columns() - 1)
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
            self._stream.flush()
        elif message != self._last:
            print(f"{self.elapsed:6.1f}s  {message}", file=self._stream, flush=True)
        self._last = message

    def done(self, message: str) -> None:
        """Replace the line by what came of it."""
        if self._quiet:
            return
        self._clear()
        print(message, file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._live and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


def _fitted(message: str, tail: str, width: int) -> str:
    """The message cut so that it and its tail fit into one line: a line that wraps cannot be rewritten in place."""
    room = max(1, width - len(tail))
    return (message if len(message) <= room else message[: max(0, room - 3)] + "...") + tail
