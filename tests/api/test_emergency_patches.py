"""The patches that the book's emergency procedures apply with `kubectl patch --type=merge` have their effect."""

from collections.abc import Callable
from typing import Any

import pytest

from outrider.api.crd import object_schema, validate_object
from outrider.api.parse import parse_spec
from outrider.api.spec import LLMDeploymentSpec

RUNNING: dict[str, Any] = {
    "model": {
        "modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct",
        "version": "v1.3.0",
        "quantization": {"type": "fp16"},
    },
    "resources": {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}},
    "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10},
    "serving": {"batchSize": 64},
}

PATCHES: dict[str, tuple[dict[str, Any], Callable[[LLMDeploymentSpec], Any], Any]] = {
    "roll back to a version": ({"model": {"version": "v1.2.0"}}, lambda s: s.model.version.text, "v1.2.0"),
    "roll back as the guide prints it": (
        {"model": {"version": "previous-stable-tag"}},
        lambda s: s.model.version.kind,
        "previous-stable",
    ),
    "quantize": (
        {"model": {"quantization": {"type": "int8", "enabled": True}}},
        lambda s: s.model.quantization.type,
        "int8",
    ),
    "stop quantizing": ({"model": {"quantization": {"enabled": False}}}, lambda s: s.model.quantization.type, "none"),
    "raise the minimum": ({"autoscaling": {"minReplicas": 5}}, lambda s: s.desired_replicas, 5),
    "switch autoscaling off": ({"autoscaling": {"enabled": False}, "replicas": 3}, lambda s: s.desired_replicas, 3),
    "scale within bounds": ({"replicas": 7}, lambda s: s.desired_replicas, 7),
    "smaller batches": ({"serving": {"batchSize": 8}}, lambda s: s.serving.batch_size, 8),
    "fewer at once": ({"serving": {"maxConcurrency": 10}}, lambda s: s.serving.max_concurrency, 10),
    "more memory": (
        {"resources": {"requests": {"memory": "64Gi"}}},
        lambda s: s.resources.manifest()["limits"]["memory"],
        "64Gi",
    ),
    "fall back to CPUs": (
        {"resources": {"requests": {"nvidia.com/gpu": "0"}, "limits": {"nvidia.com/gpu": "0"}}},
        lambda s: (s.resources.gpus, s.tensor_parallel_size),
        (0, 1),
    ),
    "a pull secret": (
        {"imagePullSecrets": [{"name": "pull"}]},
        lambda s: s.pod.image_pull_secrets,
        ({"name": "pull"},),
    ),
}


def _merge(target: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


@pytest.mark.parametrize("sentence", PATCHES)
def test_a_patch_is_taken_and_has_its_effect(sentence: str) -> None:
    patch, answer, expected = PATCHES[sentence]
    patched = _merge(RUNNING, patch)
    assert validate_object(object_schema("LLMDeployment"), {"spec": RUNNING}, {"spec": patched}) == []
    parsed = parse_spec(patched, name="llama-3.1-8b", namespace="production")
    assert parsed.errors == ()
    assert parsed.ignored == ()
    assert parsed.spec is not None
    assert answer(parsed.spec) == expected
