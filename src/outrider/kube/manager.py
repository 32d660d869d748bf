"""Runs informers and controllers together: caches first, then work; and stops them in the reverse order."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from math import nan
from typing import Any

import structlog

from outrider.kube.clock import Clock
from outrider.kube.controller import Controller
from outrider.kube.informer import Informer
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.waiting import first_to_end

SYNC_REPORT_INTERVAL = 10.0
"""Seconds between log lines about caches that are not yet filled."""
STOP_GRACE = 30.0
"""Seconds that reconciles under way have to end when the manager stops."""

log = structlog.get_logger(__name__)

Runnable = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs beside the controllers until it is cancelled, such as an event recorder's `run`."""
Elected = Callable[[], Coroutine[Any, Any, None]]
"""Returns once this process may work."""


class Manager:
    """One process's informers and controllers. Controllers bring the informers that they watch.

    `informers` are those that are only read; `runnables` start with the controllers and are cancelled at the end.
    Where there is `elected`, controllers and runnables wait for it, with caches filled and kept up to date.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        controllers: Iterable[Controller] = (),
        informers: Iterable[Informer[Any]] = (),
        runnables: Iterable[Runnable] = (),
        metrics: RuntimeMetrics | None = None,
        elected: Elected | None = None,
        stop_grace: float = STOP_GRACE,
    ) -> None:
        self.started = asyncio.Event()
        """Set once all caches are filled and the controllers work."""
        self._clock = clock
        self._controllers = tuple(controllers)
        self._extra_informers = tuple(informers)
        self._runnables = tuple(runnables)
        self._stop_grace = stop_grace
        self._stop = asyncio.Event()
        self._metrics = metrics
        self._elected = elected

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All caches: those given, and those that the controllers watch."""
        watched = [informer for controller in self._controllers for informer in controller.informers]
        return tuple(dict.fromkeys([*self._extra_informers, *watched]))

    def waiting_for(self) -> dict[str, str]:
        """The kinds whose caches are not yet filled, and why as far as is known."""
        return {
            informer.kind.kind: informer.last_error or "listing"
            for informer in self.informers
            if not informer.synced.is_set()
        }

    async def run(self) -> None:
        """Run until `stop`, or until cancelled. A defect in the runtime itself ends it with an exception group."""
        if self._metrics is not None:
            for informer in self.informers:
                _measure(informer, self._metrics)
        async with asyncio.TaskGroup() as background:
            tasks = [
                background.create_task(informer.run(), name=f"informer-{informer.kind.plural}")
                for informer in self.informers
            ]
            winner = await first_to_end(self._stop.wait(), self._wait_for_turn())
            winner.result()
            if not self._stop.is_set():
                tasks += [background.create_task(runnable()) for runnable in self._runnables]
                await self._run_controllers()
            for task in tasks:
                task.cancel()

    def stop(self) -> None:
        self._stop.set()

    async def _wait_for_turn(self) -> None:
        await first_to_end(self._all_synced(), self._report_waiting())
        if self._elected is not None:
            await self._elected()

    async def _all_synced(self) -> None:
        for informer in self.informers:
            await informer.synced.wait()

    async def _report_waiting(self) -> None:
        while True:
            await self._clock.sleep(SYNC_REPORT_INTERVAL)
            log.info("waiting for the caches to fill", **self.waiting_for())

    async def _run_controllers(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(controller.run()) for controller in self._controllers]
            self.started.set()
            await self._stop.wait()
            for controller in self._controllers:
                controller.stop()
            await first_to_end(self._ended(tasks), self._clock_grace())
            for task in tasks:
                task.cancel()

    async def _ended(self, tasks: "list[asyncio.Task[None]]") -> None:
        if tasks:
            await asyncio.wait(tasks)

    async def _clock_grace(self) -> None:
        await self._clock.sleep(self._stop_grace)
        log.warning("reconciles did not end in time and are cancelled", seconds=self._stop_grace)


def _measure(informer: Informer[Any], metrics: RuntimeMetrics) -> None:
    kind = informer.kind.kind
    metrics.cache_age.labels(kind).set_function(lambda: nan if (age := informer.age()) is None else age)
    metrics.cache_objects.labels(kind).set_function(lambda: len(informer.list()))
    metrics.undecodable.labels(kind).set_function(lambda: len(informer.undecodable))
