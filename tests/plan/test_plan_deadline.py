"""How long a pod may load: Kubernetes no longer looks once a Deployment was complete, and scaling changes nothing."""

import msgspec
import pytest
from plan_world import START, PlanWorld

from outrider.plan.deployment.rollout import observe
from outrider.plan.deployment.snapshot import FaultView, PodView, ProbeView

PATIENCE = 600.0
"""Seconds: the deadline where a spec says nothing."""
LOADS = PodView(name="llama-1", uid="uid-1", revision="abc", node="node-1", placed_at=START)
LATER = START + PATIENCE

CASES: dict[str, tuple[PodView, float, bool, float | None]] = {
    "it loads": (LOADS, LATER - 1, False, LATER),
    "it loads for too long": (LOADS, LATER, True, None),
    "it fails what it is asked for as long": (
        msgspec.structs.replace(LOADS, containers_ready=True, probe=ProbeView(ok=False, at=LATER)),
        LATER,
        True,
        None,
    ),
    "it has no node": (msgspec.structs.replace(LOADS, node="", placed_at=None), LATER, False, None),
    "it answers, and only waits for its gate": (
        msgspec.structs.replace(LOADS, containers_ready=True, probe=ProbeView(ok=True, at=LATER)),
        LATER,
        False,
        None,
    ),
    "it has loaded, and was not asked yet": (
        msgspec.structs.replace(LOADS, containers_ready=True),
        LATER,
        False,
        None,
    ),
    "it was ready before": (msgspec.structs.replace(LOADS, was_ready=True), LATER, False, None),
    "something is wrong with its node": (
        msgspec.structs.replace(LOADS, fault=FaultView(message="node-1 is NotReady")),
        LATER,
        False,
        None,
    ),
    "it is of another revision": (msgspec.structs.replace(LOADS, revision="old"), LATER, False, None),
    "it is told to end": (msgspec.structs.replace(LOADS, terminating=True), LATER, False, None),
}
"""The pod; the time; whether it takes too long; when it will, by what is known now."""


@pytest.mark.parametrize("sentence", CASES)
def test_how_long_a_pod_may_load(sentence: str) -> None:
    pod, now, late, due = CASES[sentence]
    snapshot = msgspec.structs.replace(PlanWorld().snapshot(), pods=(pod,))
    rollout = observe(snapshot, "abc", 1, now=now, pending_write=False)
    assert (rollout.deadline_exceeded, rollout.deadline_at) == (late, due)
