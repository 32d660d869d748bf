"""The readiness gate of pods: when it is opened, when it says no, and when it is left alone."""

import msgspec
import pytest
from plan_world import START, PlanWorld

from outrider.api.labels import ANSWERS_REQUESTS
from outrider.plan.deployment.gates import opened
from outrider.plan.deployment.snapshot import PodView, ProbeView

GOOD = ProbeView(ok=True, at=START, last_success=START)
BAD = ProbeView(ok=False, at=START, message="no answer within 5 s although /health says 200")
UP = PodView(name="llama-1", uid="uid-1", containers_ready=True, gate="Unknown")

CASES: dict[str, tuple[PodView, str | None]] = {
    "it was asked and answered": (msgspec.structs.replace(UP, probe=GOOD), "True"),
    "it answered after it had not": (msgspec.structs.replace(UP, gate="False", probe=GOOD), "True"),
    "it was asked and did not answer": (msgspec.structs.replace(UP, probe=BAD), "False"),
    "it still does not answer: said once is enough": (msgspec.structs.replace(UP, gate="False", probe=BAD), None),
    "it has not been asked yet": (UP, None),
    "its model server does not run any more": (
        msgspec.structs.replace(UP, containers_ready=False, probe=GOOD),
        None,
    ),
    "it stopped answering later: what is open stays open": (
        msgspec.structs.replace(UP, gate="True", ready=True, probe=BAD),
        None,
    ),
    "it has no such gate": (msgspec.structs.replace(UP, gate=None, ready=True, probe=GOOD), None),
}


@pytest.mark.parametrize("sentence", CASES)
def test_a_gate(sentence: str) -> None:
    pod, expected = CASES[sentence]
    snapshot = msgspec.structs.replace(PlanWorld().snapshot(), pods=(pod,))
    actions = opened(snapshot, START)
    assert [action.condition.status for action in actions] == ([expected] if expected else [])
    for action in actions:
        assert (action.namespace, action.name, action.uid) == ("production", "llama-1", "uid-1")
        assert action.condition.type == ANSWERS_REQUESTS
        assert action.condition.last_transition_time


def test_a_closed_gate_says_what_the_pod_said() -> None:
    pod = msgspec.structs.replace(UP, probe=BAD)
    (action,) = opened(msgspec.structs.replace(PlanWorld().snapshot(), pods=(pod,)), START)
    assert BAD.message in action.condition.message
