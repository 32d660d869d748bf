"""Controllers reconcile what changed, one key at a time, whatever a reconcile does."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from virtual_kube import LoopClock, MemoryApi, run_virtually, running, until

from outrider.api.meta import ObjectMeta
from outrider.kube.api import Conflict, Invalid, TooManyRequests, Unavailable, Undecodable
from outrider.kube.controller import Controller, Result
from outrider.kube.informer import Informer
from outrider.kube.manager import Manager
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.objects import DEPLOYMENT, NODE, POD, Node, NodeStatus
from outrider.kube.predicates import annotations_changed, any_of, content_changed, generation_changed, labels_changed
from outrider.kube.queue import URGENT_PRIORITY, Backoff
from outrider.kube.resources import LLM_DEPLOYMENT


def now() -> float:
    return asyncio.get_running_loop().time()


def owner(name: str, api_version: str = "inference.llm-d.io/v1alpha1", controller: bool = True) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": "LLMDeployment", "name": name, "uid": "u", "controller": controller}


class Shop:
    """A controller over deployments, their pods and all nodes, and what it was asked to do."""

    def __init__(self, reconcile: Callable[[str], Any] | None = None, **options: Any) -> None:
        self.api = MemoryApi()
        self.clock = LoopClock()
        self.calls: list[tuple[float, str]] = []
        self.deployments = Informer(self.api, DEPLOYMENT, self.clock)
        self.pods = Informer(self.api, POD, self.clock)
        self.nodes = Informer(self.api, NODE, self.clock)
        self.registry = CollectorRegistry()
        self.metrics = RuntimeMetrics(self.registry)
        self._reconcile = reconcile
        self.controller = Controller("shop", self.reconcile, clock=self.clock, metrics=self.metrics, **options)
        self.manager = Manager(self.clock, controllers=[self.controller], metrics=self.metrics)

    async def reconcile(self, key: str) -> Result | None:
        self.calls.append((round(now(), 2), key))
        if self._reconcile is None:
            return None
        result: Result | None = await self._reconcile(key)
        return result

    def called(self) -> list[str]:
        return [key for _, key in self.calls]

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"controller": "shop", **labels})


def test_objects_owners_and_mapped_keys_are_reconciled() -> None:
    async def story() -> None:
        shop = Shop()
        shop.controller.for_(shop.deployments, generation_changed)
        shop.controller.owns(shop.pods, LLM_DEPLOYMENT, content_changed)
        shop.controller.maps(shop.nodes, lambda node: [f"ns/on-{node.metadata.name}"], content_changed)
        shop.api.put(DEPLOYMENT, "d")
        async with running(shop.manager.run()):
            await until(lambda: shop.called() == ["ns/d"])
            shop.api.put(POD, "p1", metadata={"ownerReferences": [owner("llama")]})
            await until(lambda: shop.called()[1:] == ["ns/llama"])
            shop.api.put(POD, "p2", metadata={"ownerReferences": [owner("other", "inference.llm-d.io/v1beta1")]})
            await until(lambda: shop.called()[2:] == ["ns/other"])
            shop.api.put(POD, "p3", metadata={"ownerReferences": [owner("foreign", "example.com/v1")]})
            shop.api.put(POD, "p4", metadata={"ownerReferences": [owner("not-controller", controller=False)]})
            shop.api.put(POD, "p5")
            shop.api.put(NODE, "n1", "")
            await until(lambda: shop.called()[3:] == ["ns/on-n1"])

    run_virtually(story)


def test_a_pod_that_changes_hands_wakes_both_owners() -> None:
    async def story() -> None:
        shop = Shop()
        shop.controller.owns(shop.pods, LLM_DEPLOYMENT)
        shop.api.put(POD, "p", metadata={"ownerReferences": [owner("a")]})
        async with running(shop.manager.run()):
            await until(lambda: shop.called() == ["ns/a"])
            shop.api.put(POD, "p", metadata={"ownerReferences": [owner("b")]})
            await until(lambda: shop.called() == ["ns/a", "ns/a", "ns/b"])

    run_virtually(story)


def test_status_updates_and_heartbeats_do_not_wake_anybody() -> None:
    async def story() -> None:
        shop = Shop()
        shop.controller.for_(shop.deployments, any_of(generation_changed, annotations_changed))
        shop.controller.maps(shop.nodes, lambda node: [node.metadata.name], content_changed)
        shop.api.put(DEPLOYMENT, "d")
        condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        shop.api.put(NODE, "n", "", status={"conditions": [condition]})
        async with running(shop.manager.run()):
            await until(lambda: len(shop.calls) == 2)
            shop.api.put(DEPLOYMENT, "d", status={"readyReplicas": 1})
            heartbeat = {**condition, "lastHeartbeatTime": "2026-01-01T00:00:10Z"}
            shop.api.put(NODE, "n", "", status={"conditions": [heartbeat]})
            await asyncio.sleep(5)
            assert len(shop.calls) == 2
            shop.api.put(NODE, "n", "", status={"conditions": [{**condition, "status": "False"}]})
            await until(lambda: shop.called()[2:] == ["n"])
            shop.api.put(DEPLOYMENT, "d", metadata={"generation": 2})
            await until(lambda: shop.called()[3:] == ["ns/d"])
            shop.api.put(DEPLOYMENT, "d", metadata={"generation": 2, "annotations": {"retry": "1"}})
            await until(lambda: shop.called()[4:] == ["ns/d"])

    run_virtually(story)


def test_what_happens_now_comes_before_what_a_list_brought() -> None:
    async def story() -> None:
        async def slowly(_key: str) -> None:
            await asyncio.sleep(1)

        shop = Shop(slowly)
        shop.controller.for_(shop.deployments)
        shop.controller.maps(shop.nodes, lambda node: ["ns/fault"], priority=URGENT_PRIORITY)
        for number in range(4):
            shop.api.put(DEPLOYMENT, f"old-{number}")
        async with running(shop.manager.run()):
            await until(lambda: len(shop.calls) == 1)
            shop.api.put(DEPLOYMENT, "edited")
            shop.api.put(NODE, "n", "")
            await until(lambda: len(shop.calls) == 4)
            assert shop.called()[1:3] == ["ns/fault", "ns/edited"]

    run_virtually(story)


def test_requeue_after_calls_again_later() -> None:
    async def story() -> None:
        async def again(_key: str) -> Result:
            return Result(requeue_after=30)

        shop = Shop(again)
        shop.controller.enqueue("ns/a")
        async with running(shop.manager.run()):
            await until(lambda: len(shop.calls) == 3)
            assert [when for when, _ in shop.calls] == pytest.approx([0, 30, 60], abs=0.1)
        assert shop.value("controller_runtime_reconcile_total", result="requeue_after") == 3

    run_virtually(story)


def test_errors_back_off_per_key_and_success_forgets_them() -> None:
    async def story() -> None:
        failures = 4

        async def flaky(key: str) -> None:
            nonlocal failures
            if key == "ns/bad" and failures:
                failures -= 1
                raise Unavailable("down")

        shop = Shop(flaky, backoff=Backoff(first=1, limit=4))
        shop.controller.enqueue("ns/bad")
        async with running(shop.manager.run()):
            await until(lambda: failures == 0 and shop.controller.queue.failures("ns/bad") == 0)
            assert [when for when, _ in shop.calls] == pytest.approx([0, 1, 3, 7, 11], abs=0.1)
            shop.controller.enqueue("ns/good")
            await until(lambda: "ns/good" in shop.called())
        assert shop.value("controller_runtime_reconcile_total", result="error") == 4
        assert shop.value("controller_runtime_reconcile_total", result="success") == 2
        assert shop.value("controller_runtime_reconcile_errors_total") == 4
        assert shop.value("controller_runtime_reconcile_panics_total") == 0

    run_virtually(story)


def test_retry_after_of_the_server_is_honoured() -> None:
    async def story() -> None:
        async def throttled(_key: str) -> None:
            if now() < 20:
                raise TooManyRequests("slow down", retry_after=20)

        shop = Shop(throttled)
        shop.controller.enqueue("a")
        async with running(shop.manager.run()):
            await until(lambda: len(shop.calls) == 2)
            assert shop.calls[1][0] == pytest.approx(20, abs=0.1)

    run_virtually(story)


SERVER = {
    "a server that is down": (Unavailable("down"), 30),
    "one that throttles": (TooManyRequests("slow down", retry_after=1), 30),
    "one that throttles for longer than that": (TooManyRequests("slow down", retry_after=45), 45),
    "somebody who is always faster": (Conflict("changed"), 30),
    "an object that is refused": (Invalid("no"), 1000),
    "an object that cannot be read": (Undecodable("no"), 1000),
}


@pytest.mark.parametrize("name", SERVER)
def test_after_an_outage_all_goes_on_within_half_a_minute(name: str) -> None:
    error, longest = SERVER[name]

    async def story() -> None:
        async def reconcile(_key: str) -> None:
            raise error

        shop = Shop(reconcile)
        shop.controller.enqueue("ns/a")
        async with running(shop.manager.run()):
            await asyncio.sleep(10_000)
        times = [when for when, _ in shop.calls]
        assert times[-1] - times[-2] == pytest.approx(longest, abs=0.1)

    run_virtually(story)


CRASHES = {
    "a defect counts as a crash": (ZeroDivisionError("oops"), 1),
    "a conflict does not": (Conflict("changed"), 0),
    "neither does a server that is down": (Unavailable("down"), 0),
}


@pytest.mark.parametrize("name", CRASHES)
def test_crashes_are_counted_and_harm_no_other_key(name: str) -> None:
    error, crashes = CRASHES[name]

    async def story() -> None:
        async def reconcile(key: str) -> None:
            if key == "ns/bad":
                raise error

        shop = Shop(reconcile, backoff=Backoff(first=100, limit=100))
        shop.controller.enqueue("ns/bad")
        shop.controller.enqueue("ns/good")
        async with running(shop.manager.run()):
            await until(lambda: shop.called() == ["ns/bad", "ns/good"])
        assert shop.controller.crashes == crashes
        assert shop.value("controller_runtime_reconcile_panics_total") == crashes

    run_virtually(story)


def test_a_reconcile_that_hangs_is_cut_off_and_tried_again() -> None:
    async def story() -> None:
        ended: list[float] = []

        async def hang(_key: str) -> None:
            if len(shop.calls) == 1:
                try:
                    await asyncio.sleep(10_000)
                finally:
                    ended.append(now())

        shop = Shop(hang, timeout=60)
        shop.controller.enqueue("a")
        async with running(shop.manager.run()):
            await until(lambda: len(shop.calls) == 2)
            assert ended == pytest.approx([60], abs=0.1)
            await until(lambda: shop.value("controller_runtime_reconcile_total", result="success") == 1)
        assert shop.value("controller_runtime_reconcile_timeouts_total") == 1
        assert shop.controller.crashes == 0

    run_virtually(story)


def test_keys_are_worked_on_at_the_same_time_but_never_one_key_twice() -> None:
    async def story() -> None:
        working: list[str] = []
        most = 0

        async def work(key: str) -> None:
            nonlocal most
            assert key not in working
            working.append(key)
            most = max(most, len(working))
            await asyncio.sleep(1)
            working.remove(key)

        shop = Shop(work, concurrency=3)
        async with running(shop.manager.run()):
            for _ in range(20):
                for key in "abcde":
                    shop.controller.enqueue(key)
                await asyncio.sleep(0.3)
            assert most == 3
            assert shop.controller.crashes == 0

    run_virtually(story)


def test_the_manager_works_only_once_all_caches_are_filled() -> None:
    async def story() -> None:
        shop = Shop()
        shop.controller.for_(shop.deployments)
        shop.controller.maps(shop.pods, lambda pod: ())
        shop.api.put(DEPLOYMENT, "d")
        shop.api.failures = [Unavailable("not yet")] * 4
        async with running(shop.manager.run()):
            await until(lambda: len(shop.manager.waiting_for()) == 1)
            assert not shop.calls
            assert not shop.manager.started.is_set()
            await shop.manager.started.wait()
            assert shop.manager.waiting_for() == {}
            await until(lambda: shop.called() == ["ns/d"])
            age = shop.registry.get_sample_value("outrider_informer_last_heard_seconds", {"kind": "Pod"})
            assert age is not None
            assert age < 10
            assert shop.registry.get_sample_value("outrider_informer_objects", {"kind": "Deployment"}) == 1

    run_virtually(story)


def test_stopping_lets_a_reconcile_finish_and_starts_no_other() -> None:
    async def story() -> None:
        finished: list[str] = []

        async def work(key: str) -> None:
            await asyncio.sleep(5)
            finished.append(key)

        shop = Shop(work)
        shop.controller.for_(shop.deployments)
        shop.controller.enqueue("a")
        shop.controller.enqueue("b")
        task = asyncio.ensure_future(shop.manager.run())
        await until(lambda: shop.called() == ["a"])
        shop.manager.stop()
        await task
        assert (finished, shop.called()) == (["a"], ["a"])
        assert shop.api.open_watches == 0
        assert now() < 10

    run_virtually(story)


def test_stopping_does_not_wait_for_ever_for_a_reconcile() -> None:
    async def story() -> None:
        async def hang(_key: str) -> None:
            await asyncio.sleep(10_000)

        shop = Shop(hang, timeout=20_000)
        shop.controller.enqueue("a")
        task = asyncio.ensure_future(shop.manager.run())
        await until(lambda: len(shop.calls) == 1)
        shop.manager.stop()
        await task
        assert now() == pytest.approx(30, abs=1)

    run_virtually(story)


def test_stopping_before_the_caches_are_filled_ends_at_once() -> None:
    async def story() -> None:
        shop = Shop()
        shop.controller.for_(shop.deployments)
        shop.api.failures = [Unavailable("never")] * 1000
        task = asyncio.ensure_future(shop.manager.run())
        await asyncio.sleep(5)
        shop.manager.stop()
        await task
        assert now() < 6
        assert not shop.calls

    run_virtually(story)


def test_runnables_live_as_long_as_the_controllers() -> None:
    async def story() -> None:
        log: list[str] = []

        async def side() -> None:
            log.append("start")
            try:
                await asyncio.sleep(10_000)
            finally:
                log.append("end")

        manager = Manager(LoopClock(), runnables=[side])
        task = asyncio.ensure_future(manager.run())
        await until(lambda: log == ["start"])
        manager.stop()
        await task
        assert log == ["start", "end"]

    run_virtually(story)


OLD = Node(ObjectMeta(name="n", resource_version="1", generation=1))
PREDICATES = {
    "a new object always counts": (labels_changed, None, OLD, True),
    "a deleted object always counts": (generation_changed, OLD, None, True),
    "another resource version alone is no change of content": (
        content_changed, OLD, Node(ObjectMeta(name="n", resource_version="2", generation=1)), False,
    ),
    "another status is": (
        content_changed, OLD, Node(OLD.metadata, status=NodeStatus(allocatable={"cpu": "1"})), True,
    ),
    "labels count for labels_changed": (labels_changed, OLD, Node(ObjectMeta(labels={"a": "b"})), True),
    "labels do not count for generation_changed": (
        generation_changed, OLD, Node(ObjectMeta(labels={"a": "b"}, generation=1)), False,
    ),
    "objects as JSON are compared without their bookkeeping": (
        content_changed,
        {"metadata": {"name": "a", "resourceVersion": "1", "managedFields": [1]}, "spec": 1},
        {"metadata": {"name": "a", "resourceVersion": "2"}, "spec": 1},
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PREDICATES)
def test_predicates(name: str) -> None:
    predicate, old, new, passes = PREDICATES[name]
    assert predicate(old, new) is passes
