"""The log files of one run, as the shim numbers them: reading on from a place, and finding the last lines."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

BLOCK_BYTES = 64 * 1024
HEAD_BYTES = 64
"""More than time, stream and tag take at the beginning of a line."""


class LogPosition(NamedTuple):
    """A byte in the files of a run."""

    number: int
    """Of the file."""
    offset: int


def log_files(run: Path) -> list[Path]:
    """The run's log files, oldest first."""
    try:
        return sorted(entry for entry in (run / "log").iterdir() if entry.suffix == ".log" and entry.stem.isdecimal())
    except OSError:
        return []


def end_position(run: Path) -> LogPosition:
    """Where the output ends at this moment."""
    for path in reversed(log_files(run)):
        try:
            return LogPosition(int(path.stem), path.stat().st_size)
        except FileNotFoundError:
            continue  # removed since
    return LogPosition(0, 0)


def tail_position(run: Path, lines: int, end: LogPosition) -> LogPosition:
    """Where the last so many lines before `end` begin. Reads no more than those, from there backwards."""
    if lines <= 0:
        return end
    ends = 0
    begin = LogPosition(0, 0)
    for path in reversed(log_files(run)):
        number = int(path.stem)
        if number > end.number:
            continue
        for offset, complete in _line_starts_backwards(path, end.offset if number == end.number else None):
            ends += complete
            if ends > lines:
                return begin
            begin = LogPosition(number, offset)
    return begin


class LogFollower:
    """Reads a run's lines file after file, from a position on; given `until`, as if the output ended there."""

    def __init__(self, run: Path, position: LogPosition, until: LogPosition | None = None) -> None:
        self._run = run
        self._position = position
        self._until = until
        self._number = -1
        self._handle: BinaryIO | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.close()

    def read(self) -> list[bytes]:
        """The next lines that are there, without their line ends; empty when there are no more for now."""
        while True:
            following = self._following()  # asked before reading: a file that has a successor grows no more
            data = self._handle.read(self._most(self._handle)) if self._handle is not None else b""
            if data:
                *lines, self._rest = (self._rest + data).split(b"\n")
                if lines:
                    return lines
            elif following is None:
                return []
            else:
                self._open(following)

    def _most(self, handle: BinaryIO) -> int:
        """How many bytes to read at once."""
        if self._until is None or self._number < self._until.number:
            return BLOCK_BYTES
        return max(0, min(BLOCK_BYTES, self._until.offset - handle.tell()))

    def _following(self) -> Path | None:
        """The file after the one that is being read; that one may have been removed by now, and the next few too."""
        found = self._next_file()
        too_late = found is not None and self._until is not None and int(found.stem) > self._until.number
        return None if too_late else found

    def _next_file(self) -> Path | None:
        if self._handle is not None:
            expected = self._run / "log" / f"{self._number + 1:06d}.log"
            if expected.exists():
                return expected
        wanted = self._number + 1 if self._handle is not None else self._position.number
        return next((path for path in log_files(self._run) if int(path.stem) >= wanted), None)

    def _open(self, path: Path) -> None:
        try:
            handle = path.open("rb")
        except FileNotFoundError:
            return  # removed since: the next look finds the one after it
        if self._handle is not None:
            self._handle.close()
        self._handle, self._rest, self._number = handle, b"", int(path.stem)
        if self._number == self._position.number:
            handle.seek(self._position.offset)


def _line_starts_backwards(path: Path, end: int | None) -> Iterator[tuple[int, bool]]:
    """Offset of each line before `end` (None: the file's), the last one first, and whether it is the last part of a
    line (tag F).
    """
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return
    with handle:
        end = os.fstat(handle.fileno()).st_size if end is None else end
        if not end:
            return
        with mmap.mmap(handle.fileno(), end, access=mmap.ACCESS_READ) as view:
            while end > 0:
                start = view.rfind(b"\n", 0, end - 1) + 1
                head = view[start : min(end, start + HEAD_BYTES)].split(b" ", 3)
                yield start, head[2:3] != [b"P"]
                end = start
