"""What is wrong with a spec, or doubtful: all of it at once, in words that help."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from outrider.api.parse import Parsed, parse_spec

URI = "hf://meta-llama/Llama-3.1-8B-Instruct"
MODEL = {"modelUri": URI, "version": "v1.2.0"}


def parse(
    spec: Any, *, name: str = "llama-3.1-8b", namespace: str = "default", **metadata: Mapping[str, str]
) -> Parsed:
    return parse_spec(spec, name=name, namespace=namespace, **metadata)


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "no model at all": (
        {"model": {}},
        'spec.model.modelUri: Required value: say where the model is, for example "hf://meta-llama/Llama-3.1-8B-Instruct"',
    ),
    "a model that is no object": ({"model": 5}, "spec.model: Invalid value: 5: must be an object, not a number"),
    "a malformed model": (
        {"model": {"modelUri": "llama"}},
        'spec.model.modelUri: Invalid value: "llama": Invalid model URI: must begin with one of hf://',
    ),
    "an unknown name without a URI": ({"model": {"name": "our-llm"}}, "spec.model.modelUri: Required value"),
    "an unknown quantization": (
        {"model": MODEL | {"quantization": {"type": "int3"}}},
        'spec.model.quantization.type: Invalid value: "int3": Invalid quantization type: must be one of auto, none',
    ),
    "a version that YAML read as a number": (
        {"model": {"modelUri": URI, "version": 1.2}},
        'spec.model.version: Invalid value: 1.2: is a number: put it in quotes ("1.2")',
    ),
    "replicas in quotes": ({"replicas": "x"}, 'spec.replicas: Invalid value: "x": must be an integer, not text'),
    "replicas as true": ({"replicas": True}, "spec.replicas: Invalid value: true: must be an integer, not a boolean"),
    "negative replicas": ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be 0 or more"),
    "null": ({"replicas": None}, "spec.replicas: Invalid value: null: must be an integer, not null: remove the field"),
    "more at least than at most": (
        {"autoscaling": {"minReplicas": 5, "maxReplicas": 2}},
        "spec.autoscaling.minReplicas: Invalid value: 5: must not be more than maxReplicas, 2",
    ),
    "a percentage out of range": (
        {"autoscaling": {"targetGPUUtilization": 101}},
        "spec.autoscaling.targetGPUUtilization: Invalid value: 101: must be from 1 to 100",
    ),
    "a quantity that is none": (
        {"resources": {"requests": {"memory": "lots"}}},
        'spec.resources.requests.memory: Invalid value: "lots": must be a quantity',
    ),
    "half a GPU": (
        {"resources": {"limits": {"nvidia.com/gpu": "0.5"}}},
        'spec.resources.limits[nvidia.com/gpu]: Invalid value: "500m": must be a whole number of GPUs',
    ),
    "more requested than allowed": (
        {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}},
        'spec.resources.requests.memory: Invalid value: "2Gi": must not be more than the limit, 1Gi',
    ),
    "fewer GPUs requested than the limit": (
        {"resources": {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "2"}}},
        'spec.resources.requests[nvidia.com/gpu]: Invalid value: "1": must equal the limit, 2: GPUs cannot',
    ),
    "more parallel than there are GPUs": (
        {
            "model": MODEL | {"parallelism": {"tensor": 4}},
            "resources": {"requests": {"nvidia.com/gpu": 2}},
        },
        "needs 4 GPUs in each replica, which has 2: lower it, or raise spec.resources.requests[nvidia.com/gpu]",
    ),
    "a trigger in the wrong unit": (
        {"rollback": {"autoRollback": {"triggers": [{"errorRate": ">1ms"}]}}},
        'spec.rollback.autoRollback.triggers[0].errorRate: Invalid value: ">1ms": must be in %, for example ">1%"',
    ),
    "an indicator that does not exist": (
        {"rollback": {"autoRollback": {"triggers": [{"errorRate": ">1%"}, {"happiness": "<1%"}]}}},
        "spec.rollback.autoRollback.triggers[1].happiness: is not an indicator: use one of errorRate",
    ),
    "a rollback to latest": (
        {"rollback": {"previousVersions": ["latest"]}},
        'spec.rollback.previousVersions[0]: Invalid value: "latest": must name one version',
    ),
    "an unknown strategy": (
        {"deployment": {"rolloutStrategy": "YOLO"}},
        'spec.deployment.rolloutStrategy: Invalid value: "YOLO": must be one of RollingUpdate, Canary, BlueGreen',
    ),
    "an unknown stage": (
        {"deployment": {"stage": "gold"}},
        'spec.deployment.stage: Invalid value: "gold": must be one of poc, development, staging, production',
    ),
    "an update that cannot move": (
        {"deployment": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
        "spec.deployment.rollingUpdate.maxSurge: Invalid value: 0: must not be 0 while maxUnavailable is 0",
    ),
    "canary steps that go back": (
        {"deployment": {"canary": {"steps": [{"weight": 50}, {"weight": 10}]}}},
        "spec.deployment.canary.steps[1].weight: Invalid value: 10: must be more than the step before, 50",
    ),
    "an objective without a target": (
        {"scheduling": {"sloPolicy": {"objectives": [{"name": "availability"}]}}},
        "spec.scheduling.sloPolicy.objectives[0].target: Required value",
    ),
    "a target that means nothing": (
        {"scheduling": {"sloPolicy": {"objectives": [{"name": "availability", "target": "often"}]}}},
        'spec.scheduling.sloPolicy.objectives[0].target: Invalid value: "often": must be like "500ms"',
    ),
    "an alias is blamed under its own name": (
        {"schedulerName": 7},
        "spec.schedulerName: Invalid value: 7: must be text",
    ),
    "an alias that disagrees": (
        {"schedulerName": "a", "scheduling": {"scheduler": "b"}},
        "spec.schedulerName: Invalid value: \"a\": spec.scheduling.scheduler says 'b' for the same thing: keep one",
    ),
    "a node selector that disagrees with itself": (
        {"nodeSelector": {"zone": "a"}, "scheduling": {"nodeSelector": {"zone": "b"}}},
        "spec.nodeSelector.zone: Invalid value: \"a\": spec.scheduling.nodeSelector.zone says 'b'",
    ),
    "a precision that disagrees with the type": (
        {"model": MODEL | {"quantization": {"type": "int8", "precision": "fp16"}}},
        'spec.model.quantization.precision: Invalid value: "fp16": spec.model.quantization.type says',
    ),
    "two sources": (
        {"model": MODEL | {"source": {"s3": {"bucket": "models", "prefix": "llama"}}}},
        "spec.model.source.s3: Forbidden: spec.model.modelUri says",
    ),
    "a mount of no volume": (
        {"volumeMounts": [{"name": "cache", "mountPath": "/cache"}]},
        'spec.volumeMounts[0].name: Invalid value: "cache": must be the name of one of spec.volumes',
    ),
    "a variable that Outrider sets": (
        {"runtime": {"env": [{"name": "POD_IP", "value": "1.2.3.4"}]}},
        'spec.runtime.env[0].name: Invalid value: "POD_IP": is set by Outrider: use another name',
    ),
    "a label that Kubernetes would refuse": (
        {"template": {"metadata": {"labels": {"team": "a b"}}}},
        'spec.template.metadata.labels.team: Invalid value: "a b": must be a label value',
    ),
    "root that is not root": (
        {"security": {"runAsNonRoot": True, "runAsUser": 0}},
        "spec.security.runAsUser: Invalid value: 0: must not be 0 (root) together with runAsNonRoot",
    ),
    "a schedule of four fields": (
        {"backup": {"schedule": "0 2 * *"}},
        'spec.backup.schedule: Invalid value: "0 2 * *": must be five fields: minute, hour',
    ),
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_mistakes_are_explained(sentence: str) -> None:
    spec, said = ERRORS[sentence]
    parsed = parse({"model": MODEL} | spec)
    assert parsed.spec is None
    assert len(parsed.errors) == 1, [str(error) for error in parsed.errors]
    assert said in str(parsed.errors[0])


def test_all_mistakes_come_at_once() -> None:
    parsed = parse(
        {
            "model": {"modelUri": "nowhere", "version": "a b"},
            "replicas": "two",
            "autoscaling": {"minReplicas": None, "maxReplicas": -1},
            "resources": {"requests": {"memory": "lots", "nvidia.com/gpu": "1.5"}},
            "rollback": {"autoRollback": {"triggers": [{"errorRate": "1"}, {"latencyP95": ">5%"}, {}]}},
        },
        name="Llama_8B",
    )
    assert {error.path for error in parsed.errors} == {
        "metadata.name",
        "spec.model.modelUri",
        "spec.model.version",
        "spec.replicas",
        "spec.autoscaling.minReplicas",
        "spec.autoscaling.maxReplicas",
        "spec.resources.requests.memory",
        "spec.resources.requests[nvidia.com/gpu]",
        "spec.rollback.autoRollback.triggers[0].errorRate",
        "spec.rollback.autoRollback.triggers[1].latencyP95",
        "spec.rollback.autoRollback.triggers[2]",
    }


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"5", b'"x"', b"[]", b"\xff\xfe", b"[" * 5000])
def test_bytes_that_are_no_object_are_one_error(raw: bytes) -> None:
    parsed = parse(raw)
    assert [error.path for error in parsed.errors] == ["spec"]
    assert str(parsed.errors[0])


def test_raw_json_and_mappings_mean_the_same() -> None:
    raw = msgspec.json.encode({"model": MODEL})
    assert parse(raw) == parse(msgspec.Raw(raw)) == parse({"model": MODEL})


WARNINGS: dict[str, tuple[dict[str, Any], str]] = {
    "latest in production": (
        {"model": {"modelUri": URI, "version": "latest"}},
        'spec.model.version is "latest" in production',
    ),
    "no version in production": ({"model": {"modelUri": URI}}, 'spec.model.version is "latest" in production'),
    "a tag in production": (
        {"model": {"modelUri": URI, "version": "main"}},
        'spec.model.version is "main" in production',
    ),
    "a checksum that is only hinted at": (
        {"model": MODEL | {"checksums": {"sha256": "a1b2c3d4e5f6..."}}},
        "is a placeholder",
    ),
    "weights that do not add up": (
        {"scheduling": {"sloPolicy": {"objectives": [{"name": "availability", "target": "99.9%", "weight": 0.5}]}}},
        "add up to 0.5: make them add up to 1",
    ),
    "an objective that nobody knows": (
        {"scheduling": {"sloPolicy": {"objectives": [{"name": "happiness", "target": "99%"}]}}},
        '"happiness" is not known',
    ),
    "a scheduler that nobody knows": ({"scheduling": {"scheduler": "mine"}}, 'scheduler "mine" not found'),
    "replicas out of bounds": (
        {"replicas": 9, "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 3}},
        "spec.replicas is 9, but autoscaling keeps the number between 1 and 3: 3 will run",
    ),
    "nobody serves": ({"replicas": 0}, "no replica will run"),
    "both sides of a disruption budget": (
        {"disruption": {"maxUnavailable": 1, "minAvailable": 1}},
        "spec.disruption has both maxUnavailable and minAvailable",
    ),
    "a trigger that fires when all is well": (
        {"rollback": {"autoRollback": {"triggers": [{"throughput": ">10 tokens/sec"}]}}},
        "asks for a rollback when all is well",
    ),
    "a fallback named twice": ({"rollback": {"previousVersions": ["v1.0.0", "v1.0.0"]}}, "again: once is enough"),
    "a fallback to itself": ({"rollback": {"previousVersions": ["v1.2.0"]}}, "which is the version asked for"),
    "more weights than memory": (
        {
            "model": {"modelUri": "hf://meta-llama/Llama-3.1-70B-Instruct", "version": "v1.0.0"},
            "resources": {"requests": {"nvidia.com/gpu": "1"}},
        },
        "Insufficient GPU memory: the weights take about 141 GB and 1 GPU(s) of 80 GB hold 72 GB: ask for 4 GPUs",
    ),
    "no GPU": ({"resources": {"limits": {"nvidia.com/gpu": "0"}}}, "will run on CPUs"),
}


@pytest.mark.parametrize("sentence", WARNINGS)
def test_what_is_doubtful_is_said_and_still_accepted(sentence: str) -> None:
    spec, said = WARNINGS[sentence]
    parsed = parse({"model": MODEL} | spec, namespace="production")
    assert parsed.errors == ()
    assert len(parsed.warnings) == 1, parsed.warnings
    assert said in parsed.warnings[0]


def test_a_good_spec_has_no_warnings() -> None:
    assert parse({"model": MODEL}, namespace="production").warnings == ()


PARTLY_READABLE = {
    "a trigger that is no object": (
        {"rollback": {"autoRollback": {"triggers": ["errorRate", {"latencyP95": ">1s"}]}}},
        "spec.rollback.autoRollback.triggers[0]",
    ),
    "requests that are a list": ({"resources": {"requests": ["nvidia.com/gpu"]}}, "spec.resources.requests"),
    "limits that are text": ({"resources": {"limits": "all"}}, "spec.resources.limits"),
}


@pytest.mark.parametrize(("spec", "path"), PARTLY_READABLE.values(), ids=PARTLY_READABLE.keys())
def test_what_cannot_be_read_is_one_mistake_and_does_not_end_the_reading(spec, path: str) -> None:
    assert [error.path for error in parse({"model": MODEL} | spec).errors] == [path]


def test_a_spec_without_a_bottom_is_one_error() -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"a": deep}
    (error,) = parse({"model": MODEL, "affinity": deep}).errors
    assert str(error) == "spec: is nested more than 100 levels deep: no field needs that"


def test_at_most_none_without_a_word_on_the_least_blames_what_is_written() -> None:
    (error,) = parse({"model": MODEL, "autoscaling": {"maxReplicas": 0}}).errors
    assert error.path == "spec.autoscaling.maxReplicas"
    assert parse({"model": MODEL, "autoscaling": {"minReplicas": 0, "maxReplicas": 0}}).errors == ()
