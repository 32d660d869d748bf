"""What people found, the fourth time they tried to break releases, of going back and of what comes after it."""

from typing import Any

import pytest
from sim_scenarios import NOT_WATCHED, ROLLING, WATCHED, blue_green, canary, edit, spec, version

from outrider.sim.crashes import NAME
from outrider.sim.incidents import (
    AnyIncident,
    Apply,
    BadVersion,
    Pin,
    Remove,
    Retry,
    Scenario,
    SlowLoads,
    Steer,
)
from outrider.sim.run import Outcome, run

QUICK: dict[str, Any] = {**WATCHED, "minRequests": 5}
INVALID = [{"name": "nowhere", "mountPath": "/x"}]
"""Volume mounts of no volume: the CRD lets them pass."""


def story(first: Apply, *incidents: AnyIncident, nodes: int = 2) -> Scenario:
    return Scenario(seed=1, load_seconds=3.0, nodes=nodes, incidents=(first, *incidents))


def served(replicas: int, deployment: dict[str, Any], standby: str, **rollback: Any) -> Apply:
    """v1.0.0 serves."""
    found = {**QUICK, **rollback} if rollback or standby else NOT_WATCHED
    return Apply(at=1, deployment=NAME, spec=spec("v1.0.0", replicas, standby or "60s", found, deployment=deployment))


def fails(at: float, seconds: float, which: str = "v1.1.0") -> BadVersion:
    return BadVersion(at=at, seconds=seconds, version=which, how="answers errors")


def told(played: Outcome, start: str, since: float) -> list[str]:
    """What the timeline says that begins so, from a moment on."""
    return [one.what for one in played.timeline.entries if one.what.startswith(start) and one.at >= since]


SLOW = SlowLoads(at=200, seconds=2000, load_seconds=150)
"""Whoever goes back to what is no longer loaded takes that long."""
STRATEGIES: dict[str, dict[str, Any]] = {"Canary": canary((10, "20s"), (50, "20s")), "BlueGreen": blue_green("20s")}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_next_version_that_comes_while_the_one_before_the_bad_one_loads_leaves_nobody_without_an_answer(
    strategy: str, nodes: int
) -> None:
    first = served(3, STRATEGIES[strategy], "10s")
    incidents = (version(60, "v1.1.0"), SLOW, fails(220, 3000), version(280, "v1.2.0"))
    played = run(story(first, *incidents, nodes=nodes), tell=True)
    assert (played.violation, played.taken_back) == (None, frozenset({"v1.1.0"}))
    statuses = [one.what for one in played.timeline.entries if one.who == "status" and one.at > 60]
    assert [one for one in statuses if "serves <none>" in one] == []


def test_a_version_that_was_taken_back_gets_no_new_pods_on_a_full_cluster() -> None:
    first = served(3, STRATEGIES["BlueGreen"], "10s")
    scenario = story(first, version(60, "v1.1.0"), SLOW, fails(220, 3000), version(280, "v1.2.0"), nodes=1)
    entries = run(scenario, tell=True).timeline.entries
    assert [one.at for one in entries if one.at > 220 and one.what.endswith("(v1.1.0) comes")] == []


def test_what_was_aborted_gives_its_traffic_to_what_was_good_although_the_next_one_is_released() -> None:
    played = run(
        story(
            served(3, blue_green("20s", autoPromotion=False), "10s"),
            version(60, "v1.1.0"),
            Steer(at=100, deployment=NAME, how="promote"),
            SlowLoads(at=200, seconds=120, load_seconds=150),
            Steer(at=231, deployment=NAME, how="abort"),
            version(370, "v1.2.0"),
            Steer(at=700, deployment=NAME, how="promote"),
        )
    )
    assert played.violation is None


def test_a_candidate_that_people_gave_up_is_no_place_to_go_back_to() -> None:
    played = run(
        story(
            served(4, ROLLING, "60s", cooldown="60s"),
            version(60, "v1.1.0"),
            fails(69, 30),
            version(72, "v1.0.0"),
            fails(200, 60, "v1.0.0"),
        )
    )
    assert (played.violation, played.taken_back) == (None, frozenset())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_released_again_while_it_still_has_the_traffic_is_watched(strategy: str) -> None:
    first = served(3, STRATEGIES[strategy], "10s", cooldown="60s")
    again = Retry(at=270, deployment=NAME)
    played = run(story(first, version(60, "v1.1.0"), SLOW, fails(220, 3000), again), tell=True)
    assert played.violation is None
    statuses = [one.what for one in played.timeline.entries if one.who == "status" and one.at > 270]
    assert "to serve v1.1.0, serves v1.1.0" in statuses[0]
    assert "Ready True (Serving), to serve v1.0.0, serves v1.0.0" in statuses[-1]


def test_a_pause_lasts_until_a_person_ends_it() -> None:
    played = run(
        story(
            served(4, ROLLING, "60s", bakeTime="300s"),
            version(60, "v1.1.0"),
            version(160, "v1.0.0"),
            version(500, "v1.1.0"),
            Steer(at=505, deployment=NAME, how="pause"),
            Steer(at=2500, deployment=NAME, how="resume"),
        ),
        tell=True,
    )
    assert played.violation is None
    came = [one.at for one in played.timeline.entries if one.at > 500 and one.what.endswith("(v1.1.0) comes")]
    assert [at for at in came if 505 < at < 2500] == []
    assert len(came) == 4


def test_an_emergency_rollback_under_an_invalid_spec_is_not_called_done() -> None:
    played = run(
        story(
            served(3, canary((50, "600s")), "60s"),
            version(60, "v1.1.0"),
            edit(200, volumeMounts=INVALID),
            BadVersion(at=220, seconds=1800, version="v1.1.0", how="crashes"),
            Pin(at=300, deployment=NAME, version="previous-stable", rejects=True),
            edit(1500, volumeMounts=[]),
        ),
        tell=True,
    )
    assert played.violation is None
    statuses = [one.what for one in played.timeline.entries if one.who == "status" and 300 < one.at < 1500]
    assert [one for one in statuses if "Ready True" in one] == []
    assert told(played, "Pinned: Held on v1.0.0", since=1500)


def test_a_pin_that_was_left_behind_does_not_keep_a_service_that_is_made_anew_from_starting() -> None:
    first = served(2, ROLLING, "")
    anew = spec("v1.1.0", 2, "60s", NOT_WATCHED, deployment=ROLLING)
    played = run(
        story(
            first,
            version(60, "v1.1.0"),
            Pin(at=120, deployment=NAME, version="previous-stable", rejects=True),
            Remove(at=200, deployment=NAME),
            Apply(at=260, deployment=NAME, spec=anew),
        ),
        tell=True,
    )
    assert played.violation is None
    assert told(played, "Ready: 2 replicas of v1.0.0", since=260)
