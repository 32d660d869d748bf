"""Notices that this process stood still: its machine was suspended, it was stopped, or the clock was set."""

from collections.abc import Callable

import structlog

from outrider.kube.clock import Clock

PERIOD = 5.0
"""Seconds between looks at the clock."""
SLACK = 10.0
"""Seconds by which a look may be late before that is news: a busy event loop is late by milliseconds."""

log = structlog.get_logger(__name__)


class Standstill:
    """Calls `on_wake` as soon as the process goes on after it stood still for longer than `SLACK` seconds.

    Both clocks are looked at: the steady one does not count a suspension on Linux, the other one is set by people.
    """

    def __init__(self, clock: Clock, on_wake: Callable[[], None]) -> None:
        self._clock = clock
        self._on_wake = on_wake

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            steady, wall = self._clock.monotonic(), self._clock.now()
            await self._clock.sleep(PERIOD)
            missed = max(self._clock.monotonic() - steady, self._clock.now() - wall) - PERIOD
            if missed > SLACK:
                log.warning("this process stood still, or the clock was set", seconds=round(missed, 1))
                self._on_wake()
