"""The recent changes of one kind, from which every watch reads at its own pace.

All watches of a kind share one list of changes and each keeps its place in it. So a write costs the same however many
watch, a slow watch holds up nobody and costs no memory of its own, and the one bound there is (how many changes are
kept) is also what ends a watch that fell too far behind.
"""

import asyncio
from bisect import bisect_right
from typing import Literal

import msgspec

from outrider.kube.api import Expired
from outrider.local.store.records import Record, decode, encode
from outrider.local.store.selectors import Selection

MOST_BYTES = 2**19
"""Of the changes of one kind. A busy world has a dozen kinds whose changes fill it, and whoever watches is hardly
behind: it lists again where it is."""
RECORD_BYTES = 1024
"""What a change weighs besides the JSON of its object: labels, fields, times and names as Python has them."""
LEAST_KEPT = 128
"""However large they are; and as many as there are objects of the kind, which is what a list would cost."""
BLOCK = 8
"""As many changes are forgotten at once: so the cost of a write is constant on average."""


class Change(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One write."""

    old: Record | None
    """None for a creation."""
    record: Record
    """The object after the write, or, of a removed one, as it was last."""
    removed: bool = False


class Notice(msgspec.Struct, frozen=True, eq=False):
    """A change as one watch sees it."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    data: bytes
    """The object as JSON."""
    version: int


def at_version(data: bytes, version: int) -> bytes:
    """The object as it was, under the version of the change that took it out of sight."""
    obj = decode(data)
    obj["metadata"]["resourceVersion"] = str(version)
    return encode(obj)


class History:
    """The last changes of a kind, oldest first: at most `limit`, and fewer where they are large."""

    def __init__(self, start: int, limit: int) -> None:
        self._changes: list[Change] = []
        self._versions: list[int] = []
        self._bytes = 0
        self._floor = start
        """Changes up to this version are no longer (or never were) here."""
        self._limit = limit
        self._waiting: set[asyncio.Event] = set()

    @property
    def floor(self) -> int:
        """The oldest version from which a watch can still begin."""
        return self._floor

    @property
    def watchers(self) -> int:
        return len(self._waiting)

    def add(self, change: Change, *, objects: int) -> None:
        """After it there are so many `objects` of the kind."""
        self._changes.append(change)
        self._versions.append(change.record.version)
        self._bytes += _weight(change)
        if len(self._changes) > self._limit + BLOCK:
            self.compact(self._versions[-self._limit - 1])
        elif self._bytes > MOST_BYTES and len(self._changes) >= max(LEAST_KEPT, objects) + BLOCK:
            self.compact(self._versions[BLOCK - 1])
        self.wake()

    def compact(self, version: int) -> None:
        """Forget the changes up to `version`."""
        gone = bisect_right(self._versions, version)
        self._bytes -= sum(map(_weight, self._changes[:gone]))
        del self._changes[:gone], self._versions[:gone]
        self._floor = max(self._floor, version)

    def wake(self) -> None:
        """Let every watch look whether there is something for it."""
        for event in self._waiting:
            event.set()

    def join(self) -> asyncio.Event:
        """An event that is set at every change, until `leave`."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def leave(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)

    def after(self, version: int, limit: int = 500) -> list[Change]:
        """The next changes after `version`, at most `limit` of them. Raises `Expired` where some are forgotten."""
        if version < self._floor:
            raise Expired(
                f"too old resource version: {version} ({self._floor} is the oldest that is known): list again"
            )
        first = bisect_right(self._versions, version)
        return self._changes[first : first + limit]


def _weight(change: Change) -> int:
    return len(change.record.data) + RECORD_BYTES


def seen_by(change: Change, selection: Selection) -> Notice | None:
    """What a watch of this selection sees of a change: an object that comes into it is ADDED to the watch, one that
    leaves it is DELETED from it.
    """
    record = change.record
    before = change.old is not None and selection.matches(change.old)
    if not change.removed and selection.matches(record):
        return Notice("MODIFIED" if before else "ADDED", record.data, record.version)
    if before and change.old is not None:
        data = record.data if change.removed else at_version(change.old.data, record.version)
        return Notice("DELETED", data, record.version)
    return None
