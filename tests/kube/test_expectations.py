"""No double creation on a stale cache, and no waiting for ever for what will not be seen."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from virtual_kube import LoopClock, MemoryApi, run_virtually, running, until

from outrider.kube.api import Forbidden, Unavailable
from outrider.kube.expectations import TIME_TO_LIVE, Expectations
from outrider.kube.informer import Informer
from outrider.kube.objects import POD, Pod

BODY = {"metadata": {"name": "a", "namespace": "ns"}}


class Scene:
    def __init__(self) -> None:
        self.api = MemoryApi()
        self.clock = LoopClock()
        self.pods: Informer[Pod] = Informer(self.api, POD, self.clock)
        self.expectations = Expectations(self.clock, self.pods)

    def satisfied(self) -> bool:
        return self.expectations.satisfied("ns/owner")

    async def create(self) -> None:
        with self.expectations.creating("ns/owner", POD, "ns/a"):
            await self.api.create(POD, BODY)

    async def delete(self, uid: str) -> None:
        with self.expectations.deleting("ns/owner", POD, "ns/a", uid):
            await self.api.delete(POD, "a", "ns")

    async def hide(self) -> None:
        """From now on the cache sees nothing."""
        await until(lambda: self.api.open_watches == 1)
        self.api.silent = True

    async def relist(self) -> None:
        self.api.version += 1  # something happened elsewhere
        self.api.compact()
        await self.api.break_watches(Unavailable("gone"))
        lists = self.pods.lists_started
        self.api.silent = False
        await until(lambda: self.pods.lists_started > lists and self.api.open_watches == 1)


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def play_it() -> None:
        scene = Scene()
        async with running(scene.pods.run()):
            await scene.pods.synced.wait()
            await story(scene)

    run_virtually(play_it)


def test_a_creation_is_expected_until_the_cache_shows_it() -> None:
    async def story(scene: Scene) -> None:
        await scene.hide()
        await scene.create()
        assert not scene.satisfied()
        assert scene.expectations.satisfied("ns/somebody-else")
        assert 290 < scene.expectations.remaining("ns/owner") <= TIME_TO_LIVE
        scene.api.silent = False
        scene.api.bookmark(POD)
        await until(scene.satisfied, deadline=1)
        assert scene.expectations.remaining("ns/owner") == 0

    play(story)


def test_an_event_that_comes_before_the_answer_counts() -> None:
    async def story(scene: Scene) -> None:
        with scene.expectations.creating("ns/owner", POD, "ns/a"):
            await scene.api.create(POD, BODY)
            await until(lambda: scene.pods.get("ns/a") is not None)
            scene.api.remove(POD, "a")
            await until(lambda: scene.pods.get("ns/a") is None)
        assert scene.satisfied()

    play(story)


def test_a_deletion_is_expected_until_the_object_is_gone() -> None:
    async def story(scene: Scene) -> None:
        uid = scene.api.put(POD, "a")["metadata"]["uid"]
        await until(lambda: scene.pods.get("ns/a") is not None)
        await scene.hide()
        await scene.delete(uid)
        assert not scene.satisfied()
        scene.api.silent = False
        scene.api.bookmark(POD)
        await until(scene.satisfied, deadline=1)

    play(story)


def test_a_terminating_object_counts_as_deleted_and_so_does_one_that_was_replaced() -> None:
    async def story(scene: Scene) -> None:
        uid = scene.api.put(POD, "a")["metadata"]["uid"]
        await until(lambda: scene.pods.get("ns/a") is not None)
        with scene.expectations.deleting("ns/owner", POD, "ns/a", uid):
            scene.api.put(POD, "a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
        assert not scene.satisfied()
        await until(scene.satisfied, deadline=1)
        with scene.expectations.deleting("ns/owner", POD, "ns/a", "another uid"):
            pass
        assert scene.satisfied()

    play(story)


def test_a_write_that_the_server_refused_is_not_expected() -> None:
    async def story(scene: Scene) -> None:
        scene.api.write_failures = [Forbidden("no")]
        with pytest.raises(Forbidden):
            await scene.create()
        assert scene.satisfied()

    play(story)


def test_a_write_with_an_unknown_outcome_stays_expected_until_its_time_is_over() -> None:
    async def story(scene: Scene) -> None:
        scene.api.write_failures = [Unavailable("connection lost")]
        with pytest.raises(Unavailable):
            await scene.create()
        assert not scene.satisfied()
        await asyncio.sleep(TIME_TO_LIVE - 1)
        assert not scene.satisfied()
        await asyncio.sleep(2)
        assert scene.satisfied()

    play(story)


def test_a_list_asked_for_after_the_write_ends_the_expectation() -> None:
    async def story(scene: Scene) -> None:
        await scene.hide()
        await scene.create()
        scene.api.remove(POD, "a")  # created and gone again while nobody looked
        assert not scene.satisfied()
        await scene.relist()
        assert scene.satisfied()

    play(story)


def test_a_list_asked_for_before_the_write_ended_does_not() -> None:
    async def story(scene: Scene) -> None:
        await scene.hide()
        with scene.expectations.creating("ns/owner", POD, "ns/a"):
            await scene.relist()  # without the object: the write is still on its way
            scene.api.silent = True
            await scene.api.create(POD, BODY)
        assert not scene.satisfied()
        scene.api.silent = False
        scene.api.bookmark(POD)
        await until(scene.satisfied, deadline=1)

    play(story)


def test_forgetting_the_owner_forgets_its_writes() -> None:
    async def story(scene: Scene) -> None:
        await scene.hide()
        await scene.create()
        scene.expectations.forget("ns/owner")
        assert scene.satisfied()

    play(story)


@pytest.mark.parametrize("careful", [True, False])
def test_a_counting_controller_on_a_stale_cache(careful: bool) -> None:
    """Three pods are wanted and the cache lags by a second: with expectations three are made, without more."""

    async def story(scene: Scene) -> None:
        await scene.hide()
        for turn in range(40):
            if len(scene.pods.list()) < 3 and (scene.satisfied() or not careful):
                name = f"pod-{turn}"
                with scene.expectations.creating("ns/owner", POD, f"ns/{name}"):
                    await scene.api.create(POD, {"metadata": {"name": name, "namespace": "ns"}})
            scene.api.silent = turn % 10 != 9  # the cache catches up once a second
            scene.api.bookmark(POD)
            await asyncio.sleep(0.1)
        assert (len(scene.pods.list()) == 3) is careful

    play(story)
