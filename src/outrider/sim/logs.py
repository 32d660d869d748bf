"""What the operator logs while it is simulated."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog


@contextmanager
def captured() -> Iterator[list[str]]:
    """Takes what is logged: nothing is printed, and every crash of a reconcile, which others survive, is told."""
    crashes: list[str] = []

    def take(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        if event.get("exc_info"):
            crashes.append(f"{event['event']}: {event['exc_info']!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[take],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield crashes
    finally:
        structlog.configure(**before)
