"""What holds for every state: JSON, repeating, order, and that bets are fair."""

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_evidence import SETTINGS, START, TICK, after, judged, old, pods, situation

from outrider.plan.evidence import INDICATORS, Counts, Indicator, PodCounts, State, Tick, advance, begun
from outrider.plan.evidence.accusation import log_wealth

counts = st.builds(Counts, st.floats(), st.floats()) | st.builds(
    lambda bad, more: Counts(float(bad), float(bad + more)), st.integers(0, 50), st.integers(0, 500)
)
arms = st.dictionaries(
    st.sampled_from([f"pod-{number}" for number in range(4)]),
    st.dictionaries(st.sampled_from(INDICATORS), counts, max_size=2),
    max_size=4,
)
runs = st.lists(st.tuples(arms, arms), min_size=1, max_size=15)


@settings(max_examples=50)
@given(runs)
def test_a_state_is_small_and_the_same_after_json(run) -> None:
    state = after(run)
    text = msgspec.json.encode(state)
    assert b"null" not in text.replace(b'"startedAt":null', b"")
    assert msgspec.json.decode(text, type=State) == state
    verdict = judged(state, situation())
    assert all(math.isfinite(number) for number in verdict.evidence.values())


@settings(max_examples=40)
@given(runs)
def test_a_tick_that_comes_again_or_late_changes_nothing(run) -> None:
    state = after(run)
    assert state.last_tick_at is not None
    for at in (state.last_tick_at, state.last_tick_at - 3.0):
        candidate, stable = run[-1]
        assert advance(state, Tick(at=at, seconds=TICK, stable=stable, candidate=candidate), SETTINGS) is state


@settings(max_examples=30)
@given(runs)
def test_going_on_from_what_was_persisted_is_the_same_as_not_to_have_stopped(run) -> None:
    half = after(run[: len(run) // 2])
    restored = msgspec.json.decode(msgspec.json.encode(half), type=State)
    assert after(run[len(run) // 2 :], state=restored) == after(run)


def test_a_state_stays_small_however_many_pods_come_and_go() -> None:
    everything: dict[Indicator, Counts] = {indicator: Counts(1234.567891, 98765.4321) for indicator in INDICATORS}
    run = [({f"{turn}-{number}" * 6: everything for number in range(20)}, {"old": everything}) for turn in range(15)]
    assert len(msgspec.json.encode(after(run))) < 12_000


def test_torn_counts_do_no_harm() -> None:
    broken: PodCounts = {"new-0": {"errors": Counts(math.nan, 10)}, "new-1": {"errors": Counts(30, 20)}}
    state = after([(broken, old((0, 50)))] * 3)
    assert state.of("errors").candidate.total == Counts(60, 60)


def test_an_unknown_count_is_not_a_zero() -> None:
    known = after([(pods((0, 15)), old((0, 50)))] * 10)
    state = after([({"new-0": {}}, {"old-0": {}})] * 10, state=known)
    assert state.of("errors").candidate == msgspec.structs.replace(
        known.of("errors").candidate, window=Counts(), last=state.of("errors").candidate.last
    )
    assert not state.alone
    assert state.of("errors").worse == known.of("errors").worse


def test_one_tick_never_wins_more_than_a_third_of_what_is_needed() -> None:
    before = after([(pods((0, 1000)), old((0, 5000)))] + [(pods((5, 1000)), old((0, 5000)))] * 2)
    state = after([(pods((1000, 1000)), old((0, 5000)))], state=before)
    assert state.of("errors").worse.wealth - before.of("errors").worse.wealth <= SETTINGS.cap + 1e-9


def test_what_one_pod_of_several_does_wins_half_of_that() -> None:
    before = after([(pods((0, 300), (0, 300)), old((0, 900))), (pods((9, 300), (0, 300)), old((0, 900)))])
    state = after([(pods((300, 300), (0, 300)), old((0, 900)))], state=before)
    assert 0 < state.of("errors").worse.wealth - before.of("errors").worse.wealth <= SETTINGS.cap / 2 + 1e-9


def test_nothing_is_won_while_the_stable_version_is_in_trouble_itself() -> None:
    before = after([(pods((2, 20)), old((20, 50)))] * 5)
    state = after([(pods((15, 20)), old((20, 50)))] * 20, state=before)
    assert state.of("errors").worse.wealth <= before.of("errors").worse.wealth + 1e-9


FAIR = {
    "rare errors": (0.001, 15, 50),
    "common errors": (0.05, 15, 50),
    "few requests": (0.02, 3, 3),
    "more of the candidate": (0.2, 60, 10),
}


@pytest.mark.parametrize("case", FAIR)
def test_identical_arms_gain_nothing_on_average(case) -> None:
    share, ours, theirs = FAIR[case]
    chance = random.Random(f"fair {case}")

    def bad(requests: int) -> tuple[int, int]:
        return sum(chance.random() < share for _ in range(requests)), requests

    finals = [
        math.exp(log_wealth(after([(pods(bad(ours)), old(bad(theirs))) for _ in range(6)]), SETTINGS))
        for _ in range(1000)
    ]
    mean = sum(finals) / len(finals)
    spread = math.sqrt(sum((each - mean) ** 2 for each in finals)) / len(finals)
    assert mean <= 1 + 3 * spread


def test_errors_that_come_in_clusters_of_a_pod_and_a_tick_take_no_release_back() -> None:
    """150 releases of 4 minutes: if chance had its 1 in 200, two would be taken back once in six times."""
    chance = random.Random("clusters")
    rolled_back = 0
    for _ in range(150):
        state = State()
        for _ in range(48):
            ours, theirs = ([_clustered(chance, 0.01, 60) for _ in range(2)] for _ in range(2))
            state = after([(pods(*ours), old(*theirs))], state=state)
            if log_wealth(state, SETTINGS) >= SETTINGS.enough and judged(state, situation()).kind == "RollBack":
                rolled_back += 1
                break
    assert rolled_back <= 1


def _clustered(chance: random.Random, share: float, requests: int, correlation: float = 0.05) -> tuple[int, int]:
    size = 1 / correlation - 1
    share = chance.betavariate(share * size, (1 - share) * size)
    return sum(chance.random() < share for _ in range(requests)), requests


def test_the_start_is_when_the_candidate_first_answered() -> None:
    state = after([({}, old((0, 50))), (pods((0, 0)), old((0, 50))), (pods((0, 1)), old((0, 50)))])
    assert state.started_at == START + 3 * TICK
    assert state.ticks == 1


def test_what_the_stable_version_did_before_decides_nothing_by_itself() -> None:
    state = begun({"errors": Counts(3.0, 9_000.0)})
    assert log_wealth(state, SETTINGS) == pytest.approx(0.0)
    assert judged(state, situation()).kind != "RollBack"
    assert state.of("errors").stable.total.total == 2000, "more than that would outweigh what it does now"


def test_a_candidate_that_is_soon_alone_is_held_to_what_the_stable_version_did_before() -> None:
    beside, alone = [(pods((1, 20)), old((0, 20)))] * 2, [(pods((1, 20)), PodCounts())] * 60
    known = after([*beside, *alone], state=begun({"errors": Counts(0.0, 2_000.0)}))
    unknown = after([*beside, *alone])
    assert judged(known, situation(complete=True)).kind == "RollBack"
    assert judged(unknown, situation(complete=True)).kind != "RollBack"
