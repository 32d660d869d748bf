"""Structured logs: one JSON object a line, into a file or to standard error."""

import logging
import sys
from pathlib import Path
from typing import TextIO

import structlog

_MAXIMUM_BYTES = 20 * 1024 * 1024


def configure_logging(path: Path | None = None, *, level: int = logging.INFO) -> None:
    """Log JSON lines to `path` (appended; the file before is kept as `.1` once it is large), else to standard error."""
    stream: TextIO = sys.stderr
    if path is not None:
        if path.exists() and path.stat().st_size > _MAXIMUM_BYTES:
            path.replace(path.with_suffix(path.suffix + ".1"))
        stream = path.open("a", encoding="utf-8", buffering=1)
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
