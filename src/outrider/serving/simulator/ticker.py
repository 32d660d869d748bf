"""Drives the engine in real time: one task for all requests, one sleep for each step."""

import asyncio

from outrider.kube.clock import Clock
from outrider.serving.simulator.engine import Engine


class Ticker:
    """Runs `engine` until it is cancelled. `wake` must be called when something has changed while it was idle."""

    def __init__(self, engine: Engine, clock: Clock, wake: asyncio.Event) -> None:
        self._engine = engine
        self._clock = clock
        self._wake = wake

    async def run(self) -> None:
        due = self._clock.monotonic()
        while True:
            seconds = self._engine.advance(self._clock.monotonic())
            now = self._clock.monotonic()
            if seconds is None:
                await self._wake.wait()
                self._wake.clear()
                due = self._clock.monotonic()
                continue
            # A step that is late makes the next one shorter, but steps are never skipped: a loaded machine is slow.
            due = max(due + seconds, now)
            await self._clock.sleep(due - now)
