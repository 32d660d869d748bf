"""A plan is made of any good spec and any world, and Kubernetes takes the names and labels of what it would write."""

import copy
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_world import LLAMA, PlanWorld
from specs import NAMES, SPECS, valid

from outrider.api import names
from outrider.api.llmdeployment import LLMDeploymentStatus
from outrider.api.modelrevision import ModelRevisionSpec, ModelRevisionStatus
from outrider.plan.actions import Apply, Create, Plan

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
STATUS = valid(LLMDeploymentStatus)
PODS = st.fixed_dictionaries(
    {"phase": st.sampled_from(["Pending", "Running", "Failed", "Succeeded", "Unknown", ""])},
    optional={
        "podIP": st.sampled_from(["", "10.0.0.1"]),
        "reason": st.sampled_from(["Evicted", "NodeLost"]),
        "conditions": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.sampled_from(["Ready", "ContainersReady", "PodScheduled", "Odd"]),
                    "status": st.sampled_from(["True", "False", "Unknown"]),
                }
            ),
            max_size=3,
        ),
        "containerStatuses": st.sampled_from(
            [
                [],
                [{"name": "model-server", "restartCount": 9, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
                [{"name": "model-server", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}],
                [{"name": "somebody", "state": {}}],
            ]
        ),
    },
)
NODES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"metadata": {"name": "bare"}},
        {"metadata": {"name": "cordoned"}, "spec": {"unschedulable": True}, "status": {"allocatable": {"cpu": "4"}}},
        {"metadata": {"name": "sick"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        {"metadata": {"name": "small"}, "status": {"allocatable": {"nvidia.com/gpu": "1", "memory": "1Ki"}}},
    ]
)
WORKLOADS = st.fixed_dictionaries(
    {},
    optional={
        "observedGeneration": st.integers(0, 5),
        "replicas": st.integers(0, 9),
        "updatedReplicas": st.integers(0, 9),
        "readyReplicas": st.integers(0, 9),
        "availableReplicas": st.integers(0, 9),
    },
)


MOST_PODS = 3


def _world(name: str, spec: dict[str, Any]) -> PlanWorld:
    """Of a few pods, whatever the spec and its autoscaling want: the world makes each of them."""
    manifest = copy.deepcopy(LLAMA)
    manifest["metadata"]["name"] = name  # type: ignore[index]
    manifest["spec"] = wanted = copy.deepcopy(spec)
    for counts in (wanted, wanted.get("autoscaling", {})):
        for field in counts.keys() & {"replicas", "minReplicas", "maxReplicas"}:
            counts[field] = min(counts[field], MOST_PODS)
    return PlanWorld(manifest, gpus_per_node=8)


def _bodies(made: Plan) -> list[dict[str, Any]]:
    return [action.body for action in made.actions if isinstance(action, Apply | Create)]


def _labels(value: Any) -> list[tuple[str, str]]:
    """Every label and selector within an object."""
    found = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("labels", "matchLabels", "nodeSelector") and isinstance(item, dict):
                found += list(item.items())
            found += _labels(item)
    elif isinstance(value, list | tuple):
        found += [pair for item in value for pair in _labels(item)]
    return found


@settings(QUICK, max_examples=60)
@given(NAMES.filter(lambda name: names.subdomain_problem(name) is None), SPECS, st.integers(0, 4))
def test_what_is_written_for_a_good_spec_has_names_and_labels_that_kubernetes_takes(name, spec, rounds) -> None:
    world = _world(name, spec)
    for _ in range(rounds):
        world.reconcile()
        world.tick()
    made = world.plan()
    assert msgspec.json.encode(made), "a plan can be printed"
    for body in _bodies(made):
        written = str(body["metadata"]["name"])
        assert names.subdomain_problem(written) is None, written
        assert body["kind"] != "Service" or names.is_service_name(written), written
        for key, value in _labels(body):
            assert names.is_label_value(value), (body["kind"], key, value)


@settings(QUICK, max_examples=120)
@given(data=st.data())
def test_no_world_however_odd_keeps_a_plan_from_being_made(data: st.DataObject) -> None:
    world = _world("llama", data.draw(SPECS))
    for _ in range(data.draw(st.integers(0, 4))):
        world.reconcile()
        world.tick()
    if data.draw(st.booleans()):
        world.manifest["status"] = data.draw(STATUS)
    for pod in world.pods:
        if data.draw(st.booleans()):
            pod["status"] = data.draw(PODS)
    for (kind, _), body in world.objects.items():
        if kind == "Deployment" and data.draw(st.booleans()):
            body["status"] = data.draw(WORKLOADS)
        if kind == "ModelRevision" and data.draw(st.booleans()):
            body["spec"] |= data.draw(valid(ModelRevisionSpec))
            body["status"] = data.draw(valid(ModelRevisionStatus))
    for lost in data.draw(st.lists(st.sampled_from(sorted(world.objects) or [("", "")]), max_size=2)):
        world.objects.pop(lost, None)
    odd: list[dict[str, Any]] = data.draw(st.lists(NODES, max_size=2))
    world.nodes = world.nodes[: data.draw(st.integers(0, 1))] + odd
    if data.draw(st.booleans()):
        world.set_pin(version=data.draw(st.sampled_from(["v1.0.0", "previous-stable", "", "nonsense"])))
    world.probing = data.draw(st.booleans())
    world.now += data.draw(st.sampled_from([-3600.0, 0.0, 1.0, 10**7]))
    made = world.plan()
    assert msgspec.json.encode(made), "a plan can be printed"
