"""Structured logs: one JSON object a line, or text for people, into a file or to standard error."""

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import Processor

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


def configure_logging(
    path: Path | None = None, *, level: int = logging.INFO, log_format: Literal["json", "text"] = "json"
) -> None:
    """Log lines of JSON to `path` (appended; the file before is kept as `.1` once it is large), else to standard error.

    `text` is for people. What libraries log by Python's own means, from warnings up, comes out in the same way.
    """
    stream: TextIO = sys.stderr
    if path is not None:
        if path.exists() and path.stat().st_size > _MAXIMUM_BYTES:
            path.replace(path.with_suffix(path.suffix + ".1"))
        stream = cast("TextIO", LogFile(path))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
