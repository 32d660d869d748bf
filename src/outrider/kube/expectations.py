"""Own creations and deletions that the cache has not shown yet, so that nothing is done twice on a stale cache.

A reconcile reads a cache that lags behind its own writes. One that counts ("I want three, I see two, I create one")
and runs again before the new object shows up would create a fourth. Three things together prevent it:

1. Names are chosen before the write, and by what they are for wherever possible: then a repetition meets
   `AlreadyExists` instead of making a second object. This alone is enough where the name is deterministic.
2. What a write answers goes straight into the cache (`Informer.written`).
3. Where objects are counted, the writes are expected here, and no further write is decided until all were seen:

       if not expectations.satisfied(owner_key):
           return                       # the event that brings the object brings the owner back, too
       with expectations.creating(owner_key, POD, "ns/name"):
           pod = await api.create(POD, body)

An expectation ends when the cache shows the object (or shows it gone, terminating or replaced, for a deletion), when
the server clearly refused the write, when a list that was asked for after the write ended is in (events that would
have told may have been lost with the broken watch), or after a time to live, as in kube-controller-manager. A write
whose outcome is unknown (`Unavailable`, a timeout, a cancellation) stays expected: it may have happened.

A list must have been *asked for* after the write ended. One that was already under way may lack the new object, and
ending the expectation then would be the very mistake this module is there to prevent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from outrider.kube.api import ApiError, EventType, Kind, Unavailable
from outrider.kube.clock import Clock
from outrider.kube.informer import Informer
from outrider.kube.metadata import metadata_of

TIME_TO_LIVE = 300.0
"""Seconds: `ExpectationsTimeout` of kube-controller-manager."""

log = structlog.get_logger(__name__)

_Write = tuple[Kind[Any], str]
"""Kind and key of the object written."""


@dataclass
class _Expectation:
    owner: str
    deadline: float
    seen: Callable[[Any], bool]
    """Whether the cached object (None when there is none) shows the write."""
    ended_at_list: int | None = None
    """How many lists of the kind had been asked for when the write ended; None while it is under way."""


class Expectations:
    """Expected writes by owner. `informers` are those of all kinds that are written."""

    def __init__(self, clock: Clock, *informers: Informer[Any], time_to_live: float = TIME_TO_LIVE) -> None:
        self._clock = clock
        self._time_to_live = time_to_live
        self._informers = {informer.kind: informer for informer in informers}
        self._writes: dict[_Write, _Expectation] = {}
        self._owners: dict[str, dict[_Write, None]] = {}
        for informer in informers:
            informer.subscribe(self._observer(informer))
            informer.on_relist(self._relist_observer(informer))

    def satisfied(self, owner: str) -> bool:
        """Whether the cache shows every write made for `owner`, so that counting its objects gives the truth."""
        self._expire(owner)
        return owner not in self._owners

    def remaining(self, owner: str) -> float:
        """Seconds until the last expectation of `owner` expires at the latest; 0 when it is satisfied."""
        self._expire(owner)
        now = self._clock.monotonic()
        return max((self._writes[write].deadline - now for write in self._owners.get(owner, ())), default=0.0)

    @contextmanager
    def creating(self, owner: str, kind: Kind[Any], key: str) -> Iterator[None]:
        """Expect that the object `key` appears, while and after the block creates it."""
        with self._writing(owner, kind, key, lambda obj: obj is not None):
            yield

    @contextmanager
    def deleting(self, owner: str, kind: Kind[Any], key: str, uid: str) -> Iterator[None]:
        """Expect that the object `key` goes, while and after the block deletes it.

        It is gone when it terminates, too: it is no longer counted then.
        """

        def gone(obj: Any) -> bool:
            if obj is None:
                return True
            metadata = metadata_of(obj)
            return metadata.uid != uid or metadata.deletion_timestamp is not None

        with self._writing(owner, kind, key, gone):
            yield

    def forget(self, owner: str) -> None:
        """Expect nothing more for `owner`; call it when the owner is deleted."""
        for write in tuple(self._owners.get(owner, ())):
            self._end(write)

    @contextmanager
    def _writing(self, owner: str, kind: Kind[Any], key: str, seen: Callable[[Any], bool]) -> Iterator[None]:
        write = (kind, key)
        self._end(write)
        expectation = _Expectation(owner, self._clock.monotonic() + self._time_to_live, seen)
        self._writes[write] = expectation
        self._owners.setdefault(owner, {})[write] = None
        try:
            yield
        except ApiError as error:
            if not isinstance(error, Unavailable) and error.status < 500:
                self._end(write)  # the server refused: there is nothing to wait for
            raise
        finally:
            informer = self._informers[kind]
            expectation.ended_at_list = informer.lists_started
            if self._writes.get(write) is expectation and seen(informer.get(key)):
                self._end(write)

    def _observer(self, informer: Informer[Any]) -> Callable[[EventType, Any, Any], None]:
        def observe(_type: EventType, old: Any, new: Any) -> None:
            write = (informer.kind, metadata_of(new if new is not None else old).key)
            expectation = self._writes.get(write)
            if expectation is not None and expectation.seen(new):
                self._end(write)

        return observe

    def _relist_observer(self, informer: Informer[Any]) -> Callable[[int], None]:
        def relisted(number: int) -> None:
            for write, expectation in tuple(self._writes.items()):
                ended = expectation.ended_at_list
                if write[0] == informer.kind and ended is not None and ended < number:
                    self._end(write)

        return relisted

    def _expire(self, owner: str) -> None:
        now = self._clock.monotonic()
        for write in tuple(self._owners.get(owner, ())):
            if self._writes[write].deadline <= now:
                log.warning("an own write was never seen in the cache", kind=write[0].kind, key=write[1], owner=owner)
                self._end(write)

    def _end(self, write: _Write) -> None:
        expectation = self._writes.pop(write, None)
        if expectation is None:
            return
        writes = self._owners[expectation.owner]
        del writes[write]
        if not writes:
            del self._owners[expectation.owner]
