"""What to tell people: an Event for everything that turned into something else since the status was written."""

from typing import Literal

from outrider.api.llmdeployment import DrillStatus, LLMDeploymentStatus
from outrider.api.meta import Condition, find_condition
from outrider.plan.actions import Emit
from outrider.plan.deployment.effective import ROLLED_BACK
from outrider.plan.deployment.facts import Facts


def events(facts: Facts, before: LLMDeploymentStatus, after: LLMDeploymentStatus) -> tuple[Emit, ...]:
    """Events for the step from one status to the next; none where only numbers moved."""
    found = [
        *_revision(facts, before, after),
        *_condition(before, after, "Ready", bad_when="False", quiet={"RollingOut", "AwaitingAnswer", "Suspended"}),
        *_condition(before, after, "CapacityAvailable", bad_when="False"),
        *_condition(before, after, "SyntheticHealthy", bad_when="False"),
        *_condition(before, after, "RouteAccepted", bad_when="False"),
        *_condition(before, after, "EndpointPicker", bad_when="False", quiet={"PickerStarting"}),
        *_condition(before, after, "ReleaseHealthy", bad_when="False"),
        *_condition(before, after, "CandidateReachable", bad_when="False"),
        *_condition(before, after, "CandidateReachable", bad_when="Unknown", quiet={"AwaitingAnswer"}),
        *_fields(before, after),
        *_pin(before, after),
        *_rolled_back(before, after),
        *_drill(before.rollback.last_drill, after.rollback.last_drill),
    ]
    once = {(one.type, one.reason): one for one in reversed(found)}  # several conditions may have the same reason
    return tuple(one for one in found if once[one.type, one.reason] is one)


def _revision(facts: Facts, before: LLMDeploymentStatus, after: LLMDeploymentStatus) -> list[Emit]:
    if not after.effective_revision or before.effective_revision == after.effective_revision:
        return []
    what = f"{after.effective_version} (revision {after.effective_revision})"
    if not before.effective_revision:
        return [Emit("Normal", "ReleaseStarted", f"Releasing {what}.")]
    known = {one.spec.hash: one.spec.sequence for one in facts.snapshot.revisions}
    target = facts.effective.target
    back = facts.effective.source == ROLLED_BACK or (
        target is not None and known.get(before.effective_revision, 0) > target.sequence
    )
    left = f"{before.effective_version} (revision {before.effective_revision})"
    if back:
        return [Emit("Normal", "RollbackStarted", f"Rolling back from {left} to {what}.")]
    begun = after.release
    if begun is None or before.effective_revision in (begun.revision, begun.stable_revision):
        return [Emit("Normal", "ReleaseStarted", f"Releasing from {left} to {what}.")]
    # What is left was only about to take the place of another one, which still serves.
    serving = f"{begun.stable_version} (revision {begun.stable_revision})"
    return [Emit("Normal", "ReleaseStarted", f"Releasing from {serving} to {what}, and {left} no more.")]


def _condition(
    before: LLMDeploymentStatus, after: LLMDeploymentStatus, kind: str, *, bad_when: str, quiet: set[str] | None = None
) -> list[Emit]:
    """When a condition turned, or is bad for another reason. Good from the start is no news, but for Ready."""
    old, new = find_condition(before.conditions, kind), find_condition(after.conditions, kind)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return []
    if new.status == bad_when:
        return [] if new.reason in (quiet or set()) else [Emit("Warning", new.reason, new.message)]
    if new.status == "True" and (kind == "Ready" or _was_bad(old, bad_when)):
        return [Emit("Normal", "Ready" if kind == "Ready" else kind, new.message)]
    return []


def _was_bad(old: Condition | None, bad_when: str) -> bool:
    return old is not None and old.status == bad_when


def _fields(before: LLMDeploymentStatus, after: LLMDeploymentStatus) -> list[Emit]:
    old, new = find_condition(before.conditions, "SpecHonoured"), find_condition(after.conditions, "SpecHonoured")
    if new is None or new.status == "True" or (old is not None and old.message == new.message):
        return []
    return [Emit("Warning", new.reason, new.message)]


def _pin(before: LLMDeploymentStatus, after: LLMDeploymentStatus) -> list[Emit]:
    if before.pinned == after.pinned:
        return []
    pinned = find_condition(after.conditions, "Pinned")
    if pinned is not None:
        return [Emit("Warning" if pinned.status == "False" else "Normal", "Pinned", pinned.message)]
    return [Emit("Normal", "Unpinned", f"The spec decides again: {after.effective_version}.")]


def _rolled_back(before: LLMDeploymentStatus, after: LLMDeploymentStatus) -> list[Emit]:
    old, new = find_condition(before.conditions, "RolledBack"), find_condition(after.conditions, "RolledBack")
    if new is None or (old is not None and old.message == new.message):
        return []
    return [Emit("Warning", "RolledBack", new.message)]


def _drill(old: DrillStatus | None, new: DrillStatus | None) -> list[Emit]:
    if new is None or (old is not None and (old.requested_at, old.outcome) == (new.requested_at, new.outcome)):
        return []
    what = f"{new.version} (revision {new.revision})"
    if new.outcome == "Running":
        return [Emit("Normal", "DrillStarted", f"Drill of going back to {what}: {new.message}.")]
    kind: Literal["Normal", "Warning"] = "Normal" if new.outcome == "Passed" else "Warning"
    return [Emit(kind, f"Drill{new.outcome}", f"Drill of going back to {what}: {new.message.rstrip('.')}.")]
