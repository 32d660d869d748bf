"""A scenario is played the same way every time; seeds hold; what fails can be made short."""

import os
import subprocess
import sys

import msgspec
import pytest
from sim_scenarios import NOT_WATCHED, TWO_GPUS, canary, spec
from sim_scenarios import WATCHED as TRIGGERED

from outrider.sim.crashes import LIVES, NAME, SPEC, WATCHED, life
from outrider.sim.draw import draw
from outrider.sim.edits import edits
from outrider.sim.incidents import (
    AnyIncident,
    ApiTrouble,
    Apply,
    BadVersion,
    Crash,
    Edit,
    Meddle,
    Pin,
    Remove,
    Scenario,
    Stop,
    Unpin,
    WatchTrouble,
)
from outrider.sim.run import decode_scenario, run
from outrider.sim.shrink import _shrink, shrink
from outrider.sim.sweep import sweep

QUICK_SEEDS = range(100_001, 100_025)
SEEDS = range(200_001, 200_061)
EDITS = 50
MODEL = "hf://meta-llama/Llama-3.1-8B-Instruct"


def _check(seeds: range, seconds: float) -> None:
    broken = {played.seed: played.violation for played in sweep(seeds, seconds, jobs=1) if played.violation is not None}
    assert broken == {}, "play it again with `outrider sim --seed SEED`"


def test_some_seeds_break_no_promise() -> None:
    _check(QUICK_SEEDS, 300.0)


@pytest.mark.e2e
def test_more_seeds_break_no_promise() -> None:
    _check(SEEDS, 300.0)


@pytest.mark.e2e
def test_a_long_day_breaks_no_promise() -> None:
    _check(range(300_001, 300_002), 7200.0)


def test_a_crash_in_the_middle_of_a_release_is_survived() -> None:
    outcome = run(life(next(iter(LIVES)), 25))
    assert outcome.starts == 2
    assert outcome.violation is None


def test_a_bad_release_is_taken_back_in_the_simulation_too() -> None:
    bad = BadVersion(at=1, seconds=3600, version="v1.1.0", how="answers errors")
    edit = Edit(at=60, deployment=NAME, spec={"model": {"version": "v1.1.0"}})
    incidents = (Apply(at=1, deployment=NAME, spec=WATCHED), bad, edit)
    outcome = run(Scenario(seed=1, load_seconds=3.0, incidents=incidents), tell=True)
    assert outcome.violation is None
    assert [one.what for one in outcome.timeline.entries if one.what.startswith("RolledBack: v1.1.0")]


def test_after_each_of_many_edits_there_is_what_a_fresh_install_makes() -> None:
    assert list(edits(1, 10)) == [None] * 10


@pytest.mark.e2e
@pytest.mark.parametrize("seed", range(400_001, 400_001 + EDITS // 50))
def test_after_each_of_more_edits_there_is_what_a_fresh_install_makes(seed: int) -> None:
    assert list(edits(seed, 50)) == [None] * 50


def test_a_seed_is_played_the_same_way_in_every_process() -> None:
    program = (
        "from outrider.sim.draw import draw; from outrider.sim.run import run; "
        "outcome = run(draw(5, 300.0), tell=True); "
        "print([(e.at, e.who, e.what) for e in outcome.timeline.entries])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashing}, capture_output=True, text=True, check=True,
        ).stdout
        for hashing in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1
    assert len(told.pop()) > 1000


@pytest.mark.parametrize("seed", range(20))
def test_a_scenario_reads_as_it_was_written(seed: int) -> None:
    scenario = draw(seed, 3600.0)
    assert decode_scenario(msgspec.json.encode(scenario)) == scenario
    assert list(scenario.incidents) == sorted(scenario.incidents, key=lambda one: one.at)


def test_every_kind_of_incident_is_drawn() -> None:
    drawn = {type(one) for seed in range(300) for one in draw(seed, 600.0).incidents}
    assert drawn == set(AnyIncident.__args__)


def test_the_shortest_scenario_that_fails_alike_is_found() -> None:
    def fails(scenario: Scenario) -> bool:
        kinds = [type(one) for one in scenario.incidents]
        return Edit in kinds and Crash in kinds

    long = next(scenario for seed in range(50) if fails(scenario := draw(seed, 3600.0)))
    assert len(long.incidents) > 20
    short = _shrink(long, fails, runs=500)
    assert sorted(type(one).__name__ for one in short.incidents) == ["Crash", "Edit"]
    assert (short.operators, short.nodes, short.load_seconds) == (1, 1, 3.0)


def test_only_what_fails_can_be_shortened() -> None:
    with pytest.raises(ValueError, match="breaks no promise"):
        shrink(Scenario(seed=1, incidents=(Apply(at=1, deployment=NAME, spec=SPEC),)))


FOUND: dict[str, Scenario] = {
    "what serves while its alias means nothing was noted anew every minute": Scenario(
        seed=1,
        load_seconds=3.0,
        incidents=(
            Apply(at=1, deployment=NAME, spec=SPEC),
            Edit(at=90, deployment=NAME, spec={"model": {"version": "previous-stable"}}),
        ),
    ),
    "an operator that was suspended woke people up": Scenario(
        seed=1,
        load_seconds=3.0,
        incidents=(
            Apply(at=1, deployment=NAME, spec=SPEC),
            Stop(at=247.4, seconds=43.2),
        ),
    ),
    "after minutes of throttling it waited for minutes more": Scenario(
        seed=1,
        load_seconds=3.0,
        incidents=(
            Apply(at=1, deployment=NAME, spec=SPEC),
            ApiTrouble(at=120, seconds=175, how="throttled", share=1.0),
            Edit(at=122, deployment=NAME, spec={"replicas": 1}),
        ),
    ),
    "replicas taken away in the middle of a second release ended all pods that served": Scenario(
        seed=863,
        nodes=1,
        load_seconds=60.0,
        incidents=(
            Apply(at=23.8, deployment=NAME, spec={**SPEC, "replicas": 3, "resources": TWO_GPUS}),
            Edit(at=58.7, deployment=NAME, spec={"model": {"name": "chat"}}),
            Pin(at=67.7, deployment=NAME, version="v1.1.0"),
            Edit(at=119.5, deployment=NAME, spec={"replicas": 1}),
        ),
    ),
    "taking away what somebody had scaled up, for a new version, it made a pod too many": Scenario(
        seed=50012,
        nodes=3,
        load_seconds=3.0,
        incidents=(
            Apply(at=16.6, deployment=NAME, spec={**SPEC, "replicas": 2, "resources": TWO_GPUS}),
            WatchTrouble(at=18.6, seconds=1, how="silent", plural="pods"),
            ApiTrouble(at=70.5, seconds=178.2, how="throttled", share=1.0),
            Meddle(at=119.3, deployment=NAME, how="scales the workload up"),
            Edit(at=203.6, deployment=NAME, spec={"model": {"version": "v2.0.0"}}),
        ),
    ),
    "taking away what somebody had scaled up, for a version that is tried, the pause ended one that served": Scenario(
        seed=5087,
        nodes=1,
        incidents=(
            Apply(at=4.7, deployment=NAME, spec={**WATCHED, "replicas": 2, "resources": TWO_GPUS}),
            Pin(at=64.9, deployment=NAME, version="previous-stable"),
            Unpin(at=133, deployment=NAME),
            Edit(at=139.4, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
            Meddle(at=139.4, deployment=NAME, how="scales the workload up"),
        ),
    ),
    "a version that is tried, with fewer replicas, over an unfinished release: its pause ended what served": Scenario(
        seed=1,
        incidents=(
            Apply(at=1, deployment=NAME, spec={**WATCHED, "replicas": 4}),
            Edit(at=90, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
            Edit(at=100, deployment=NAME, spec={"model": {"version": "v1.2.0"}, "replicas": 2}),
        ),
    ),
    "more replicas while too many new ones loaded ended one that served": Scenario(
        seed=1,
        incidents=(
            Apply(at=1, deployment=NAME, spec={**SPEC, "replicas": 6}),
            Edit(at=90, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
            Edit(at=100, deployment=NAME, spec={"model": {"version": "v1.2.0"}, "replicas": 4}),
            Edit(at=110, deployment=NAME, spec={"replicas": 5}),
        ),
    ),
    "a version that failed before its service came was taken back, and nobody knew that it failed": Scenario(
        seed=10159,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            BadVersion(at=26.6, seconds=186.6, version="v1.2.0", how="crashes"),
            Apply(at=26.6, deployment=NAME, spec={**WATCHED, "replicas": 1}),
            Edit(at=181.4, deployment=NAME, spec={"model": {"version": "v1.2.0"}}),
        ),
    ),
    "somebody's hand was put right late, because the API server refused every call": Scenario(
        seed=11993,
        load_seconds=60.0,
        incidents=(
            Apply(at=26.6, deployment=NAME, spec={**WATCHED, "replicas": 1}),
            Apply(
                at=28.4,
                deployment=NAME,
                spec={
                    "model": {"modelUri": MODEL, "version": "v1.1.0"},
                    "replicas": 1,
                    "resources": {"requests": {"nvidia.com/gpu": "2"}},
                },
            ),
            Edit(at=118.1, deployment=NAME, spec={"serving": {"maxConcurrency": 64}}),
            ApiTrouble(at=169.8, seconds=147.7, how="refused", share=1.0),
            Meddle(at=175.4, deployment=NAME, how="scales the workload up"),
        ),
    ),
    "a second edit while new pods had to be ready for a minute ended the only one that served": Scenario(
        seed=200056,
        nodes=3,
        incidents=(
            Apply(
                at=29, deployment=NAME, spec={**SPEC, "replicas": 1, "rollback": {"autoRollback": {"enabled": True}}}
            ),
            Edit(at=87.6, deployment=NAME, spec={"model": {"version": "v1.2.0"}}),
            Edit(at=94.8, deployment=NAME, spec={"runtime": {"env": [{"name": "HF_HOME", "value": "3"}]}}),
        ),
    ),
    "killed between its first status and all else, it told of a version that a pin then kept from coming": Scenario(
        seed=1422,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            Stop(at=16.6, seconds=156.2),
            Apply(at=26.5, deployment=NAME, spec={**WATCHED, "model": {"modelUri": MODEL, "version": "v1.1.0"}}),
            Edit(at=45.1, deployment=NAME, spec={"monitoring": {"serviceMonitor": {"enabled": False}}}),
            Pin(at=134.4, deployment=NAME, version="previous-stable"),
            Crash(at=161.1, calls=1, down_seconds=0.0),
            WatchTrouble(at=170.2, seconds=5.0, how="repeating", plural="versionpins"),
            Apply(at=170.7, deployment=NAME, spec={**SPEC, "replicas": 1}),
        ),
    ),
    "a service that is deleted and made anew at once": Scenario(
        seed=1,
        load_seconds=3.0,
        incidents=(
            Apply(at=1, deployment=NAME, spec=SPEC),
            Remove(at=90, deployment=NAME),
            Apply(at=90, deployment=NAME, spec=SPEC),
        ),
    ),
    "made anew at once under a pin that means nothing, it ran a version that went with the old one": Scenario(
        seed=20461,
        load_seconds=3.0,
        incidents=(
            Apply(at=14.1, deployment=NAME, spec=SPEC),
            Pin(at=161.2, deployment=NAME, version="previous-stable"),
            Remove(at=219, deployment=NAME),
            Apply(at=219, deployment=NAME, spec={**SPEC, "model": {"modelUri": MODEL, "version": "v1.1.0"}}),
        ),
    ),
    "a pod that had crashed and came back, of what was taken back for it, went as another one was ready": Scenario(
        seed=579,
        nodes=1,
        load_seconds=3.0,
        gateway=False,
        incidents=(
            Apply(at=28.2, deployment=NAME, spec=spec("v1.1.0", 2, "60s", {**TRIGGERED, "window": "60s"})),
            Edit(at=190.7, deployment=NAME, spec={"resources": TWO_GPUS}),
            BadVersion(at=190.7, seconds=9.0, version="v1.1.0", how="crashes"),
        ),
    ),
    "what a pod did not answer that had gone unseen held a canary at its step for hours": Scenario(
        seed=7623,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            Apply(
                at=16.3,
                deployment=NAME,
                spec=spec(
                    "v1.1.0",
                    1,
                    "0s",
                    NOT_WATCHED,
                    resources=TWO_GPUS,
                    deployment=canary((5, "5s"), (10, "5s"), (75, "20s")),
                ),
            ),
            WatchTrouble(at=81.3, seconds=115.1, how="expired", plural="pods"),
            Edit(at=121.6, deployment=NAME, spec={"serving": {"maxSequenceLength": 4096}}),
            Edit(at=160.3, deployment=NAME, spec={"monitoring": {"labels": {"team": "a"}}}),
        ),
    ),
}
"""What simulation found, or came close to, as the shortest scenario that showed it."""


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_mended(what: str) -> None:
    assert run(FOUND[what]).violation is None
