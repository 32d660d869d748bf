"""Drills of the way back, in a world of pods without time: what is started, what it proves, and what ends it."""

from collections.abc import Callable
from typing import Any

import pytest
from drill_world import (
    DrillWorld,
    annotations,
    ask,
    call_off,
    drill,
    drill_pods,
    released,
    remains,
    revision,
    told,
    turns,
)

from outrider.api import labels
from outrider.plan.actions import Scale
from outrider.plan.deployment.drill import REQUEST_LASTS
from outrider.plan.deployment.snapshot import PlanConfig


def test_a_drill_starts_one_pod_that_nothing_selects_and_ends_when_it_has_answered() -> None:
    made = released(load_ticks=3)
    before = {name: body["spec"] for (kind, name), body in made.objects.items() if kind in ("Deployment", "Service")}
    serving, budget = made.status.ready, made.objects["PodDisruptionBudget", "llama"]["spec"]["selector"]["matchLabels"]
    requested = ask(made)
    made.reconcile()
    assert (drill(made).outcome, drill(made).requested_at, drill(made).version) == ("Running", requested, "v1.0.0")
    assert told(made) == ["DrillStarted"]
    turns(made, 2, rounds=2)
    (pod,) = drill_pods(made)
    assert pod["metadata"]["labels"][labels.REVISION] == revision(made)
    for selector in (made.objects["Service", "llama"]["spec"]["selector"], budget):
        assert not selector.items() <= pod["metadata"]["labels"].items()
    assert (made.status.ready, made.status.replicas, made.status.phase) == (serving, 2, "Ready")

    turns(made, 10)
    found = drill(made)
    assert (found.outcome, found.reason, found.version) == ("Passed", "Answered", "v1.0.0")
    assert found.seconds is not None
    assert 0 < found.seconds <= 10
    assert found.ended_at
    assert found.message.startswith("a pod of it loaded and answered a completion after")
    assert told(made) == ["DrillStarted", "DrillPassed"]
    assert not remains(made)
    after = {name: body["spec"] for (kind, name), body in made.objects.items() if kind in ("Deployment", "Service")}
    assert after == before
    assert not any(pod["metadata"]["labels"][labels.MODEL_VERSION] == "v1.0.0" for pod in made.pods)


def test_the_gate_of_its_pod_is_never_opened() -> None:
    made = released()
    ask(made)
    for _ in range(20):
        made.reconcile()
        made.tick(0.2)
        for pod in drill_pods(made):
            found = {one["type"]: one["status"] for one in pod["status"].get("conditions") or []}
            assert labels.ANSWERS_REQUESTS not in found
            assert found.get("Ready") != "True"
    assert drill(made).outcome == "Passed"


def _crashes(made: DrillWorld) -> None:
    made.crashing.add("v1.0.0")


def _answers_nothing(made: DrillWorld) -> None:
    made.failing.add("v1.0.0")


def _loads_for_ever(made: DrillWorld) -> None:
    made.load_ticks = 10**6


def _gets_no_pod(made: DrillWorld) -> None:
    made.refused = "-drill"


FAILS: dict[str, tuple[Callable[[DrillWorld], None], str, str, str]] = {
    "its pod crashes": (_crashes, "Failed", "LoadFailed", "does not start: CrashLoopBackOff"),
    "its answers are bad": (_answers_nothing, "Failed", "WrongAnswers", "it answered 500"),
    "it is not loaded in time": (_loads_for_ever, "Failed", "DeadlineExceeded", "is still loading on node-0"),
    "nobody grants it a pod": (_gets_no_pod, "NotPossible", "NoPod", "exceeded quota"),
}


@pytest.mark.parametrize(("trouble", "outcome", "reason", "message"), FAILS.values(), ids=FAILS.keys())
def test_a_version_that_would_not_come_back(
    trouble: Callable[[DrillWorld], None], outcome: str, reason: str, message: str
) -> None:
    made = released()
    trouble(made)
    ask(made)
    turns(made, 1500, rounds=100)
    found = drill(made)
    assert (found.outcome, found.reason) == (outcome, reason)
    assert message in found.message
    assert found.seconds is None
    assert told(made) == ["DrillStarted", f"Drill{outcome}"]
    assert not remains(made)
    assert made.status.phase == "Ready"
    rollback = made.status.rollback
    assert rollback.target == "v1.0.0", "a drill takes nobody's standing"
    assert rollback.readiness == "Cold"
    assert (rollback.estimated_seconds is None) == (outcome == "Failed")
    assert (f"its drill of {found.ended_at} failed: " in rollback.message) == (outcome == "Failed")
    state = made.revision("v1.0.0").status
    assert state.rejection is None
    assert state.state != "Quarantined"


def test_bad_answers_are_given_the_time_in_which_an_answer_counts() -> None:
    made = released()
    made.failing.add("v1.0.0")
    ask(made)
    turns(made, 30)
    assert (drill(made).outcome, drill(made).reason) == ("Running", "Asking")
    made.failing.clear()
    turns(made, 5)
    assert drill(made).outcome == "Passed"


def test_an_operator_that_asks_nobody_blames_nobody() -> None:
    made = released()
    made.probing = False
    ask(made)
    turns(made, 1500, rounds=100)
    assert (drill(made).outcome, drill(made).reason) == ("Running", "Asking")


def _edited(made: DrillWorld) -> None:
    made.version("v3.0.0")


def _rolled_back(made: DrillWorld) -> None:
    made.set_pin(version="v1.0.0", revision=revision(made))


def _suspended(made: DrillWorld) -> None:
    made.edit({"replicas": 0})


def _rejected(made: DrillWorld) -> None:
    made.edit({"replicas": "many"})


def _resized(made: DrillWorld) -> None:
    made.edit({"replicas": 6})


def _no_revision(made: DrillWorld) -> None:
    del made.objects["ModelRevision", f"llama-{revision(made)}"]


def _wanted_elsewhere(made: DrillWorld) -> None:
    made.foreign_pod("train-1", "", "", 6)
    made.foreign_pods[-1]["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "Insufficient nvidia.com/gpu"}
    ]


def _waits_for_something_else(made: DrillWorld) -> None:
    made.foreign_pod("train-1", "", "", 1)
    made.foreign_pods[-1]["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "no node has label zone=a"}
    ]


ENDS: dict[str, tuple[Callable[[DrillWorld], None], str, str]] = {
    "another version is released": (_edited, "ReleaseUnderWay", "a release to v3.0.0 is under way"),
    "it is rolled back in earnest": (_rolled_back, "Serving", "v1.0.0 is what is served"),
    "the service is suspended": (_suspended, "Suspended", "no replica"),
    "the spec is rejected": (_rejected, "SpecRejected", "replicas"),
    "more replicas are wanted": (_resized, "ReleaseUnderWay", "under way"),
    "it is called off": (call_off, "CalledOff", "called off"),
    "its revision goes": (_no_revision, "RevisionGone", "ModelRevision is gone"),
    "a pod of somebody else needs its GPUs": (_wanted_elsewhere, "GPUsNeeded", "pod production/train-1 needs its GPUs"),
}


@pytest.mark.parametrize(("event", "reason", "message"), ENDS.values(), ids=ENDS.keys())
def test_a_drill_gives_way_at_once(event: Callable[[DrillWorld], None], reason: str, message: str) -> None:
    made = released(load_ticks=100)
    ask(made)
    turns(made, 5, rounds=5)
    assert drill(made).reason == "Loading"
    assert remains(made)
    hash_ = revision(made)
    event(made)
    plan = made.reconcile()
    assert (drill(made).outcome, drill(made).reason) == ("Interrupted", reason)
    assert message in drill(made).message
    first = plan.actions[0]
    assert isinstance(first, Scale), "its GPUs are given up before anything else is done"
    assert (first.name, first.replicas) == (f"llama-{hash_}-drill", 0)
    assert told(made) == ["DrillStarted", "DrillInterrupted"]
    made.tick()
    assert not drill_pods(made) or all(pod["metadata"].get("deletionTimestamp") for pod in drill_pods(made))
    turns(made, 5)
    assert not remains(made)


def test_a_pod_that_waits_for_something_else_ends_no_drill() -> None:
    made = released(load_ticks=3)
    ask(made)
    turns(made, 1, rounds=2)
    _waits_for_something_else(made)
    turns(made, 5)
    assert drill(made).outcome == "Passed"


def test_the_pods_of_the_service_have_its_gpus_first() -> None:
    made = released(gpus=3, load_ticks=100)
    ask(made)
    turns(made, 5, rounds=5)
    assert drill(made).reason == "Loading"
    made.pods.pop(0)
    made.foreign_pod("train-1", "", "node-0", 1)
    turns(made, 5, rounds=5)
    assert (drill(made).outcome, drill(made).reason) == ("Interrupted", "GPUsNeeded")
    made.load_ticks = 1
    turns(made, 10)
    assert made.status.ready == "2/2"


def _under_way(made: DrillWorld) -> None:
    made.load_ticks = 100
    made.version("v3.0.0")
    turns(made, 5)


def _full(made: DrillWorld) -> None:
    made.foreign_pod("train-1", "train", "node-0", 6)


REFUSED: dict[str, tuple[Callable[[DrillWorld], None], str, str, str]] = {
    "a release is under way": (_under_way, "v1.0.0", "ReleaseUnderWay", "a release to v3.0.0 is under way"),
    "it is what serves": (lambda _made: None, "v2.0.0", "Serving", "v2.0.0 is what is served"),
    "there is no room": (_full, "v1.0.0", "NoGPUs", "1 GPU is missing for 1 of 1 replica"),
    "nothing is wanted": (_suspended, "v1.0.0", "Suspended", "no replica"),
    "the spec is rejected": (_rejected, "v1.0.0", "SpecRejected", "replicas"),
}


@pytest.mark.parametrize(("state", "version", "reason", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_drill_is_not_begun(state: Callable[[DrillWorld], None], version: str, reason: str, message: str) -> None:
    made = released()
    state(made)
    ask(made, version)
    turns(made, 5)
    found = drill(made)
    assert (found.outcome, found.reason) == ("NotPossible", reason)
    assert message in found.message
    assert told(made) == ["DrillNotPossible"]
    assert not remains(made)


def test_a_pod_that_finds_no_node_where_nodes_cannot_be_read_is_nobodys_fault() -> None:
    made = released(gpus=3)
    made.foreign_pod("train-1", "train", "node-0", 1)
    made.nodes_seen = False
    ask(made)
    turns(made, 60)
    found = drill(made)
    assert (found.outcome, found.reason) == ("NotPossible", "NoGPUs")
    assert "finds no node: Insufficient nvidia.com/gpu" in found.message
    assert not remains(made)


def test_what_was_asked_for_once_is_run_once() -> None:
    made = released()
    ask(made)
    turns(made, 10)
    first = drill(made)
    turns(made, 400)
    assert drill(made) == first
    ask(made, at=made.now - 300)
    turns(made, 10)
    assert drill(made) == first or drill(made).requested_at > first.requested_at
    later = ask(made)
    turns(made, 10)
    assert (drill(made).requested_at, drill(made).outcome) == (later, "Passed")


def test_a_request_of_yesterday_is_not_begun_although_nothing_is_told_of_it() -> None:
    made = released()
    ask(made, at=made.now - REQUEST_LASTS - 1)
    turns(made, 10)
    assert (drill(made).outcome, drill(made).reason) == ("NotPossible", "TooLate")
    assert not remains(made)


def test_a_pod_of_an_earlier_drill_proves_nothing_for_the_next() -> None:
    made = released(load_ticks=100)
    ask(made)
    turns(made, 5, rounds=5)
    (pod,) = drill_pods(made)
    call_off(made)
    made.reconcile()
    made.tick(1.5)
    ask(made)
    made.reconcile()
    pod["metadata"].pop("deletionTimestamp", None)
    pod["status"]["conditions"] = [{"type": "ContainersReady", "status": "True"}]
    pod["asked"] = True
    made.pods = [*[one for one in made.pods if one is not pod], pod]
    made.reconcile()
    assert drill(made).outcome == "Running"


@pytest.mark.parametrize("trouble", [None, _crashes], ids=["it passes", "it fails"])
def test_whenever_the_operator_dies_the_drill_comes_to_the_same_end(
    trouble: Callable[[DrillWorld], None] | None,
) -> None:
    made = released(load_ticks=2)
    if trouble is not None:
        trouble(made)
    ask(made)
    for number in range(60):
        made.carry_out(made.plan(), stop_after=number % 3)
        made.tick(0.5)
        assert len([pod for pod in drill_pods(made) if not pod["metadata"].get("deletionTimestamp")]) <= 1
    turns(made, 5)
    assert drill(made).outcome == ("Failed" if trouble else "Passed")
    assert not remains(made)


def test_what_a_crash_has_left_goes() -> None:
    made = released()
    ask(made)
    turns(made, 1, rounds=2)
    leftover = next(dict(body) for (_, name), body in made.objects.items() if name.endswith("-drill"))
    turns(made, 10)
    made.objects["Deployment", leftover["metadata"]["name"]] = leftover
    turns(made, 5)
    assert not remains(made)


def test_what_a_drill_measured_is_the_estimate() -> None:
    made = released()
    ask(made)
    made.load_ticks = 40
    turns(made, 100, rounds=100)
    assert drill(made).outcome == "Passed"
    took = drill(made).seconds
    load = made.revision("v1.0.0").status.load
    assert took is not None
    assert load is not None
    assert (load.seconds, load.measured_by, load.time) == (took, "Drill", drill(made).ended_at)
    rollback = made.status.rollback
    assert rollback.readiness == "Cold"
    assert rollback.estimated_seconds is not None
    assert took + 10 <= rollback.estimated_seconds <= took + 20
    assert f"its own took {took:.0f} s in the drill of {drill(made).ended_at}" in rollback.message
    assert "its weights go with the pod (an emptyDir holds them)" in rollback.message


def test_what_its_own_pods_took_when_they_served_is_the_estimate_until_then() -> None:
    made = released()
    load = made.revision("v1.0.0").status.load
    assert load is not None
    assert load.measured_by == "Service"
    assert f"its own took {load.seconds:.0f} s when it served, {load.time}" in made.status.rollback.message


def test_the_revision_of_a_running_drill_is_kept_although_it_is_beyond_the_history() -> None:
    made = released(load_ticks=10**6)
    made.config = PlanConfig(history_limit=1)
    ask(made)
    turns(made, 5)
    assert drill(made).outcome == "Running"
    assert annotations(made, "v1.0.0")


def test_nobody_is_told_of_a_drill_where_there_was_none() -> None:
    made = released()
    assert made.status.rollback.last_drill is None
    annotations(made, "v1.0.0")[labels.DRILL] = "soon"
    turns(made, 5)
    assert made.status.rollback.last_drill is None


def _templates(made: DrillWorld) -> tuple[dict[str, Any], dict[str, Any]]:
    name = next(name for kind, name in made.objects if kind == "Deployment" and name.endswith("-drill"))
    return made.objects["Deployment", "llama"]["spec"]["template"], made.objects["Deployment", name]["spec"]["template"]


def test_the_pod_is_that_of_a_rollback_but_for_what_others_would_notice() -> None:
    made = released(load_ticks=100, scheduling={"priorityClassName": "production"})
    ask(made)
    turns(made, 1, rounds=2)
    _, drilled = _templates(made)
    made.set_pin(version="v1.0.0", revision=revision(made))
    turns(made, 5, rounds=5)
    real = made.objects["Deployment", "llama"]["spec"]["template"]
    assert real["metadata"]["labels"][labels.REVISION] == drilled["metadata"]["labels"][labels.REVISION]
    ours, theirs = drilled["spec"]["containers"][0], real["spec"]["containers"][0]
    for field in ("image", "args", "env", "volumeMounts", "resources", "startupProbe", "command"):
        assert ours[field] == theirs[field]
    assert drilled["spec"]["volumes"] == real["spec"]["volumes"]
    assert "priorityClassName" not in drilled["spec"]
    assert real["spec"]["priorityClassName"] == "production"
    assert "lifecycle" not in ours
    assert ours["terminationMessagePolicy"] == "FallbackToLogsOnError"
