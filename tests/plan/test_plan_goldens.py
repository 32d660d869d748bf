"""What the SRE guide's four manifests become, in full, for people to read."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from plan_world import PlanWorld, guide_manifest

from outrider.plan.actions import Apply, Create
from outrider.plan.deployment.snapshot import PlanConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "plan"
MANIFESTS = ("poc", "production", "versioning", "green")


def written(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    world = PlanWorld(manifest, config=PlanConfig(gateway_name="outrider", gateway_namespace="outrider-system"))
    return [step.body for step in world.plan().actions if isinstance(step, Apply | Create)]


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_guides_manifests_become_these_objects(name: str, request: pytest.FixtureRequest) -> None:
    text = yaml.safe_dump_all(written(guide_manifest(name)), sort_keys=False, width=120)
    path = GOLDEN / f"{name}.yaml"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; if that is meant, run pytest with --update-golden"


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_object_goes_with_its_owner(name: str) -> None:
    for body in written(guide_manifest(name)):
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["controller"], owner["uid"]) == ("LLMDeployment", True, "uid-llmd"), body["kind"]
