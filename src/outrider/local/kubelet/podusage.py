"""What the pods of a node use, put together from what is measured of their containers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outrider.api.meta import Instant
from outrider.local.kubelet.kubelet import Kubelet
from outrider.local.kubelet.usage import Usage, UsageMonitor


@dataclass(frozen=True)
class PodUsage:
    """One pod that runs, and its containers that were measured: at least one."""

    pod: Mapping[str, Any]
    """The object."""
    containers: Mapping[str, Usage]

    @property
    def total(self) -> Usage:
        return total(list(self.containers.values()))


def total(parts: Sequence[Usage], now: Instant = 0.0) -> Usage:
    """The sum. The window is the longest. Of nothing it is nothing, `now`."""
    return Usage(
        cpu=sum(part.cpu for part in parts),
        cpu_seconds=sum(part.cpu_seconds for part in parts),
        memory=sum(part.memory for part in parts),
        at=max((part.at for part in parts), default=now),
        window=max((part.window for part in parts), default=1.0),
    )


def pod_usages(kubelet: Kubelet, monitor: UsageMonitor) -> list[PodUsage]:
    """The node's pods that have been measured."""
    by_pod: dict[str, dict[str, Usage]] = {}
    for key, usage in monitor.containers.items():
        if key.node == kubelet.node.name:
            by_pod.setdefault(key.uid, {})[key.container] = usage
    return [PodUsage(pod.context.pod, by_pod[pod.context.uid]) for pod in kubelet.pods if pod.context.uid in by_pod]


def node_usage(kubelet: Kubelet, monitor: UsageMonitor, now: Instant) -> Usage:
    """What the pods of the node use together. Nodes share their machine, so that nothing else is any one's own."""
    return total([pod.total for pod in pod_usages(kubelet, monitor)], now)
