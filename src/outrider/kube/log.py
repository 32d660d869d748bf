"""Structured logs: one JSON object a line, into a file or to standard error."""

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import TextIO, cast

import structlog

_MAXIMUM_BYTES = 20 * 1024 * 1024


class LogFile(io.TextIOBase):
    """A file that lines are appended to. A full disk costs lines, never the work that they tell of."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode(errors="replace"))
        return len(text)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def configure_logging(path: Path | None = None, *, level: int = logging.INFO) -> None:
    """Log JSON lines to `path` (appended; the file before is kept as `.1` once it is large), else to standard error."""
    stream: TextIO = sys.stderr
    if path is not None:
        if path.exists() and path.stat().st_size > _MAXIMUM_BYTES:
            path.replace(path.with_suffix(path.suffix + ".1"))
        stream = cast("TextIO", LogFile(path))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
