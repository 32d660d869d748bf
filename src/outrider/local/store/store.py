"""The objects of the local world, as an API server keeps them: one order of versions, and a history to watch.

Everything here is synchronous and runs in one event loop: a write is checked, made and told to the watches in one go.
With a file, `durable` waits until what was written will survive the end of the process.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from outrider.api.meta import format_time
from outrider.kube.api import Kind, Object, Unavailable
from outrider.kube.clock import Clock
from outrider.kube.resources import ALL
from outrider.local.store import errors
from outrider.local.store.custom import custom_rules
from outrider.local.store.history import Change, History
from outrider.local.store.persistence import Database, Row, StoreError, damaged
from outrider.local.store.records import Record, decode, make_record
from outrider.local.store.rules import Rules, built_in_rules
from outrider.local.store.selectors import Selection

SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
"""What an API server creates by itself."""
CHANGES_KEPT = 1024
"""How far back a watch can begin, in changes of one kind; not so far where these are large (see `History`)."""
BOOKMARK_SECONDS = 60.0
"""How often a watch is told how far it is: about once a minute, as API servers do."""
VERSIONS_SKIPPED = 10_000
"""Versions left unused at a restart. Whoever saw a version that was given out but not yet on disk when the process was
killed must never find that number on another object; group commits are far smaller than this."""
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that no words come out (k8s.io/apimachinery util/rand)."""


class Table:
    """The objects of one kind."""

    def __init__(self, kind: Kind[Any], rules: Rules, history: History) -> None:
        self.kind = kind
        self.rules = rules
        self.history = history
        self._rows: dict[str, dict[str, Record]] = {}

    def get(self, namespace: str, name: str) -> Record | None:
        return self._rows.get(namespace, {}).get(name)

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def all(self, namespace: str = "") -> Iterator[Record]:
        """Every object, or those of one namespace; in the order of their names."""
        for place in [namespace] if namespace else sorted(self._rows):
            rows = self._rows.get(place, {})
            yield from (rows[name] for name in sorted(rows))

    def put(self, record: Record) -> None:
        self._rows.setdefault(record.namespace, {})[record.name] = record

    def remove(self, record: Record) -> None:
        rows = self._rows[record.namespace]
        del rows[record.name]
        if not rows:
            del self._rows[record.namespace]


class Store:
    """Objects of the given kinds. `StoreApi` is how to talk to it.

    Args:
        clock: tells the time of creation and deletion, and when bookmarks are due.
        path: a file in which the objects last; None keeps them in memory alone.
        kinds: what is served.
        rng: source of uids and generated names; hand in a seeded one to have the same ones again.
        changes_kept: how many changes of a kind a watch can go back.
        bookmark_seconds: seconds between bookmarks.

    Raises:
        StoreError: the file cannot be read, or is not of this format.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        path: Path | None = None,
        kinds: Sequence[Kind[Any]] = ALL,
        rng: random.Random | None = None,
        changes_kept: int = CHANGES_KEPT,
        bookmark_seconds: float = BOOKMARK_SECONDS,
    ) -> None:
        self.clock = clock
        self.bookmark_seconds = bookmark_seconds
        self.closed = False
        self.events_made = 0
        """How many Events were created by this process."""
        self._rng = rng or random.SystemRandom()
        self._database = Database(path) if path is not None else None
        rows, self._version = self._database.load() if self._database is not None else ((), 0)
        if self._version:
            self._version += VERSIONS_SKIPPED
        self._tables = {
            (kind.group, kind.plural): Table(
                kind, custom_rules(kind) or built_in_rules(kind), History(self._version, changes_kept)
            )
            for kind in kinds
        }
        try:
            self._restore(rows)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error
        self._make_namespaces()

    @classmethod
    @asynccontextmanager
    async def opened(cls, clock: Clock, **options: Any) -> AsyncIterator["Store"]:
        """A store that is closed at the end of the block, with everything on disk."""
        # Reading a large file takes a while, in which the event loop has other things to do.
        store = await asyncio.to_thread(cls, clock, **options) if options.get("path") else cls(clock, **options)
        try:
            yield store
        finally:
            await store.close()

    @property
    def version(self) -> int:
        """The version of the last write."""
        return self._version

    @property
    def kinds(self) -> tuple[Kind[Any], ...]:
        return tuple(table.kind for table in self._tables.values())

    @property
    def missing(self) -> str:
        """What the file is known to have lost of what was written to it, as a sentence; empty if nothing is."""
        return self._database.missing if self._database is not None else ""

    def table(self, kind: Kind[Any]) -> Table:
        """Raises `NotFound` for a kind that is not served."""
        table = self._tables.get((kind.group, kind.plural))
        if table is None or table.kind.version != kind.version:
            raise errors.unknown_kind(kind)
        return table

    def get(self, kind: Kind[Any], name: str, namespace: str = "") -> Record:
        """Raises `NotFound`."""
        record = self.table(kind).get(namespace if kind.namespaced else "", name)
        if record is None:
            raise errors.not_found(kind, name)
        return record

    def list(self, kind: Kind[Any], selection: Selection) -> list[Record]:
        return [record for record in self.table(kind).all(selection.namespace) if selection.matches(record)]

    def now(self) -> str:
        return format_time(self.clock.now())

    def new_uid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def new_suffix(self) -> str:
        """Five random characters, as `generateName` adds them."""
        return "".join(self._rng.choice(_SUFFIX_ALPHABET) for _ in range(5))

    # Writing: for the modules beside this one, which decide what is written

    def commit(self, table: Table, old: Record | None, obj: Object, *, remove: bool = False) -> Record:
        """Make `obj` the object, or its last state if it is removed; give it the next version and tell the watches."""
        self.check_writable()
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        record = make_record(table.kind, obj)
        if remove:
            table.remove(record)
        else:
            table.put(record)
        if self._database is not None:
            row = Row(
                table.kind.group, table.kind.plural, record.namespace, record.name, None if remove else record.data
            )
            self._database.write(row, self._version)
        table.history.add(Change(old, record, removed=remove), objects=len(table))
        return record

    def check_writable(self) -> None:
        """Raises `Unavailable` when nothing can be written: the store is closed, or its disk has failed."""
        if self.closed:
            raise Unavailable("the local world is shutting down")
        if self._database is not None and self._database.failure:
            raise Unavailable(self._database.failure)

    async def durable(self) -> None:
        """Wait until all that was written so far survives the end of this process.

        Raises `Unavailable` when it does not: the disk is full or broken. Then nothing more can be written.
        """
        if self._database is not None:
            await self._database.flushed()

    async def close(self) -> None:
        """End all watches, refuse further writes, and put everything on disk. May be called twice."""
        self.closed = True
        for table in self._tables.values():
            table.history.wake()
        if self._database is not None:
            await self._database.close()

    def _unreadable(self, error: Exception) -> StoreError:
        """What a file is that SQLite could read and we cannot; the file is let go of."""
        if self._database is None:
            raise ValueError("only a store with a file restores anything") from error
        self._database.stop()
        return damaged(self._database.path, error)

    def _restore(self, rows: Sequence[Row]) -> None:
        for row in rows:
            table = self._tables.get((row.group, row.plural))
            # A kind that an older or newer version served stays in the file, untouched and unserved.
            if table is not None and row.data is not None:
                table.put(make_record(table.kind, decode(row.data), row.data))

    def _make_namespaces(self) -> None:
        table = self._tables.get(("", "namespaces"))
        if table is None:
            return
        for name in SYSTEM_NAMESPACES:
            if table.get("", name) is None:
                obj: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                table.rules.prepare(obj)
                table.rules.default(obj)
                obj["metadata"] |= {"uid": self.new_uid(), "creationTimestamp": self.now()}
                self.commit(table, None, obj)
