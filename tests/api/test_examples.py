"""The examples are valid, and every LLMDeployment among them that is ours means all that it says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from outrider.api.parse import parse_spec

EXAMPLES = Path(__file__).parents[2] / "examples"


def deployments(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one.get("kind") == "LLMDeployment"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_an_example_is_valid(path: Path) -> None:
    for manifest in deployments(path):
        meta = manifest["metadata"]
        parsed = parse_spec(manifest["spec"], name=meta["name"], namespace=meta.get("namespace", "default"))
        assert not parsed.errors


def test_nothing_of_the_canary_is_without_effect() -> None:
    (manifest,) = deployments(EXAMPLES / "canary.yaml")
    assert parse_spec(manifest["spec"], name="assistant", namespace="production").not_acted_on == ()
