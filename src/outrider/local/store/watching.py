"""One watch: the changes of a kind after a version, as far as a selection sees them, with bookmarks."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from outrider.kube.api import BadRequest, Expired, Kind
from outrider.local.store.history import Notice, seen_by
from outrider.local.store.records import encode
from outrider.local.store.selectors import Selection
from outrider.local.store.store import Store


def watch(
    store: Store, kind: Kind[Any], selection: Selection, *, resource_version: str = "", timeout: float | None = None
) -> AsyncGenerator[Notice, None]:
    """Changes after `resource_version`; with none, or "0", first of all every object there is as ADDED.

    Ends after `timeout` seconds, with a last bookmark, and when the store is closed. Raises `Expired` when the version
    is no longer known, be it at once or later, because the reader fell too far behind.
    """
    at = _starting_version(store, resource_version)
    if at is not None:
        store.table(kind).history.after(at, 0)
        return _follow(store, kind, selection, (), at, timeout)
    current = [Notice("ADDED", record.data, record.version) for record in store.list(kind, selection)]
    return _follow(store, kind, selection, current, store.version, timeout)


async def _follow(
    store: Store, kind: Kind[Any], selection: Selection, current: Sequence[Notice], at: int, timeout: float | None
) -> AsyncGenerator[Notice, None]:
    history = store.table(kind).history
    changed = history.join()
    alarm = _Alarm(store, changed, timeout)
    try:
        for notice in current:
            yield notice
        while not store.closed:
            changed.clear()
            changes = history.after(at)
            for change in changes:
                seen = seen_by(change, selection)
                at = change.record.version
                if seen is not None:
                    yield seen
            if changes and not alarm.ended:
                continue
            if alarm.bookmark_due or alarm.ended:
                # Where nothing of this kind is newer, the watch has seen the world up to its present version.
                at = at if changes else store.version
                alarm.bookmark_due = False
                yield _bookmark(kind, at)
            if alarm.ended:
                return
            await changed.wait()
    finally:
        history.leave(changed)
        await alarm.stop()


def _starting_version(store: Store, text: str) -> int | None:
    if text in ("", "0"):
        return None
    if not (text.isascii() and text.isdecimal()):
        raise BadRequest(f"invalid resource version {text!r}: it must be one that a list or an object gave")
    version = int(text)
    if version > store.version:
        # A version of another world, or of this one before it was started anew.
        raise Expired(f"too large resource version: {version} (the newest is {store.version}): list again")
    return version


def _bookmark(kind: Kind[Any], version: int) -> Notice:
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"resourceVersion": str(version)}}
    return Notice("BOOKMARK", encode(body), version)


class _Alarm:
    """Wakes a watch when a bookmark is due, and when its time is over."""

    def __init__(self, store: Store, wake: asyncio.Event, timeout: float | None) -> None:
        self.bookmark_due = False
        self.ended = False
        self._store = store
        self._wake = wake
        self._task = asyncio.create_task(self._run(timeout), name="watch alarm")

    async def _run(self, timeout: float | None) -> None:
        clock = self._store.clock
        end = None if timeout is None else clock.monotonic() + timeout
        while True:
            left = (
                self._store.bookmark_seconds
                if end is None
                else min(self._store.bookmark_seconds, end - clock.monotonic())
            )
            await clock.sleep(max(left, 0.0))
            self.ended = end is not None and clock.monotonic() >= end
            self.bookmark_due = True
            self._wake.set()
            if self.ended:
                return

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
