"""Time as something that is handed in, so that tests and simulation can own it."""

from typing import Protocol

from outrider.api.meta import Instant


class Clock(Protocol):
    """What tells the time: `kube.clock.SystemClock`, or a test's own."""

    def now(self) -> Instant:
        """Wall-clock time, for timestamps that people and other programs read."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations, ages and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None: ...
