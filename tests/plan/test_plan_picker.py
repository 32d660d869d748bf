"""The endpoint picker: where it is set up, where not and why, and how requests come to it and away from it."""

from typing import Any

import pytest
from plan_gateway import ACCEPTED, gateway, say
from plan_world import LLAMA, PlanWorld, merged

from outrider.api.meta import find_condition
from outrider.plan.actions import Apply, Delete
from outrider.plan.deployment.observed import ClusterKinds
from outrider.plan.deployment.snapshot import PlanConfig

POOLS = PlanConfig(gateway_name="front", gateway_namespace="infra", inference_pool=True)
ASKED = merged(LLAMA, {"spec": {"scheduling": {"scheduler": "llm-d-inference-scheduler"}}})
HAS_POOLS = ClusterKinds(http_routes=True, inference_pools=True, service_monitors=False)
PICKER_KINDS = {"ServiceAccount", "Role", "RoleBinding", "InferencePool"}


def world(
    manifest: dict[str, Any] = ASKED,
    config: PlanConfig = POOLS,
    kinds: ClusterKinds = HAS_POOLS,
    *,
    settle: bool = True,
) -> PlanWorld:
    made = PlanWorld(manifest, config=config)
    made.gateway = gateway(["192.0.2.1"])
    made.kinds = kinds
    if settle:
        made.settle()
    return made


def backends(made: PlanWorld) -> set[tuple[str, str]]:
    """(kind, name) of everything that routes lead to."""
    return {
        (ref["kind"], ref["name"])
        for (kind, _), body in made.objects.items()
        if kind == "HTTPRoute"
        for rule in body["spec"]["rules"]
        for ref in rule["backendRefs"]
    }


def start_picker(made: PlanWorld, available: int = 1) -> None:
    made.objects["Deployment", "llama-epp"]["status"] = {"availableReplicas": available}


SERVICE, POOL = {("Service", "llama")}, {("InferencePool", "llama")}

WHY_NOT: dict[str, tuple[dict[str, Any], PlanConfig, ClusterKinds, str, str]] = {
    "no Gateway": (ASKED, PlanConfig(), HAS_POOLS, "NoGateway", "no Gateway"),
    "a Gateway of which it is not said that it knows pools": (
        ASKED,
        PlanConfig(gateway_name="front"),
        HAS_POOLS,
        "PoolsNotEnabled",
        "--inference-pool",
    ),
    "a cluster without pools": (
        ASKED,
        POOLS,
        ClusterKinds(http_routes=True, inference_pools=False),
        "NoInferencePool",
        "this cluster has no InferencePool",
    ),
    "nobody knows whether the cluster has pools": (
        ASKED,
        POOLS,
        ClusterKinds(http_routes=True),
        "Unknown",
        "It is not known",
    ),
    "another scheduler": (
        merged(LLAMA, {"spec": {"scheduling": {"scheduler": "round-robin"}}}),
        POOLS,
        HAS_POOLS,
        "UnknownScheduler",
        "llm-d-inference-scheduler",
    ),
}


@pytest.mark.parametrize("sentence", WHY_NOT)
def test_without_a_picker_the_service_answers_and_the_reason_is_told(sentence: str) -> None:
    manifest, config, kinds, reason, message = WHY_NOT[sentence]
    made = world(manifest, config, kinds)
    assert backends(made) <= SERVICE
    assert not [key for key in made.objects if key[0] in PICKER_KINDS]
    condition = made.condition("EndpointPicker")
    assert (condition.status, condition.reason) == ("Unknown" if reason == "Unknown" else "False", reason)
    assert message in condition.message
    assert made.status.phase == "Ready"
    if reason != "Unknown":
        honoured = made.condition("SpecHonoured")
        assert honoured.reason == "FieldsNotActedOn"
        assert message in honoured.message
        assert "spec.scheduling.scheduler" in made.status.ignored_fields


def test_nobody_who_did_not_ask_hears_of_pickers() -> None:
    made = world(LLAMA)
    assert find_condition(made.status.conditions, "EndpointPicker") is None
    assert made.condition("SpecHonoured").status == "True"
    assert not [key for key in made.objects if key[0] in PICKER_KINDS]


def test_requests_go_to_the_pool_once_its_picker_is_up() -> None:
    made = world()
    assert backends(made) == SERVICE, "the picker is not up yet"
    assert made.condition("EndpointPicker").reason == "PickerStarting"
    start_picker(made)
    made.settle()
    assert backends(made) == POOL
    assert made.condition("EndpointPicker").status == "True"
    assert made.condition("SpecHonoured").status == "True"
    start_picker(made, available=0)
    made.settle()
    assert backends(made) == POOL, "failureMode is FailOpen: requests go on without it"


def test_what_the_picker_needs_is_there_before_the_pool_and_that_before_any_route() -> None:
    made = world(settle=False)
    kinds = [step.body["kind"] for step in made.plan().actions if isinstance(step, Apply)]
    order = ["ServiceAccount", "Role", "RoleBinding", "Service", "Deployment", "InferencePool", "HTTPRoute"]
    assert [kind for kind in kinds[1:] if kind in order][: len(order)] == order


def test_the_pool_selects_the_pods_of_the_deployment() -> None:
    made = world()
    spec = made.objects["InferencePool", "llama"]["spec"]
    template = made.objects["Deployment", "llama"]["spec"]["template"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    picker = made.objects["Deployment", "llama-epp"]["spec"]["template"]
    assert not spec["selector"]["matchLabels"].items() <= picker["metadata"]["labels"].items()
    assert spec["targetPorts"] == [{"number": template["spec"]["containers"][0]["ports"][0]["containerPort"]}]
    reference = spec["endpointPickerRef"]
    service = made.objects["Service", reference["name"]]
    assert reference["failureMode"] == "FailOpen"
    assert reference["port"]["number"] in [port["port"] for port in service["spec"]["ports"]]
    assert service["spec"]["selector"].items() <= picker["metadata"]["labels"].items()


def test_a_gateway_that_refuses_pools_gets_the_service_again() -> None:
    made = world()
    start_picker(made)
    made.settle()
    refused = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "InvalidKind")}
    for route in ("llama", "llama.path"):
        say(made, route, **refused)
    made.reconcile()
    assert backends(made) == SERVICE
    assert made.condition("EndpointPicker").reason == "GatewayRefusesPool"
    assert ("InferencePool", "llama") in made.objects, "until the gateway has taken notice"
    for route in ("llama", "llama.path"):
        say(made, route, **ACCEPTED)
    made.settle()
    assert backends(made) == SERVICE, "it is not tried again and again"
    condition = made.condition("EndpointPicker")
    assert (condition.status, condition.reason) == ("False", "GatewayRefusesPool")
    assert "use a gateway that supports them" in condition.message
    assert made.condition("RouteAccepted").status == "True"
    assert "GatewayRefusesPool" in {event.reason for event in made.events}
    assert not [key for key in made.objects if key[0] in PICKER_KINDS or key[1] == "llama-epp"]
    made.version("v1.1.0")
    made.reconcile()
    assert made.condition("EndpointPicker").reason == "PickerStarting", "a new spec is a new try"


GONE: dict[str, tuple[dict[str, Any], ClusterKinds]] = {
    "the spec asks for it no more": ({"scheduling": None}, HAS_POOLS),
    "the cluster has no pools any more": ({}, ClusterKinds(http_routes=True, inference_pools=False)),
}


@pytest.mark.parametrize("sentence", GONE)
def test_a_picker_goes_when_nothing_leads_to_it_any_more(sentence: str) -> None:
    patch, kinds = GONE[sentence]
    made = world()
    start_picker(made)
    made.settle()
    for route in ("llama", "llama.path"):
        say(made, route, **ACCEPTED)
    made.edit(patch)
    made.kinds = kinds
    made.settle()
    assert backends(made) == SERVICE
    assert ("InferencePool", "llama") in made.objects, "the gateway may still send requests there"
    for route in ("llama", "llama.path"):
        say(made, route, **ACCEPTED)
    made.settle()
    assert not [key for key in made.objects if key[1] == "llama-epp"], "once it knows better"
    assert ("InferencePool", "llama") not in made.objects


def test_what_is_not_known_for_a_while_changes_nothing() -> None:
    made = world()
    start_picker(made)
    made.settle()
    made.kinds = ClusterKinds()
    decided = made.plan()
    assert not [step for step in decided.actions if isinstance(step, Apply | Delete)]
    made.settle()
    assert backends(made) == POOL


DRIFT: dict[str, tuple[tuple[str, str], list[str | int], Any]] = {
    "the pool's picker": (("InferencePool", "llama"), ["spec", "endpointPickerRef", "name"], "other"),
    "the rights": (("Role", "llama-epp"), ["rules", 0, "verbs"], ["get"]),
    "who has them": (("RoleBinding", "llama-epp"), ["subjects"], []),
    "the picker": (("Deployment", "llama-epp"), ["spec", "replicas"], 0),
}


@pytest.mark.parametrize("what", DRIFT)
def test_what_somebody_changed_is_put_right(what: str) -> None:
    made = world()
    key, path, value = DRIFT[what]
    target: Any = made.objects[key]
    for step in path[:-1]:
        target = target[step]
    before = target[path[-1]]
    target[path[-1]] = value
    made.settle()
    target = made.objects[key]
    for step in path[:-1]:
        target = target[step]
    assert target[path[-1]] == before


def test_the_picker_of_somebody_else_is_left_alone() -> None:
    theirs = {"metadata": {"name": "llama-epp", "uid": "theirs"}, "spec": {"replicas": 3}}
    made = world(settle=False)
    made.objects["Deployment", "llama-epp"] = dict(theirs)
    made.settle()
    assert made.objects["Deployment", "llama-epp"] == theirs
    (own,) = [name for kind, name in made.objects if kind == "ServiceAccount"]
    assert own.startswith("llama-")
    assert own.endswith("-epp")
    assert own != "llama-epp"
