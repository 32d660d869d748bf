"""From a spec to the engine's arguments and to the hash that names them."""

import json
import subprocess
import sys
from typing import Any

import pytest
from plan_world import LLAMA, merged

from outrider.api.parse import parse_spec
from outrider.api.spec import LLMDeploymentSpec
from outrider.plan.deployment.engine import limits
from outrider.plan.deployment.revision import revision_hash, revision_spec

IMAGE = "vllm/vllm-openai:v0.32.0"


def spec_of(patch: dict[str, Any]) -> LLMDeploymentSpec:
    parsed = parse_spec(merged(LLAMA["spec"], patch), name="llama", namespace="production")
    assert parsed.spec is not None, parsed.errors
    return parsed.spec


def args_of(patch: dict[str, Any]) -> list[str]:
    return list(revision_spec("llama", spec_of(patch), IMAGE).args)


def model(**fields: Any) -> dict[str, Any]:
    return {"model": fields}


BASE = [
    "meta-llama/Llama-3.1-8B-Instruct",
    "--served-model-name",
    "Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
]
ARGUMENTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a version is a revision on the hub": ({}, [*BASE, "--revision=v1.0.0"]),
    "latest is whatever the hub has": (model(version="latest"), BASE),
    "a revision in the URI decides": (
        model(modelUri="hf://meta-llama/Llama-3.1-8B-Instruct@abc123"), [*BASE, "--revision=abc123"],
    ),
    "a name of its own comes first": (
        model(name="llama", version="latest"), [BASE[0], "--served-model-name", "llama", BASE[0]],
    ),
    "all GPUs of a replica share the layers": (
        {"resources": {"requests": {"nvidia.com/gpu": "2"}}}, [*BASE, "--revision=v1.0.0", "--tensor-parallel-size=2"],
    ),
    "fp8 is made while loading": (model(version="latest", quantization={"type": "fp8"}), [*BASE, "--quantization=fp8"]),
    "int8 is the checkpoint's business": (model(version="latest", quantization={"type": "int8"}), BASE),
    "so is int4": (model(version="latest", quantization={"type": "int4"}), BASE),
    "awq has to be there": (model(version="latest", quantization={"type": "awq"}), [*BASE, "--quantization=awq"]),
    "16 bits have two forms": (model(version="latest", quantization={"type": "bf16"}), [*BASE, "--dtype=bfloat16"]),
    "lengths and batches": (
        model(version="latest") | {"serving": {"maxSequenceLength": 8192, "batchSize": 64, "maxConcurrency": 32}},
        [*BASE, "--max-model-len=8192", "--max-num-seqs=32"],
    ),
    "an object store is streamed": (
        model(modelUri="s3://models/llama", version="v1"),
        ["s3://models/llama", "--served-model-name", "llama", "--load-format=runai_streamer"],
    ),
    "a claim is a path": (model(modelUri="pvc://models/llama/v1"), ["/models/llama/v1", "--served-model-name", "v1"]),
    "an artifact is a volume": (
        model(modelUri="oci://registry.example.com/models/llama:v1"), ["/models", "--served-model-name", "llama"],
    ),
    "a file is where it is": (model(modelUri="file:///srv/llama"), ["/srv/llama", "--served-model-name", "llama"]),
}  # fmt: skip


@pytest.mark.parametrize("sentence", ARGUMENTS)
def test_arguments(sentence: str) -> None:
    patch, expected = ARGUMENTS[sentence]
    assert args_of(patch) == expected


DIFFERENT: dict[str, dict[str, Any]] = {
    "another version": model(version="v1.0.1"),
    "another model": model(modelUri="hf://meta-llama/Llama-3.1-70B-Instruct"),
    "another image": model(image="vllm/vllm-openai:v0.31.0"),
    "another quantization, though the arguments are the same": model(quantization={"type": "int8"}),
    "another digest": model(checksums={"sha256": "a" * 64}),
    "another registry": model(registry="company-registry.com/models"),
    "another argument": {"serving": {"batchSize": 8}},
}
SAME: dict[str, dict[str, Any]] = {
    "nothing": {},
    "replicas": {"replicas": 7},
    "more memory": {"resources": {"requests": {"memory": "99Gi"}}},
    "a placement": {"nodeSelector": {"zone": "a"}},
    "monitoring": {"monitoring": {"enabled": False}},
    "a digest that is only hinted at": model(checksums={"sha256": "a1b2c3..."}),
}


def hash_of(patch: dict[str, Any]) -> str:
    return revision_spec("llama", spec_of(patch), IMAGE).hash


@pytest.mark.parametrize("sentence", DIFFERENT)
def test_what_changes_how_a_model_answers_makes_another_revision(sentence: str) -> None:
    assert hash_of(DIFFERENT[sentence]) != hash_of({})


@pytest.mark.parametrize("sentence", SAME)
def test_what_does_not_makes_none(sentence: str) -> None:
    assert hash_of(SAME[sentence]) == hash_of({})


def test_the_name_and_number_of_a_revision_are_not_in_its_hash() -> None:
    one = revision_spec("llama", spec_of({}), IMAGE)
    other = revision_spec("another", spec_of({}), IMAGE)
    assert one.hash == other.hash == revision_hash(one)
    assert len(one.hash) == 10


def test_the_hash_is_the_same_in_another_process() -> None:
    code = (
        "import json,sys; from outrider.api.parse import parse_spec;"
        "from outrider.plan.deployment.revision import revision_spec;"
        "s=parse_spec(json.loads(sys.argv[1]),name='llama',namespace='production').spec;"
        f"print(revision_spec('llama',s,{IMAGE!r}).hash)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(LLAMA["spec"])],
        env={"PYTHONHASHSEED": "12345"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == hash_of({})


def test_what_the_engine_cannot_do_is_said() -> None:
    assert "int8 checkpoint" in limits(spec_of(model(quantization={"type": "int8"})))[0]
    assert "int4 checkpoint" in limits(spec_of(model(quantization={"type": "int4"})))[0]
    assert "https://" in limits(spec_of(model(modelUri="https://example.com/llama")))[0]
    assert limits(spec_of({})) == ()
