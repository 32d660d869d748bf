"""Every argument that we render is one that the engine takes: the flags of vLLM's own parser, written down by
`tools/vllm_serve_flags.py`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plan_world import LLAMA, merged

from outrider.api.parse import parse_spec
from outrider.api.spec_model import QUANTIZATION_TYPES
from outrider.plan.deployment.pod import pod_template
from outrider.plan.deployment.revision import revision_spec
from outrider.plan.deployment.snapshot import PlanConfig

ENGINE = json.loads((Path(__file__).parents[1] / "golden" / "vllm-serve-flags.json").read_text())
CONFIG = PlanConfig()
LISTED = {"--quantization": ENGINE["quantization"], "--load-format": ENGINE["load-format"]}
"""Values that the engine's parser lets through as text and that the engine itself checks later."""


def container_args(patch: dict[str, Any]) -> list[str]:
    """What follows `vllm serve` in the pod of a spec."""
    parsed = parse_spec(merged(LLAMA["spec"], patch), name="llama", namespace="production")
    assert parsed.spec is not None, parsed.errors
    revision = revision_spec("llama", parsed.spec, CONFIG.engine_image)
    container = pod_template("llama", parsed.spec, revision, CONFIG)["spec"]["containers"][0]
    assert container["command"] == ["vllm", "serve"]
    return list(container["args"])


def refused(args: Sequence[str]) -> list[str]:
    """What of these arguments the engine would not take, in sentences."""
    problems, many = [], False
    if not args or args[0].startswith("--"):
        problems.append("the first argument is not a model")
    for word in args[1:]:
        if not word.startswith("--"):
            problems += [] if many else [f"{word}: belongs to no flag"]
            continue
        name, equals, value = word.partition("=")
        flag = ENGINE["flags"].get(name)
        many = flag is not None and flag["takes"] == "many"
        if flag is None:
            problems.append(f"{name}: no such flag")
        elif not many:
            problems += _wrong_value(name, flag, value, given=bool(equals))
    return problems


def _wrong_value(name: str, flag: dict[str, Any], value: str, *, given: bool) -> list[str]:
    if given != (flag["takes"] == "one"):
        return [f"{name}: takes {flag['takes']}"]
    allowed = flag.get("choices") or LISTED.get(name)
    if allowed and value not in allowed:
        return [f"{name}: {value} is none of {', '.join(allowed)}"]
    if flag.get("type") == "int" and not value.isdigit():
        return [f"{name}: {value} is no whole number"]
    return []


SPECS: dict[str, dict[str, Any]] = {
    **{f"quantization {kind}": {"model": {"quantization": {"type": kind}}} for kind in QUANTIZATION_TYPES},
    "tensor parallelism by the number of GPUs": {"resources": {"requests": {"nvidia.com/gpu": "4"}}},
    "every kind of parallelism": {
        "model": {"parallelism": {"tensor": 2, "pipeline": 2, "data": 2}},
        "resources": {"requests": {"nvidia.com/gpu": "8"}},
    },
    "lengths and batches": {"serving": {"maxSequenceLength": 8192, "batchSize": 64, "maxConcurrency": 32}},
    "a revision of the hub": {"model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct@abc123"}},
    "whatever is newest on the hub": {"model": {"version": "latest"}},
    "a name of its own": {"model": {"name": "chat"}},
    "S3": {"model": {"modelUri": "s3://models/llama"}},
    "Google Cloud Storage": {"model": {"modelUri": "gs://models/llama"}},
    "an OCI artifact": {"model": {"modelUri": "oci://registry.example.com/models/llama:v1"}},
    "a volume": {"model": {"modelUri": "pvc://models/llama/v1"}},
    "a folder": {"model": {"modelUri": "file:///srv/llama"}},
}


@pytest.mark.parametrize("sentence", SPECS)
def test_the_engine_takes_every_argument(sentence: str) -> None:
    assert refused(container_args(SPECS[sentence])) == []


REFUSED: dict[str, tuple[list[str], str]] = {
    "no model": (["--port=8080"], "the first argument is not a model"),
    "a flag that is none": (["org/model", "--no-such-flag=1"], "--no-such-flag: no such flag"),
    "a method that left the engine": (["org/model", "--quantization=bitsandbytes"], "bitsandbytes is none of"),
    "a type of another library": (["org/model", "--dtype=int4"], "int4 is none of"),
    "a number that is none": (["org/model", "--max-num-seqs=many"], "many is no whole number"),
    "a flag without its value": (["org/model", "--port"], "--port: takes one"),
    "a value without a flag": (["org/model", "--port=8080", "vicuna"], "vicuna: belongs to no flag"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_the_engine_does_not_take_would_be_found(sentence: str) -> None:
    args, problem = REFUSED[sentence]
    assert problem in " ".join(refused(args))


def test_the_flags_are_those_of_the_engine_that_is_run_by_default() -> None:
    assert CONFIG.engine_image.endswith(f":v{ENGINE['version']}")
