"""Probes against scripted outcomes, on a clock that jumps to the next thing that is due."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.clock import SystemClock
from outrider.local.kubelet.handlers import Handlers, Outcome, Target
from outrider.local.kubelet.probes import ContainerProbes, ProbeCounter, ProbeState, ProbeTimes


class JumpingClock:
    """Sleeping takes no time but moves the clock. Ends the test's loop when `limit` is reached."""

    def __init__(self, limit: float) -> None:
        self.time = 0.0
        self.limit = limit

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time = round(self.time + seconds, 6)
        if self.time > self.limit:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


class Script(Handlers):
    """A handler whose outcome is written in the probe itself: `{"script": "-++"}`; the last one is repeated."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__(SystemClock())
        self.clock = clock
        self.asked: list[tuple[str, float]] = []
        self._scripts: dict[int, Iterator[str]] = {}

    async def run(self, handler: Any, target: Target, timeout: float) -> Outcome:
        self.asked.append((handler["name"], self.clock.time))
        script = self._scripts.setdefault(id(handler), iter(handler["script"]))
        return Outcome(next(script, handler["script"][-1]) == "+", "no")


TARGET = Target(address="127.0.0.1", port=lambda port: port, named_ports={}, env={}, cwd=Path("/"))


async def probe(
    container: dict[str, Any], seconds: float, before: ProbeState | None = None
) -> tuple[list[str], Script]:
    """What happened, in order, as `time what`; and what was asked when."""
    clock = JumpingClock(seconds)
    script = Script(clock)
    story: list[str] = []
    probes = ContainerProbes(
        container,
        TARGET,
        script,
        clock,
        until_ready=0.5,
        changed=lambda: story.append(f"{clock.time:g} started={probes.state.started} ready={probes.state.ready}"),
        failed=lambda message: None,
        unhealthy=lambda kind, message: story.append(f"{clock.time:g} {message}"),
        before=before,
    )
    task = asyncio.create_task(probes.run())
    while not task.done() and clock.time <= seconds:  # noqa: ASYNC110  (time passes only while we yield)
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return story, script


def named(kind: str, script: str, **numbers: Any) -> dict[str, Any]:
    return {f"{kind}Probe": {"name": kind, "script": script, "periodSeconds": 10, **numbers}}


CASES: dict[str, tuple[dict[str, Any], float, list[str]]] = {
    "without probes nothing is asked": ({}, 30, []),
    "readiness: ready after the first success, found by quick probes": (
        named("readiness", "---+"), 9, ["1.5 started=True ready=True"],
    ),
    "readiness: three failures in a row make it unready, one success ready again": (
        named("readiness", "+--+---+"), 75,
        ["0 started=True ready=True", "60 started=True ready=False", "70 started=True ready=True"],
    ),
    "readiness: thresholds count": (
        named("readiness", "++-+", successThreshold=2, failureThreshold=1), 29,
        ["10 started=True ready=True", "20 started=True ready=False"],
    ),
    "readiness: nothing is asked before the initial delay": (
        named("readiness", "+", initialDelaySeconds=5), 9, ["5 started=True ready=True"],
    ),
    "liveness: one failure is nothing": (named("liveness", "+-+"), 60, []),
    "liveness: three in a row end the container": (named("liveness", "+---"), 60, ["30 failed liveness probe"]),
    "startup: readiness waits for it": (
        named("startup", "---+") | named("readiness", "+"), 5,
        ["1.5 started=True ready=False", "1.5 started=True ready=True"],
    ),
    "startup: without a readiness probe started is ready": (named("startup", "+"), 5, ["0 started=True ready=True"]),
    "startup: quick failures do not count, those at every period do": (
        named("startup", "-", failureThreshold=3), 60, ["20 failed startup probe"],
    ),
    "startup: liveness begins after it": (
        named("startup", "--+") | named("liveness", "-", failureThreshold=1), 5,
        ["1 started=True ready=True", "1 failed liveness probe"],
    ),
}  # fmt: skip


def test_probes_follow_kubernetes_rules() -> None:
    for sentence, (container, seconds, expected) in CASES.items():
        story, _ = asyncio.run(probe(container, seconds))
        assert story == expected, sentence


def test_an_adopted_container_keeps_its_readiness_without_being_asked_again_at_once() -> None:
    container = named("startup", "-") | named("readiness", "+")
    story, script = asyncio.run(probe(container, 25, ProbeState(started=True, ready=True)))
    assert story == []
    assert script.asked == [("readiness", 0.0), ("readiness", 10.0), ("readiness", 20.0)]


def test_after_the_first_success_the_period_is_kept() -> None:
    _, script = asyncio.run(probe(named("readiness", "-+"), 35))
    assert [time for _, time in script.asked] == [0.0, 0.5, 10.0, 20.0, 30.0]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_needs_as_many_equal_outcomes_in_a_row_as_its_threshold(
    outcomes: Sequence[bool], success: int, failure: int
) -> None:
    counter = ProbeCounter(ProbeTimes(success_threshold=success, failure_threshold=failure), verdict=None)
    for index, ok in enumerate(outcomes):
        before = counter.verdict
        threshold = success if ok else failure
        tail = outcomes[max(0, index + 1 - threshold) : index + 1]
        decided = counter.record(ok)
        assert decided == (len(tail) == threshold and all(outcome == ok for outcome in tail))
        assert counter.verdict == (ok if decided else before)


def test_numbers_have_kubernetes_defaults() -> None:
    assert ProbeTimes.of({}) == ProbeTimes(
        initial_delay=0, period=10, timeout=1, success_threshold=1, failure_threshold=3
    )
