"""The SRE guide's own manifests, unmodified: valid by the CRD, parsed without error, and nothing unknown in them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from outrider.api.crd import default_object, object_schema, prune_object, validate_object
from outrider.api.parse import Parsed, parse_spec

GUIDE = Path(__file__).parents[1] / "golden" / "guide"
MANIFESTS = ["poc", "production", "versioning", "green"]


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((GUIDE / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def parse(manifest: dict[str, Any]) -> Parsed:
    meta = manifest["metadata"]
    return parse_spec(
        manifest["spec"],
        name=meta["name"],
        namespace=meta["namespace"],
        annotations=meta.get("annotations"),
        labels=meta.get("labels"),
    )


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_crd_takes_it_as_it_is(name: str) -> None:
    manifest, schema = load(name), object_schema("LLMDeployment")
    assert validate_object(schema, None, manifest) == []
    assert prune_object(schema, manifest) == manifest
    assert default_object(schema, manifest)["spec"] == manifest["spec"], "no default is written into what people write"


@pytest.mark.parametrize("name", MANIFESTS)
def test_it_parses_and_every_field_is_known(name: str) -> None:
    parsed = parse(load(name))
    assert parsed.errors == ()
    assert parsed.ignored == ()
    assert parsed.spec is not None


def test_the_proof_of_concept() -> None:
    parsed = parse(load("poc"))
    spec = parsed.spec
    assert spec is not None
    assert (spec.stage, str(spec.model.version), spec.model.quantization.type) == ("poc", "latest", "int8")
    assert (spec.desired_replicas, spec.resources.gpus, spec.tensor_parallel_size) == (1, 1, 1)
    assert spec.resources.manifest() == {
        "requests": {"memory": "16Gi", "cpu": "4", "nvidia.com/gpu": "1"},
        "limits": {"memory": "24Gi", "cpu": "8", "nvidia.com/gpu": "1"},
    }
    assert (parsed.facts.owner, parsed.facts.contact) == ("jane.doe@company.com", "sre-team@company.com")
    assert parsed.warnings == ()


def test_production() -> None:
    parsed = parse(load("production"))
    spec = parsed.spec
    assert spec is not None
    assert (spec.stage, parsed.facts.stage_from) == ("production", "annotation")
    assert (spec.desired_replicas, spec.autoscaling.maximum, spec.tensor_parallel_size) == (2, 10, 2)
    assert [objective.weight for objective in spec.scheduling.slo_policy.objectives] == [0.6, 0.4]
    assert spec.monitoring.alerting.channels == ("#sre-alerts", "#llm-team")
    assert parsed.facts.runbook == "https://wiki.company.com/sre/llm-runbooks"
    assert parsed.facts.budget_class == "high-priority"
    assert "spec.scheduling.sloPolicy" in parsed.not_acted_on
    assert parsed.warnings == ()


def test_versioning() -> None:
    parsed = parse(load("versioning"))
    spec = parsed.spec
    assert spec is not None
    assert [str(version) for version in spec.rollback.previous_versions] == ["v1.1.3", "v1.0.5"]
    assert [(rule.indicator, str(rule.trigger)) for rule in spec.rollback.auto_rollback.rules] == [
        ("errorRate", ">1%"),
        ("latencyP95", ">1000ms"),
        ("throughput", "<10 tokens/sec"),
    ]
    assert spec.model.registry.endpoint == "company-registry.com/models"
    assert spec.model.checksums.digest == "", "a placeholder verifies nothing"
    assert any("placeholder" in warning for warning in parsed.warnings)
    assert (spec.resources.gpus, parsed.defaulted != ()) == (1, True)


def test_green() -> None:
    spec = parse(load("green")).spec
    assert spec is not None
    assert (str(spec.model.version), spec.desired_replicas, spec.stage) == ("v1.3.0", 1, "production")
