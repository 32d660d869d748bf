"""`make run` runs `outrider demo`: the first thing that anybody sees."""

import json

import pytest
from story_world import LocalWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(minutes=2),
    pytest.mark.only("local", reason="the demo starts a world of its own, on the store"),
]


def test_the_demo_measures_releases_and_rollbacks_and_only_the_canary_fails_requests(world: LocalWorld) -> None:
    result = json.loads(world.outrider("demo", "--exit", "--output", "json", timeout=240).out)
    assert result["failed_requests"] == result["canary_failed_requests"] > 0
    assert result["canary_requests"] < result["requests"] / 4
    assert result["requests"] > 200
    assert result["streams"] >= result["requests"] // 2 - 1
    for key in ("ready_seconds", "release_seconds", "canary_seconds", "rollback_seconds"):
        assert 0 < result[key] < 120, result
    assert result["latency_p95_bad"] > 2 * result["latency_p95_before"], "the slow version is slow"
    assert result["latency_p95_after"] < result["latency_p95_bad"] / 2, "the rollback helped"
    assert world.processes() == []


def test_without_a_terminal_the_demo_tells_its_story_and_ends(world: LocalWorld) -> None:
    told = world.outrider("demo", timeout=240).out
    assert "rollback" in told
    assert "0 failed" in told
    assert world.processes() == []
