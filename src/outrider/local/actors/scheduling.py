"""Where a pod may run and where it runs best: pure functions, with kube-scheduler's rules and words.

A node that may not take the pod gives its reasons in kube-scheduler's wording; the message of an unschedulable pod
counts them, so that what people know how to read, they read here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from outrider.api.labels import GPU_RESOURCE
from outrider.api.quantity import Quantity
from outrider.local.actors.affinity import (
    Placed,
    crowding,
    matches_node_affinity,
    preferred_node_weight,
    violates_anti_affinity,
)
from outrider.local.actors.objects import Node, Pod
from outrider.local.actors.pods import FINISHED
from outrider.local.actors.taints import HARD_EFFECTS, effective_taints, is_tolerated

Resources = Mapping[str, Fraction]
PODS = "pods"
_ONE = Fraction(1)


@lru_cache(maxsize=4096)
def exact(raw: str | float) -> Fraction:
    """A quantity as an exact number; 0 for one that cannot be read, which no API server would have let in."""
    try:
        return Quantity.from_json(raw).value
    except ValueError:
        return Fraction(0)


def requests_of(pod: Pod) -> dict[str, Fraction]:
    """What the pod takes of a node: the sum of its containers or the largest init container, plus overhead and 1 pod.

    A limit without a request is a request too, as the API server's defaults have it.
    """
    total: dict[str, Fraction] = {}
    for container in pod.spec.containers:
        wanted = {**container.resources.limits, **container.resources.requests}
        for name, raw in wanted.items():
            total[name] = total.get(name, Fraction(0)) + exact(raw)
    for container in pod.spec.init_containers:
        for name, raw in {**container.resources.limits, **container.resources.requests}.items():
            total[name] = max(total.get(name, Fraction(0)), exact(raw))
    for name, raw in pod.spec.overhead.items():
        total[name] = total.get(name, Fraction(0)) + exact(raw)
    return {name: amount for name, amount in total.items() if amount > 0} | {PODS: _ONE}


@dataclass
class NodeInfo:
    """A node and what is taken of it. Changes as pods are placed."""

    node: Node
    pods: dict[str, Pod] = field(default_factory=dict)
    """By uid; terminating pods too, for they hold what they have until they are gone."""
    used: dict[str, Fraction] = field(default_factory=dict)

    def add(self, pod: Pod) -> None:
        if pod.metadata.uid in self.pods:
            return
        self.pods[pod.metadata.uid] = pod
        for name, amount in requests_of(pod).items():
            self.used[name] = self.used.get(name, Fraction(0)) + amount

    def free(self, resource: str) -> Fraction:
        return exact(self.node.status.allocatable.get(resource, "0")) - self.used.get(resource, Fraction(0))


def node_infos(nodes: Iterable[Node], pods: Iterable[Pod], assumed: Mapping[str, tuple[Pod, str]]) -> list[NodeInfo]:
    """The nodes with the pods bound to them; `assumed` are own bindings, by uid, whether or not they are seen yet."""
    infos = {node.metadata.name: NodeInfo(node) for node in nodes}
    for pod, name in assumed.values():
        if name in infos:
            infos[name].add(pod)
    for pod in pods:
        if pod.spec.node_name in infos and pod.status.phase not in FINISHED and pod.metadata.uid not in assumed:
            infos[pod.spec.node_name].add(pod)
    return list(infos.values())


def reasons_against(pod: Pod, info: NodeInfo, placed: Placed) -> tuple[str, ...]:
    """Why the pod may not run on the node, in kube-scheduler's words: the first obstacle, or all missing resources."""
    node = info.node
    for taint in effective_taints(node):
        if taint.effect in HARD_EFFECTS and not is_tolerated(taint, pod.spec.tolerations):
            if taint.key == "node.kubernetes.io/unschedulable":
                return ("node(s) were unschedulable",)
            return (f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}",)
    if not matches_node_affinity(pod, node):
        return ("node(s) didn't match Pod's node affinity/selector",)
    short = tuple(reason for name, amount in requests_of(pod).items() if (reason := _shortage(info, name, amount)))
    if short:
        return short
    if violates_anti_affinity(pod, node, placed):
        return ("node(s) didn't match pod anti-affinity rules",)
    return ()


def _shortage(info: NodeInfo, resource: str, amount: Fraction) -> str:
    if info.free(resource) >= amount:
        return ""
    return "Too many pods" if resource == PODS else f"Insufficient {resource}"


def unschedulable_message(node_count: int, reasons: Iterable[str]) -> str:
    """Each reason, counted: `0/2 nodes are available: 1 Too many pods, 1 node(s) were unschedulable.` and the like."""
    if node_count == 0:
        return "no nodes available to schedule pods"
    counted = sorted(f"{count} {reason}" for reason, count in Counter(reasons).items())
    return f"0/{node_count} nodes are available: {', '.join(counted)}."


def preference(pod: Pod, info: NodeInfo, placed: Placed) -> tuple[Any, ...]:
    """How good the node is for the pod: the largest is the best, and what counts more stands first.

    First come fewer soft taints, the pod's own preferences, GPU nodes kept for pods with GPUs, and replicas spread over
    nodes, so that one lost node does not take a service with it. Then for GPU pods the node with the fewest GPUs left,
    so that whole nodes stay free for large models; for others the node with the most room.
    """
    node, wanted = info.node, requests_of(pod)
    soft = sum(
        taint.effect == "PreferNoSchedule" and not is_tolerated(taint, pod.spec.tolerations)
        for taint in node.spec.taints
    )
    gpus_left, wants_gpu = info.free(GPU_RESOURCE), GPU_RESOURCE in wanted
    wasted = not wants_gpu and exact(node.status.allocatable.get(GPU_RESOURCE, "0")) > 0
    packing = -gpus_left if wants_gpu else _room_left(info, wanted)
    wishes = preferred_node_weight(pod, node) - crowding(pod, node, placed)
    return (-soft, wishes, not wasted, -replicas_here(pod, info), packing)


def replicas_here(pod: Pod, info: NodeInfo) -> int:
    """Pods on the node that have the same controller as this one."""
    owner = pod.metadata.controller
    if owner is None:
        return 0
    controllers = (other.metadata.controller for other in info.pods.values())
    return sum(each is not None and each.uid == owner.uid for each in controllers)


def _room_left(info: NodeInfo, wanted: Resources) -> Fraction:
    """The mean share of cpu, memory and pods that stays free."""
    shares = []
    for resource in ("cpu", "memory", PODS):
        total = exact(info.node.status.allocatable.get(resource, "0"))
        if total > 0:
            shares.append((info.free(resource) - wanted.get(resource, Fraction(0))) / total)
    return sum(shares, Fraction(0)) / len(shares) if shares else Fraction(0)


@dataclass(frozen=True)
class Placement:
    """Where to bind the pod, or (node is "") why nowhere."""

    node: str
    message: str = ""


def place(pod: Pod, infos: Sequence[NodeInfo]) -> Placement:
    """The best node that may take the pod."""
    reasons: list[str] = []
    feasible = []
    placed = [(info.node, tuple(info.pods.values())) for info in infos]
    for info in infos:
        against = reasons_against(pod, info, placed)
        reasons += against
        if not against:
            feasible.append(info)
    if not feasible:
        return Placement("", unschedulable_message(len(infos), reasons))
    by_name = sorted(feasible, key=lambda info: info.node.metadata.name)
    return Placement(max(by_name, key=lambda info: preference(pod, info, placed)).node.metadata.name)


def queue_order(pod: Pod) -> tuple[Any, ...]:
    """High priority first, then first come, first served."""
    return -pod.spec.priority, pod.metadata.creation_timestamp or "", _version(pod), pod.metadata.key


def _version(pod: Pod) -> int:
    text = pod.metadata.resource_version
    return int(text) if text.isdecimal() else 0


def awaits_node(pod: Pod) -> bool:
    """Whether the scheduler has this pod to place."""
    return (
        not pod.spec.node_name
        and pod.metadata.deletion_timestamp is None
        and pod.status.phase not in FINISHED
        and not pod.spec.scheduling_gates
    )
