"""Events: what happened to an object, in words, for `kubectl describe` and `kubectl get events`.

`EventRecorder.event` only takes a note and returns; `run` writes the notes beside the controllers. Nothing that goes
wrong here ever reaches a reconcile: an event that cannot be written is dropped, counted and logged.

As in client-go's recorder for events.k8s.io/v1, the same event about the same object within six minutes is not written
again but counted in the `series` of the first one, and the count is written twice a minute at most. Unlike there,
another note is another event: of two releases in six minutes both are told. As in its spam filter, one object gets a
burst of 25 events, and then one more every five minutes.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
import structlog

from outrider.api.meta import Instant, format_time
from outrider.kube.api import AlreadyExists, Api, ApiError, Kind, NotFound, TooManyRequests, Unavailable
from outrider.kube.clock import Clock
from outrider.kube.metadata import metadata_of
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.objects import EVENT, ObjectReference
from outrider.kube.queue import Backoff, WorkQueue

SERIES_SECONDS = 360.0
"""Seconds since its last occurrence in which an event is counted on, and not written anew."""
BURST = 25
"""Events about one object that are written without delay."""
REFILL_SECONDS = 300.0
"""Seconds after which one more event about the object may be written."""
COUNT_SECONDS = 30.0
"""Seconds between writes of one event's count."""
MOST_PENDING = 1000
"""Events that wait to be written; while there are so many, further ones are dropped."""
MOST_REMEMBERED = 4096
"""Series, and objects, that are remembered at most, the least recently used forgotten first. Those about which nothing
happened any more, so that they make no difference, are forgotten anyway."""
ATTEMPTS = 12
PATIENCE = Backoff(first=1.0, limit=60.0)
"""A server that cannot be reached is tried so often and at these intervals: for about six minutes."""
NOTE_BYTES = 1024
"""What an API server allows a note to be."""

T = TypeVar("T")

EventKind = Literal["Normal", "Warning"]

log = structlog.get_logger(__name__)

_SeriesKey = tuple[str, str, str, str, str]


@dataclass
class _Series:
    """An event that was written, or is about to be."""

    name: str
    namespace: str
    count: int
    last: Instant
    body: dict[str, Any]
    created: bool = False
    next_write: float = 0.0
    """When its count may be written, by the clock's `monotonic`."""


class EventRecorder:
    """Records events in the name of `controller`, such as `inference.llm-d.io/outrider`; `instance` is this process.

    Both appear in the event as `reportingController` and `reportingInstance`.
    """

    def __init__(
        self, api: Api, clock: Clock, *, controller: str, instance: str, metrics: RuntimeMetrics | None = None
    ) -> None:
        self._api = api
        self._clock = clock
        self._controller = controller
        self._instance = instance
        self._metrics = metrics
        self._series: OrderedDict[_SeriesKey, _Series] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By object: events that may still be written, and when that was so."""
        self._pending: dict[str, _Series] = {}
        """By name: the events to be written, with whatever their count is by then."""
        self._queue: WorkQueue[str] = WorkQueue(clock, backoff=PATIENCE)
        self._names = 0

    def event(self, kind: Kind[Any], obj: Any, event_type: EventKind, reason: str, note: str, *, action: str) -> None:
        """Note that something happened to `obj`, an object of `kind`.

        `reason` says why, in one CamelCase word (`RolledBack`); `action` what was done or tried (`Rollback`); `note` is
        for people. Never blocks and never raises.
        """
        try:
            self._note(_reference(kind, obj), event_type, reason, note, action)
        except Exception:
            log.exception("an event could not be noted", reason=reason)

    @property
    def remembered(self) -> int:
        """How many series and objects it knows of."""
        return len(self._series) + len(self._tokens)

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        while True:
            name = await self._queue.get()
            series = self._pending.pop(name)
            try:
                await self._try_to_write(series)
            finally:
                self._queue.done(name)

    def _note(self, regarding: ObjectReference, event_type: EventKind, reason: str, note: str, action: str) -> None:
        now = self._clock.now()
        about = f"{regarding.kind}/{regarding.namespace}/{regarding.name}/{regarding.uid}"
        key = (about, event_type, reason, action, note)
        series = self._series.get(key)
        if series is not None and now - series.last <= SERIES_SECONDS:
            series.count += 1
            series.last = now
            self._series.move_to_end(key)
        else:
            if not self._allowed(about):
                self._dropped("rate limit", reason)
                return
            series = self._new_series(regarding, event_type, reason, note, action, now)
            self._series[key] = series
            self._series.move_to_end(key)
            _trim(self._series, lambda one: now - one.last > SERIES_SECONDS)
        self._enqueue(series)

    def _new_series(
        self, regarding: ObjectReference, event_type: EventKind, reason: str, note: str, action: str, now: Instant
    ) -> _Series:
        self._names += 1
        # As client-go names them; the number tells apart those of one microsecond.
        name = f"{regarding.name[:200]}.{int(now * 1_000_000):x}.{self._names:x}"
        namespace = regarding.namespace or "default"  # where Kubernetes keeps events of cluster-scoped objects
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": format_time(now, micro=True),
            "type": event_type,
            "reason": reason,
            "action": action,
            "note": _shortened(note),
            "regarding": msgspec.to_builtins(regarding),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
        }
        return _Series(name=name, namespace=namespace, count=1, last=now, body=body)

    def _allowed(self, about: str) -> bool:
        """Take one of the object's tokens, if it has one left."""
        now = self._clock.monotonic()
        tokens, since = self._tokens.get(about, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - since) / REFILL_SECONDS)
        allowed = tokens >= 1
        self._tokens[about] = (tokens - 1 if allowed else tokens, now)
        self._tokens.move_to_end(about)
        _trim(self._tokens, lambda one: now - one[1] >= BURST * REFILL_SECONDS)
        return allowed

    def _enqueue(self, series: _Series) -> None:
        if series.name not in self._pending and len(self._pending) >= MOST_PENDING:
            self._dropped("too many pending", series.body["reason"])
            return
        self._pending[series.name] = series
        self._queue.add_after(series.name, series.next_write - self._clock.monotonic())

    async def _try_to_write(self, series: _Series) -> None:
        try:
            await self._write(series)
        except (Unavailable, TooManyRequests) as error:
            if self._queue.failures(series.name) < ATTEMPTS:
                self._pending[series.name] = series
                self._queue.add_rate_limited(series.name, at_least=error.retry_after or 0.0)
                return
            self._dropped(error.reason, series.body["reason"], error)
        except ApiError as error:
            self._dropped(error.reason, series.body["reason"], error)
        except Exception as error:  # noqa: BLE001  (no event is worth the process)
            self._dropped("defect", series.body["reason"], error)
        series.next_write = self._clock.monotonic() + COUNT_SECONDS
        self._queue.forget(series.name)

    async def _write(self, series: _Series) -> None:
        """Create the event, or bring the count of the one that exists up to date."""
        if series.created:
            try:
                await self._api.patch(EVENT, series.name, {"series": _count(series)}, series.namespace)
            except NotFound:  # events expire after an hour, and people delete them
                series.created = False
            else:
                return
        body = series.body if series.count == 1 else {**series.body, "series": _count(series)}
        try:
            await self._api.create(EVENT, body)
        except AlreadyExists:
            log.debug("the event was written before", name=series.name)  # the answer to an earlier attempt got lost
        series.created = True

    def _dropped(self, why: str, reason: str, error: Exception | None = None) -> None:
        log.info("event dropped", why=why, reason=reason, error=None if error is None else str(error))
        if self._metrics is not None:
            self._metrics.events_dropped.labels(why).inc()


def _reference(kind: Kind[Any], obj: Any) -> ObjectReference:
    metadata = metadata_of(obj)
    return ObjectReference(kind.api_version, kind.kind, metadata.name, metadata.namespace, metadata.uid)


def _count(series: _Series) -> dict[str, Any]:
    return {"count": series.count, "lastObservedTime": format_time(series.last, micro=True)}


def _shortened(note: str) -> str:
    encoded = note.encode()
    if len(encoded) <= NOTE_BYTES:
        return note
    return encoded[: NOTE_BYTES - 3].decode(errors="ignore") + "..."


def _trim(memory: "OrderedDict[Any, T]", is_over: Callable[[T], bool]) -> None:
    """Forget what is over, of what is in the order of last use, and what is too much."""
    while memory and (len(memory) > MOST_REMEMBERED or is_over(next(iter(memory.values())))):
        memory.popitem(last=False)
