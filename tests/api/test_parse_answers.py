"""What a spec means once its aliases are folded, its defaults applied and its metadata asked."""

from collections.abc import Mapping
from typing import Any

import pytest

from outrider.api.parse import Parsed, parse_spec
from outrider.api.spec import LLMDeploymentSpec

URI = "hf://meta-llama/Llama-3.1-8B-Instruct"
MODEL = {"modelUri": URI, "version": "v1.2.0"}


def parse(
    spec: Any, *, name: str = "llama-3.1-8b", namespace: str = "default", **metadata: Mapping[str, str]
) -> Parsed:
    return parse_spec(spec, name=name, namespace=namespace, **metadata)


def good(spec: dict[str, Any], **metadata: Any) -> LLMDeploymentSpec:
    parsed = parse({"model": MODEL} | spec, **metadata)
    assert parsed.errors == ()
    assert parsed.spec is not None
    return parsed.spec


STAGES: dict[str, tuple[str | None, str | None, str | None, str, str, str]] = {
    # spec, label, annotation, namespace -> stage, from where
    "the spec decides": ("staging", "production", "poc", "production", "staging", "spec"),
    "then the label": (None, "production", "poc", "staging", "production", "label"),
    "then the annotation": (None, None, "poc", "staging", "poc", "annotation"),
    "then the namespace": (None, None, None, "staging", "staging", "namespace"),
    "the deprecated namespace too": (None, None, None, "llm-d-production", "production", "namespace"),
    "else it is development": (None, None, None, "team-a", "development", "default"),
    "a stage that is none is passed over": (None, "gold", "poc", "x", "poc", "annotation"),
}


@pytest.mark.parametrize("sentence", STAGES)
def test_the_stage_is_found(sentence: str) -> None:
    in_spec, label, annotation, namespace, stage, source = STAGES[sentence]
    spec = {"model": MODEL} | ({"deployment": {"stage": in_spec}} if in_spec else {})
    parsed = parse(
        spec,
        namespace=namespace,
        labels={"deployment.stage": label} if label else {},
        annotations={"deployment.stage": annotation} if annotation else {},
    )
    assert parsed.spec is not None
    assert (parsed.spec.stage, parsed.facts.stage, parsed.facts.stage_from) == (stage, stage, source)


def test_places_that_disagree_about_the_stage_are_told() -> None:
    parsed = parse({"model": MODEL}, labels={"deployment.stage": "production"}, annotations={"deployment.stage": "poc"})
    assert parsed.warnings == ("annotation says stage poc, label says production: production counts",)


REPLICAS: dict[str, tuple[dict[str, Any], int]] = {
    "one by default": ({}, 1),
    "as many as asked for": ({"replicas": 3}, 3),
    "none if none are asked for": ({"replicas": 0}, 0),
    "autoscaling's minimum": ({"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}}, 2),
    "autoscaling without a minimum": ({"autoscaling": {"enabled": True}}, 1),
    "autoscaling that is off says nothing": ({"replicas": 4, "autoscaling": {"minReplicas": 2}}, 4),
    "a number within autoscaling's bounds": (
        {"replicas": 5, "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}},
        5,
    ),
    "a number beyond them": (
        {"replicas": 50, "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}},
        10,
    ),
}


@pytest.mark.parametrize("sentence", REPLICAS)
def test_the_number_of_replicas_is_one_answer(sentence: str) -> None:
    spec, replicas = REPLICAS[sentence]
    assert good(spec).desired_replicas == replicas


PARALLELISM: dict[str, tuple[dict[str, Any], int, int]] = {
    # parallelism, GPUs -> tensor parallel size
    "all GPUs of a replica": ({}, 2, 2),
    "as written": ({"tensor": 1}, 2, 1),
    "what pipeline leaves": ({"pipeline": 2}, 8, 4),
    "one without GPUs, whatever is written": ({"tensor": 4}, 0, 1),
}


@pytest.mark.parametrize("sentence", PARALLELISM)
def test_tensor_parallelism_follows_from_the_gpus(sentence: str) -> None:
    parallelism, gpus, size = PARALLELISM[sentence]
    spec = good({"model": MODEL | {"parallelism": parallelism}, "resources": {"requests": {"nvidia.com/gpu": gpus}}})
    assert spec.tensor_parallel_size == size


RESOURCES: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    "nothing stated": (
        {},
        {"cpu": "4", "memory": "24Gi", "nvidia.com/gpu": "1"},
        {"memory": "24Gi", "nvidia.com/gpu": "1"},
    ),
    "only GPUs stated": (
        {"requests": {"nvidia.com/gpu": "2"}},
        {"cpu": "8", "memory": "24Gi", "nvidia.com/gpu": "2"},
        {"memory": "24Gi", "nvidia.com/gpu": "2"},
    ),
    "only limits stated": (
        {"limits": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}},
        {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"},
        {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"},
    ),
    "other resources too": (
        {"requests": {"ephemeral-storage": "100Gi"}},
        {"cpu": "4", "ephemeral-storage": "100Gi", "memory": "24Gi", "nvidia.com/gpu": "1"},
        {"ephemeral-storage": "100Gi", "memory": "24Gi", "nvidia.com/gpu": "1"},
    ),
}


@pytest.mark.parametrize("sentence", RESOURCES)
def test_resources_are_completed(sentence: str) -> None:
    written, requests, limits = RESOURCES[sentence]
    assert good({"resources": written}).resources.manifest() == {"requests": requests, "limits": limits}


def test_what_was_filled_in_is_told() -> None:
    parsed = parse({"model": MODEL | {"quantization": {"type": "int8"}}})
    assert parsed.defaulted == ("spec.resources: cpu 4, memory 16Gi, nvidia.com/gpu 1, for 8.0 GB of weights (int8)",)


def test_long_loading_models_get_time() -> None:
    big = {"model": {"modelUri": "hf://meta-llama/Llama-3.1-70B-Instruct", "version": "v1.0.0"}}
    assert good({}).progress_deadline_seconds == 600
    assert good(big).progress_deadline_seconds == good(big).start_seconds == 1430
    assert good(big | {"deployment": {"progressDeadlineSeconds": 60}}).progress_deadline_seconds == 60


BUDGETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one at a time by default": ({}, {"maxUnavailable": 1}),
    "as many as may go": ({"maxUnavailable": "25%"}, {"maxUnavailable": "25%"}),
    "as many as must stay": ({"minAvailable": 2}, {"minAvailable": 2}),
    "those that may go, of both": ({"maxUnavailable": 2, "minAvailable": 1}, {"maxUnavailable": 2}),
}


@pytest.mark.parametrize("sentence", BUDGETS)
def test_a_disruption_budget_has_one_field(sentence: str) -> None:
    written, budget = BUDGETS[sentence]
    assert good({"disruption": written}).disruption_budget == budget


def test_pods_get_what_was_written_for_them_from_wherever_it_was() -> None:
    pod = good(
        {
            "runtime": {"env": [{"name": "A", "value": "1"}]},
            "containers": [
                {
                    "name": "engine",
                    "env": [{"name": "B", "value": "2"}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                },
                {"name": "proxy", "image": "envoy"},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "nodeSelector": {"zone": "a"},
            "scheduling": {"nodeSelector": {"node-type": "gpu"}, "tolerations": [{"key": "x"}]},
            "tolerations": [{"key": "y"}],
            "template": {"metadata": {"labels": {"team": "a"}}},
            "monitoring": {"labels": {"scrape": "yes"}},
            "imagePullSecrets": [{"name": "pull"}],
            "livenessProbe": {"periodSeconds": 5},
        }
    ).pod
    assert pod.env == ({"name": "A", "value": "1"}, {"name": "B", "value": "2"})
    assert pod.volume_mounts == ({"name": "v", "mountPath": "/v"},)
    assert pod.sidecars == ({"name": "proxy", "image": "envoy"},)
    assert pod.node_selector == {"zone": "a", "node-type": "gpu"}
    assert pod.tolerations == ({"key": "x"}, {"key": "y"})
    assert pod.labels == {"team": "a", "scrape": "yes"}
    assert pod.image_pull_secrets == ({"name": "pull"},)
    assert pod.liveness_probe == {"periodSeconds": 5}


def test_what_a_container_without_an_image_says_in_vain_is_reported() -> None:
    parsed = parse({"model": MODEL, "containers": [{"name": "engine", "args": ["--x"], "env": []}]})
    assert parsed.ignored == ("spec.containers[0].args",)


SECURITY: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "what every image can live with": (
        {},
        {"seccompProfile": {"type": "RuntimeDefault"}},
        {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    ),
    "an ordinary user": (
        {"enabled": True, "readOnlyRootFilesystem": True},
        {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
        {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
    ),
    "nothing": ({"enabled": False}, {}, {}),
}


@pytest.mark.parametrize("sentence", SECURITY)
def test_pods_are_restricted(sentence: str) -> None:
    written, for_pod, for_container = SECURITY[sentence]
    pod = good({"security": written}).pod
    assert (pod.pod_security_context, pod.container_security_context) == (for_pod, for_container)


def test_unknown_fields_are_reported_at_any_depth() -> None:
    parsed = parse({"model": MODEL | {"colour": "red"}, "zzz": {"a": 1}, "autoscaling": {"maxReplicas": 3, "mood": 1}})
    assert parsed.errors == ()
    assert set(parsed.ignored) == {"spec.model.colour", "spec.zzz", "spec.autoscaling.mood"}
    assert parsed.not_acted_on == ("spec.autoscaling.maxReplicas",)
    assert parsed.reported == ("spec.autoscaling.maxReplicas", "spec.autoscaling.mood", "spec.model.colour", "spec.zzz")


STRATEGIES = ["RollingUpdate", "rolling-update", "rollingupdate", "ROLLING_UPDATE"]


@pytest.mark.parametrize("word", STRATEGIES)
def test_strategies_are_read_whatever_their_case_and_dashes(word: str) -> None:
    assert good({"deployment": {"rolloutStrategy": word}}).deployment.rollout_strategy == "RollingUpdate"


def test_a_strategy_that_is_not_done_yet_is_reported() -> None:
    parsed = parse({"model": MODEL, "deployment": {"rolloutStrategy": "blue-green"}})
    assert parsed.spec is not None
    assert parsed.spec.deployment.rollout_strategy == "BlueGreen"
    assert parsed.not_acted_on == ()


NAMES: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "the repository's last part, and all of it": (
        {"modelUri": URI},
        URI,
        ("Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
    ),
    "the written name first": ({"modelUri": URI, "name": "chat"}, URI, ("chat", "meta-llama/Llama-3.1-8B-Instruct")),
    "a nickname finds its repository": (
        {"name": "mistral-7b"},
        "hf://mistralai/Mistral-7B-Instruct-v0.3",
        ("mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3"),
    ),
    "a repository as a name": ({"name": "acme/model"}, "hf://acme/model", ("acme/model",)),
    "a bucket": ({"source": {"s3": {"bucket": "models", "prefix": "llama/v1/"}}}, "s3://models/llama/v1", ("v1",)),
    "another way to write the URI": (
        {"source": {"modelUri": URI}},
        URI,
        ("Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
    ),
}


@pytest.mark.parametrize("sentence", NAMES)
def test_models_are_found_and_named(sentence: str) -> None:
    model, uri, served = NAMES[sentence]
    spec = good({"model": model})
    assert (str(spec.model.model_uri), spec.model.served_names) == (uri, served)


QUANTIZATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "as published by default": ({}, "auto"),
    "a type": ({"type": "int8"}, "int8"),
    "a type in capitals": ({"type": "AWQ"}, "awq"),
    "a precision": ({"precision": "fp8"}, "fp8"),
    "switched on": ({"enabled": True, "type": "int4"}, "int4"),
    "switched off": ({"enabled": False, "type": "int8"}, "none"),
}


@pytest.mark.parametrize("sentence", QUANTIZATIONS)
def test_quantization_has_one_answer(sentence: str) -> None:
    written, kind = QUANTIZATIONS[sentence]
    assert good({"model": MODEL | {"quantization": written}}).model.quantization.type == kind


def test_a_whole_number_with_decimals_is_whole_as_for_an_api_server() -> None:
    parsed = parse({"model": MODEL, "replicas": 2.0})
    assert parsed.spec is not None
    assert (parsed.spec.replicas, type(parsed.spec.replicas)) == (2, int)
