"""Taints and tolerations: which a node has, and which a pod bears."""

from collections.abc import Sequence

from outrider.api.meta import find_condition
from outrider.local.actors.objects import Node, Taint, Toleration

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
HARD_EFFECTS = ("NoSchedule", "NoExecute")


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.operator == "Exists":
        return not toleration.key or toleration.key == taint.key
    return toleration.key == taint.key and toleration.value == taint.value


def is_tolerated(taint: Taint, tolerations: Sequence[Toleration]) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def condition_taints(node: Node) -> tuple[Taint, ...]:
    """The NoSchedule taints that follow from the node's state, whether or not anybody has put them on it yet."""
    taints = []
    ready = find_condition(node.status.conditions, "Ready")
    if ready is None or ready.status == "False":
        taints.append(Taint(NOT_READY, "", "NoSchedule"))
    elif ready.status == "Unknown":
        taints.append(Taint(UNREACHABLE, "", "NoSchedule"))
    if node.spec.unschedulable:
        taints.append(Taint(UNSCHEDULABLE, "", "NoSchedule"))
    return tuple(taints)


def effective_taints(node: Node) -> tuple[Taint, ...]:
    """The node's taints, and those that its state implies: they count before anybody has written them."""
    known = {(taint.key, taint.effect) for taint in node.spec.taints}
    implied = tuple(taint for taint in condition_taints(node) if (taint.key, taint.effect) not in known)
    return (*implied, *node.spec.taints)


def bears_for(taint: Taint, tolerations: Sequence[Toleration], default_seconds: float) -> float | None:
    """Seconds for which a pod bears a NoExecute taint: 0 at once, None for ever.

    A pod that says nothing about a node being not ready or unreachable bears it for `default_seconds`, as the
    admission plugin DefaultTolerationSeconds has it.
    """
    matching = [toleration for toleration in tolerations if tolerates(toleration, taint)]
    if not matching:
        return default_seconds if taint.key in (NOT_READY, UNREACHABLE) else 0.0
    limits = [toleration.toleration_seconds for toleration in matching if toleration.toleration_seconds is not None]
    return float(max(0, min(limits))) if limits else None
