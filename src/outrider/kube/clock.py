"""The machine's own time. Whatever needs a clock is handed one (`api.clock.Clock`)."""

import asyncio
import time

from outrider.api.clock import Clock
from outrider.api.meta import Instant

__all__ = ["Clock", "SystemClock"]


_STEADY: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> Instant:
        return time.time()

    def monotonic(self) -> float:
        # Where the system has it, the clock that also counts while the machine is suspended: a lease goes on then.
        return time.clock_gettime(_STEADY) if _STEADY is not None else time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
