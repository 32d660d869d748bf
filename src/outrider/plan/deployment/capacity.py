"""Whether there are GPUs for the replicas that are wanted; if not, what is missing and what would make room.

The answer is a sentence that somebody on call can act on. It counts what pods and nodes say; it reserves nothing: who
gets the room that appears is the scheduler's decision.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from outrider.plan.deployment.snapshot import Capacity, GpuHolder, NodeView

Reason = Literal[
    "Placed",
    "NoGPUsNeeded",
    "CapacityUnknown",
    "WaitingForScheduler",
    "InsufficientGPUs",
    "FragmentedGPUs",
    "NoNodeBigEnough",
    "NoGPUNodes",
    "WaitingForTerminatingPods",
]


class Need(msgspec.Struct, frozen=True):
    """What one deployment wants of the cluster."""

    key: str
    """`namespace/name`."""
    gpus_per_replica: int
    wanted: int
    """Replicas."""
    unplaced: int
    """Of them, pods that have no node yet, or replicas that have no pod yet."""


class Verdict(msgspec.Struct, frozen=True):
    available: bool | None
    """None: unknown."""
    reason: Reason
    message: str


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 GPU`, `2 GPUs`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def are(number: int) -> str:
    return "is" if number == 1 else "are"


def placeable(nodes: tuple[NodeView, ...], gpus: int) -> int:
    """How many replicas of so many GPUs fit at once: a replica is never spread over nodes."""
    return sum(node.free // gpus for node in nodes)


def assess(need: Need, gpus: Callable[[], Capacity] | None) -> Verdict:
    """Whether the replicas that have no node yet can get one; `gpus` as in `Snapshot`."""
    if need.unplaced == 0:
        return Verdict(available=True, reason="Placed", message="Every replica has a node.")
    if need.gpus_per_replica == 0:
        return Verdict(available=True, reason="NoGPUsNeeded", message="The replicas need no GPU.")
    if gpus is None:
        return Verdict(available=None, reason="CapacityUnknown", message="The nodes cannot be read.")
    capacity = gpus()
    if placeable(capacity.nodes, need.gpus_per_replica) >= need.unplaced:
        return Verdict(
            available=True,
            reason="WaitingForScheduler",
            message=f"There is room for {count(need.unplaced, 'replica')} still without a node.",
        )
    return _shortage(need, capacity)


def _shortage(need: Need, capacity: Capacity) -> Verdict:
    nodes = tuple(node for node in capacity.nodes if node.gpus)
    size = need.gpus_per_replica
    short = need.unplaced - placeable(nodes, size)
    missing = _missing(short, size, nodes)
    what = f"{count(missing, 'GPU')} {are(missing)} missing for {short} of {count(need.wanted, 'replica')}"
    if not nodes:
        return Verdict(
            available=False,
            reason="NoGPUNodes",
            message=f"{what}: no node has GPUs (nvidia.com/gpu); room appears with {_more_nodes(short, size)}.",
        )
    largest = max(node.gpus for node in nodes)
    if largest < size:
        return Verdict(
            available=False,
            reason="NoNodeBigEnough",
            message=f"Each replica needs {count(size, 'GPU')} in one node, and the largest node has {largest}: "
            f"room appears with {_more_nodes(short, size)}, or when replicas ask for at most {count(largest, 'GPU')}.",
        )
    held = _who_holds(capacity.holders)
    facts = f"{_total(nodes)}, {held}" if held else _total(nodes)
    remedies, reason = _remedies(need, capacity, nodes, short)
    return Verdict(available=False, reason=reason, message=f"{what}: {facts}; room appears {' or '.join(remedies)}.")


def _missing(short: int, size: int, nodes: tuple[NodeView, ...]) -> int:
    """GPUs short of `short` replicas more, after what is free in the emptiest node is counted."""
    left = max((node.free % size for node in nodes if node.gpus >= size), default=0)
    return max(1, short * size - left)


def _total(nodes: tuple[NodeView, ...]) -> str:
    text = f"{count(sum(node.gpus for node in nodes), 'GPU')} in {count(len(nodes), 'node')}"
    away = [node for node in nodes if not node.schedulable]
    if away:
        gpus, names = sum(node.gpus for node in away), ", ".join(node.name for node in away)
        text += f" ({gpus} of them in {names}, which {'takes' if len(away) == 1 else 'take'} no new pods)"
    return text


def _who_holds(holders: tuple[GpuHolder, ...]) -> str:
    """`6 held by production/llama-a (3 replicas x 2) and 2 by production/llama-b (1 replica x 2)`; four at most."""
    shown = [
        f"{holder.gpus}{' held' if place == 0 else ''} by {_holder(holder)}" for place, holder in enumerate(holders[:4])
    ]
    rest = holders[4:]
    if rest:
        shown.append(f"{sum(holder.gpus for holder in rest)} by {count(len(rest), 'other')}")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _holder(holder: GpuHolder) -> str:
    if not holder.is_deployment:
        return f"pod {holder.key}"
    each, odd = divmod(holder.gpus, holder.replicas)
    return f"{holder.key} ({count(holder.replicas, 'replica')}{'' if odd else f' x {each}'})"


def _remedies(need: Need, capacity: Capacity, nodes: tuple[NodeView, ...], short: int) -> tuple[list[str], Reason]:
    size = need.gpus_per_replica
    missing = _missing(short, size, nodes)
    free = sum(node.free for node in nodes)
    leaving = [holder for holder in capacity.holders if holder.terminating_gpus]
    if sum(holder.terminating_gpus for holder in leaving) >= missing:
        return [
            f"when the pods that are ending have gone ({', '.join(holder.key for holder in leaving)})"
        ], "WaitingForTerminatingPods"
    remedies = [text for holder in capacity.holders if (text := _scale_down(holder, need, missing))][:1]
    away = [node.name for node in nodes if not node.schedulable and node.gpus - node.used >= size]
    if away:
        remedies.append(f"when {', '.join(away)} {'takes' if len(away) == 1 else 'take'} pods again")
    remedies.append(f"with {_more_nodes(short, size)}")
    return remedies, "FragmentedGPUs" if free >= need.unplaced * size else "InsufficientGPUs"


def _scale_down(holder: GpuHolder, need: Need, missing: int) -> str:
    """Only another deployment can give way, and only if it is not left with nothing."""
    if holder.key == need.key or not holder.is_deployment or holder.replicas < 1:
        return ""
    each = holder.gpus // holder.replicas
    replicas = -(-missing // each) if each else 0
    if not replicas or replicas >= holder.replicas:
        return ""
    return f"when {holder.key} is scaled down by {count(replicas, 'replica')}"


def _more_nodes(short: int, size: int) -> str:
    return f"{'one more node' if short == 1 else f'{short} more nodes'} of at least {count(size, 'GPU')}"
