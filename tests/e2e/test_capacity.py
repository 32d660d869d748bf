"""Two services that together ask for more GPUs than there are."""

import pytest
from story_world import LocalWorld, wait_for

pytestmark = pytest.mark.e2e


def _manifest(name: str, replicas: int, gpus: int) -> str:
    return f"""
apiVersion: inference.llm-d.io/v1alpha1
kind: LLMDeployment
metadata: {{name: {name}, namespace: production}}
spec:
  model: {{modelUri: "hf://meta-llama/Llama-3.1-8B-Instruct", version: v1.0.0}}
  replicas: {replicas}
  resources:
    requests: {{nvidia.com/gpu: "{gpus}"}}
    limits: {{nvidia.com/gpu: "{gpus}"}}
"""


def test_the_second_says_what_is_missing_and_starts_when_room_appears(world: LocalWorld) -> None:
    world.up("--nodes", "1", "--gpus-per-node", "8")
    world.outrider("apply", "--filename", "-", "--wait", stdin=_manifest("first", 3, 2))
    world.outrider("apply", "--filename", "-", stdin=_manifest("second", 2, 2))
    told = wait_for(
        lambda: (found := world.condition("second", "CapacityAvailable")).get("status") == "False" and found["message"],
        "the second to say what is missing",
    )
    assert "2" in told
    assert "production/first" in told, "it says who holds the GPUs"
    assert "second" in world.outrider("status", code=1).out
    assert told in world.outrider("status", code=1).out
    world.outrider("apply", "--filename", "-", "--wait", stdin=_manifest("first", 2, 2))
    world.outrider("rollout", "status", "second", "--namespace", "production")
    assert world.condition("second", "CapacityAvailable")["status"] == "True"
    assert world.outrider("status").code == 0
