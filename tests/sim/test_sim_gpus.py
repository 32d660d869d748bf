"""GPUs that are lost while a version is released: nobody takes the version back, and its pods are made anew."""

from typing import Any

import pytest

from outrider.sim.crashes import BLUE_GREEN, CANARY, NAME, WATCHED
from outrider.sim.incidents import AnyIncident, Apply, Edit, GpuLost, Scenario
from outrider.sim.run import Outcome, run

SPECS = {"RollingUpdate": WATCHED, "Canary": CANARY, "BlueGreen": BLUE_GREEN}


def released(spec: dict[str, Any], *losses: float) -> Outcome:
    """A release at 50 s, in which the GPU of the newest pod is lost at each of these moments."""
    release = Edit(at=50, deployment=NAME, spec={"model": {"version": "v1.1.0"}})
    return played(spec, release, *(GpuLost(at=at, deployment=NAME, place=2) for at in losses))


def played(spec: dict[str, Any], *incidents: AnyIncident, gpus: int = 8) -> Outcome:
    installed = Apply(at=1, deployment=NAME, spec=spec)
    made = Scenario(seed=1, incidents=(installed, *incidents), nodes=1, gpus=gpus, load_seconds=3.0)
    return run(made, tell=True)


def evictions(outcome: Outcome) -> list[str]:
    return [one.what for one in outcome.timeline.entries if one.what.startswith("EvictedForGPUFault")]


@pytest.mark.parametrize("strategy", SPECS)
@pytest.mark.parametrize("at", [51.0, 55.0, 60.0, 90.0])
def test_a_gpu_lost_at_any_moment_of_a_release_costs_no_version(strategy: str, at: float) -> None:
    outcome = released(SPECS[strategy], at)
    assert outcome.violation is None, outcome.violation
    assert outcome.taken_back == frozenset()
    assert len(evictions(outcome)) == 1


@pytest.mark.parametrize("strategy", SPECS)
def test_the_next_gpu_is_lost_as_soon_as_the_pod_is_back(strategy: str) -> None:
    outcome = released(SPECS[strategy], 55.0, 62.0, 69.0, 76.0)
    assert outcome.violation is None, outcome.violation
    assert outcome.taken_back == frozenset()


def test_where_no_other_gpu_is_free_the_pod_stays_and_the_service_says_so() -> None:
    outcome = played(WATCHED, GpuLost(at=30, deployment=NAME, place=0), gpus=2)
    assert outcome.violation is not None, "a pod that crashes for ever is no service as it was asked for"
    assert evictions(outcome) == []
    assert "GPU-0" in str([one["status"] for one in outcome.objects if one["kind"] == "LLMDeployment"])
