"""A candidate that the Gateway cannot reach, though its pods answer: what is held for it, and what is not."""

from collections.abc import Callable

import msgspec
import pytest
from plan_world import PlanWorld
from release_world import annotate, go_on, release, released, selected, traffic, turns_bad, weights, world

from outrider.api import labels
from outrider.api.meta import find_condition
from outrider.plan.deployment.front_door import LATELY
from outrider.plan.deployment.observed import FrontDoorView
from outrider.plan.deployment.snapshot import Snapshot

Door = Callable[[PlanWorld], Callable[[Snapshot], FrontDoorView | None]]
PROBLEM = "the Gateway answered 502: no route to host"


def door(
    *,
    service: float | None = 1.0,
    service_error: str = "",
    asked: bool = True,
    answered: bool = True,
    failures: int = 0,
    failing: float | None = None,
    error: str = "",
) -> Door:
    """The service's path last answered so many seconds ago; the candidate's has failed for so many seconds."""

    def made(world: PlanWorld) -> Callable[[Snapshot], FrontDoorView | None]:
        def view(snapshot: Snapshot) -> FrontDoorView | None:
            at = snapshot.deployment.status.release
            shared = snapshot.deployment.status.traffic
            if at is None or shared is None or shared.candidate != at.revision:
                return None
            return FrontDoorView(
                revision=at.revision,
                url=f"http://gateway/production/{shared.service}",
                service_answered=None if service is None else world.now - service,
                service_error=service_error,
                asked=asked,
                answered=answered,
                failures=failures,
                failing_since=None if failing is None else world.now - failing,
                error=error,
            )

        return view

    return made


ANSWERS = door()
AWAITED = door(answered=False, error="the Gateway answered 404: no such route")
NEVER_ASKED = door(asked=False, answered=False)
HICCUP = door(failures=1, failing=2, error=PROBLEM)
SOON = door(failures=5, failing=14, error=PROBLEM)
LASTING = door(failures=4, failing=20, error=PROBLEM)
SILENT = door(service=None, service_error="no answer within 5 s", failures=9, failing=60, error=PROBLEM)
SILENT_AGAIN = door(service=LATELY + 1, service_error="no answer within 5 s", failures=9, failing=60, error=PROBLEM)
GONE_TOGETHER = door(service=30, service_error=PROBLEM, failures=9, failing=25, error=PROBLEM)

WAITING: dict[str, tuple[Door, str, int, str]] = {
    # What requests through the Gateway say; what the first step waits for, its weight, and the condition.
    "it answers": (ANSWERS, "its time", 10, "True Answering"),
    "it has not answered yet": (AWAITED, "the Gateway to lead to it", 0, "Unknown AwaitingAnswer"),
    "it was not asked yet": (NEVER_ASKED, "the Gateway to lead to it", 0, "Unknown AwaitingAnswer"),
    "nobody has asked for anything yet": (
        door(service=None, asked=False, answered=False), "the Gateway to lead to it", 0, "Unknown AwaitingAnswer",
    ),
    "it answered before, and nothing is known now": (door(asked=False), "its time", 10, "Unknown AwaitingAnswer"),
    "it fails once": (HICCUP, f"the Gateway to reach it: {PROBLEM}", 0, "Unknown AwaitingAnswer"),
    "it fails for less than 15 s": (SOON, f"the Gateway to reach it: {PROBLEM}", 0, "Unknown AwaitingAnswer"),
    "it fails, and everything else answers": (
        LASTING, f"the Gateway to reach it: {PROBLEM}", 0, "False UnreachableThroughGateway",
    ),
    "nothing answers through the Gateway": (SILENT, "its time", 10, "Unknown GatewaySilent"),
    "nothing has answered through the Gateway for a while": (SILENT_AGAIN, "its time", 10, "Unknown GatewaySilent"),
    "the service has not answered since the candidate does not": (
        GONE_TOGETHER, f"the Gateway to reach it: {PROBLEM}", 0, "Unknown AwaitingAnswer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WAITING)
def test_the_first_step_of_a_canary(sentence: str) -> None:
    view, waits_for, weight, condition = WAITING[sentence]
    made = world()
    made.front_door = view(made)
    at = released(made)
    assert (at.waits_for, at.weight, weights(made)) == (waits_for, weight, [100 - weight, weight])
    said = made.condition("CandidateReachable")
    assert f"{said.status} {said.reason}" == condition, said.message
    assert at.verdict == ("Hold" if condition.startswith("False") else "Watching")


def test_nobody_who_asks_there_holds_nothing_and_says_nothing() -> None:
    made = world()
    assert released(made).weight == 10
    assert find_condition(made.status.conditions, "CandidateReachable") is None


def test_a_version_that_the_gateway_cannot_reach_is_held_and_goes_on_once_it_can() -> None:
    made = world()
    made.front_door = ANSWERS(made)
    released(made)
    made.front_door = LASTING(made)
    go_on(made, 400)
    at = release(made)
    assert (at.step, at.weight, at.phase) == (0, 10, "Watching")
    assert (at.verdict, at.reason, at.waits_for) == ("Hold", "UnreachableThroughGateway", "the Gateway to reach it")
    assert at.message == (
        "The Gateway cannot reach v2.0.0, whose pods answer when they are asked directly: requests to "
        f"http://gateway/production/{traffic(made).service} fail ({PROBLEM}), and those to the service are answered."
    )
    assert made.condition("ReleaseHealthy").message == at.message
    told = [event for event in made.events if event.reason == "UnreachableThroughGateway"]
    assert [event.type for event in told] == ["Warning"]
    made.front_door = ANSWERS(made)
    go_on(made, 400)
    assert release(made).stage == "Standby"


def test_blue_green_does_not_switch_to_what_the_gateway_cannot_reach() -> None:
    made = world("BlueGreen")
    made.front_door = LASTING(made)
    released(made)
    go_on(made, 600)
    assert (release(made).stage, release(made).reason, selected(made)) == (
        "Preview", "UnreachableThroughGateway", "v1.0.0",
    )  # fmt: skip
    made.front_door = ANSWERS(made)
    go_on(made, 80)
    assert (release(made).stage, selected(made)) == ("Standby", "v2.0.0")


@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen"])
@pytest.mark.parametrize("view", [SILENT, SILENT_AGAIN])
def test_a_gateway_that_does_not_answer_the_operator_holds_nothing_and_is_told_once(strategy: str, view: Door) -> None:
    made = world(strategy)
    made.front_door = view(made)
    released(made)
    go_on(made, 40)
    assert "nothing waits for it" in made.condition("CandidateReachable").message
    go_on(made, 200)
    assert release(made).stage == "Standby"
    assert [event.reason for event in made.events].count("GatewaySilent") == 1


def test_what_its_own_pods_do_not_answer_either_is_not_the_gateways_doing() -> None:
    made = world()
    made.front_door = ANSWERS(made)
    released(made)
    made.failing.add("v2.0.0")
    made.front_door = LASTING(made)
    go_on(made)
    assert release(made).reason != "UnreachableThroughGateway"
    assert release(made).waits_for == f"the Gateway to reach it: {PROBLEM}"


def test_what_is_worse_is_taken_back_whether_or_not_the_gateway_reaches_it() -> None:
    made = world()
    made.front_door = ANSWERS(made)
    released(made)
    made.front_door = LASTING(made)
    turns_bad(made)
    go_on(made)
    assert release(made).phase == "RolledBack"


def test_a_person_may_promote_it_all_the_same() -> None:
    made = world("BlueGreen")
    made.front_door = LASTING(made)
    released(made)
    annotate(made, labels.PROMOTE_RELEASE, release(made).started_time)
    go_on(made)
    assert selected(made) == "v2.0.0"


def test_of_another_release_nothing_is_known() -> None:
    made = world()
    view = LASTING(made)

    def of_another(snapshot: Snapshot) -> FrontDoorView | None:
        found = view(snapshot)
        return None if found is None else msgspec.structs.replace(found, revision="another")

    made.front_door = of_another
    assert released(made).weight == 10
