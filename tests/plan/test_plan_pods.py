"""What a pod gets for files, users and placement. The whole of it is in tests/golden/plan."""

from typing import Any

import pytest
from plan_world import LLAMA, PlanWorld, merged

from outrider.plan.actions import Apply
from outrider.plan.deployment.snapshot import PlanConfig


def template(spec: dict[str, Any], config: PlanConfig | None = None) -> dict[str, Any]:
    world = PlanWorld(merged(LLAMA, {"spec": spec}), config=config)
    bodies = [step.body for step in world.plan().actions if isinstance(step, Apply)]
    (found,) = [body["spec"]["template"] for body in bodies if body["kind"] == "Deployment"]
    return dict(found)


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    return dict(template(spec)["spec"])


def engine(spec: dict[str, Any]) -> dict[str, Any]:
    return dict(pod(spec)["containers"][0])


def mounted(spec: dict[str, Any]) -> dict[str, Any]:
    """Mount path -> what is mounted there."""
    volumes = {volume["name"]: {k: v for k, v in volume.items() if k != "name"} for volume in pod(spec)["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in engine(spec).get("volumeMounts", [])}


def variables(spec: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in engine(spec)["env"]}


def model(uri: str) -> dict[str, Any]:
    return {"model": {"modelUri": uri}}


EMPTY: dict[str, Any] = {"emptyDir": {}}
CLAIM = {"persistentVolumeClaim": {"claimName": "weights"}}


def own_volume(path: str, name: str = "mine") -> dict[str, Any]:
    return {"volumes": [{"name": name, **CLAIM}], "volumeMounts": [{"name": name, "mountPath": path}]}


FILES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a model of the hub is kept in the pod's cache, so that a restart of the container does not fetch it again": (
        {},
        {"/model-cache": EMPTY},
    ),
    "a volume of the user's own takes the cache's place, and outlives the pod": (
        own_volume("/model-cache"),
        {"/model-cache": CLAIM},
    ),
    "a cache of the user's own with the same name": (
        own_volume("/data", "model-cache"),
        {"/data": CLAIM, "/model-cache": EMPTY},
    ),
    "root's own cache, as docker run examples mount it": (
        own_volume("/root/.cache/huggingface"),
        {"/root/.cache/huggingface": CLAIM},
    ),
    "a model in a claim": (
        model("pvc://weights/llama/v1"),
        {
            "/models": {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
            "/model-cache": EMPTY,
        },
    ),
    "a model in an image, by its tag": (
        model("oci://registry.example.com/llama:v1"),
        {
            "/models": {"image": {"reference": "registry.example.com/llama:v1", "pullPolicy": "IfNotPresent"}},
            "/model-cache": EMPTY,
        },
    ),
    "a model in an image, by the version": (
        model("oci://registry.example.com/llama"),
        {
            "/models": {"image": {"reference": "registry.example.com/llama:v1.0.0", "pullPolicy": "IfNotPresent"}},
            "/model-cache": EMPTY,
        },
    ),
    "several GPUs exchange data through shared memory: half of the pod's, at most 20 GiB": (
        {"resources": {"requests": {"nvidia.com/gpu": "4", "memory": "16Gi"}}},
        {"/model-cache": EMPTY, "/dev/shm": {"emptyDir": {"medium": "Memory", "sizeLimit": "8192Mi"}}},
    ),
    "a root file system that cannot be written": (
        {"security": {"readOnlyRootFilesystem": True}},
        {"/model-cache": EMPTY, "/tmp": EMPTY},
    ),
}


@pytest.mark.parametrize("sentence", FILES)
def test_files(sentence: str) -> None:
    spec, expected = FILES[sentence]
    assert mounted(spec) == expected


VARIABLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the engine's home and the hub's files are in the cache": (
        {},
        {"HOME": "/model-cache", "HF_HOME": "/model-cache/huggingface", "USER": "vllm"},
    ),
    "the user's own word counts": (
        {"runtime": {"env": [{"name": "HF_HOME", "value": "/data"}]}},
        {"HOME": "/model-cache", "HF_HOME": "/data", "USER": "vllm"},
    ),
    "root's own cache is left to the image": (
        own_volume("/root/.cache"),
        {"HOME": None, "HF_HOME": None, "USER": None},
    ),
}


@pytest.mark.parametrize("sentence", VARIABLES)
def test_variables(sentence: str) -> None:
    spec, expected = VARIABLES[sentence]
    assert {name: variables(spec).get(name) for name in expected} == expected


RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SECCOMP = {"seccompProfile": {"type": "RuntimeDefault"}}
AS_VLLM = RESTRICTED | {"runAsNonRoot": True, "runAsUser": 2000}
GROUP = {"fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch"}
USERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "vLLM's own image runs as the user that it has": ({}, SECCOMP | GROUP, AS_VLLM),
    "a mirror of it, by digest": (
        {"model": {"image": "registry.example.com:5000/mirror/vllm/vllm-openai@sha256:" + "0" * 64}},
        SECCOMP | GROUP,
        AS_VLLM,
    ),
    "another image keeps its user": ({"model": {"image": "example.com/own/engine:1"}}, SECCOMP, RESTRICTED),
    "root's own cache can be read by root only": (own_volume("/root/.cache"), SECCOMP, RESTRICTED),
    "a user that the spec names": (
        {"security": {"runAsUser": 7}},
        SECCOMP | {"runAsUser": 7},
        RESTRICTED,
    ),
    "root, as the spec asks for": (
        {"security": {"runAsNonRoot": False}},
        SECCOMP | {"runAsNonRoot": False},
        RESTRICTED,
    ),
    "an ordinary user for the whole pod": (
        {"security": {"enabled": True}},
        SECCOMP | {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 2000},
        RESTRICTED,
    ),
    "a group of its own": ({"security": {"fsGroup": 9}}, SECCOMP | {"fsGroup": 9}, AS_VLLM),
    "everything is left to the cluster": ({"security": {"enabled": False}}, {}, {}),
}


@pytest.mark.parametrize("sentence", USERS)
def test_users(sentence: str) -> None:
    spec, for_pod, for_engine = USERS[sentence]
    assert pod(spec).get("securityContext", {}) == for_pod
    assert engine(spec).get("securityContext", {}) == for_engine


def test_sidecars_stay_as_they_are_written() -> None:
    sidecar = {"name": "log-shipper", "image": "example.com/shipper:1"}
    assert pod({"containers": [sidecar]})["containers"][1:] == [sidecar]


def test_a_priority_class_is_named_by_the_spec_alone() -> None:
    assert "priorityClassName" not in pod({})
    assert pod({"scheduling": {"priorityClassName": "urgent"}})["priorityClassName"] == "urgent"


def test_a_pod_that_ends_takes_requests_until_every_proxy_knows() -> None:
    """Traefik takes over endpoints every 2 s, the longest delay that was measured; the default leaves ample room."""
    drain = PlanConfig().drain_seconds
    assert drain >= 2 * 2
    spec = pod({})
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": drain}}}
    assert spec["terminationGracePeriodSeconds"] >= drain + PlanConfig().shutdown_seconds


@pytest.mark.parametrize(
    ("uri", "seconds"),
    [("hf://meta-llama/Llama-3.1-8B-Instruct", 600), ("hf://meta-llama/Llama-3.1-405B-Instruct", 6000)],
)
def test_a_large_model_may_take_as_long_as_its_weights_need(uri: str, seconds: int) -> None:
    probe = engine(model(uri))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= seconds


COLOURS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "the guide's green": ("llama-3.1-8b-green", {}, "green"),
    "the guide's blue": ("llama-3.1-8b-blue", {}, "blue"),
    "a name that only contains it": ("green-llama", {}, None),
    "a colour alone is a name": ("blue", {}, None),
    "a name that ends in something else": ("llama-3.1-8b-prod", {}, None),
    "the user's own label comes first": (
        "llama-green", {"template": {"metadata": {"labels": {"deployment": "mine"}}}}, "mine",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "colour"), COLOURS.values(), ids=COLOURS.keys())
def test_the_label_by_which_a_service_chooses_between_blue_and_green(
    name: str, spec: dict[str, Any], colour: str | None
) -> None:
    world = PlanWorld(merged(LLAMA, {"metadata": {"name": name}, "spec": spec}))
    (body,) = [
        step.body for step in world.plan().actions if isinstance(step, Apply) and step.body["kind"] == "Deployment"
    ]
    assert body["spec"]["template"]["metadata"]["labels"].get("deployment") == colour
