"""Controllers: watch objects, work out whose business a change is, and reconcile those, one key at a time.

    controller = Controller("deployment", reconcile, clock=clock, concurrency=4)
    controller.for_(deployments, any_of(generation_changed, annotations_changed))
    controller.owns(pods, LLM_DEPLOYMENT, content_changed)
    controller.maps(nodes, lambda node: keys_on(node), content_changed, priority=URGENT_PRIORITY)
    await Manager(clock, controllers=[controller]).run()

`reconcile(key)` reads the informers' caches, makes the world a little more like it should be, and says when to look
again. It is never called twice at the same time for one key; it must be safe to repeat after a crash at any point.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from outrider.kube.api import ApiError, Conflict, EventType, Kind, TooManyRequests, Undecodable
from outrider.kube.clock import Clock
from outrider.kube.informer import Informer
from outrider.kube.metadata import metadata_of, split_key
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.predicates import Predicate
from outrider.kube.queue import DEFAULT_BACKOFF, EVENT_PRIORITY, RESYNC_PRIORITY, Backoff, QueueShutDown, WorkQueue
from outrider.kube.waiting import within

T = TypeVar("T")

RECONCILE_TIMEOUT = 60.0
"""Seconds after which a reconcile is cancelled and counts as failed."""
LONGEST_SERVER_RETRY = 30.0
"""Seconds until a reconcile is tried again that failed through no fault of its object: the server was overloaded or
away, or somebody else was faster. The back-off of objects that cannot be reconciled grows to a quarter of an hour;
after an outage of minutes that would be minutes in which nobody acts, though all could.
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Result:
    """What a reconcile asks for: to be called again after so many seconds, or (None) when something changes."""

    requeue_after: float | None = None


Reconcile = Callable[[str], Awaitable[Result | None]]
"""Called with `namespace/name` (or `name`). Raising puts the key back with back-off; None is `Result()`."""


class Controller:
    """Reconciles keys with so many workers, each call cut off after `timeout` seconds."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        clock: Clock,
        concurrency: int = 1,
        timeout: float = RECONCILE_TIMEOUT,
        backoff: Backoff = DEFAULT_BACKOFF,
        metrics: RuntimeMetrics | None = None,
    ) -> None:
        self.name = name
        self.queue: WorkQueue[str] = WorkQueue(clock, name=name, backoff=backoff, metrics=metrics)
        self.informers: list[Informer[Any]] = []
        """All that it watches; they must be synced before it works."""
        self.crashes = 0
        """Reconciles that failed with what is no ApiError and no timeout: defects of ours."""
        self._reconcile = reconcile
        self._clock = clock
        self._concurrency = concurrency
        self._timeout = timeout
        self._runs = 0
        self._report = _Report(name, concurrency, metrics) if metrics is not None else None

    # What it watches

    def for_(self, informer: Informer[Any], *predicates: Predicate, priority: int = EVENT_PRIORITY) -> "Controller":
        """Reconcile the objects of this kind themselves."""
        return self.maps(informer, lambda obj: (metadata_of(obj).key,), *predicates, priority=priority)

    def owns(
        self, informer: Informer[Any], owner: Kind[Any], *predicates: Predicate, priority: int = EVENT_PRIORITY
    ) -> "Controller":
        """Reconcile the objects of kind `owner` that control (ownerReferences, controller: true) a changed object."""

        def owner_keys(obj: Any) -> Iterable[str]:
            metadata = metadata_of(obj)
            reference = metadata.controller
            if reference is None or reference.kind != owner.kind:
                return ()
            if reference.api_version.rpartition("/")[0] != owner.group:  # any version of the group is the same kind
                return ()
            return (f"{metadata.namespace}/{reference.name}" if owner.namespaced else reference.name,)

        return self.maps(informer, owner_keys, *predicates, priority=priority)

    def maps(
        self,
        informer: Informer[T],
        keys_of: Callable[[T], Iterable[str]],
        *predicates: Predicate,
        priority: int = EVENT_PRIORITY,
    ) -> "Controller":
        """Reconcile the keys that `keys_of` gives for a changed object, as it was and as it is now.

        `priority` is for changes as they happen; what a list brings comes after them in any case.
        """

        def handle(_type: EventType, old: T | None, new: T | None) -> None:
            if not all(predicate(old, new) for predicate in predicates):
                return
            rank = RESYNC_PRIORITY if informer.relisting else priority
            keys = [key for obj in (old, new) if obj is not None for key in keys_of(obj)]
            for key in dict.fromkeys(keys):
                self.queue.add(key, rank)

        if informer not in self.informers:
            self.informers.append(informer)
        informer.subscribe(handle)
        return self

    def enqueue(self, key: str, *, after: float = 0.0, priority: int = EVENT_PRIORITY) -> None:
        """Have a key reconciled, now or in so many seconds."""
        self.queue.add_after(key, after, priority)

    # Working

    async def run(self) -> None:
        """Work until `stop`; then finish what is under way. Cancelling it cancels what is under way."""
        async with asyncio.TaskGroup() as workers:
            for number in range(self._concurrency):
                workers.create_task(self._work(), name=f"{self.name}-{number}")

    def stop(self) -> None:
        """Take up no more keys. `run` returns when the reconciles that are under way have ended."""
        self.queue.shut_down()

    async def _work(self) -> None:
        while True:
            try:
                key, priority = await self.queue.get_with_priority()
            except QueueShutDown:
                return
            try:
                await self._handle(key, priority)
            finally:
                self.queue.done(key)

    async def _handle(self, key: str, priority: int) -> None:
        """One reconcile, and what follows from how it ended."""
        self._runs += 1
        namespace, name = split_key(key)
        started = self._clock.monotonic()
        context = {"controller": self.name, "namespace": namespace, "name": name, "reconcile": self._runs}
        with structlog.contextvars.bound_contextvars(**context):
            try:
                result = await within(self._clock, self._timeout, self._call(key)) or Result()
            except Exception as error:  # noqa: BLE001  (whatever a reconcile raises, the others go on)
                outcome = "error"
                self._failed(key, priority, error)
            else:
                outcome = "success" if result.requeue_after is None else "requeue_after"
                self._succeeded(key, priority, result)
        if self._report is not None:
            self._report.ended(outcome, self._clock.monotonic() - started)

    async def _call(self, key: str) -> Result | None:
        if self._report is None:
            return await self._reconcile(key)
        with self._report.active.track_inprogress():
            return await self._reconcile(key)

    def _succeeded(self, key: str, priority: int, result: Result) -> None:
        self.queue.forget(key)
        if result.requeue_after is not None:
            self.queue.add_after(key, result.requeue_after, priority)

    def _failed(self, key: str, priority: int, error: Exception) -> None:
        retry_after = error.retry_after if isinstance(error, ApiError) else None
        at_most = LONGEST_SERVER_RETRY if _is_about_the_server(error) else float("inf")
        delay = self.queue.add_rate_limited(key, priority, at_least=retry_after or 0.0, at_most=at_most)
        failures = self.queue.failures(key)
        if isinstance(error, Conflict):
            log.info("somebody else was faster: trying again", error=str(error), failures=failures)
        elif isinstance(error, ApiError | TimeoutError):
            log.warning("reconcile failed", error=f"{type(error).__name__}: {error}", failures=failures, retry_in=delay)
        else:
            self.crashes += 1
            log.error("reconcile crashed", failures=failures, retry_in=delay, exc_info=error)
        if self._report is not None:
            self._report.failed(error)


def _is_about_the_server(error: Exception) -> bool:
    """Whether the same might well succeed as soon as the server is itself again, whatever the object is like."""
    if isinstance(error, ApiError) and not isinstance(error, Undecodable):
        return isinstance(error, Conflict | TooManyRequests) or error.status >= 500
    return isinstance(error, TimeoutError)


class _Report:
    """The metrics of one controller."""

    def __init__(self, name: str, concurrency: int, metrics: RuntimeMetrics) -> None:
        self._results = {
            outcome: metrics.reconciles.labels(name, outcome) for outcome in ("success", "requeue_after", "error")
        }
        self._seconds = metrics.seconds.labels(name)
        self._errors = metrics.errors.labels(name)
        self._panics = metrics.panics.labels(name)
        self._timeouts = metrics.timeouts.labels(name)
        self.active = metrics.active.labels(name)
        metrics.workers.labels(name).set(concurrency)

    def ended(self, outcome: str, seconds: float) -> None:
        self._results[outcome].inc()
        self._seconds.observe(seconds)

    def failed(self, error: Exception) -> None:
        self._errors.inc()
        if isinstance(error, TimeoutError):
            self._timeouts.inc()
        elif not isinstance(error, ApiError):
            self._panics.inc()
