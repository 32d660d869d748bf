"""`outrider rollout retry`: which revision is meant, when it makes no sense, and what it writes."""

import msgspec
import pytest

from outrider.api.llmdeployment import LLMDeployment, LLMDeploymentStatus
from outrider.api.meta import ObjectMeta
from outrider.api.modelrevision import ModelRevision, ModelRevisionSpec, ModelRevisionStatus, Rejection
from outrider.cli.errors import CliError, Exit
from outrider.cli.rollout import rejected_revision

REJECTION = Rejection(time="2023-11-14T22:13:20Z", reason="ErrorsWorse", message="14 of 62 failed")
WANTED = ModelRevision(
    metadata=ObjectMeta(name="llama-bbbb"),
    spec=ModelRevisionSpec(hash="bbbb", version="v1.1.0", sequence=2),
    status=ModelRevisionStatus(rejection=REJECTION),
)
SERVICE = LLMDeployment(
    metadata=ObjectMeta(name="llama", namespace="production"),
    status=LLMDeploymentStatus(desired_revision="bbbb", desired_version="v1.1.0", effective_version="v1.0.0"),
)


def test_the_revision_that_the_spec_asks_for_is_meant() -> None:
    older = msgspec.structs.replace(WANTED, spec=ModelRevisionSpec(hash="aaaa", version="v1.0.0", sequence=1))
    assert rejected_revision(SERVICE, [older, WANTED]) is WANTED


REFUSED = {
    "it was never rolled back": (
        SERVICE,
        msgspec.structs.replace(WANTED, status=ModelRevisionStatus()),
        "was not rolled",
    ),
    "it was asked for again already": (
        SERVICE,
        msgspec.structs.replace(
            WANTED, status=ModelRevisionStatus(rejection=msgspec.structs.replace(REJECTION, lifted=True))
        ),
        "was not rolled back",
    ),
    "the spec asks for another one": (
        msgspec.structs.replace(SERVICE, status=LLMDeploymentStatus(desired_revision="cccc", desired_version="v1.2.0")),
        WANTED,
        "v1.2.0, which the spec asks for, was not rolled back",
    ),
    "a pin decides": (
        msgspec.structs.replace(SERVICE, status=msgspec.structs.replace(SERVICE.status, pinned=True)),
        WANTED,
        "pinned to v1.0.0",
    ),
}


@pytest.mark.parametrize(("service", "revision", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(service: LLMDeployment, revision: ModelRevision, told: str) -> None:
    with pytest.raises(CliError, match=told) as refusal:
        rejected_revision(service, [revision])
    assert refusal.value.exit_code == Exit.CONFLICT
    assert refusal.value.hints
