"""What a Deployment wants of its ReplicaSets next: one pure function, after kube-controller-manager's rules.

One step at a time, as there: either the new ReplicaSet grows or old ones shrink, and the next step is taken when the
step before shows in the ReplicaSets' status. Every write carries the resource version that it was decided on, so that
a decision on a stale copy fails instead of being carried out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from outrider.api.meta import Instant
from outrider.local.actors import deployment_status as conditions
from outrider.local.actors.names import template_hash
from outrider.local.actors.objects import Deployment, DeploymentStatus, ReplicaSet
from outrider.local.actors.rollout_math import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    REVISION_HISTORY,
    TEMPLATE_HASH,
    annotated_number,
    asked_for,
    available,
    clean_up_unhealthy,
    give_way,
    is_rolling,
    max_surge,
    max_unavailable,
    new_set_size,
    oldest_first,
    revision_of,
    scaled_in_proportion,
)

_NOT_COPIED = {
    REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
}  # fmt: skip


class Change(msgspec.Struct, frozen=True):
    """A merge patch for a ReplicaSet, valid for exactly this version of it."""

    name: str
    resource_version: str
    patch: dict[str, Any]


class RolloutPlan(msgspec.Struct, frozen=True):
    status: DeploymentStatus
    create: dict[str, Any] | None = None
    changes: tuple[Change, ...] = ()
    deletes: tuple[ReplicaSet, ...] = ()
    revision: str = ""
    """The Deployment's revision annotation, where it has to change."""
    events: tuple[tuple[str, str], ...] = ()
    """(reason, note) of events on the Deployment."""
    look_again_at: Instant | None = None
    """When the progress deadline passes."""


class _Draft:
    """The ReplicaSets as they will be, and the writes that make them so."""

    def __init__(self, deployment: Deployment, sets: Sequence[ReplicaSet], now: Instant) -> None:
        self.deployment = deployment
        self.sets = {each.metadata.name: each for each in oldest_first(sets)}
        self.now = now
        self.status_conditions = conditions.with_pause(deployment, deployment.status.conditions, now)
        self.create: dict[str, Any] | None = None
        self.patches: dict[str, dict[str, Any]] = {}
        self.deletes: list[ReplicaSet] = []
        self.events: list[tuple[str, str]] = []
        template = deployment.spec.template
        self.new_name = next((n for n, each in self.sets.items() if same_template(each.spec.template, template)), "")

    @property
    def all(self) -> list[ReplicaSet]:
        return list(self.sets.values())

    @property
    def new(self) -> ReplicaSet | None:
        return self.sets.get(self.new_name)

    @property
    def old(self) -> list[ReplicaSet]:
        return [each for name, each in self.sets.items() if name != self.new_name]

    def scale(self, name: str, replicas: int, *, forced: bool = False) -> bool:
        """Ask the ReplicaSet for so many replicas and note what it is part of; True when the number changes.

        Where it does not, the note is renewed only if that is `forced`: kube-controller-manager is as lazy
        (scaleReplicaSet in pkg/controller/deployment/sync.go, 1.36), and what an old note says decides how a later
        change of size is shared out.
        """
        current = self.sets[name]
        changes = current.spec.replicas != replicas
        if changes or forced:
            self.annotate(name, _size_annotations(self.deployment))
        if not changes:
            return False
        word = "up" if replicas > current.spec.replicas else "down"
        note = f"Scaled {word} replica set {name} from {current.spec.replicas} to {replicas}"
        self.events.append(("ScalingReplicaSet", note))
        self._patch_spec(name, "replicas", replicas)
        changed = msgspec.structs.replace(self.sets[name].spec, replicas=replicas)
        self.sets[name] = msgspec.structs.replace(self.sets[name], spec=changed)
        return True

    def set_min_ready(self, name: str, seconds: int) -> None:
        if self.sets[name].spec.min_ready_seconds != seconds:
            self._patch_spec(name, "minReadySeconds", seconds)
            changed = msgspec.structs.replace(self.sets[name].spec, min_ready_seconds=seconds)
            self.sets[name] = msgspec.structs.replace(self.sets[name], spec=changed)

    def annotate(self, name: str, wanted: Mapping[str, str]) -> None:
        metadata = self.sets[name].metadata
        missing = {key: value for key, value in wanted.items() if metadata.annotations.get(key) != value}
        if missing:
            self.patches.setdefault(name, {}).setdefault("metadata", {}).setdefault("annotations", {}).update(missing)
            metadata = msgspec.structs.replace(metadata, annotations={**metadata.annotations, **missing})
            self.sets[name] = msgspec.structs.replace(self.sets[name], metadata=metadata)

    def scale_all(self, sizes: Mapping[str, int], *, forced: bool = False) -> bool:
        changed = [self.scale(name, size, forced=forced) for name, size in sizes.items()]
        return any(changed)

    def _patch_spec(self, name: str, key: str, value: int) -> None:
        self.patches.setdefault(name, {}).setdefault("spec", {})[key] = value


def plan_rollout(
    deployment: Deployment, sets: Sequence[ReplicaSet], now: Instant, *, old_pods_running: bool = False
) -> RolloutPlan:
    """The next step of a Deployment whose ReplicaSets are `sets`, and its status.

    `old_pods_running` says whether pods of old ReplicaSets still exist, terminating ones included; the strategy
    Recreate waits for them. Raises ValueError for a maxSurge or maxUnavailable that is neither number nor percentage.
    """
    draft = _Draft(deployment, sets, now)
    if deployment.metadata.deletion_timestamp is not None:
        return _finish(draft, progress=False)
    _keep_new_set_current(draft)
    if deployment.spec.paused or _was_scaled(draft):
        _scale(draft)
        if deployment.spec.paused:
            _clean_up(draft)
        return _finish(draft, progress=False)
    stepped = _roll(draft) if is_rolling(deployment) else _recreate(draft, old_pods_running=old_pods_running)
    if not stepped and conditions.is_complete(deployment, deployment.status):
        _clean_up(draft)
    return _finish(draft, progress=True)


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two pod templates are the same but for the hash label."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.pop("labels", None) or {}).items() if key != TEMPLATE_HASH}
    metadata.pop("creationTimestamp", None)  # clients in Go write it as null
    return {**template, "metadata": {**metadata, "labels": labels}}


def new_replica_set(deployment: Deployment, replicas: int, revision: int) -> dict[str, Any]:
    """The ReplicaSet for the Deployment's present template."""
    spec, name = deployment.spec, deployment.metadata.name
    label = {TEMPLATE_HASH: template_hash(_without_hash(spec.template), deployment.status.collision_count)}
    metadata = spec.template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **label}
    selector = msgspec.to_builtins(spec.selector)
    selector["matchLabels"] = {**spec.selector.match_labels, **label}
    annotations = {**_copied_annotations(deployment), **_size_annotations(deployment), REVISION: str(revision)}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name}-{label[TEMPLATE_HASH]}",
            "namespace": deployment.metadata.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": name,
                    "uid": deployment.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.min_ready_seconds,
            "selector": {key: value for key, value in selector.items() if value},
            "template": {**spec.template, "metadata": {**metadata, "labels": labels}},
        },
    }


def _copied_annotations(deployment: Deployment) -> dict[str, str]:
    return {key: value for key, value in deployment.metadata.annotations.items() if key not in _NOT_COPIED}


def _size_annotations(deployment: Deployment) -> dict[str, str]:
    replicas = deployment.spec.replicas
    return {DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(replicas + max_surge(deployment))}


def _next_revision(draft: _Draft) -> int:
    return max((revision_of(each) for each in draft.old), default=0) + 1


def _keep_new_set_current(draft: _Draft) -> None:
    """Number the ReplicaSet of the present template as the newest: after a rollback it is an old one, used again."""
    if (new := draft.new) is None:
        return
    wanted, revision, had = _copied_annotations(draft.deployment), _next_revision(draft), revision_of(new)
    if had < revision:
        wanted[REVISION] = str(revision)
        if had:
            history = new.metadata.annotations.get(REVISION_HISTORY, "")
            wanted[REVISION_HISTORY] = f"{history},{had}" if history else str(had)
    draft.annotate(draft.new_name, wanted)
    draft.set_min_ready(draft.new_name, draft.deployment.spec.min_ready_seconds)
    if conditions.find(draft.status_conditions, conditions.PROGRESSING) is None:
        _note_progress(draft, conditions.FOUND_NEW_SET, f'Found new replica set "{draft.new_name}"')


def _note_progress(draft: _Draft, reason: str, message: str) -> None:
    if conditions.has_deadline(draft.deployment):
        made = conditions.condition(conditions.PROGRESSING, "True", reason, message, draft.now)
        draft.status_conditions = conditions.with_condition(draft.status_conditions, made)


def _create_new_set(draft: _Draft) -> None:
    replicas = new_set_size(draft.deployment, draft.all, 0)
    draft.create = new_replica_set(draft.deployment, replicas, _next_revision(draft))
    name = draft.create["metadata"]["name"]
    draft.new_name = name
    draft.sets[name] = msgspec.convert(draft.create, ReplicaSet)
    _note_progress(draft, conditions.NEW_SET_CREATED, f'Created new replica set "{name}"')
    if replicas:
        draft.events.append(("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {replicas}"))


# Scaling while paused, or in the middle of a rollout


def _active(sets: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    return [each for each in sets if each.spec.replicas > 0]


def _was_scaled(draft: _Draft) -> bool:
    """Whether the Deployment was given another size since its active ReplicaSets were."""
    desired = draft.deployment.spec.replicas
    noted = [annotated_number(each, DESIRED_REPLICAS) for each in _active(draft.all)]
    return any(number is not None and number != desired for number in noted)


def _scale(draft: _Draft) -> None:
    desired, active = draft.deployment.spec.replicas, _active(draft.all)
    if len(active) <= 1:
        latest = active[0] if active else draft.new or next(iter(reversed(draft.old)), None)
        if latest is not None:
            draft.scale(latest.metadata.name, desired)
    elif _is_saturated(draft):
        draft.scale_all({each.metadata.name: 0 for each in _active(draft.old)})
    elif is_rolling(draft.deployment):
        draft.scale_all(scaled_in_proportion(draft.deployment, active), forced=True)


def _is_saturated(draft: _Draft) -> bool:
    """Whether the new ReplicaSet has all the replicas that the Deployment wants, and all are available."""
    desired, new = draft.deployment.spec.replicas, draft.new
    return new is not None and (
        new.spec.replicas == desired == annotated_number(new, DESIRED_REPLICAS) == new.status.available_replicas
    )


# The two strategies


def _roll(draft: _Draft) -> bool:
    """One step of a rolling update; True when a ReplicaSet was scaled."""
    if draft.new is None:
        _create_new_set(draft)
        return True
    desired, new = draft.deployment.spec.replicas, draft.new
    if new.spec.replicas > desired:
        return draft.scale(draft.new_name, desired)
    if draft.scale(draft.new_name, new_set_size(draft.deployment, draft.all, new.spec.replicas)):
        return True
    return _shrink_old_sets(draft)


def _shrink_old_sets(draft: _Draft) -> bool:
    """Take away from old ReplicaSets what availability allows, unavailable pods first."""
    new = draft.new
    if new is None or not _active(draft.old):
        return False
    minimum = draft.deployment.spec.replicas - max_unavailable(draft.deployment)
    not_yet_available = new.spec.replicas - available([new])
    most = asked_for(draft.all) - minimum - not_yet_available
    if most <= 0:
        return False
    shrunk = draft.scale_all(clean_up_unhealthy(draft.old, most))
    spare = available(draft.all) - minimum
    return draft.scale_all(give_way(draft.old, spare)) or shrunk


def _recreate(draft: _Draft, *, old_pods_running: bool) -> bool:
    """Stop all that is old, wait until it is gone, then start what is new."""
    if draft.scale_all({each.metadata.name: 0 for each in _active(draft.old)}):
        return True
    if old_pods_running or any(each.status.replicas for each in draft.old):
        return False
    if draft.new is None:
        _create_new_set(draft)
        return True
    return draft.scale(draft.new_name, draft.deployment.spec.replicas)


def _clean_up(draft: _Draft) -> None:
    """Forget the oldest revisions beyond the history limit; never one that has, or may get, pods."""
    old = [each for each in draft.old if each.metadata.deletion_timestamp is None]
    excess = max(0, len(old) - draft.deployment.spec.revision_history_limit)
    for each in sorted(old, key=revision_of)[:excess]:
        seen = each.metadata.generation <= each.status.observed_generation
        if seen and each.spec.replicas == 0 and each.status.replicas == 0:
            draft.deletes.append(each)


def _finish(draft: _Draft, *, progress: bool) -> RolloutPlan:
    deployment, new, now = draft.deployment, draft.new, draft.now
    status = conditions.counted(deployment, draft.status_conditions, draft.all, new, now)
    if progress:
        status = conditions.with_progress(deployment, status, new, now)
        status = conditions.with_failures(status, draft.all, new)
    deadline = conditions.deadline_of(deployment, status)
    revision = new.metadata.annotations.get(REVISION, "") if new else ""
    known = deployment.metadata.annotations.get(REVISION, "")
    versions = {each.metadata.name: each.metadata.resource_version for each in draft.all}
    return RolloutPlan(
        status=status,
        create=draft.create,
        changes=tuple(Change(name, versions[name], patch) for name, patch in draft.patches.items()),
        deletes=tuple(draft.deletes),
        revision=revision if revision != known else "",
        events=tuple(draft.events),
        look_again_at=deadline if progress and deadline is not None and deadline >= now else None,
    )
