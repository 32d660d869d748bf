"""Waiting for the first of several things, and for no longer than so many seconds, by an injected clock."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from outrider.kube.clock import Clock

T = TypeVar("T")


async def first_to_end(*coroutines: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run all until the first ends, cancel the others, wait until they are gone, and give back the one that ended.

    Of several that end at once it is the one named first. Its result or error is left in the task.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = next(task for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return winner


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled after so many seconds. Raises `TimeoutError` then."""
    timed_out = False

    async def alarm() -> None:
        nonlocal timed_out
        await clock.sleep(seconds)
        timed_out = True

    task = asyncio.ensure_future(work)
    await first_to_end(_await(task), alarm())
    if task.cancelled() and timed_out:
        raise TimeoutError(f"no result within {seconds:g} s")
    return task.result()


async def _await(task: "asyncio.Task[Any]") -> None:
    """Wait for a task to end, well or badly; when cancelled, cancel the task and wait until it is gone."""
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def closing(stream: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """The stream, closed at the end of the block if it is of a kind that can be closed (an async generator is)."""
    try:
        yield stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
