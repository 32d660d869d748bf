"""Which pods a ReplicaSet needs or can spare, and what it says about them: pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from outrider.api.meta import Instant, format_time, parse_time
from outrider.local.actors import deployment_status as conditions
from outrider.local.actors.objects import DeploymentCondition, Pod, ReplicaSet, ReplicaSetStatus
from outrider.local.actors.pods import is_active, is_available, ready_condition, restarts

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
BURST = 500
"""Pods created or deleted by one ReplicaSet in one go (kube-controller-manager's BurstReplicas)."""
_PHASES = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}


def deletion_cost(pod: Pod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def pods_to_delete(pods: Sequence[Pod], count: int, siblings_on_node: Mapping[str, int]) -> tuple[Pod, ...]:
    """The `count` pods that are missed least, in the order of Kubernetes' ranking.

    First go those without a node, then pending, then not ready, then cheap by annotation, then those that share their
    node with most siblings (`siblings_on_node`: node to number of active pods of the same Deployment), then the most
    recently ready, the most often restarted, the youngest.
    """

    def rank(pod: Pod) -> tuple[Any, ...]:
        condition = ready_condition(pod)
        ready_since = parse_time(condition.last_transition_time) if condition else None
        return (
            bool(pod.spec.node_name),
            _PHASES.get(pod.status.phase, 2),
            pod.ready,
            deletion_cost(pod),
            -siblings_on_node.get(pod.spec.node_name, 0),
            -(ready_since or 0.0) if pod.ready else 0.0,
            -restarts(pod),
            -(parse_time(pod.metadata.creation_timestamp) or 0.0),
            pod.metadata.name,
        )

    return tuple(sorted(pods, key=rank)[:count])


class ReplicaPlan(msgspec.Struct, frozen=True):
    """What to do to have the right number of pods."""

    create: int = 0
    delete: tuple[Pod, ...] = ()


def plan_replicas(
    replica_set: ReplicaSet, pods: Sequence[Pod], siblings_on_node: Mapping[str, int] | None = None
) -> ReplicaPlan:
    """How many pods to create, or which to delete. Finished and terminating pods count for nothing."""
    if replica_set.metadata.deletion_timestamp is not None:
        return ReplicaPlan()
    active = [pod for pod in pods if is_active(pod)]
    missing = replica_set.spec.replicas - len(active)
    if missing >= 0:
        return ReplicaPlan(create=min(missing, BURST))
    return ReplicaPlan(delete=pods_to_delete(active, min(-missing, BURST), siblings_on_node or {}))


def slow_start(count: int) -> tuple[int, ...]:
    """`count` in batches of 1, 2, 4, ...: when creation fails for good, few requests have been wasted."""
    batches, size = [], 1
    while count > 0:
        batches.append(min(size, count))
        count -= batches[-1]
        size *= 2
    return tuple(batches)


def pod_from_template(replica_set: ReplicaSet, name: str) -> dict[str, Any]:
    """The pod that the ReplicaSet's template describes, owned by it."""
    template = replica_set.spec.template
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        key: given[key] for key in ("labels", "annotations", "finalizers") if given.get(key)
    } | {
        "name": name,
        "generateName": f"{replica_set.metadata.name}-",
        "namespace": replica_set.metadata.namespace,
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": replica_set.metadata.name,
                "uid": replica_set.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def replica_set_status(
    replica_set: ReplicaSet, pods: Sequence[Pod], now: Instant, failure: tuple[str, str] | None
) -> ReplicaSetStatus:
    """Counts over the active pods; `failure` is (reason, message) of a creation or deletion that was refused."""
    active = [pod for pod in pods if is_active(pod)]
    template_labels = ((replica_set.spec.template.get("metadata") or {}).get("labels") or {}).items()
    seconds = replica_set.spec.min_ready_seconds
    return ReplicaSetStatus(
        observed_generation=replica_set.metadata.generation,
        replicas=len(active),
        fully_labeled_replicas=sum(template_labels <= pod.metadata.labels.items() for pod in active),
        ready_replicas=sum(pod.ready for pod in active),
        available_replicas=sum(is_available(pod, seconds, now) for pod in active),
        conditions=_failure_condition(replica_set.status.conditions, failure, now),
    )


def _failure_condition(
    before: tuple[DeploymentCondition, ...], failure: tuple[str, str] | None, now: Instant
) -> tuple[DeploymentCondition, ...]:
    if failure is None:
        return tuple(each for each in before if each.type != conditions.REPLICA_FAILURE)
    reason, message = failure
    made = DeploymentCondition(conditions.REPLICA_FAILURE, "True", reason, message, None, format_time(now))
    return conditions.with_condition(before, made)
