"""Time as something that is handed in, so that tests and simulation can own it."""

import asyncio
import time
from typing import Protocol

from outrider.api.meta import Instant


class Clock(Protocol):
    def now(self) -> Instant:
        """Wall-clock time, for timestamps that people and other programs read."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> Instant:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
