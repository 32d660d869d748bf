"""What a node's heartbeats say of it, which taints follow, and when its pods have to go: pure functions."""

from collections.abc import Iterable, Sequence

import msgspec

from outrider.api.meta import Condition, Instant, find_condition, format_time, parse_time
from outrider.local.actors.objects import Node, Pod, Taint
from outrider.local.actors.taints import NOT_READY, UNREACHABLE, UNSCHEDULABLE, bears_for, condition_taints

OWN_KEYS = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)
"""The taints that follow from a node's state, and are ours to put on and take off."""
UNKNOWN_REASON = "NodeStatusUnknown"
UNKNOWN_MESSAGE = "Kubelet stopped posting node status."


def lost_conditions(conditions: Iterable[Condition], now: Instant) -> tuple[Condition, ...]:
    """The conditions of a node whose kubelet is silent: what it said last is not known any more."""
    kept = [
        each
        if each.status == "Unknown"
        else msgspec.structs.replace(
            each,
            status="Unknown",
            reason=UNKNOWN_REASON,
            message=UNKNOWN_MESSAGE,
            last_transition_time=format_time(now),
        )
        for each in conditions
    ]
    if find_condition(kept, "Ready") is None:
        message = "Kubelet never posted node status."
        kept.append(Condition("Ready", "Unknown", "NodeStatusNeverUpdated", message, format_time(now)))
    return tuple(kept)


def desired_taints(node: Node, now: Instant, *, may_evict: bool) -> tuple[Taint, ...]:
    """The node's taints as they should be: foreign ones as they are, own ones after its state.

    NoExecute, which evicts, comes only where `may_evict`: when no node at all is healthy, the fault is more likely to
    be on our side than on theirs, and evicting helps nobody.
    """
    known = {(taint.key, taint.effect): taint for taint in node.spec.taints}
    foreign = [taint for taint in node.spec.taints if taint.key not in OWN_KEYS]
    own = []
    for taint in condition_taints(node):
        effects = ("NoSchedule", "NoExecute") if taint.key != UNSCHEDULABLE and may_evict else ("NoSchedule",)
        for effect in effects:
            new = Taint(taint.key, taint.value, effect, format_time(now))
            own.append(known.get((taint.key, effect), new))
    return (*foreign, *own)


def eviction_time(pod: Pod, taints: Sequence[Taint], default_seconds: float) -> Instant | None:
    """When the pod has to leave a node with these taints; None for never. A pod on its way out is let be."""
    if pod.metadata.deletion_timestamp is not None:
        return None
    moments = []
    for taint in taints:
        if taint.effect == "NoExecute":
            seconds = bears_for(taint, pod.spec.tolerations, default_seconds)
            if seconds is not None:
                moments.append((parse_time(taint.time_added) or 0.0) + seconds)
    return min(moments, default=None)
