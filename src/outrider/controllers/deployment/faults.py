"""What is wrong with nodes and GPUs, as far as Kubernetes knows, and which pods it is about.

Where it comes from, the surest first:

* what the kubelet says of the devices that a container was given: `containerStatuses[].allocatedResourcesStatus`
  (KEP-4680, by default since Kubernetes 1.36);
* a node that is not `Ready`;
* `AcceleratedHardwareReady`, which the node monitoring agent of Amazon EKS keeps;
* a node whose device plugin has no healthy GPU left (`allocatable`), though the node has some (`capacity`);
* a node whose pods hold more GPUs than are healthy: then one of them has a GPU that is not. The device plugin gives
  nobody an unhealthy one, so that where all are held by pods that came later, nothing is wrong with any of them.

A cordon is no fault.
"""

from collections.abc import Iterable, Mapping

import msgspec

from outrider.api.labels import GPU_RESOURCE
from outrider.api.meta import find_condition
from outrider.controllers.deployment.observe import FINISHED, gpus_of, is_node_ready, whole
from outrider.kube.objects import Node, Pod
from outrider.plan.deployment.rollout import CRASH_REASONS
from outrider.plan.deployment.snapshot import FaultView

HARDWARE_CONDITION = "AcceleratedHardwareReady"
"""Of Amazon EKS; False where a GPU of the node has a fault that only a restart or another node mends."""
UNHEALTHY, HEALTHY = "Unhealthy", "Healthy"


class Faults(msgspec.Struct, frozen=True):
    """Of all nodes."""

    nodes: Mapping[str, FaultView] = {}
    """By node: those on which nothing that goes wrong is a version's fault."""
    short: Mapping[str, FaultView] = {}
    """By node: those with pods that hold an unhealthy GPU, which need not say themselves which they are."""
    back: Mapping[str, str] = {}
    """By node: since when it has been Ready, as RFC 3339 in UTC, which sorts as text."""

    def of(self, pod: Pod) -> FaultView | None:
        """What is wrong beneath this pod; None where nothing is known to be."""
        node = pod.spec.node_name
        if not node:
            return None
        own = [
            (resource.name, one)
            for status in pod.status.container_statuses
            for resource in status.allocated_resources_status
            for one in resource.resources
        ]
        for name, one in own:
            if one.health == UNHEALTHY:
                why = f" ({one.message.strip()})" if one.message.strip() else ""
                return FaultView(f"{_device(name, one.resource_id)} of {node} is {UNHEALTHY}{why}", of_gpu=True)
        if node in self.nodes:
            return self.nodes[node]
        if self._went_with_its_node(pod):
            return FaultView(f"{node} was NotReady until {self.back[node]}")
        known_to_be_well = bool(own) and all(one.health == HEALTHY for _, one in own)
        return None if known_to_be_well or not gpus_of(pod) else self.short.get(node)

    def _went_with_its_node(self, pod: Pod) -> bool:
        """Whether it has not been ready since its node came back, and does not crash as it loads its model anew."""
        since, ready = self.back.get(pod.spec.node_name, ""), find_condition(pod.status.conditions, "Ready")
        lost = ready.last_transition_time if ready is not None and ready.status != "True" else None
        if not lost or lost > since:
            return False
        waiting = (one.state.waiting for one in pod.status.container_statuses)
        return not any(one is not None and one.reason in CRASH_REASONS for one in waiting)

    def uids(self, pods: Iterable[Pod]) -> frozenset[str]:
        """Those of these pods beneath which something is wrong."""
        return frozenset(pod.metadata.uid for pod in pods if self.of(pod) is not None)


def faults(nodes: Iterable[Node], gpu_pods: Iterable[Pod]) -> Faults:
    """What is wrong with these nodes. `gpu_pods`: all pods that hold GPUs, whoever owns them."""
    found: dict[str, FaultView] = {}
    fewer: dict[str, int] = {}
    back: dict[str, str] = {}
    for node in nodes:
        name, healthy = node.metadata.name, whole(node.status.allocatable.get(GPU_RESOURCE))
        has = whole(node.status.capacity.get(GPU_RESOURCE))
        fault = _fault_of(node, has, healthy)
        ready = find_condition(node.status.conditions, "Ready")
        if ready is not None and ready.status == "True":
            back[name] = ready.last_transition_time or ""
        if fault is not None:
            found[name] = fault
        elif healthy < has:
            fewer[name] = healthy
    held = _held(gpu_pods, fewer) if fewer else {}
    return Faults(
        nodes=found,
        short={
            name: FaultView(f"{name} has {healthy} healthy GPUs, and its pods hold {held[name]}", of_gpu=True)
            for name, healthy in fewer.items()
            if held.get(name, 0) > healthy
        },
        back=back,
    )


def _fault_of(node: Node, has: int, healthy: int) -> FaultView | None:
    name = node.metadata.name
    if not is_node_ready(node):
        return FaultView(f"{name} is NotReady", of_gpu=False)
    hardware = find_condition(node.status.conditions, HARDWARE_CONDITION)
    if hardware is not None and hardware.status == "False":
        why = f" ({hardware.reason})" if hardware.reason else ""
        # Only a cordon keeps the pod that would take its place from the same GPUs.
        return FaultView(f"{HARDWARE_CONDITION} of {name} is False{why}", of_gpu=node.spec.unschedulable)
    if has and not healthy:
        return FaultView(f"none of the {has} GPUs of {name} is healthy", of_gpu=True)
    return None


def _held(gpu_pods: Iterable[Pod], nodes: Mapping[str, int]) -> dict[str, int]:
    held: dict[str, int] = {}
    for pod in gpu_pods:
        if pod.spec.node_name in nodes and pod.status.phase not in FINISHED:
            held[pod.spec.node_name] = held.get(pod.spec.node_name, 0) + gpus_of(pod)
    return held


def _device(resource: str, name: str) -> str:
    return name if resource == GPU_RESOURCE and name.startswith("GPU-") else f"{resource} {name}"


def health_changed(old: Node | None, new: Node | None) -> bool:
    """Whether anything has changed from which faults are known; that a node is alive is written down all the time."""
    return _health(old) != _health(new)


def _health(node: Node | None) -> tuple[object, ...]:
    if node is None:
        return ()
    hardware = find_condition(node.status.conditions, HARDWARE_CONDITION)
    gpus = (one.get(GPU_RESOURCE) for one in (node.status.capacity, node.status.allocatable))
    said = hardware.status if hardware is not None else ""
    return (*gpus, is_node_ready(node), said, node.spec.unschedulable)
