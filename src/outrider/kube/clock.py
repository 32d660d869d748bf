"""The machine's own time. Whatever needs a clock is handed one (`api.clock.Clock`)."""

import asyncio
import time

from outrider.api.clock import Clock
from outrider.api.meta import Instant

__all__ = ["Clock", "SystemClock"]


class SystemClock:
    """The machine's own clock."""

    def now(self) -> Instant:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
