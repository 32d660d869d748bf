"""The queue's promises, in virtual time; and a state machine that tries to break them."""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry
from virtual_kube import LoopClock, VirtualLoop, run_virtually

from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.queue import RESYNC_PRIORITY, URGENT_PRIORITY, Backoff, QueueShutDown, WorkQueue


def queue(**options: object) -> WorkQueue[str]:
    return WorkQueue(LoopClock(), **options)  # type: ignore[arg-type]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_key_waits_once_however_often_it_is_added() -> None:
    async def story() -> None:
        work = queue()
        for _ in range(5):
            work.add("a")
        work.add("b")
        assert len(work) == 2
        assert [await work.get(), await work.get()] == ["a", "b"]
        assert len(work) == 0

    run_virtually(story)


def test_a_key_added_while_it_is_worked_on_comes_again_only_when_it_is_done() -> None:
    async def story() -> None:
        work = queue()
        work.add("a")
        assert await work.get() == "a"
        work.add("a")
        again = asyncio.ensure_future(work.get())
        await asyncio.sleep(1)
        assert not again.done()
        work.done("a")
        assert await again == "a"
        work.done("a")
        assert (len(work), work.processing) == (0, 0)

    run_virtually(story)


def test_edits_overtake_resyncs_and_faults_overtake_edits() -> None:
    async def story() -> None:
        work = queue()
        for key in ("r1", "r2", "r3"):
            work.add(key, RESYNC_PRIORITY)
        work.add("edit")
        work.add("r3")  # the same key again, now for a better reason
        work.add("fault", URGENT_PRIORITY)
        assert [await work.get() for _ in range(5)] == ["fault", "r3", "edit", "r1", "r2"]

    run_virtually(story)


def test_of_several_delays_the_earliest_wins() -> None:
    async def story() -> None:
        work = queue()
        work.add_after("a", 60)
        work.add_after("a", 5)
        work.add_after("a", 30)
        assert await work.get() == "a"
        assert now() == pytest.approx(5)
        work.done("a")
        later = asyncio.ensure_future(work.get())
        await asyncio.sleep(120)
        assert not later.done(), "the other delays went with the first"
        work.add_after("b", 100)
        work.add_after("c", 10)
        assert await later == "c"
        assert now() == pytest.approx(135)

    run_virtually(story)


def test_a_delayed_key_that_is_added_comes_at_once_and_once() -> None:
    async def story() -> None:
        work = queue()
        work.add_after("a", 60)
        assert len(work) == 0
        work.add("a")
        assert await work.get() == "a"
        work.done("a")
        await asyncio.sleep(100)
        assert len(work) == 0

    run_virtually(story)


def test_a_failing_key_waits_twice_as_long_each_time_until_it_is_forgotten() -> None:
    async def story() -> None:
        work = queue(backoff=Backoff(first=1, limit=10))
        waits = []
        for _ in range(6):
            before = now()
            work.add_rate_limited("a")
            await work.get()
            waits.append(round(now() - before, 3))
            work.done("a")
        assert waits == [1, 2, 4, 8, 10, 10]
        assert work.failures("a") == 6
        work.forget("a")
        assert work.add_rate_limited("a") == 1

    run_virtually(story)


def test_the_default_backoff_is_client_gos() -> None:
    delays = [Backoff().delay(failures) for failures in (0, 1, 10, 17, 18, 10_000)]
    assert delays == [0.005, 0.01, 5.12, 655.36, 1000.0, 1000.0]


def test_the_server_may_ask_for_a_longer_wait_than_the_backoff() -> None:
    async def story() -> None:
        work = queue()
        assert work.add_rate_limited("a", at_least=7) == 7
        await work.get()
        assert now() == pytest.approx(7)

    run_virtually(story)


def test_shutting_down_ends_those_who_wait_and_refuses_more() -> None:
    async def story() -> None:
        work = queue()
        work.add_after("later", 5)
        getters = [asyncio.ensure_future(work.get()) for _ in range(3)]
        await asyncio.sleep(1)
        work.shut_down()
        results = await asyncio.gather(*getters, return_exceptions=True)
        assert [type(result) for result in results] == [QueueShutDown] * 3
        work.add("a")
        assert len(work) == 0
        with pytest.raises(QueueShutDown):
            await work.get()

    run_virtually(story)


def test_a_cancelled_getter_does_not_take_a_key_with_it() -> None:
    async def story() -> None:
        work = queue()
        first, second = asyncio.ensure_future(work.get()), asyncio.ensure_future(work.get())
        await asyncio.sleep(0)
        work.add("a")  # wakes the first
        first.cancel()
        assert await second == "a"

    run_virtually(story)


def test_metrics_have_the_names_and_values_that_dashboards_expect() -> None:
    async def story() -> None:
        registry = CollectorRegistry()
        work = queue(name="demo", metrics=RuntimeMetrics(registry))
        labels = {"name": "demo", "controller": "demo"}

        def value(name: str, **more: str) -> float | None:
            return registry.get_sample_value(name, {**labels, **more})

        work.add("a")
        work.add("b", RESYNC_PRIORITY)
        work.add_after("c", 10)
        assert value("workqueue_depth", priority="0") == 1
        assert value("workqueue_depth", priority="-100") == 1
        assert value("workqueue_adds_total") == 2
        assert value("workqueue_retries_total") == 1
        work.add("b")
        assert (value("workqueue_depth", priority="0"), value("workqueue_depth", priority="-100")) == (2, 0)
        await asyncio.sleep(3)
        await work.get()
        assert value("workqueue_queue_duration_seconds_sum") == pytest.approx(3)
        await asyncio.sleep(4)
        assert value("workqueue_unfinished_work_seconds") == pytest.approx(4)
        assert value("workqueue_longest_running_processor_seconds") == pytest.approx(4)
        work.done("a")
        assert value("workqueue_work_duration_seconds_sum") == pytest.approx(4)
        assert value("workqueue_longest_running_processor_seconds") == 0
        await work.get()
        await work.get()
        assert value("workqueue_depth", priority="0") == 0

    run_virtually(story)


KEYS = st.sampled_from("abcd")
PRIORITIES = st.sampled_from([RESYNC_PRIORITY, 0, URGENT_PRIORITY])


async def end(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class QueueMachine(RuleBasedStateMachine):
    """Against a model: what waits (priority, due time, arrival), what is being worked on, and what time it is."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.waiting: dict[str, tuple[int, float, int]] = {}
        self.processing: set[str] = set()
        self.time = 0.0
        self.arrivals = 0
        self.queue = WorkQueue[str](self)

    # The clock of the queue

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()

    def expect(self, key: str, seconds: float, priority: int) -> None:
        self.arrivals += 1
        old_priority, old_due, arrival = self.waiting.get(key, (priority, self.time + seconds, self.arrivals))
        self.waiting[key] = (max(priority, old_priority), min(self.time + seconds, old_due), arrival)

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: int) -> None:
        self.queue.add(key, priority)
        self.expect(key, 0, priority)

    @rule(key=KEYS, seconds=st.integers(1, 20), priority=PRIORITIES)
    def add_after(self, key: str, seconds: int, priority: int) -> None:
        self.queue.add_after(key, seconds, priority)
        self.expect(key, seconds, priority)

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.time += seconds

    def due(self) -> dict[str, tuple[int, float, int]]:
        return {key: entry for key, entry in self.waiting.items() if entry[1] <= self.time}

    @rule()
    def get(self) -> None:
        free = {key: entry for key, entry in self.due().items() if key not in self.processing}
        got = self.loop.run_until_complete(self.try_to_get())
        if not free:
            assert got is None, "there is nothing to get"
            return
        assert got is not None, "something is due"
        key, priority = got
        assert key in free, "it is due and nobody works on it"
        assert priority == free[key][0]
        assert priority == max(entry[0] for entry in free.values())
        rivals = [entry[2] for entry in free.values() if entry[0] == priority]
        assert free[key][2] == min(rivals), "among equals, the longest waiting"
        del self.waiting[key]
        self.processing.add(key)

    async def try_to_get(self) -> tuple[str, int] | None:
        getter = asyncio.ensure_future(self.queue.get_with_priority())
        for _ in range(5):
            await asyncio.sleep(0)
        if getter.done():
            return getter.result()
        await end(getter)
        return None

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.processing)))
        self.queue.done(key)
        self.processing.discard(key)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.due())
        assert self.queue.processing == len(self.processing)

    def teardown(self) -> None:
        self.queue.shut_down()
        self.loop.run_until_complete(end(*asyncio.all_tasks(self.loop)))
        self.loop.close()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
