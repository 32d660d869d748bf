"""What becomes of the pods of a version that was taken back for answering hardly anything."""

from typing import Any

import msgspec
import pytest
from plan_world import LLAMA, START, PlanWorld, merged

from outrider.api.meta import ObjectMeta
from outrider.api.modelrevision import ModelRevision, ModelRevisionSpec, ModelRevisionStatus, Rejection
from outrider.api.parse import parse_spec
from outrider.plan.deployment import gates
from outrider.plan.deployment.fleet import may_be_missing, missing_already
from outrider.plan.deployment.snapshot import PodView, ProbeView, Snapshot

GOOD, BAD = ProbeView(ok=True, at=START), ProbeView(ok=False, at=START)
THEIRS = PodView(name="bad-1", revision="bad", node="node-1", gate="True", ready=True, containers_ready=True)
CRASHED = msgspec.structs.replace(THEIRS, ready=False, containers_ready=False)
SUCCESSOR = PodView(name="good-1", revision="good", node="node-2", gate="True", ready=True, containers_ready=True)
NO_NODE = PodView(name="good-1", revision="good", unschedulable="no GPU is free")


def _snapshot(reason: str, *pods: PodView) -> Snapshot:
    revision = ModelRevision(
        metadata=ObjectMeta(name="llama-bad", namespace="production"),
        spec=ModelRevisionSpec(hash="bad", version="v1.1.0"),
        status=ModelRevisionStatus(rejection=Rejection(time="2026-01-01T00:00:00Z", reason=reason, severe=True)),
    )
    numbered = tuple(msgspec.structs.replace(pod, uid=f"uid-{number}") for number, pod in enumerate(pods))
    return msgspec.structs.replace(PlanWorld().snapshot(), revisions=(revision,), pods=numbered)


SHUT: dict[str, tuple[str, tuple[PodView, ...], bool]] = {
    "another one is ready": ("AllRecentFailed", (msgspec.structs.replace(THEIRS, probe=BAD), SUCCESSOR), True),
    "another one is ready, and this one answers one request": (
        "AllRecentFailed", (msgspec.structs.replace(THEIRS, probe=GOOD), SUCCESSOR), True,
    ),
    "nobody else is ready": ("AllRecentFailed", (msgspec.structs.replace(THEIRS, probe=BAD),), False),
    "none was ready, and this one is again and answers": (
        "NoEndpointsLeft", (msgspec.structs.replace(THEIRS, probe=GOOD), SUCCESSOR), False,
    ),
    "none was ready, and this one does not answer": (
        "NoEndpointsLeft", (msgspec.structs.replace(THEIRS, probe=BAD), SUCCESSOR), True,
    ),
    "none was ready, and this one was not asked yet": ("NoEndpointsLeft", (THEIRS, SUCCESSOR), True),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SHUT)
def test_whose_gate_is_shut(sentence: str) -> None:
    reason, pods, expected = SHUT[sentence]
    found = gates.shut(_snapshot(reason, *pods), START)
    assert [(one.name, one.condition.status) for one in found] == ([("bad-1", "False")] if expected else [])


MISSING: dict[str, tuple[tuple[PodView, ...], int, int]] = {
    "all of them serve": ((THEIRS,) * 4, 0, 0),
    "one of them serves nobody": ((CRASHED, THEIRS, THEIRS, THEIRS), 1, 0),
    "none of them serves": ((CRASHED,) * 4, 4, 0),
    "there are more than are wanted": ((CRASHED,) * 6, 4, 0),
    "the one that serves nobody came on top of what is wanted": ((CRASHED, *(SUCCESSOR,) * 4), 0, 0),
    "some of their successors serve": ((CRASHED, CRASHED, CRASHED, SUCCESSOR, SUCCESSOR), 2, 0),
    "a successor has loaded, and takes requests in a moment": (
        (
            CRASHED,
            CRASHED,
            SUCCESSOR,
            SUCCESSOR,
            msgspec.structs.replace(SUCCESSOR, ready=False, containers_ready=True),
        ),
        1,
        0,
    ),
    "they run, and their gates are shut": (
        (msgspec.structs.replace(THEIRS, ready=False, containers_ready=True),) * 4,
        4,
        0,
    ),
    "they are of a Deployment of their own": ((msgspec.structs.replace(CRASHED, owner="llama-bad-6cf8"),) * 4, 0, 0),
    "they are told to end": ((msgspec.structs.replace(CRASHED, terminating=True),) * 4, 0, 0),
    "all of them serve, and their successors find no node": ((THEIRS, THEIRS, THEIRS, THEIRS, NO_NODE), 0, 2),
    "they are of a preview, and what serves is made anew without room": (
        (*(msgspec.structs.replace(THEIRS, owner="llama-bad-6cf8"),) * 4, *(SUCCESSOR,) * 4, NO_NODE),
        0,
        0,
    ),
    "one of them is left, and its successor finds no node": ((THEIRS, *(SUCCESSOR,) * 2, NO_NODE), 0, 1),
    "one of them is left, and as many serve as are wanted": ((THEIRS, *(SUCCESSOR,) * 4, NO_NODE), 0, 0),
    "it is their successors that do not serve": ((msgspec.structs.replace(SUCCESSOR, ready=False), THEIRS), 0, 0),
}
"""The pods; how many replicas are missing already; how many more may be."""


@pytest.mark.parametrize("sentence", MISSING)
def test_how_many_are_and_may_be_missing_while_they_are_replaced(sentence: str) -> None:
    pods, already, more = MISSING[sentence]
    patch: dict[str, Any] = {"spec": {"replicas": 4}}
    spec = parse_spec(merged(LLAMA, patch)["spec"], name="llama", namespace="production").spec
    assert spec is not None
    snapshot = _snapshot("CrashLooping", *pods)
    found = missing_already(snapshot, spec, "good"), may_be_missing(snapshot, spec, "good", "llama", START)
    assert found == (already, more)
