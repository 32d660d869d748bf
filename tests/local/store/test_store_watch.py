"""Watches: complete, selective, resumable, bounded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest

from outrider.kube.api import BadRequest, Expired, Object, Unavailable, WatchEvent
from outrider.kube.objects import CONFIG_MAP, NODE, POD
from outrider.local.store import Store, StoreApi
from outrider.local.store.history import BLOCK, LEAST_KEPT

Make = Callable[..., Object]


async def take(stream: AsyncIterator[WatchEvent[Any]], count: int) -> list[tuple[str, str]]:
    """The next events as (type, name); the test fails if they do not come."""
    async with asyncio.timeout(5):
        return [(event.type, event.object.metadata.name) async for event in _first(stream, count)]


async def _first(stream: AsyncIterator[WatchEvent[Any]], count: int) -> AsyncIterator[WatchEvent[Any]]:
    for _ in range(count):
        yield await anext(stream)


def opened(stream: AsyncIterator[WatchEvent[Any]]) -> Any:
    return aclosing(cast("Any", stream))


SELECTED: dict[str, tuple[list[Object], list[str]]] = {
    "an object that comes into the selection is added": (
        [{"metadata": {"labels": {"app": "x"}}}],
        ["ADDED"],
    ),
    "an object that leaves the selection is deleted": (
        [{"metadata": {"labels": {"app": "x"}}}, {"metadata": {"labels": {"app": "y"}}}],
        ["ADDED", "DELETED"],
    ),
    "an object that changes inside the selection is modified": (
        [{"metadata": {"labels": {"app": "x"}}}, {"metadata": {"labels": {"b": "c"}}}],
        ["ADDED", "MODIFIED"],
    ),
    "an object that changes outside the selection is not seen": (
        [{"metadata": {"labels": {"b": "c"}}}, {"metadata": {"labels": {"app": "x"}}}],
        ["ADDED"],
    ),
    "an object can come back": (
        [{"metadata": {"labels": {"app": app}}} for app in ("x", "y", "x")],
        ["ADDED", "DELETED", "ADDED"],
    ),
}


@pytest.mark.parametrize("sentence", SELECTED)
def test_selection(api: StoreApi, store: Store, config_map: Make, sentence: str) -> None:
    patches, expected = SELECTED[sentence]

    async def story() -> None:
        start = str(store.version)
        await api.create(CONFIG_MAP, config_map())
        for patch in patches:
            await api.patch(CONFIG_MAP, "c", patch, "default")
        await api.create(
            CONFIG_MAP,
            {**config_map("end"), "metadata": {"name": "end", "namespace": "default", "labels": {"app": "x"}}},
        )
        async with opened(api.watch(CONFIG_MAP, labels="app=x", resource_version=start)) as stream:
            events = await take(stream, len(expected) + 1)
        assert events == [*((kind, "c") for kind in expected), ("ADDED", "end")]

    asyncio.run(story())


def test_what_leaves_the_selection_is_shown_as_it_was_under_the_new_version(api: StoreApi, pod: Make) -> None:
    async def story() -> None:
        await api.create(POD, pod(nodeName="n1"))
        start = (await api.list(POD)).resource_version
        await api.patch_status(POD, "p", {"phase": "Running"}, "default")
        changed = await api.get(POD, "p", "default")
        async with opened(api.watch(POD, fields="status.phase=Pending", resource_version=start)) as stream:
            event = await anext(stream)
        assert event.type == "DELETED"
        assert event.object.status.phase == "Pending"
        assert event.resource_version == event.object.metadata.resource_version == changed.metadata.resource_version

    asyncio.run(story())


def test_a_watch_of_a_namespace_sees_no_other(api: StoreApi, store: Store, config_map: Make) -> None:
    async def story() -> None:
        start = str(store.version)
        other = config_map("other")
        other["metadata"]["namespace"] = "kube-system"
        await api.create(CONFIG_MAP, other)
        await api.create(CONFIG_MAP, config_map("mine"))
        async with opened(api.watch(CONFIG_MAP, "default", resource_version=start)) as stream:
            assert await take(stream, 1) == [("ADDED", "mine")]

    asyncio.run(story())


@pytest.mark.parametrize("version", ["", "0"])
def test_without_a_version_a_watch_begins_with_what_there_is(api: StoreApi, config_map: Make, version: str) -> None:
    async def story() -> None:
        await api.create(CONFIG_MAP, config_map("a"))
        await api.create(CONFIG_MAP, config_map("b"))
        async with opened(api.watch(CONFIG_MAP, resource_version=version)) as stream:
            assert await take(stream, 2) == [("ADDED", "a"), ("ADDED", "b")]
            await api.delete(CONFIG_MAP, "a", "default")
            assert await take(stream, 1) == [("DELETED", "a")]

    asyncio.run(story())


def test_a_watch_waits_for_what_comes(api: StoreApi, store: Store, config_map: Make) -> None:
    async def story() -> None:
        async with opened(api.watch(CONFIG_MAP, resource_version=str(store.version))) as stream:
            waiting = asyncio.create_task(take(stream, 1))
            await asyncio.sleep(0)
            await api.create(CONFIG_MAP, config_map())
            assert await waiting == [("ADDED", "c")]

    asyncio.run(story())


def test_a_deletion_shows_the_last_state_under_a_new_version(api: StoreApi, config_map: Make) -> None:
    async def story() -> None:
        made = await api.create(CONFIG_MAP, config_map(a="b"))
        await api.delete(CONFIG_MAP, "c", "default")
        async with opened(api.watch(CONFIG_MAP, resource_version=made.metadata.resource_version)) as stream:
            event = await anext(stream)
        assert (event.type, event.object.data) == ("DELETED", {"a": "b"})
        assert int(event.resource_version) > int(made.metadata.resource_version)

    asyncio.run(story())


def test_a_version_that_is_forgotten_is_gone(clock: Any, config_map: Make) -> None:
    async def story() -> None:
        store = Store(clock, changes_kept=10)
        api = StoreApi(store)
        start = str(store.version)
        await api.create(CONFIG_MAP, config_map())
        for number in range(30):
            await api.patch(CONFIG_MAP, "c", {"data": {"n": str(number)}}, "default")
        with pytest.raises(Expired, match="list again"):
            await anext(api.watch(CONFIG_MAP, resource_version=start))
        recent = str(store.version - 10)
        async with opened(api.watch(CONFIG_MAP, resource_version=recent)) as stream:
            assert len(await take(stream, 10)) == 10, "as many changes as were promised are kept"
        assert store.table(CONFIG_MAP).history.floor > int(start)

    asyncio.run(story())


def test_hardly_more_changes_are_kept_than_were_asked_for(clock: Any, config_map: Make) -> None:
    async def story() -> None:
        store = Store(clock, changes_kept=80)
        api, history = StoreApi(store), store.table(CONFIG_MAP).history
        await api.create(CONFIG_MAP, config_map())
        for number in range(400):
            await api.patch(CONFIG_MAP, "c", {"data": {"n": str(number)}}, "default")
            assert len(history.after(history.floor, limit=1000)) <= 90, "each weighs as much as its object"

    asyncio.run(story())


def test_fewer_changes_of_large_objects_are_kept_but_never_less_than_a_hundred(clock: Any, config_map: Make) -> None:
    async def story() -> None:
        store = Store(clock, changes_kept=1000)
        api, history = StoreApi(store), store.table(CONFIG_MAP).history

        async def kept(size: int, changes: int) -> int:
            for number in range(changes):
                data = {"n": str(number), "much": "x" * size}
                await api.apply(CONFIG_MAP, config_map(**data), owner="test")
            return len(history.after(history.floor, limit=5000))

        assert await kept(10, 300) == 300
        assert await kept(20_000, 400) < LEAST_KEPT + BLOCK
        assert await kept(20_000, 50) >= LEAST_KEPT
        assert await kept(10, 400) > 250, "none of the large ones is left"

    asyncio.run(story())


def test_as_many_changes_are_kept_as_there_are_objects(clock: Any, config_map: Make) -> None:
    """A list costs as much: whoever has to list again for every so many changes is hardly slower than who need not."""

    async def story() -> None:
        store = Store(clock, changes_kept=1000)
        api, history = StoreApi(store), store.table(CONFIG_MAP).history
        for number in range(500):
            body = config_map(much="x" * 20_000)
            body["metadata"]["name"] = f"c{number}"
            await api.create(CONFIG_MAP, body)
        assert len(history.after(history.floor, limit=5000)) >= 500

    asyncio.run(story())


def test_a_watch_that_falls_behind_is_ended_and_holds_up_nobody(clock: Any, config_map: Make) -> None:
    async def story() -> None:
        store = Store(clock, changes_kept=10)
        api = StoreApi(store)
        await api.create(CONFIG_MAP, config_map())
        async with opened(api.watch(CONFIG_MAP, resource_version=str(store.version))) as slow:
            await api.patch(CONFIG_MAP, "c", {"data": {"n": "first"}}, "default")
            assert await take(slow, 1) == [("MODIFIED", "c")]
            for number in range(1000):
                await api.patch(CONFIG_MAP, "c", {"data": {"n": str(number)}}, "default")
            with pytest.raises(Expired):
                await take(slow, 1001)

    asyncio.run(story())


def test_changes_of_other_kinds_do_not_age_a_watch(clock: Any, config_map: Make) -> None:
    async def story() -> None:
        store = Store(clock, changes_kept=10)
        api = StoreApi(store)
        start = str(store.version)
        await api.create(CONFIG_MAP, config_map())
        for number in range(100):
            await api.create(NODE, {"metadata": {"name": f"n{number}"}})
        async with opened(api.watch(CONFIG_MAP, resource_version=start)) as stream:
            assert await take(stream, 1) == [("ADDED", "c")]

    asyncio.run(story())


@pytest.mark.parametrize(("version", "error"), [("x", BadRequest), ("-1", BadRequest), ("999999", Expired)])
def test_versions_that_nobody_gave(api: StoreApi, version: str, error: type[Exception]) -> None:
    async def story() -> None:
        with pytest.raises(error):
            await anext(api.watch(CONFIG_MAP, resource_version=version))

    asyncio.run(story())


async def let_others_run() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_bookmarks_tell_how_far_a_watch_is(api: StoreApi, store: Store, clock: Any) -> None:
    async def story() -> None:
        async with opened(api.watch(CONFIG_MAP, resource_version=str(store.version))) as stream:
            waiting = asyncio.create_task(anext(stream))
            await let_others_run()
            await api.create(NODE, {"metadata": {"name": "n"}})
            clock.advance(59)
            await let_others_run()
            assert not waiting.done()
            clock.advance(1)
            event = await asyncio.wait_for(waiting, 5)
            assert (event.type, event.resource_version) == ("BOOKMARK", str(store.version))
            assert event.object.metadata.resource_version == str(store.version)

    asyncio.run(story())


def test_a_watch_ends_in_time_with_a_bookmark(api: StoreApi, store: Store, clock: Any) -> None:
    async def story() -> None:
        stream = api.watch(CONFIG_MAP, resource_version=str(store.version), timeout=10)
        events = asyncio.create_task(_all(stream))
        await let_others_run()
        clock.advance(10)
        assert [event.type for event in await asyncio.wait_for(events, 5)] == ["BOOKMARK"]
        assert store.table(CONFIG_MAP).history.watchers == 0

    asyncio.run(story())


async def _all(stream: AsyncIterator[WatchEvent[Any]]) -> list[WatchEvent[Any]]:
    return [event async for event in stream]


def test_closing_the_store_ends_its_watches_and_refuses_writes(api: StoreApi, store: Store, config_map: Make) -> None:
    async def story() -> None:
        events = asyncio.create_task(_all(api.watch(CONFIG_MAP, resource_version=str(store.version))))
        await let_others_run()
        await store.close()
        assert await asyncio.wait_for(events, 5) == []
        with pytest.raises(Unavailable, match="shutting down"):
            await api.create(CONFIG_MAP, config_map())
        await store.close()

    asyncio.run(story())


def test_a_thousand_watches_all_see_everything(api: StoreApi, store: Store, config_map: Make) -> None:
    async def story() -> None:
        start = str(store.version)
        watches = [asyncio.create_task(_names(api, start)) for _ in range(1000)]
        await let_others_run()
        for name in "abc":
            await api.create(CONFIG_MAP, config_map(name))
        assert await asyncio.gather(*watches) == [["a", "b", "c"]] * 1000
        assert store.table(CONFIG_MAP).history.watchers == 0

    async def _names(api: StoreApi, start: str) -> list[str]:
        async with opened(api.watch(CONFIG_MAP, resource_version=start)) as stream:
            return [name for _, name in await take(stream, 3)]

    asyncio.run(story())


def test_a_watch_ends_in_time_also_when_there_is_always_something_new(api: StoreApi, store: Store, clock: Any) -> None:
    async def story() -> None:
        stream = cast("Any", api.watch(NODE, resource_version=str(store.version), timeout=10))
        kinds = []
        for number in range(1000):
            await api.create(NODE, {"metadata": {"name": f"n{number}"}})
            event = await anext(stream, None)
            if event is None:
                break
            kinds.append(event.type)
            clock.advance(1)
            await let_others_run()
        assert kinds[-1] == "BOOKMARK"
        assert 9 <= len(kinds) <= 12

    asyncio.run(story())
