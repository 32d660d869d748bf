"""Where the output of containers comes from: the kubelet provides it, the API and the REST door ask for it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from outrider.api.meta import Instant


class LogOptions(msgspec.Struct, frozen=True):
    """What of a container's output is wanted, as `kubectl logs` asks for it."""

    follow: bool = False
    """Go on with what the container writes, until it ends."""
    previous: bool = False
    """Of the container's last run before this one."""
    timestamps: bool = False
    """Put the time before every line."""
    since_seconds: float | None = None
    """Only what was written in the last so many seconds."""
    tail_lines: int | None = None
    """Only the last so many lines."""
    since_time: Instant | None = None
    """Only what was written from this moment on."""
    limit_bytes: int | None = None
    """No more than so many bytes."""


LogSource = Callable[[str, str, str, Any], AsyncIterator[bytes]]
"""`(namespace, pod, container, options)` to the output in chunks; `options` has the attributes of `LogOptions`.

Raises `NotFound` where there is no such output, and `BadRequest` for what cannot be had.
"""
