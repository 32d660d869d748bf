"""A drill of going back, under real traffic: it costs nobody a request, and says when the old version is lost."""

from typing import Any

import pytest
from client_traffic import raw_traffic
from story_world import LocalWorld, wait_for

pytestmark = pytest.mark.e2e

NAME = "llama"
MODEL = "Llama-3.1-8B-Instruct"
IN = ("--namespace", "production")
LOST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: outrider-simulator, namespace: production}
data:
  v1.0.0: |
    crash-on-start: true
"""


def manifest(version: str) -> str:
    return f"""
apiVersion: inference.llm-d.io/v1alpha1
kind: LLMDeployment
metadata: {{name: {NAME}, namespace: production}}
spec:
  model: {{modelUri: "hf://meta-llama/{MODEL}", version: {version}}}
  replicas: 2
  resources: {{requests: {{nvidia.com/gpu: "1"}}}}
"""


def endpoints(world: LocalWorld) -> list[tuple[str, Any]]:
    """Every address that a Service of the namespace has, and whether it is ready."""
    slices = world.json("get", "endpointslices", *IN)["items"]
    return sorted((one["addresses"][0], one["conditions"]) for item in slices for one in item.get("endpoints") or [])


def remains(world: LocalWorld) -> list[str]:
    found = [one for kind in ("deployments", "pods") for one in world.json("get", kind, *IN)["items"]]
    return [one["metadata"]["name"] for one in found if "drill" in one["metadata"]["name"]]


def test_a_drill_takes_no_traffic_and_a_version_that_is_lost_fails_it(running: LocalWorld) -> None:
    running.outrider("apply", "--filename", "-", "--wait", stdin=manifest("v1.0.0"))
    running.outrider("apply", "--filename", "-", "--wait", stdin=manifest("v1.1.0"))
    wait_for(lambda: len(running.json("get", "pods", *IN)["items"]) == 2, "the old pods to be gone")
    pods = {one["metadata"]["name"] for one in running.json("get", "pods", *IN)["items"]}
    before = endpoints(running)
    with raw_traffic(running.get(NAME)["status"]["url"], MODEL) as tally:
        wait_for(lambda: tally.requests > 20, "traffic")
        told = running.outrider("rollback", NAME, *IN, "--drill").out
        assert "v1.0.0 would come back: a pod of it loaded and answered a completion after" in told
        drill = running.get(NAME)["status"]["rollback"]["lastDrill"]
        assert (drill["outcome"], drill["version"], drill["reason"]) == ("Passed", "v1.0.0", "Answered")
        assert endpoints(running) == before
        assert "drilled" in running.outrider("rollback", NAME, *IN, "--dry-run").out
        wait_for(lambda: not remains(running), "the drill's pod to be gone")

        running.outrider("apply", "--filename", "-", stdin=LOST)
        failed = running.outrider("rollback", NAME, *IN, "--drill", code=1)
        assert "v1.0.0 would not come back (LoadFailed)" in failed.err
        assert "CrashLoopBackOff" in failed.err
        wait_for(lambda: not remains(running), "the second drill's pod to be gone")
        seen = tally.requests
        wait_for(lambda: tally.requests > seen + 20, "traffic after it")
    assert not tally.failures
    status = running.get(NAME)["status"]
    assert (status["phase"], status["servingVersion"]) == ("Ready", "v1.1.0")
    assert endpoints(running) == before
    assert {one["metadata"]["name"] for one in running.json("get", "pods", *IN)["items"]} == pods
    assert "would not" not in running.outrider("rollout", "status", NAME, *IN).out
