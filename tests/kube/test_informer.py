"""The live copy stays true whatever the server and the network do."""

import asyncio
import random
from typing import Any

import pytest
from virtual_kube import LoopClock, MemoryApi, run_virtually, running, until

from outrider.api.meta import ObjectMeta
from outrider.kube.api import Forbidden, NotFound, TooManyRequests, Unavailable
from outrider.kube.informer import Informer
from outrider.kube.objects import CONFIG_MAP, POD, SERVICE, Pod


def pod_informer(api: MemoryApi, **options: Any) -> Informer[Pod]:
    return Informer(api, POD, LoopClock(), rng=random.Random(1), **options)


class Diary:
    """What a handler was told: `+name`, `~name`, `-name`."""

    def __init__(self, informer: Informer[Any]) -> None:
        self.lines: list[str] = []
        self._informer = informer
        informer.subscribe(self.note)

    def note(self, event_type: str, old: Any, new: Any) -> None:
        assert (old is None) == (event_type == "ADDED")
        assert (new is None) == (event_type == "DELETED")
        sign = {"ADDED": "+", "MODIFIED": "~", "DELETED": "-"}[event_type]
        self.lines.append(sign + (new or old).metadata.name)


def names(informer: Informer[Any]) -> set[str]:
    return {obj.metadata.name for obj in informer.list()}


def test_lists_then_follows_changes() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(POD, "a")
        informer = pod_informer(api)
        diary = Diary(informer)
        async with running(informer.run()):
            await informer.synced.wait()
            api.put(POD, "b")
            api.put(POD, "a", status={"phase": "Running"})
            api.remove(POD, "b")
            await until(lambda: len(diary.lines) == 4)
            assert diary.lines == ["+a", "+b", "~a", "-b"]
            pod = informer.get("ns/a")
            assert pod is not None
            assert pod.status.phase == "Running"
            assert informer.get("ns/b") is None
            assert api.lists == 1

    run_virtually(story)


def test_a_late_subscriber_is_told_what_is_known_as_a_list() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(POD, "a")
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            told: list[tuple[str, bool]] = []
            informer.subscribe(lambda event_type, _old, _new: told.append((event_type, informer.relisting)))
            assert told == [("ADDED", True)]
            api.put(POD, "b")
            await until(lambda: len(told) == 2)
            assert told[1] == ("ADDED", False)

    run_virtually(story)


def test_after_410_deletions_that_nobody_saw_are_reported() -> None:
    async def story() -> None:
        api = MemoryApi()
        for name in "abc":
            api.put(POD, name)
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            diary = Diary(informer)
            diary.lines.clear()
            api.silent = True
            api.remove(POD, "b")
            api.put(POD, "c", status={"phase": "Running"})
            api.put(POD, "d")
            api.compact()
            await api.break_watches(Unavailable("gone"))
            api.silent = False
            await until(lambda: api.lists == 2 and informer.get("ns/d") is not None)
            assert diary.lines == ["-b", "~c", "+d"]
            assert names(informer) == {"a", "c", "d"}
            assert informer.last_error == ""

    run_virtually(story)


def test_an_object_deleted_and_created_anew_while_nobody_looked_is_two_objects() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(POD, "a")
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            diary = Diary(informer)
            api.silent = True
            api.remove(POD, "a")
            new = api.put(POD, "a")
            api.compact()
            await api.break_watches(Unavailable("gone"))
            api.silent = False
            await until(lambda: api.lists == 2 and len(diary.lines) == 3)
            assert diary.lines == ["+a", "-a", "+a"]
            pod = informer.get("ns/a")
            assert pod is not None
            assert pod.metadata.uid == new["metadata"]["uid"]

    run_virtually(story)


def test_a_broken_watch_resumes_without_listing_again() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            api.silent = True
            api.put(POD, "a")
            await api.break_watches(Unavailable("reset by peer"))
            api.silent = False
            await until(lambda: names(informer) == {"a"})
            assert (api.lists, api.watches) == (1, 2)

    run_virtually(story)


def test_a_silent_watch_is_replaced_after_70_seconds_and_age_shows_it() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        assert informer.age() is None
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            api.silent = True
            api.put(POD, "a")
            await asyncio.sleep(69)
            assert api.watches == 1
            age = informer.age()
            assert age is not None
            assert 68 < age < 70
            api.silent = False
            await until(lambda: names(informer) == {"a"}, deadline=3)
            assert (api.lists, api.watches, api.open_watches) == (1, 2, 1)

    run_virtually(story)


def test_bookmarks_keep_a_quiet_watch_alive_and_move_the_point_of_return() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            for number in range(5):
                await asyncio.sleep(60)
                api.put(CONFIG_MAP, f"other-{number}")
                api.bookmark(POD)
            await asyncio.sleep(1)
            assert api.watches == 1
            api.compact()  # nothing after the bookmark is lost by this
            await api.break_watches(Unavailable("reset by peer"))
            await until(lambda: api.open_watches == 1)
            assert api.lists == 1

    run_virtually(story)


ERRORS: dict[str, tuple[Exception, float, float]] = {
    "a server that is down: none of 20 attempts waits more than ten seconds": (Unavailable("refused"), 80, 200),
    "a server that throttles": (TooManyRequests("slow down", retry_after=20), 400, 1200),
    "missing permission: 20 attempts are spread over minutes, none waits more than one": (
        Forbidden("pods is forbidden"), 200, 1200,
    ),
    "a defect in the client": (ZeroDivisionError("oops"), 200, 1200),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_no_error_ends_it_and_the_reason_is_visible(name: str) -> None:
    error, least, most = ERRORS[name]

    async def story() -> None:
        api = MemoryApi()
        api.put(POD, "a")
        api.failures = [error] * 20
        informer = pod_informer(api)
        async with running(informer.run()):
            await asyncio.sleep(5)
            assert str(error) in informer.last_error
            assert not informer.synced.is_set()
            await informer.synced.wait()
            assert names(informer) == {"a"}
            assert informer.last_error == ""
            assert least < asyncio.get_running_loop().time() < most

    run_virtually(story)


def test_a_server_that_always_says_410_is_not_hammered() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        api._compacted = 10_000
        async with running(informer.run()):
            await asyncio.sleep(60)
            assert api.lists < 15

    run_virtually(story)


def test_after_an_outage_a_version_that_expired_meanwhile_is_listed_at_once() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(POD, "a")
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            api.failures = [Unavailable("refused")]
            api.put(POD, "b")
            api.compact()
            api.silent = True
            await api.break_watches(Unavailable("reset by peer"))
            api.silent = False
            await until(lambda: not api.failures)
            back = asyncio.get_running_loop().time()
            await until(lambda: names(informer) == {"a", "b"})
            assert asyncio.get_running_loop().time() - back < 4, "one pause after the last refusal, and none after 410"

    run_virtually(story)


def test_a_watch_that_ends_at_once_again_and_again_is_not_hammered() -> None:
    async def story() -> None:
        class Short(MemoryApi):
            async def watch(self, *_args: Any, **_options: Any) -> Any:
                self.watches += 1
                return
                yield

        api = Short()
        informer = pod_informer(api)
        async with running(informer.run()):
            await asyncio.sleep(60)
            assert api.watches < 15

    run_virtually(story)


def test_events_that_a_resumed_stream_repeats_change_nothing() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        diary = Diary(informer)
        async with running(informer.run()):
            await informer.synced.wait()
            first = api.put(POD, "a", status={"phase": "Pending"})
            api.put(POD, "a", status={"phase": "Running"})
            api.remove(POD, "a")
            api.repeat(POD, "MODIFIED", first)
            api.put(POD, "b")
            await until(lambda: names(informer) == {"b"})
            assert diary.lines == ["+a", "~a", "-a", "+b"]

    run_virtually(story)


def test_a_list_older_than_what_was_seen_is_not_believed() -> None:
    async def story() -> None:
        api = MemoryApi()
        old = [api.put(POD, "a")]
        api.put(POD, "b")
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            diary = Diary(informer)
            diary.lines.clear()
            api.stale_list = (old, api.version - 1)
            api.put(POD, "c")
            await until(lambda: names(informer) == {"a", "b", "c"})
            api.version += 1
            api.compact()
            await api.break_watches(Unavailable("gone"))
            await until(lambda: api.lists >= 3)
            assert names(informer) == {"a", "b", "c"}
            api.stale_list = None
            await until(lambda: api.open_watches == 1)
            assert diary.lines == ["+c"]

    run_virtually(story)


def test_a_server_whose_history_was_reset_is_believed_in_the_end() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(POD, "a")
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            api.reset_history()
            api.put(POD, "b")
            await api.break_watches(Unavailable("restarted"))
            await until(lambda: names(informer) == {"b"}, deadline=120)

    run_virtually(story)


def test_an_optional_kind_that_is_missing_is_empty_and_found_when_it_comes() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.failures = [NotFound("the server could not find the requested resource")] * 2
        informer = pod_informer(api, optional=True)
        async with running(informer.run()):
            await asyncio.wait_for(informer.synced.wait(), 1)
            assert informer.list() == ()
            api.put(POD, "a")
            await until(lambda: names(informer) == {"a"}, deadline=130)

    run_virtually(story)


def test_a_poisoned_object_in_the_list_harms_no_other() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(SERVICE, "good", spec={"ports": [{"port": 80}]})
        api.put(SERVICE, "bad", spec={"ports": [{"port": "eighty"}]})
        informer = Informer(api, SERVICE, LoopClock())
        async with running(informer.run()):
            await informer.synced.wait()
            assert names(informer) == {"good"}
            assert "port" in informer.undecodable["ns/bad"]
            api.put(SERVICE, "later", spec={"ports": [{"port": 81}]})
            await until(lambda: names(informer) == {"good", "later"})
            api.put(SERVICE, "bad", spec={"ports": [{"port": 82}]})
            await until(lambda: names(informer) == {"good", "later", "bad"})
            assert informer.undecodable == {}

    run_virtually(story)


def test_an_object_that_is_poisoned_later_keeps_its_last_good_version_until_it_is_deleted() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(SERVICE, "a", spec={"ports": [{"port": 80}]})
        informer = Informer(api, SERVICE, LoopClock())
        diary = Diary(informer)
        async with running(informer.run()):
            await informer.synced.wait()
            api.put(SERVICE, "a", spec={"ports": "none"})
            await until(lambda: "ns/a" in informer.undecodable)
            service = informer.get("ns/a")
            assert service is not None
            assert service.spec.ports[0].port == 80
            api.compact()
            await api.break_watches(Unavailable("gone"))
            await until(lambda: api.open_watches == 1)
            assert diary.lines == ["+a"], "a list that holds it does not mean that it is gone"
            api.remove(SERVICE, "a")
            await until(lambda: diary.lines == ["+a", "-a"])
            assert informer.undecodable == {}
            assert api.lists <= 3

    run_virtually(story)


def test_indexes_follow_changes() -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(POD, "a", spec={"nodeName": "n1"})
        api.put(POD, "b", spec={"nodeName": "n1"})
        informer = pod_informer(api, indexes={"node": lambda pod: [pod.spec.node_name], "broken": lambda pod: 1 / 0})
        async with running(informer.run()):
            await informer.synced.wait()
            assert [pod.metadata.name for pod in informer.by_index("node", "n1")] == ["a", "b"]
            api.put(POD, "a", spec={"nodeName": "n2"})
            api.remove(POD, "b")
            await until(lambda: informer.get("ns/b") is None)
            assert informer.by_index("node", "n1") == ()
            assert [pod.metadata.name for pod in informer.by_index("node", "n2")] == ["a"]
            assert informer.index_values("node") == ("n2",)
            assert informer.by_index("broken", "x") == ()
            with pytest.raises(KeyError):
                informer.by_index("color", "red")

    run_virtually(story)


def test_a_failing_handler_harms_neither_the_others_nor_the_informer() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)

        def fail(*_args: Any) -> None:
            raise ValueError("handler")

        informer.subscribe(fail)
        diary = Diary(informer)
        async with running(informer.run()):
            await informer.synced.wait()
            api.put(POD, "a")
            api.put(POD, "b")
            await until(lambda: diary.lines == ["+a", "+b"])

    run_virtually(story)


def test_own_writes_are_visible_at_once_and_their_event_is_not_told_twice() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        diary = Diary(informer)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            api.silent = True
            created = await api.create(POD, {"metadata": {"name": "a", "namespace": "ns"}})
            informer.written(created)
            assert names(informer) == {"a"}
            api.silent = False
            api.put(POD, "b")
            await until(lambda: names(informer) == {"a", "b"})
            assert diary.lines == ["+a", "+b"]

    run_virtually(story)


def test_an_own_write_that_the_watch_never_shows_goes_again() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api, namespace="ns")
        diary = Diary(informer)
        async with running(informer.run()):
            await informer.synced.wait()
            api.version += 1
            ghost = Pod(ObjectMeta(name="g", namespace="ns", uid="u", resource_version=str(api.version)))
            informer.written(ghost)
            elsewhere = Pod(ObjectMeta(name="e", namespace="x", uid="v", resource_version="999"))
            informer.written(elsewhere)
            assert names(informer) == {"g"}
            api.put(POD, "a")
            await until(lambda: "+a" in diary.lines)
            assert diary.lines == ["+g", "+a", "-g"]

    run_virtually(story)


def test_an_own_write_answered_after_the_watch_has_passed_it_is_ignored() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        async with running(informer.run()):
            await informer.synced.wait()
            created = await api.create(POD, {"metadata": {"name": "a", "namespace": "ns"}})
            api.remove(POD, "a")
            api.put(POD, "b")
            await until(lambda: names(informer) == {"b"})
            informer.written(created)
            assert names(informer) == {"b"}, "the object is known to be gone"

    run_virtually(story)


def test_an_own_write_survives_a_list_that_was_taken_before_it() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        diary = Diary(informer)
        async with running(informer.run()):
            await informer.synced.wait()
            await until(lambda: api.open_watches == 1)
            before = api.version
            api.silent = True
            informer.written(await api.create(POD, {"metadata": {"name": "a", "namespace": "ns"}}))
            api.stale_list = ([], before)
            api.failures = [Unavailable("down")] * 3  # then it lists again
            await api.break_watches(Unavailable("down"))
            await until(lambda: api.lists == 3 and api.open_watches == 1)
            assert names(informer) == {"a"}
            api.silent = False
            api.put(POD, "b")
            await until(lambda: "+b" in diary.lines)
            assert diary.lines == ["+a", "+b"]

    run_virtually(story)


def test_stop_ends_run_and_closes_the_watch() -> None:
    async def story() -> None:
        api = MemoryApi()
        informer = pod_informer(api)
        task = asyncio.ensure_future(informer.run())
        await until(lambda: api.open_watches == 1)
        informer.stop()
        await task
        assert api.open_watches == 0

    run_virtually(story)
