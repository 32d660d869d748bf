"""What only the Gateway knows of two versions: when it takes one of them back, and what it must not be blamed for."""

import random

import pytest
from release_evidence import SETTINGS, START, TICK, after, judged, old, pod, pods, situation

from outrider.plan.evidence import Counts, Settings, Situation, State, Tick, advance, forgive
from outrider.plan.evidence.accusation import log_wealth

FINE = (pods((0, 15), (0, 15)), old((0, 50), (0, 50)))


def at_gateway(
    *counts: tuple[tuple[float, float] | None, tuple[float, float] | None],
    state: State | None = None,
    alone: bool = False,
    settings: Settings = SETTINGS,
) -> State:
    """Ticks of (candidate, stable) at the Gateway, while nothing is wrong at the pods of either."""
    state = State() if state is None else state
    at = START if state.last_tick_at is None else state.last_tick_at
    for candidate, stable in counts:
        at += TICK
        tick = Tick(
            at=at,
            seconds=TICK,
            candidate=FINE[0],
            stable={} if alone else FINE[1],
            candidate_at_gateway=Counts(*candidate) if candidate is not None else None,
            stable_at_gateway=Counts(*stable) if stable is not None else None,
        )
        state = advance(state, tick, settings)
    return state


GOOD = ((0, 30), (0, 100))
CUT = ((3, 30), (0, 100))
BAKED = {"baked": 700.0, "complete": True, "gateway_read": True}

CASES: dict[str, tuple[State, Situation, str]] = {
    "one of ten answers is cut off": (
        at_gateway(*[GOOD] * 3, *[CUT] * 20),
        situation(),
        "RollBack GatewayFailuresWorse",
    ),
    "nothing is wrong": (at_gateway(*[GOOD] * 130), situation(**BAKED), "Good NotWorse"),
    "the Gateway was never read": (at_gateway(*[(None, None)] * 130), situation(**BAKED), "Good NotWorse"),
    "the Gateway was read for a while, and said nothing bad": (
        at_gateway(*[GOOD] * 3, *[(None, None)] * 130),
        situation(**(BAKED | {"gateway_read": False})),
        "Good NotWorse",
    ),
    "a burst in two ticks, as when a pod went": (
        at_gateway(*[GOOD] * 3, ((15, 30), (0, 100)), ((15, 30), (0, 100)), *[GOOD] * 3),
        situation(),
        "Watching AwaitingTime",
    ),
    "both versions, at the same time": (
        at_gateway(*[GOOD] * 3, *[((9, 30), (30, 100))] * 12),
        situation(),
        "Hold SharedIncident",
    ),
    "a node under one of its pods is not ready": (
        at_gateway(*[GOOD] * 3, *[CUT] * 20),
        situation(pod(0), pod(1, fault="node-7 is NotReady")),
        "Hold NodeFault",
    ),
    "only the candidate's Gateway counts are known": (
        at_gateway(*[((3, 30), None)] * 40),
        situation(),
        "Watching AwaitingTime",
    ),
    "a version without company, and the past of the one before it": (
        at_gateway(*[CUT] * 40, state=at_gateway(*[GOOD] * 40), alone=True),
        situation(stable_ready=0),
        "RollBack GatewayFailuresWorse",
    ),
    "a version without company that has as many as the one before it had": (
        at_gateway(*[CUT] * 40, state=at_gateway(*[((3, 30), (10, 100))] * 40), alone=True),
        situation(stable_ready=0),
        "Watching AwaitingTime",
    ),
    "a version without company, and nothing is known of the one before it": (
        at_gateway(*[((15, 30), None)] * 60, alone=True),
        situation(stable_ready=0),
        "Watching AwaitingTime",
    ),
    "something speaks against it when it should be good": (
        at_gateway(*[GOOD] * 120, *[CUT] * 3),
        situation(**BAKED),
        "Watching AwaitingRequests",
    ),
    "something spoke against it, and the Gateway cannot be read any more": (
        at_gateway(*[GOOD] * 120, *[CUT] * 3),
        situation(**(BAKED | {"gateway_read": False})),
        "Good NotWorse",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case: str) -> None:
    state, facts, expected = CASES[case]
    verdict = judged(state, facts)
    assert f"{verdict.kind} {verdict.reason}" == expected, verdict.message


def test_the_message_says_what_was_seen_and_where() -> None:
    verdict = judged(at_gateway(*[GOOD] * 3, *[CUT] * 20), situation())
    assert "requests failed at the Gateway" in verdict.message
    assert verdict.evidence["gatewayFailures.candidate.bad"] == 60


def test_a_gateway_in_trouble_does_not_excuse_what_the_pods_themselves_show() -> None:
    state = at_gateway(*[((9, 30), (30, 100))] * 3)
    for _ in range(20):
        assert state.last_tick_at is not None
        tick = Tick(
            at=state.last_tick_at + TICK,
            seconds=TICK,
            candidate=pods((5, 15), (5, 15)),
            stable=FINE[1],
            candidate_at_gateway=Counts(9, 30),
            stable_at_gateway=Counts(30, 100),
        )
        state = advance(state, tick, SETTINGS)
    assert judged(state, situation()).reason == "ErrorsWorse"


def test_it_blames_no_pod_and_is_forgiven_with_all_else() -> None:
    state = at_gateway(*[GOOD] * 3, *[CUT] * 20)
    assert state.of("gatewayFailures").pods == {}
    forgiven = forgive(state, {"new-0"})
    assert judged(forgiven, situation()).kind == "Watching"


def test_it_makes_no_tick_heard_by_itself() -> None:
    tick = Tick(START, TICK, stable={}, candidate={}, candidate_at_gateway=Counts(0, 9), stable_at_gateway=Counts(0, 9))
    state = advance(State(), tick, SETTINGS)
    assert (state.ticks, state.started_at, state.newest) == (0, None, Counts())


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05])
def test_of_releases_that_are_alike_none_is_taken_back(share: float) -> None:
    """300 releases of ten minutes each: at 1 in 200 over all indicators, this one with a twentieth of the stake."""
    chance = random.Random(7)
    taken_back = 0
    for _ in range(300):
        state = State()
        for number in range(120):
            candidate, stable = (sum(chance.random() < share for _ in range(n)) for n in (10, 40))
            tick = Tick(
                at=START + number * TICK,
                seconds=TICK,
                candidate={"new-0": {}},
                stable={"old-0": {}},
                candidate_at_gateway=Counts(candidate, 10),
                stable_at_gateway=Counts(stable, 40),
            )
            state = advance(state, tick, SETTINGS)
            if log_wealth(state, SETTINGS) >= SETTINGS.enough:
                taken_back += 1
                break
    assert taken_back == 0


def test_a_tenth_of_streams_that_break_off_is_found_within_two_minutes() -> None:
    chance = random.Random(8)
    seconds = []
    for _ in range(100):
        state = after([FINE] * 2)
        for number in range(60):
            candidate = sum(chance.random() < 0.1 for _ in range(20))
            state = at_gateway(((candidate, 20), (0, 80)), state=state)
            if judged(state, situation()).kind == "RollBack":
                seconds.append((number + 1) * TICK)
                break
    assert len(seconds) == 100
    assert sorted(seconds)[95] <= 120
