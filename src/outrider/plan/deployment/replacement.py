"""A replica whose GPU is faulty, and that serves nobody, is made anew on another GPU.

A container keeps its GPUs however often it is restarted, so that such a pod crashes or stays silent until somebody
removes it. Removing it loses nothing, for it does not serve; but it gains something only where another GPU is free, or
is held by the version before, which is only loaded: that gives way to a replica that finds no node.
One goes at a time, so that what is taken for a fault of many GPUs does not empty a service. A pod that still answers
is left alone: what it does badly is not blamed on its version, and people are told.
"""

from collections import Counter

import msgspec

from outrider.api.meta import Instant
from outrider.plan.actions import Evict
from outrider.plan.deployment import fleet
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.rollout import CRASH_REASONS
from outrider.plan.deployment.snapshot import PodView

EVICTED = "EvictedForGPUFault"
PATIENCE = 60.0
"""Seconds for which a pod that does not crash may be not ready on a faulty GPU. Device plugins take every GPU of a node
for unhealthy when they lose their source of events, and a model that is loading would be loaded from the start."""
AGAIN = 10.0
"""Seconds after which it is looked again: where a budget has refused an eviction (as API servers answer it), and where
the node, a free GPU or another pod of the service has to come first."""


class Replacement(msgspec.Struct, frozen=True):
    """The pods to evict, one at most, and when to look again."""

    actions: tuple[Evict, ...] = ()
    looks_again_at: Instant | None = None


def look(facts: Facts) -> Replacement:
    """Which pod has to go now for another GPU."""
    snapshot, now = facts.snapshot, facts.now
    sick = [pod for pod in snapshot.pods if pod.alive and pod.fault is not None and pod.fault.of_gpu]
    due = {pod.uid: _due(facts, pod) for pod in sick}
    ripe = [pod for pod in sick if (moment := due[pod.uid]) is not None and moment <= now]
    if not ripe:
        return Replacement(looks_again_at=min((moment for moment in due.values() if moment is not None), default=None))
    if _is_changing(facts) or not _shows(facts, ripe[0]) or not _has_room(facts, ripe[0]):
        return Replacement(looks_again_at=now + AGAIN)
    return Replacement((_evicted(facts, ripe[0]),), now + AGAIN)


def _due(facts: Facts, pod: PodView) -> Instant | None:
    """From when on the pod serves nobody for good; None while it does."""
    if pod.ready:
        return facts.now if pod in facts.answers.failing else None
    if pod.waiting in CRASH_REASONS:
        return facts.now
    return pod.unready_since + PATIENCE if pod.unready_since is not None else None


def _is_changing(facts: Facts) -> bool:
    """Whether a pod goes or is still to be placed: the last one that went may have no successor yet. Neither one that
    cannot go, with its node, nor one of which the scheduler has said that it finds none, is that.
    """
    return any(
        (pod.terminating and (pod.fault is None or pod.fault.of_gpu))
        or (pod.alive and not pod.node and not pod.unschedulable)
        for pod in facts.snapshot.pods
    )


def _shows(facts: Facts, pod: PodView) -> bool:
    """Whether the node has less to give by now. Before that the scheduler would take the lost GPU for a free one, and
    the new pod would be where the old one was.
    """
    found = facts.snapshot.capacity
    node = next((one for one in found.nodes if one.name == pod.node), None) if found is not None else None
    return node is None or not node.has or not node.schedulable or node.gpus < node.has


def _has_room(facts: Facts, pod: PodView) -> bool:
    """Whether a healthy GPU is free for it, or will be. An operator that may not read nodes lets the scheduler find
    out: a pod that waits for a GPU serves no less than one that cannot use its own.
    """
    found = facts.snapshot.capacity
    if found is None:
        return True
    gives_way = _gives_way(facts, pod)
    return any(node.schedulable and node.gpus - node.used + gives_way[node.name] >= pod.gpus for node in found.nodes)


def _gives_way(facts: Facts, pod: PodView) -> Counter[str]:
    """By node, the GPUs that the scheduler counts as held until the pod is gone: its own, and those of pods of other
    versions that take no requests and end where its successor finds no node (`fleet.others`).
    """
    held = Counter({pod.node: pod.gpus})
    target = facts.effective.target
    if target is None or pod.revision != target.hash:
        return held
    for one in fleet.alive(facts.snapshot):
        if one.revision != pod.revision and fleet.is_idle(facts.traffic, one.revision):
            held[one.node] += one.gpus
    return held


def _evicted(facts: Facts, pod: PodView) -> Evict:
    assert pod.fault is not None, "only a faulty GPU gives a reason"
    how = "answers no request" if pod.ready else f"does not run: {pod.waiting}" if pod.waiting else "is not ready"
    return Evict(
        namespace=facts.snapshot.namespace,
        name=pod.name,
        uid=pod.uid,
        reason=EVICTED,
        why=f"{pod.name} {how}, and {pod.fault.message}: it is made anew on another GPU.",
    )
