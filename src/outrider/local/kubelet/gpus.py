"""Which of a node's GPUs belongs to whom. Each goes to one container at a time."""

from collections.abc import Mapping
from typing import Any

from outrider.api.labels import GPU_RESOURCE
from outrider.api.quantity import Quantity


class GpusTakenError(Exception):
    """Fewer GPUs are free than the pod asks for."""


class GpuPool:
    """The GPUs 0..count-1 of one node."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.names: dict[int, str] = {}
        """Their UUIDs, where these are known."""
        self.unhealthy: frozenset[int] = frozenset()
        """Given to nobody. Who has one keeps it, as with Kubernetes' device plugins."""
        self._owners: dict[str, set[int]] = {}

    def notice(self, health: Mapping[int, tuple[str, bool]]) -> bool:
        """Take over each GPU's name and whether it is healthy; whether that is news. What is not named stays."""
        names = self.names | {index: name for index, (name, _) in health.items()}
        sick = {index for index, (_, healthy) in health.items() if not healthy}
        unhealthy = frozenset(sick | (self.unhealthy - health.keys()))
        news = (names, unhealthy) != (self.names, self.unhealthy)
        self.names, self.unhealthy = names, unhealthy
        return news

    @property
    def healthy(self) -> int:
        """How many there are to give, those that are taken included."""
        return self.count - len(self.unhealthy)

    @property
    def free(self) -> list[int]:
        taken = set(self.unhealthy).union(*self._owners.values())
        return [index for index in range(self.count) if index not in taken]

    def adopt(self, uid: str, devices: Mapping[str, list[int]]) -> None:
        """Take note of what a pod of an earlier life already has."""
        self._owners[uid] = {index for indexes in devices.values() for index in indexes}

    def allocate(self, uid: str, wanted: Mapping[str, int]) -> dict[str, list[int]]:
        """The lowest free GPUs for each container, all or none.

        Raises:
            GpusTakenError: there are not enough of them.
        """
        free = self.free
        total = sum(wanted.values())
        if total > len(free):
            raise GpusTakenError(f"waiting for GPUs: {total} asked for, {len(free)} of {self.healthy} free")
        given: dict[str, list[int]] = {}
        for container, number in wanted.items():
            given[container], free = free[:number], free[number:]
        if total:
            self.adopt(uid, given)
        return given

    def release(self, uid: str) -> None:
        self._owners.pop(uid, None)


def wanted_gpus(pod: Mapping[str, Any]) -> dict[str, int]:
    """How many GPUs each container asks for; those that ask for none are left out.

    Only limits count: for an extended resource Kubernetes demands that requests equal them.
    """
    wanted: dict[str, int] = {}
    for container in pod["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        raw = (resources.get("limits") or {}).get(GPU_RESOURCE) or (resources.get("requests") or {}).get(GPU_RESOURCE)
        if raw and (number := Quantity.from_json(raw).whole):
            wanted[container["name"]] = number
    return wanted


def resources_status(pool: GpuPool, indexes: list[int]) -> list[dict[str, Any]]:
    """How a container's GPUs are (`allocatedResourcesStatus`); empty where it has none, or none is known by name."""
    told = [
        {"resourceID": pool.names[index], "health": "Unhealthy" if index in pool.unhealthy else "Healthy"}
        for index in indexes
        if index in pool.names
    ]
    return [{"name": GPU_RESOURCE, "resources": told}] if told else []


def gpu_environment(indexes: list[int]) -> dict[str, str]:
    """What the NVIDIA container runtime and CUDA read. A container without GPUs must not see any."""
    text = ",".join(str(index) for index in indexes)
    return {"NVIDIA_VISIBLE_DEVICES": text or "void", "CUDA_VISIBLE_DEVICES": text}
