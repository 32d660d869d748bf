"""The status of a Deployment: counts, Available, Progressing; what `kubectl rollout status` and `kubectl wait` read."""

from collections.abc import Sequence

import msgspec

from outrider.api.meta import ConditionStatus, Instant, format_time, parse_time
from outrider.local.actors.objects import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from outrider.local.actors.rollout_math import asked_for, max_unavailable

AVAILABLE, PROGRESSING, REPLICA_FAILURE = "Available", "Progressing", "ReplicaFailure"
MINIMUM_AVAILABLE, MINIMUM_UNAVAILABLE = "MinimumReplicasAvailable", "MinimumReplicasUnavailable"
NEW_SET_CREATED, FOUND_NEW_SET, SET_UPDATED = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"
NEW_SET_AVAILABLE, DEADLINE_EXCEEDED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
NO_DEADLINE = 2**31 - 1
"""A progressDeadlineSeconds of this value means none (Kubernetes' MaxInt32)."""

Conditions = tuple[DeploymentCondition, ...]


def find(conditions: Conditions, kind: str) -> DeploymentCondition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def condition(kind: str, status: ConditionStatus, reason: str, message: str, now: Instant) -> DeploymentCondition:
    when = format_time(now)
    return DeploymentCondition(kind, status, reason, message, when, when)


def with_condition(conditions: Conditions, new: DeploymentCondition) -> Conditions:
    """`conditions` with `new` in them, unless status and reason are already so: then the old one keeps its times."""
    old = find(conditions, new.type)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return conditions
    return _replaced(conditions, old, new)


def renewed(conditions: Conditions, new: DeploymentCondition) -> Conditions:
    """As `with_condition`, but the update time and the message are always the new ones."""
    return _replaced(conditions, find(conditions, new.type), new)


def _replaced(conditions: Conditions, old: DeploymentCondition | None, new: DeploymentCondition) -> Conditions:
    if old is not None and old.status == new.status:
        new = msgspec.structs.replace(new, last_transition_time=old.last_transition_time)
    return (*(each for each in conditions if each.type != new.type), new)


def counted(
    deployment: Deployment, conditions: Conditions, sets: Sequence[ReplicaSet], new: ReplicaSet | None, now: Instant
) -> DeploymentStatus:
    """Counts over all ReplicaSets and the Available condition; the other conditions are those given."""
    available = sum(each.status.available_replicas for each in sets)
    if available >= deployment.spec.replicas - max_unavailable(deployment):
        verdict = condition(AVAILABLE, "True", MINIMUM_AVAILABLE, "Deployment has minimum availability.", now)
    else:
        message = "Deployment does not have minimum availability."
        verdict = condition(AVAILABLE, "False", MINIMUM_UNAVAILABLE, message, now)
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=sum(each.status.replicas for each in sets),
        updated_replicas=new.status.replicas if new else 0,
        ready_replicas=sum(each.status.ready_replicas for each in sets),
        available_replicas=available,
        unavailable_replicas=max(0, asked_for(sets) - available),
        collision_count=deployment.status.collision_count,
        conditions=with_condition(conditions, verdict),
    )


def has_deadline(deployment: Deployment) -> bool:
    return deployment.spec.progress_deadline_seconds != NO_DEADLINE


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all replicas are of the new template and available, and no old one is left."""
    desired = deployment.spec.replicas
    counts = (status.updated_replicas, status.replicas, status.available_replicas)
    return counts == (desired, desired, desired) and status.observed_generation >= deployment.metadata.generation


def is_progress(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    """More new, ready or available pods than before, or fewer old ones."""
    return (
        after.updated_replicas > before.updated_replicas
        or after.replicas - after.updated_replicas < before.replicas - before.updated_replicas
        or after.ready_replicas > before.ready_replicas
        or after.available_replicas > before.available_replicas
    )


def deadline_of(deployment: Deployment, status: DeploymentStatus) -> Instant | None:
    """When the rollout will have gone too long without progress; None when nothing is awaited."""
    progressing = find(status.conditions, PROGRESSING)
    if not has_deadline(deployment) or progressing is None:
        return None
    if progressing.reason in (NEW_SET_AVAILABLE, DEADLINE_EXCEEDED):
        return None
    since = parse_time(progressing.last_update_time)
    return None if since is None else since + deployment.spec.progress_deadline_seconds


def with_progress(
    deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now: Instant
) -> DeploymentStatus:
    """`status` with the Progressing condition that follows from it."""
    conditions = status.conditions
    if not has_deadline(deployment):
        conditions = tuple(each for each in conditions if each.type != PROGRESSING)
        return msgspec.structs.replace(status, conditions=conditions)
    current = find(conditions, PROGRESSING)
    done_before = current is not None and current.reason == NEW_SET_AVAILABLE
    if done_before and status.replicas == status.updated_replicas:
        return status
    subject = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        conditions = with_condition(conditions, condition(PROGRESSING, "True", NEW_SET_AVAILABLE, message, now))
    elif is_progress(deployment.status, status):
        conditions = renewed(conditions, condition(PROGRESSING, "True", SET_UPDATED, f"{subject} is progressing.", now))
    elif (deadline := deadline_of(deployment, status)) is not None and deadline < now:
        message = f"{subject} has timed out progressing."
        conditions = with_condition(conditions, condition(PROGRESSING, "False", DEADLINE_EXCEEDED, message, now))
    return msgspec.structs.replace(status, conditions=conditions)


def with_failures(status: DeploymentStatus, sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> DeploymentStatus:
    """`status` with the ReplicaFailure of the ReplicaSets (the new one's counts first), or without any."""
    others = tuple(each for each in status.conditions if each.type != REPLICA_FAILURE)
    ordered = [new, *sets] if new else list(sets)
    failures = (find(each.status.conditions, REPLICA_FAILURE) for each in ordered)
    failure = next((each for each in failures if each is not None and each.status == "True"), None)
    return msgspec.structs.replace(status, conditions=(*others, failure) if failure else others)


def with_pause(deployment: Deployment, conditions: Conditions, now: Instant) -> Conditions:
    """Progressing=Unknown when a Deployment is paused or resumed: the time in between is not held against it."""
    current = find(conditions, PROGRESSING)
    reason = current.reason if current else ""
    if not has_deadline(deployment) or reason == DEADLINE_EXCEEDED:
        return conditions
    if deployment.spec.paused and reason != PAUSED:
        return with_condition(conditions, condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now))
    if not deployment.spec.paused and reason == PAUSED:
        return with_condition(conditions, condition(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now))
    return conditions
