"""Virtual time: an event loop whose clock jumps to the next timer as soon as there is nothing else to do.

Order stays asyncio's own, first come, first served: that is a promise of asyncio's, which code may rely on. What varies
with the seed is how long each call takes, and so which of two that run side by side comes first.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""The wall clock when virtual time begins, in seconds since 1970."""


class Deadlock(RuntimeError):
    """Everybody waits for somebody else, for ever: nothing is ready, and no timer is set."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. Hours in which nothing happens cost nothing."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__()

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            handle = heapq.heappop(scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        if not self._ready:  # type: ignore[attr-defined]
            if not scheduled:
                raise Deadlock("everybody waits for somebody else, for ever")
            self._virtual = max(self._virtual, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


class LoopClock:
    """The clock of the running loop."""

    def now(self) -> float:
        return EPOCH + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtually(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a story in virtual time. Raises `Deadlock`."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story())
