"""Canary and blue-green releases under real traffic: a good one costs nobody a request, a bad one is taken back."""

from typing import Any

import pytest
from client_traffic import raw_traffic
from story_world import ROOT, LocalWorld, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=6)]

NAME = "llama"
MODEL = "Llama-3.1-8B-Instruct"
STRATEGIES = {
    "canary": "rolloutStrategy: Canary, canary: {steps: [{weight: 20, duration: 10s}, {weight: 50, duration: 10s}]}",
    "blue-green": "rolloutStrategy: BlueGreen, blueGreen: {previewDuration: 10s}",
}


def manifest(strategy: str, version: str) -> str:
    return f"""
apiVersion: inference.llm-d.io/v1alpha1
kind: LLMDeployment
metadata: {{name: {NAME}, namespace: production}}
spec:
  model: {{modelUri: "hf://meta-llama/{MODEL}", version: {version}}}
  replicas: 2
  resources: {{requests: {{nvidia.com/gpu: "1"}}}}
  deployment: {{{STRATEGIES[strategy]}}}
  rollback: {{standby: 5m, autoRollback: {{enabled: true, triggers: [{{errorRate: ">1%"}}]}}}}
"""


def release(world: LocalWorld) -> dict[str, Any]:
    found: dict[str, Any] = world.get(NAME)["status"].get("release") or {}
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_good_version_takes_over_step_by_step_and_nobody_notices(running: LocalWorld, strategy: str) -> None:
    running.outrider("apply", "--filename", "-", "--wait", stdin=manifest(strategy, "v1.0.0"))
    url = running.get(NAME)["status"]["url"]
    with raw_traffic(url, MODEL) as tally:
        wait_for(lambda: tally.requests > 20, "traffic")
        running.outrider("apply", "--filename", "-", "--wait", stdin=manifest(strategy, "v1.1.0"))
        wait_for(lambda: release(running).get("stage") == "Standby", "all traffic on the new version")
        status = running.get(NAME)["status"]
        assert (status["servingVersion"], status["phase"]) == ("v1.1.0", "Ready")
        assert status["rollback"]["readiness"] == "Warm"
        seen = tally.requests
        running.outrider("rollback", NAME, "--namespace", "production", "--wait")
        assert running.get(NAME)["status"]["servingVersion"] == "v1.0.0"
        wait_for(lambda: tally.requests > seen + 40, "traffic on the old version")
    assert not tally.failures, "no request failed, whichever version it went to"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_version_that_fails_is_taken_back_from_its_share_and_the_old_pods_never_stopped(
    running: LocalWorld, strategy: str
) -> None:
    running.outrider("apply", "--filename", str(ROOT / "examples" / "simulator-faults.yaml"))
    running.outrider("apply", "--filename", "-", "--wait", stdin=manifest(strategy, "v1.2.0"))
    url = running.get(NAME)["status"]["url"]
    with raw_traffic(url, MODEL) as tally:
        wait_for(lambda: tally.requests > 40, "traffic")
        ended = running.outrider("apply", "--filename", "-", "--wait", stdin=manifest(strategy, "v1.4.0"), code=1)
        assert "was rolled back" in ended.err
        wait_for(lambda: running.get(NAME)["status"]["phase"] == "RolledBack", "the old version alone")
        failed, seen = sum(tally.failures.values()), tally.requests
        wait_for(lambda: tally.requests > seen + 40, "traffic after it")
    assert sum(tally.failures.values()) == failed, "nobody meets the bad version any more"
    assert running.get(NAME)["status"]["servingVersion"] == "v1.2.0"
    if strategy == "blue-green":
        assert not tally.failures, "it was found out before it had any traffic"
