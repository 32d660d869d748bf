"""A clock that moves when a test says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


class ManualClock:
    """Sleepers wake when the test lets time pass."""

    def __init__(self) -> None:
        self.time = 0.0
        self.set_forward = 0.0
        """By how many seconds somebody has set the wall clock forward; below zero: back."""
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return 1_000_000.0 + self.time + self.set_forward

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self.time + seconds, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        self.time += seconds
        due = [event for when, event in self._sleepers if when <= self.time]
        self._sleepers = [(when, event) for when, event in self._sleepers if when > self.time]
        for event in due:
            event.set()
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something beside the test, and end it with the test."""
    task = asyncio.create_task(work)
    try:
        await settle()
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
