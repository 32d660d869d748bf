"""Events are written, counted and limited, and nothing that goes wrong reaches the caller."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry
from virtual_kube import LoopClock, MemoryApi, run_virtually, running, until

from outrider.api.meta import ObjectMeta
from outrider.kube.api import Forbidden, NotFound, Unavailable
from outrider.kube.events import BURST, MOST_PENDING, REFILL_SECONDS, EventRecorder
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.objects import EVENT, NODE, POD, Node, Pod

PODS = [Pod(ObjectMeta(name=f"p{n}", namespace="ns", uid=f"u{n}")) for n in range(3)]


class Desk:
    def __init__(self) -> None:
        self.api = MemoryApi()
        self.registry = CollectorRegistry()
        self.recorder = EventRecorder(
            self.api,
            LoopClock(),
            controller="inference.llm-d.io/outrider",
            instance="outrider-0",
            metrics=RuntimeMetrics(self.registry),
        )

    def note(self, pod: Pod = PODS[0], reason: str = "RolledBack", note: str = "went back to v1") -> None:
        self.recorder.event(POD, pod, "Warning", reason, note, action="Rollback")

    def dropped(self, why: str) -> float:
        return self.registry.get_sample_value("outrider_events_dropped_total", {"reason": why}) or 0

    def count(self) -> Any:
        return self.api.patches[-1][1]["series"]["count"]


def test_an_event_has_all_that_an_api_server_asks_for() -> None:
    async def story() -> None:
        desk = Desk()
        desk.note()
        async with running(desk.recorder.run()):
            await until(lambda: len(desk.api.creates) == 1)
        event = desk.api.creates[0]
        assert event["metadata"]["namespace"] == "ns"
        assert event["metadata"]["name"].startswith("p0.")
        assert event["eventTime"] == "2023-11-14T22:13:20.000000Z"
        assert event["regarding"] == {
            "apiVersion": "v1", "kind": "Pod", "name": "p0", "namespace": "ns", "uid": "u0",
        }  # fmt: skip
        rest = {name: event[name] for name in ("type", "reason", "action", "note")}
        assert rest == {"type": "Warning", "reason": "RolledBack", "action": "Rollback", "note": "went back to v1"}
        assert event["reportingController"] == "inference.llm-d.io/outrider"
        assert event["reportingInstance"] == "outrider-0"
        assert "series" not in event

    run_virtually(story)


def test_events_about_cluster_scoped_objects_are_in_default() -> None:
    async def story() -> None:
        desk = Desk()
        desk.recorder.event(NODE, Node(ObjectMeta(name="n1")), "Normal", "Cordoned", "x", action="Cordon")
        async with running(desk.recorder.run()):
            await until(lambda: len(desk.api.creates) == 1)
        assert desk.api.creates[0]["metadata"]["namespace"] == "default"

    run_virtually(story)


def test_repetitions_are_counted_in_the_first_event_and_written_twice_a_minute_at_most() -> None:
    async def story() -> None:
        desk = Desk()
        async with running(desk.recorder.run()):
            desk.note()
            await until(lambda: len(desk.api.creates) == 1)
            for _ in range(100):
                desk.note()
                await asyncio.sleep(1)
            await until(lambda: desk.api.patches != [] and desk.count() == 101)
            assert len(desk.api.creates) == 1
            assert len(desk.api.patches) <= 5
            desk.note(PODS[1])
            desk.note(reason="Other")
            desk.note(note="went back to v2")
            await until(lambda: len(desk.api.creates) == 4)

    run_virtually(story)


def test_after_six_quiet_minutes_it_is_a_new_event() -> None:
    async def story() -> None:
        desk = Desk()
        async with running(desk.recorder.run()):
            desk.note()
            await asyncio.sleep(361)
            desk.note()
            await until(lambda: len(desk.api.creates) == 2)
            names = {event["metadata"]["name"] for event in desk.api.creates}
            assert len(names) == 2

    run_virtually(story)


def test_a_repetition_whose_event_was_deleted_is_written_anew() -> None:
    async def story() -> None:
        desk = Desk()
        async with running(desk.recorder.run()):
            desk.note()
            await until(lambda: len(desk.api.creates) == 1)
            desk.api.remove(EVENT, desk.api.creates[0]["metadata"]["name"])
            desk.note()
            await until(lambda: len(desk.api.creates) == 2)
            assert desk.api.creates[1]["series"]["count"] == 2

    run_virtually(story)


def test_a_noisy_object_is_limited_and_a_quiet_one_is_not() -> None:
    async def story() -> None:
        desk = Desk()
        async with running(desk.recorder.run()):
            for number in range(100):
                desk.note(reason=f"Reason{number}")
            desk.note(PODS[1])
            await until(lambda: len(desk.api.creates) == BURST + 1)
            assert desk.dropped("rate limit") == 100 - BURST
            await asyncio.sleep(300)
            desk.note(reason="Later")
            desk.note(reason="TooSoon")
            await until(lambda: len(desk.api.creates) == BURST + 2)

    run_virtually(story)


def test_what_makes_no_difference_any_more_is_forgotten() -> None:
    """A release of every ten minutes leaves a dozen notes that never come again."""

    async def story() -> None:
        desk = Desk()
        async with running(desk.recorder.run()):
            for number in range(100):
                desk.note(PODS[0], note=f"went back to v{number}")
                await asyncio.sleep(600)
            assert desk.recorder.remembered == 2, "the last series, and its object"
            desk.note(PODS[1])
            await asyncio.sleep(BURST * REFILL_SECONDS)
            desk.note(PODS[2])
            assert desk.recorder.remembered == 2, "of objects with a full burst nothing has to be known"

    run_virtually(story)


def test_a_server_that_is_down_is_waited_for() -> None:
    async def story() -> None:
        desk = Desk()
        desk.api.write_failures = [Unavailable("down")] * 6
        async with running(desk.recorder.run()):
            desk.note()
            desk.note()
            await until(lambda: len(desk.api.creates) == 1)
            assert desk.api.creates[0]["series"]["count"] == 2

    run_virtually(story)


def test_what_cannot_be_written_is_dropped_and_the_next_is_written() -> None:
    async def story() -> None:
        desk = Desk()
        desk.api.write_failures = [Forbidden("no events for you"), NotFound("namespace"), ZeroDivisionError("defect")]
        async with running(desk.recorder.run()):
            for number in range(3):
                desk.note(PODS[number])
            await until(lambda: not desk.api.write_failures)
            desk.note(reason="Other")
            await until(lambda: len(desk.api.creates) == 1)
        assert [desk.dropped(why) for why in ("Forbidden", "NotFound", "defect")] == [1, 1, 1]

    run_virtually(story)


def test_a_server_that_stays_down_costs_no_more_than_so_many_events() -> None:
    async def story() -> None:
        desk = Desk()
        for number in range(MOST_PENDING + 10):
            pod = Pod(ObjectMeta(name=f"p{number}", namespace="ns"))
            desk.note(pod)
        assert desk.dropped("too many pending") == 10

    run_virtually(story)


def test_noting_never_raises_whatever_it_is_given() -> None:
    async def story() -> None:
        desk = Desk()
        desk.recorder.event(POD, object(), "Normal", "X", "y", action="z")
        desk.note(note="ä" * 2000)
        async with running(desk.recorder.run()):
            await until(lambda: len(desk.api.creates) == 1)
        assert len(desk.api.creates[0]["note"].encode()) <= 1024

    run_virtually(story)
