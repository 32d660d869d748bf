"""Time as `signals/` needs it: `kube.clock.Clock` fits, but signals know nothing of Kubernetes, so it is said again."""

from typing import Protocol

from outrider.api.meta import Instant


class Clock(Protocol):
    def now(self) -> Instant:
        """Wall-clock time, for what people and other programs read."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations and ages."""
        ...

    async def sleep(self, seconds: float) -> None: ...
