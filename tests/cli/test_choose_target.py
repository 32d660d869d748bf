"""Which revision `outrider rollback` goes to."""

import pytest

from outrider.api.llmdeployment import LLMDeployment, LLMDeploymentStatus, RollbackStatus
from outrider.api.meta import ObjectMeta
from outrider.api.modelrevision import ModelRevision, ModelRevisionSpec
from outrider.cli.errors import CliError, Exit
from outrider.cli.rollback import choose_target, pin_body


def revision(sequence: int, version: str, digest: str) -> ModelRevision:
    return ModelRevision(spec=ModelRevisionSpec(deployment="x", sequence=sequence, version=version, hash=digest))


REVISIONS = [revision(3, "v1.3.0", "ccc"), revision(2, "v1.2.0", "bbb"), revision(1, "v1.2.0", "aaa")]


def item(*, target: str = "bbb", effective: str = "ccc", pinned: bool = False) -> LLMDeployment:
    status = LLMDeploymentStatus(
        rollback=RollbackStatus(target_revision=target), effective_revision=effective, pinned=pinned
    )
    return LLMDeployment(metadata=ObjectMeta(name="x", namespace="n"), status=status)


CHOICES = {
    "without --to, what the operator says worked last": (None, "bbb"),
    "by version, where only one revision has it": ("v1.3.0", "ccc"),
    "by number": ("1", "aaa"),
    "by hash": ("aaa", "aaa"),
}


@pytest.mark.parametrize(("to", "expected"), CHOICES.values(), ids=CHOICES.keys())
def test_target(to, expected) -> None:
    assert choose_target(item(), REVISIONS, to).spec.hash == expected


REFUSALS = {
    "nothing worked before": (item(target=""), None, Exit.NOT_FOUND, "no earlier version"),
    "an unknown version": (item(), "v9", Exit.NOT_FOUND, "no revision 'v9'"),
    "a version that two revisions have": (item(), "v1.2.0", Exit.USAGE, "several revisions"),
    "where it is pinned already": (item(effective="aaa", pinned=True), "aaa", Exit.CONFLICT, "already pinned"),
}


@pytest.mark.parametrize(("found", "to", "code", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal(found, to, code, message) -> None:
    with pytest.raises(CliError, match=message) as refusal:
        choose_target(found, REVISIONS, to)
    assert refusal.value.exit_code == code


def test_the_pin_names_the_whole_revision_and_rejects_what_serves_now() -> None:
    spec = pin_body(item(), REVISIONS[1], "too slow")["spec"]
    assert (spec["version"], spec["revision"], spec["rejects"], spec["reason"]) == ("v1.2.0", "bbb", "ccc", "too slow")


def test_a_pin_to_what_serves_now_rejects_nothing() -> None:
    assert "rejects" not in pin_body(item(), REVISIONS[0], "")["spec"]
