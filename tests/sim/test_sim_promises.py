"""Every promise can be broken, and the simulation sees it: an operator that breaks just this one is caught."""

from collections.abc import Callable
from typing import Any

import pytest
import saboteurs
from saboteurs import saboteur

from outrider.sim.crashes import CANARY, NAME, SPEC
from outrider.sim.incidents import AnyIncident, Apply, Drill, Edit, Scenario, SlowLoads
from outrider.sim.run import run

STORY = (
    Apply(at=1, deployment=NAME, spec={**SPEC, "rollback": {"autoRollback": {"bakeTime": "2m"}}}),
    Edit(at=250, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
    SlowLoads(at=500, seconds=1, load_seconds=3),  # nothing happens for a while
)

BY_STEPS = (
    Apply(at=1, deployment=NAME, spec=CANARY),
    Edit(at=100, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
    SlowLoads(at=150, seconds=1, load_seconds=3),
)

DRILLED = (
    Apply(at=1, deployment=NAME, spec=SPEC),
    Edit(at=60, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
    Drill(at=150, deployment=NAME),
    SlowLoads(at=200, seconds=1, load_seconds=3),
)

CAUGHT: dict[str, tuple[Callable[[str, Any, dict[str, Any]], dict[str, Any]], str]] = {
    "it takes all pods away before a release": (
        saboteurs.scales_to_nothing,
        "never fewer ready pods than asked for by anything but a fault",
    ),
    "it runs more pods than anybody asked for": (
        saboteurs.scales_too_far,
        "never more pods than replicas and surge",
    ),
    "it releases a version of its own": (
        saboteurs.releases_what_it_likes,
        "never a version that nobody asked for",
    ),
    "it says Ready before anything serves": (
        saboteurs.says_ready,
        "never Ready without every replica of the version",
    ),
    "it sends requests to nobody": (
        saboteurs.points_the_service_elsewhere,
        "never traffic to nothing for long while pods are ready",
    ),
    "it numbers its releases alike": (
        saboteurs.numbers_all_alike,
        "revisions are numbered without repetition",
    ),
    "it writes for ever": (saboteurs.never_rests(), "in the end there is quiet"),
    "it wakes people up for nothing": (saboteurs.cries_wolf, "never an alarm about nothing"),
    "it takes good versions back": (
        saboteurs.takes_back_what_is_good,
        "never a version taken back that did not fail",
    ),
    "it has a defect": (saboteurs.has_a_defect, "no reconcile crashes"),
}


def _is_caught(
    incidents: tuple[AnyIncident, ...], falsify: Callable[[str, Any, dict[str, Any]], dict[str, Any]], promise: str
) -> None:
    """An operator whose writes are falsified breaks that promise first."""
    outcome = run(Scenario(seed=1, incidents=incidents, load_seconds=3.0), between=saboteur(falsify))
    assert outcome.violation is not None
    assert outcome.violation.promise == promise, outcome.violation.message


@pytest.mark.parametrize("what", CAUGHT)
def test_an_operator_that_breaks_a_promise_is_caught(what: str) -> None:
    _is_caught(STORY, *CAUGHT[what])


CAUGHT_BY_STEPS: dict[str, tuple[Callable[[str, Any, dict[str, Any]], dict[str, Any]], str]] = {
    "it moves all traffic to nobody": (
        saboteurs.moves_all_traffic_to_nobody(),
        "never all traffic to fewer pods than it needs",
    ),
    "it gives a share to what is not ready": (
        saboteurs.divides_badly(50, 50),
        "never a share of the traffic to nothing",
    ),
    "it is called Ready on its steps": (
        saboteurs.says_ready_on_its_steps,
        "never Ready in the middle of a release by steps",
    ),
    "it has more than its step": (
        saboteurs.gives_more_than_its_step,
        "never more of the traffic than its step says",
    ),
    "its shares are no shares": (saboteurs.divides_badly(90, 0), "shares of the traffic add up to 100"),
}


@pytest.mark.parametrize("what", CAUGHT_BY_STEPS)
def test_an_operator_that_breaks_a_promise_of_a_release_by_steps_is_caught(what: str) -> None:
    _is_caught(BY_STEPS, *CAUGHT_BY_STEPS[what])


CAUGHT_BY_DRILLS: dict[str, tuple[Callable[[str, Any, dict[str, Any]], dict[str, Any]], str]] = {
    "the pod of its drill is ready": (saboteurs.serves_by_drills, "a drill never takes traffic"),
    "the pod of its drill is an endpoint": (saboteurs.has_services_select_drills, "a drill never takes traffic"),
    "it leaves its drill where it is": (saboteurs.forgets_its_drills, "in the end all is as it was asked for"),
}


@pytest.mark.parametrize("what", CAUGHT_BY_DRILLS)
def test_an_operator_that_breaks_a_promise_of_drills_is_caught(what: str) -> None:
    _is_caught(DRILLED, *CAUGHT_BY_DRILLS[what])


def test_an_operator_that_cuts_off_traffic_is_caught() -> None:
    outcome = run(Scenario(seed=1, incidents=STORY, load_seconds=3.0), between=saboteurs.cuts_off_traffic)
    assert outcome.violation is not None
    assert outcome.violation.promise == "never traffic to nothing while pods are ready"


def test_the_same_story_breaks_no_promise_of_the_real_one() -> None:
    for story in (STORY, BY_STEPS, DRILLED):
        assert run(Scenario(seed=1, incidents=story, load_seconds=3.0)).violation is None
