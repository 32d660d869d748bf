"""A replica whose GPU is faulty and that serves nobody is made anew on another GPU; one that serves is left alone."""

from collections.abc import Callable
from typing import Any

import pytest
from plan_world import PlanWorld
from release_world import go_on, release, released, sizes, world

from outrider.api import labels
from outrider.api.meta import format_time
from outrider.plan.actions import Evict
from outrider.plan.deployment.replacement import AGAIN, PATIENCE

GPU = "nvidia.com/gpu"


def ready(made: PlanWorld) -> dict[str, Any]:
    """The first replica of a service that is ready."""
    made.settle()
    assert made.status.phase == "Ready"
    return made.pods[0]


def sick(made: PlanWorld, pod: dict[str, Any]) -> None:
    """The kubelet calls the pod's GPU unhealthy, and its node has one less to give."""
    told = [{"name": GPU, "resources": [{"resourceID": "GPU-1", "health": "Unhealthy"}]}]
    pod["status"]["containerStatuses"] = [{"name": "model-server", "allocatedResourcesStatus": told}]
    (node,) = (one for one in made.nodes if one["metadata"]["name"] == pod["spec"]["nodeName"])
    node["status"].setdefault("capacity", dict(node["status"]["allocatable"]))
    node["status"]["allocatable"] = {GPU: str(int(node["status"]["allocatable"][GPU]) - 1)}


def down(made: PlanWorld, pod: dict[str, Any], *, since: float | None = None, waiting: str = "") -> None:
    at = {"lastTransitionTime": format_time(made.now if since is None else since)}
    others = [one for one in pod["status"]["conditions"] if one["type"] not in ("Ready", "ContainersReady")]
    new = [{"type": kind, "status": "False", **at} for kind in ("Ready", "ContainersReady")]
    pod["status"]["conditions"] = [*others, *new]
    if waiting:
        (status,) = pod["status"]["containerStatuses"]
        status |= {"state": {"waiting": {"reason": waiting}}, "restartCount": 3}


def _serves(made: PlanWorld, pod: dict[str, Any]) -> None:
    sick(made, pod)


def _crashes(made: PlanWorld, pod: dict[str, Any]) -> None:
    sick(made, pod)
    down(made, pod, waiting="CrashLoopBackOff")


def _silent_for(seconds: float) -> Callable[[PlanWorld, dict[str, Any]], None]:
    def done(made: PlanWorld, pod: dict[str, Any]) -> None:
        sick(made, pod)
        down(made, pod, since=made.now - seconds)

    return done


def _answers_nothing(made: PlanWorld, pod: dict[str, Any]) -> None:
    sick(made, pod)
    made.failing.add("v1.0.0")


def _well_and_crashes(made: PlanWorld, pod: dict[str, Any]) -> None:
    pod["status"]["containerStatuses"] = [{"name": "model-server"}]
    down(made, pod, waiting="CrashLoopBackOff")


def _on_a_silent_node(made: PlanWorld, pod: dict[str, Any]) -> None:
    _well_and_crashes(made, pod)
    made.nodes[0]["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]


def _no_other_is_free(made: PlanWorld, pod: dict[str, Any]) -> None:
    _crashes(made, pod)
    made.foreign_pod("other", "other", "node-0", 6)


def _one_more_is_free(made: PlanWorld, pod: dict[str, Any]) -> None:
    """On its own node, whose eight less one are seven, and which has six held by others."""
    _crashes(made, pod)
    made.foreign_pod("other", "other", "node-0", 5)


def _nobody_may_read_nodes(made: PlanWorld, pod: dict[str, Any]) -> None:
    _crashes(made, pod)
    made.nodes_readable = False


def _the_node_still_offers_it(made: PlanWorld, pod: dict[str, Any]) -> None:
    _crashes(made, pod)
    made.nodes[0]["status"]["allocatable"] = {GPU: "8"}


def _another_is_on_its_way(made: PlanWorld, pod: dict[str, Any]) -> None:
    _crashes(made, pod)
    made.pods[1]["metadata"]["deletionTimestamp"] = format_time(made.now)


def _another_hangs_on_a_silent_node(made: PlanWorld, pod: dict[str, Any]) -> None:
    """Kubernetes has told it to go, and nobody is there who could say that it has."""
    _another_is_on_its_way(made, pod)
    silent = made.node("node-7", 8)
    silent["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    made.nodes.append(silent)
    made.pods[1]["spec"]["nodeName"] = "node-7"


def _another_finds_no_node(made: PlanWorld, pod: dict[str, Any]) -> None:
    """As one of a template that asks for more GPUs than any node has."""
    _crashes(made, pod)
    made.pods[1]["spec"]["nodeName"] = ""
    made.pods[1]["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "Insufficient GPUs"}]


CASES: dict[str, tuple[Callable[[PlanWorld, dict[str, Any]], None], str]] = {
    "it crashes on an unhealthy GPU": (
        _crashes,
        "llama-1 does not run: CrashLoopBackOff, and GPU-1 of node-0 is Unhealthy: it is made anew on another GPU.",
    ),
    "it has not been ready for long on an unhealthy GPU": (
        _silent_for(PATIENCE + 1),
        "llama-1 is not ready, and GPU-1 of node-0 is Unhealthy: it is made anew on another GPU.",
    ),
    "it has not been ready for a moment: it may be loading": (_silent_for(PATIENCE - 1), ""),
    "it is ready and answers nothing": (
        _answers_nothing,
        "llama-1 answers no request, and GPU-1 of node-0 is Unhealthy: it is made anew on another GPU.",
    ),
    "it still serves on an unhealthy GPU": (_serves, ""),
    "it crashes, and its GPU is well": (_well_and_crashes, ""),
    "its node is silent: Kubernetes itself moves the pod": (_on_a_silent_node, ""),
    "no other GPU is free": (_no_other_is_free, ""),
    "the last GPU that is free is on its own node, which counts the lost one as held": (
        _one_more_is_free,
        "llama-1 does not run: CrashLoopBackOff, and GPU-1 of node-0 is Unhealthy: it is made anew on another GPU.",
    ),
    "the operator may not read nodes": (
        _nobody_may_read_nodes,
        "llama-1 does not run: CrashLoopBackOff, and GPU-1 of node-0 is Unhealthy: it is made anew on another GPU.",
    ),
    "its node still offers the lost GPU, and would get the new pod": (_the_node_still_offers_it, ""),
    "another pod is on its way already": (_another_is_on_its_way, ""),
    "another pod hangs on a node that is lost": (
        _another_hangs_on_a_silent_node,
        "llama-1 does not run: CrashLoopBackOff, and GPU-1 of node-0 is Unhealthy: it is made anew on another GPU.",
    ),
    "another pod finds no node at all": (
        _another_finds_no_node,
        "llama-1 does not run: CrashLoopBackOff, and GPU-1 of node-0 is Unhealthy: it is made anew on another GPU.",
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_which_pod_is_made_anew(sentence: str) -> None:
    happens, why = CASES[sentence]
    made = PlanWorld()
    happens(made, ready(made))
    evicted = [action for action in made.plan().actions if isinstance(action, Evict)]
    assert [(one.name, one.uid, one.reason, one.why) for one in evicted] == (
        [("llama-1", "uid-llama-1", "EvictedForGPUFault", why)] if why else []
    )


def test_it_is_replaced_and_the_service_is_whole_again() -> None:
    made = PlanWorld()
    _crashes(made, ready(made))
    made.settle()
    assert made.status.phase == "Ready"
    assert [pod["metadata"]["name"] for pod in made.pods] == ["llama-2", "llama-3"]
    assert [event.reason for event in made.events].count("EvictedForGPUFault") == 1


@pytest.mark.parametrize("over", [False, True], ids=["in its time", "when its time is over"])
def test_a_version_on_standby_gives_its_gpus_to_a_replica_that_lost_its_own(over: bool) -> None:
    """Kept because what took over does not answer in full, it would hold the very GPUs that this one lacks."""
    made = world("BlueGreen")
    released(made)
    go_on(made, 80)
    assert release(made).stage == "Standby"
    made.foreign_pod("other", "other", "node-0", 16 - 2 * 4)
    lost = next(pod for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] == "v2.0.0")
    if over:
        down(made, lost)
        lost["age"] = -60
        go_on(made, 400, rounds=40)
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}
    _crashes(made, lost)
    go_on(made)
    assert sizes(made) == {"v2.0.0": 4}
    assert made.condition("Ready").status == "True"


def test_a_version_that_takes_requests_gives_up_none_for_it() -> None:
    made = world(canary={"steps": [{"weight": 50, "duration": "1h"}]})
    released(made)
    made.foreign_pod("other", "other", "node-0", 16 - 4 - 2)
    lost = next(pod for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] == "v2.0.0")
    _crashes(made, lost)
    assert not [action for action in made.plan().actions if isinstance(action, Evict)]


def test_of_many_one_goes_at_a_time() -> None:
    made = PlanWorld()
    ready(made)
    both = list(made.pods)
    for pod in both:
        sick(made, pod)
    gone = []
    for _ in range(10):
        for pod in both:
            down(made, pod, waiting="CrashLoopBackOff")
        evicted = [action for action in made.reconcile().actions if isinstance(action, Evict)]
        assert len(evicted) <= 1
        gone += [one.name for one in evicted]
        made.tick()
    assert gone == ["llama-1", "llama-2"]


def test_a_refused_eviction_is_asked_for_again_as_long_as_there_is_reason_to() -> None:
    made = PlanWorld()
    _crashes(made, ready(made))
    first = made.plan()
    assert first.requeue_at is not None
    assert first.requeue_at <= made.now + AGAIN
    made.now += AGAIN  # the budget has refused it: nothing has changed
    assert [type(action) for action in made.plan().actions if isinstance(action, Evict)] == [Evict]


def test_patience_ends_by_itself() -> None:
    made = PlanWorld()
    _silent_for(0)(made, ready(made))
    made.reconcile()
    planned = made.plan()
    assert not [action for action in planned.actions if isinstance(action, Evict)]
    assert planned.requeue_at is not None
    assert planned.requeue_at <= made.now + PATIENCE


def test_people_read_what_is_beneath_a_replica() -> None:
    made = PlanWorld()
    _serves(made, ready(made))
    made.reconcile()
    message = made.condition("Ready").message
    assert message.endswith(" serve. Beneath llama-1: GPU-1 of node-0 is Unhealthy.")
