"""A live copy of all objects of one kind: one LIST, then a WATCH for as long as the process lives.

Why not just watch? Streams end, break in mid-line, and fall silent without a word. What Kubernetes' own informers
learned is kept here:

* A watch resumes after the last version that was seen, bookmarks included. Only when that version is no longer known
  (410) everything is listed again.
* A list is compared with what was known: what is gone is reported as DELETED, though nobody saw it go.
* A watch that is silent for longer than the server's bookmark interval (about a minute) is dead, and is replaced.
* Nothing older than what is known is ever taken over, from a lagging server or a stream's repetition.
* An object that does not decode harms no other: it is reported, and its last good version stays.

`written` makes the process's own writes visible at once, before the watch brings them back (read-your-writes).
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from outrider.kube.api import (
    Api,
    ApiError,
    EventType,
    Expired,
    Kind,
    ListResult,
    NotFound,
    Unavailable,
    Undecodable,
    WatchEvent,
)
from outrider.kube.cache import Cache, IndexFunction
from outrider.kube.clock import Clock
from outrider.kube.metadata import is_older, metadata_of, raw_identity, same_version
from outrider.kube.waiting import closing, first_to_end, within

T = TypeVar("T")

Handler = Callable[[EventType, T | None, T | None], None]
"""Told `(type, old, new)`: old is None for ADDED, new is None for DELETED. It must be quick and must not block."""
RelistHandler = Callable[[int], None]
"""Told the number of a list, once the cache holds all that was written before that list was asked for."""

INACTIVITY_TIMEOUT = 70.0
"""Seconds. API servers send a bookmark about once a minute, so that a watch silent for longer is broken."""
LIST_TIMEOUT = 120.0
"""Seconds for a whole list, all pages: twice the 60 s after which an API server gives up on a request."""
WATCH_SECONDS = 300.0
"""Watches are asked to end after 5 to 10 minutes, chosen at random as client-go does, to spread them over servers."""
SHORTEST_WATCH = 1.0
"""Seconds. A watch that ends sooner and brought nothing is a failure, or we would connect in a tight loop."""
BACKOFF_FIRST, BACKOFF_MAX = 0.8, 30.0
"""Seconds between attempts, doubling, up to twice as long by jitter: client-go's reflector."""
UNREACHABLE_BACKOFF_MAX = 5.0
"""Seconds, likewise, while the server cannot be reached: asking costs little, and it may be back any moment."""
ABSENT_KIND_RETRY = 60.0
"""Seconds until a kind that the cluster does not have is looked for again."""
FAILURES_BEFORE_RELIST = 3
STALE_LISTS_BEFORE_BELIEF = 5
"""A list older than what was seen comes from a lagging server; this often in a row, the history itself was reset."""

log = structlog.get_logger(__name__)


class _StaleListError(Exception):
    """A server answered a list with an older state than was already seen."""


class Informer(Generic[T]):
    """A live copy of the objects of `kind` in `namespace` ("" for all) that match the selectors.

    `indexes` maps an index's name to a function from an object to the values it is found under. `optional` says that
    the cluster may lack the kind (a CRD that is not installed): the copy is then empty, synced, and looked for again
    after `absent_retry` seconds.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind[T],
        clock: Clock,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        optional: bool = False,
        absent_retry: float = ABSENT_KIND_RETRY,
        inactivity_timeout: float = INACTIVITY_TIMEOUT,
        rng: random.Random | None = None,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.optional = optional
        self.synced = asyncio.Event()
        """Set once the first list is in."""
        self.relisting = False
        """True while handlers are told the contents of a list, and not a change that just happened."""
        self.lists_started = 0
        """How many lists have been asked for; the number that relist handlers are told."""
        self.last_error = ""
        """Why the copy is not being kept up to date at the moment; empty when it is."""
        self.undecodable: dict[str, str] = {}
        """Key to reason of the objects that do not fit the kind's type."""
        self._api = api
        self._clock = clock
        self._scope: dict[str, str] = {"namespace": namespace, "labels": labels, "fields": fields}
        self._absent_retry = absent_retry
        self._look_again = asyncio.Event()
        self._inactivity_timeout = inactivity_timeout
        self._rng = rng or random.Random()  # noqa: S311  (jitter is no secret)
        self._cache: Cache[T] = Cache(indexes or {})
        self._handlers: list[Handler[T]] = []
        self._relist_handlers: list[RelistHandler] = []
        self._stop = asyncio.Event()
        self._version = ""
        """The newest resource version seen."""
        self._must_list = True
        self._one_by_one = False
        """Objects are fetched as plain JSON and decoded one by one, because some object did not decode."""
        self._heard_at: float | None = None
        self._events = 0
        self._watch_began = 0.0
        self._stale_lists = 0
        self._expired = False
        """The last failure was that the server does not know where the watch should begin."""
        self._unseen_writes: dict[str, str] = {}
        """Key to resource version of own writes in the cache that the watch has not brought back."""

    # Reading

    def get(self, key: str) -> T | None:
        """The object `namespace/name`, or `name` for a cluster-scoped kind."""
        return self._cache.get(key)

    def list(self) -> tuple[T, ...]:
        return self._cache.list()

    def by_index(self, name: str, value: str) -> tuple[T, ...]:
        """The objects that index `name` files under `value`. Raises `KeyError` for an index that there is not."""
        return self._cache.by_index(name, value)

    def index_values(self, name: str) -> tuple[str, ...]:
        """All values of index `name` under which there is an object."""
        return self._cache.index_values(name)

    def age(self) -> float | None:
        """Seconds since the server last said anything; None before the first list.

        Up to a minute is normal, for that is how often bookmarks come. Beyond `inactivity_timeout` the copy is stale.
        """
        return None if self._heard_at is None else self._clock.monotonic() - self._heard_at

    def subscribe(self, handler: Handler[T]) -> None:
        """Tell `handler` every change from now on, and first of all ADDED for each object that is known already."""
        self._handlers.append(handler)
        was_relisting, self.relisting = self.relisting, True
        for obj in self._cache.list():
            self._tell(handler, "ADDED", None, obj)
        self.relisting = was_relisting

    def on_relist(self, handler: RelistHandler) -> None:
        self._relist_handlers.append(handler)

    # Running

    async def run(self) -> None:
        """Keep the copy up to date until `stop` is called or the task is cancelled. No error of the API ends it."""
        winner = await first_to_end(self._stop.wait(), self._run_forever())
        winner.result()

    def stop(self) -> None:
        self._stop.set()

    def look_again(self) -> None:
        """Do not wait any longer before an optional kind is looked for again: it may have come to the cluster."""
        self._look_again.set()

    def written(self, obj: T) -> None:
        """Take over what the server answered to an own write, so that the next reconcile sees it.

        Ignored when it is not newer than what is known. If the watch passes the write's version and never showed the
        object (it was outside the selectors, or was deleted in between), the object goes again.
        """
        metadata = metadata_of(obj)
        version = metadata.resource_version
        if not is_older(self._version, version) or not self._in_scope(metadata.namespace):
            return
        known = self._cache.get(metadata.key)
        if known is not None and not is_older(metadata_of(known).resource_version, version):
            return
        self._unseen_writes[metadata.key] = version
        self._put(metadata.key, obj)

    async def _run_forever(self) -> None:
        failures = 0
        while True:
            events_before = self._events
            try:
                if self._must_list:
                    await self._relist()
                await self._watch()
                failures, self._expired = 0, False
            except Exception as error:  # noqa: BLE001  (an informer never dies: whatever it is, try again later)
                failures = 1 if self._events > events_before else failures + 1
                await self._recover(error, failures)

    async def _recover(self, error: Exception, failures: int) -> None:
        """Decide how to go on after `error`, the latest of so many `failures` in a row, and wait as long as needed."""
        if isinstance(error, NotFound) and self.optional:
            self._forget_absent_kind()
            await first_to_end(self._look_again.wait(), self._clock.sleep(self._absent_retry))
            self._look_again.clear()
            return
        expired_before, self._expired = self._expired, _history_lost(error)
        if self._expired:
            self._must_list = True
            if not expired_before:  # as after a restart of the server: there is nothing to wait for
                return
        elif isinstance(error, Undecodable | msgspec.MsgspecError) and not self._one_by_one:
            self._one_by_one = True
            return
        if failures >= FAILURES_BEFORE_RELIST:
            self._must_list = True
        self.last_error = f"{type(error).__name__}: {error}"
        log.warning("cannot list or watch", kind=self.kind.kind, error=self.last_error, failures=failures)
        limit = UNREACHABLE_BACKOFF_MAX if isinstance(error, Unavailable) else BACKOFF_MAX
        delay = min(limit, BACKOFF_FIRST * 2.0 ** min(failures - 1, 10)) * (1 + self._rng.random())
        delay = max(delay, getattr(error, "retry_after", None) or 0.0)
        await self._clock.sleep(delay)

    def _forget_absent_kind(self) -> None:
        for key in tuple(self._cache):
            self._remove(key)
        self._must_list = True
        self._heard_at = self._clock.monotonic()
        self.last_error = ""
        self.synced.set()

    # Listing

    async def _relist(self) -> None:
        self.lists_started += 1
        number = self.lists_started
        objects, version = await within(self._clock, LIST_TIMEOUT, self._fetch_list())
        if is_older(version, self._version):
            self._stale_lists += 1
            if self._stale_lists < STALE_LISTS_BEFORE_BELIEF:
                raise _StaleListError(f"the list is at version {version}, but {self._version} was already seen")
            log.warning("the server's history was reset", kind=self.kind.kind, before=self._version, now=version)
            self._unseen_writes.clear()
        self._stale_lists = 0
        self._heard_at = self._clock.monotonic()
        self._replace(objects, version)
        self._version = version
        self._must_list = False
        self.last_error = ""
        self.synced.set()
        for handler in self._relist_handlers:
            _guard(handler, number)

    async def _fetch_list(self) -> tuple[dict[str, T | None], str]:
        """All objects by key, None for those that do not decode; and the list's resource version."""
        if not self._one_by_one or not self.undecodable:
            try:
                listed: ListResult[T] = await self._api.list(self.kind, **self._scope)
            except (Undecodable, msgspec.MsgspecError):
                pass
            else:
                self._one_by_one = False
                self.undecodable.clear()
                return {metadata_of(item).key: item for item in listed.items}, listed.resource_version
        self._one_by_one = True
        raw = await self._api.list(self.kind.into(dict), **self._scope)
        self.undecodable.clear()
        objects = {}
        for item in raw.items:
            key, _ = raw_identity(item)
            objects[key] = self._decode(key, item)
        return objects, raw.resource_version

    def _replace(self, objects: dict[str, T | None], version: str) -> None:
        self.relisting = True
        for key, written in tuple(self._unseen_writes.items()):
            if not is_older(version, written):
                del self._unseen_writes[key]
        for key in tuple(self._cache):
            if key not in objects and key not in self._unseen_writes:
                self._remove(key)
        for key, obj in objects.items():
            if obj is not None and key not in self._unseen_writes:
                self._put(key, obj)
        self.relisting = False

    # Watching

    async def _watch(self) -> None:
        """Follow one watch to its end, or until it has been silent for too long."""
        events_before, self._watch_began = self._events, self._clock.monotonic()
        winner = await first_to_end(self._follow(), self._silence())
        winner.result()
        if self._events == events_before and self._clock.monotonic() - self._watch_began < SHORTEST_WATCH:
            raise ApiError("the server ended the watch at once")

    async def _silence(self) -> None:
        """Return once nothing has been heard for longer than a living watch would be silent."""
        while True:
            heard = max(self._watch_began, self._heard_at or 0.0)
            left = heard + self._inactivity_timeout - self._clock.monotonic()
            if left <= 0:
                log.info("the watch fell silent: connecting again", kind=self.kind.kind)
                return
            await self._clock.sleep(max(left, 0.001))

    async def _follow(self) -> None:
        kind: Kind[Any] = self.kind.into(dict) if self._one_by_one else self.kind
        timeout = WATCH_SECONDS * (1 + self._rng.random())
        stream = self._api.watch(kind, **self._scope, resource_version=self._version, timeout=timeout)
        async with closing(stream) as events:
            async for event in events:
                self._events += 1
                self._heard_at = self._clock.monotonic()
                self.last_error = ""
                self._take(event)

    def _take(self, event: WatchEvent[Any]) -> None:
        if is_older(event.resource_version, self._version):
            return  # repeated by a stream that was resumed
        if event.type != "BOOKMARK":
            self._take_change(event)
        self._version = event.resource_version or self._version
        self._drop_unconfirmed_writes()

    def _take_change(self, event: WatchEvent[Any]) -> None:
        obj = event.object
        if self._one_by_one:
            key, version = raw_identity(obj)
            obj = self._decode(key, obj) if event.type != "DELETED" else None
        else:
            metadata = metadata_of(obj)
            key, version = metadata.key, metadata.resource_version
        known = self._cache.get(key)
        if known is not None and is_older(version, metadata_of(known).resource_version):
            return
        self._unseen_writes.pop(key, None)
        if event.type == "DELETED":
            self.undecodable.pop(key, None)
            self._remove(key)
        elif obj is not None:
            self._put(key, obj)

    def _drop_unconfirmed_writes(self) -> None:
        if not self._unseen_writes:
            return
        for key, written in tuple(self._unseen_writes.items()):
            if is_older(written, self._version):
                del self._unseen_writes[key]
                self._remove(key)

    # Changing the copy

    def _decode(self, key: str, raw: Any) -> T | None:
        """The object, or None and a report when it does not fit the kind's type."""
        try:
            obj = msgspec.json.decode(msgspec.json.encode(raw), type=self.kind.struct)
        except msgspec.MsgspecError as error:
            if self.undecodable.get(key) != str(error):
                log.warning("an object cannot be read and is left out", kind=self.kind.kind, key=key, error=str(error))
            self.undecodable[key] = str(error)
            return None
        self.undecodable.pop(key, None)
        return obj

    def _put(self, key: str, obj: T) -> None:
        known = self._cache.get(key)
        if known is None:
            self._cache.put(key, obj)
            self._tell_all("ADDED", None, obj)
            return
        before, after = metadata_of(known), metadata_of(obj)
        if same_version(before, after):
            return
        if before.uid != after.uid:  # deleted and created anew while nobody looked
            self._remove(key)
            self._put(key, obj)
            return
        self._cache.put(key, obj)
        self._tell_all("MODIFIED", known, obj)

    def _remove(self, key: str) -> None:
        old = self._cache.remove(key)
        self._unseen_writes.pop(key, None)
        if old is not None:
            self._tell_all("DELETED", old, None)

    def _tell_all(self, event_type: EventType, old: T | None, new: T | None) -> None:
        for handler in self._handlers:
            self._tell(handler, event_type, old, new)

    def _tell(self, handler: Handler[T], event_type: EventType, old: T | None, new: T | None) -> None:
        _guard(handler, event_type, old, new)

    def _in_scope(self, namespace: str) -> bool:
        return self._scope["namespace"] in ("", namespace)


def _guard(handler: Callable[..., None], *arguments: Any) -> None:
    """Call a handler; one that fails harms neither the informer nor the other handlers."""
    try:
        handler(*arguments)
    except Exception:
        log.exception("a handler of an informer failed", handler=getattr(handler, "__qualname__", repr(handler)))


def _history_lost(error: Exception) -> bool:
    """Whether the watch's starting point means nothing to the server: too old, or not yet known to it."""
    if isinstance(error, Expired):
        return True
    causes = error.details.get("causes") if isinstance(error, ApiError) else None
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes or ())
