"""The node that a kubelet stands for: its Node object, and the Lease that says it is alive."""

import asyncio
import contextlib
import os
import platform
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

import outrider
from outrider.api.labels import GPU_NODE, GPU_PRODUCT, GPU_RESOURCE
from outrider.api.meta import format_time
from outrider.kube.api import AlreadyExists, Api, ApiError, Conflict, NotFound
from outrider.kube.clock import Clock
from outrider.kube.objects import LEASE, NAMESPACE, NODE
from outrider.local.kubelet.gpus import GpuPool
from outrider.local.kubelet.settings import Settings

LEASE_NAMESPACE = "kube-node-lease"
RETRY_SECONDS = 1.0
CONFLICT_ATTEMPTS = 4
MACHINE_FACTS = ("machineID", "systemUUID", "bootID")
FEATURES = ("ExtendWebSocketsToKubelet",)
"""What an API server may rely on (Kubernetes' feature gates, in order): it passes WebSockets on as they are."""

_NODE = NODE.into(dict)
_LEASE = LEASE.into(dict)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """What the node claims to be."""

    name: str
    cpu: str = "64"
    memory: str = "512Gi"
    gpus: int = 0
    gpu_product: str = "NVIDIA-H100-80GB-HBM3"
    gpus_simulated: bool = True
    """Whether the GPUs are only said to be there: then containers get an `nvidia-smi` that shows them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    """Each with `key`, `effect` and perhaps `value`; given to a node that is new."""
    address: str = "127.0.0.1"
    kubelet_port: int = 0
    """Where the kubelet's API is served, at `address`; 0 where it is not."""
    pods: int = 250

    @property
    def resources(self) -> dict[str, str]:
        resources = {"cpu": self.cpu, "memory": self.memory, "pods": str(self.pods), "ephemeral-storage": "1Ti"}
        return resources | ({GPU_RESOURCE: str(self.gpus)} if self.gpus else {})

    @property
    def all_labels(self) -> dict[str, str]:
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux" if sys.platform.startswith("linux") else sys.platform,
            "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        }
        if self.gpus:
            labels |= {GPU_NODE: "gpu", GPU_PRODUCT: self.gpu_product, f"{GPU_RESOURCE}.count": str(self.gpus)}
        return labels | dict(self.labels)


class NodeAgent:
    """Keeps a node registered, its lease fresh and its condition true. No error of the API ends it."""

    def __init__(self, api: Api, clock: Clock, node: NodeConfig, settings: Settings, gpus: GpuPool) -> None:
        self._api = api
        self._clock = clock
        self._node = node
        self._settings = settings
        self._gpus = gpus
        self._uid = ""
        self._heartbeat = 0.0
        """Monotonic time of the last renewal of the conditions."""
        self.registered = asyncio.Event()
        self.labels: Mapping[str, str] = node.all_labels
        """The node's labels as they were last seen."""

    async def run(self) -> None:
        """Register, then renew the lease and look at the own node again and again."""
        while True:
            fine = await self._attempt(self._keep_registered()) and await self._attempt(self._renew_lease())
            if fine:
                self.registered.set()
            interval = self._settings.lease_interval
            await self._clock.sleep(interval if fine else min(interval, RETRY_SECONDS))

    async def _attempt(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except ApiError as error:
            log.warning("the node could not be kept registered", node=self._node.name, error=str(error))
            return False
        except Exception:
            # A dead heartbeat costs all pods of the node, so that no surprise may end it.
            log.exception("keeping the node registered failed", node=self._node.name)
            return False
        return True

    async def _keep_registered(self) -> None:
        """Renewing the lease alone does not heal a node that was declared dead: its own condition is looked at too."""
        try:
            found = await self._api.get(_NODE, self._node.name)
        except NotFound:
            found = await self._create()
        self.labels = found["metadata"].get("labels") or {}
        if found["metadata"]["uid"] != self._uid:
            self._uid = found["metadata"]["uid"]
            found = await self._adopt(found)
        due = self._clock.monotonic() - self._heartbeat >= self._settings.heartbeat_interval
        resized = (found.get("status") or {}).get("allocatable", {}).get(GPU_RESOURCE) != self._allocatable.get(
            GPU_RESOURCE
        )
        if due or resized or not is_ready(found):
            await self._say_ready(found, everything=resized)

    async def _create(self) -> dict[str, Any]:
        spec = {"taints": [dict(taint) for taint in self._node.taints]} if self._node.taints else {}
        body = {
            "apiVersion": NODE.api_version,
            "kind": NODE.kind,
            "metadata": {"name": self._node.name, "labels": self._node.all_labels},
            "spec": spec,
            "status": self._status([]),
        }
        try:
            return await self._api.create(_NODE, body)
        except AlreadyExists:
            return await self._api.get(_NODE, self._node.name)

    async def _adopt(self, found: dict[str, Any]) -> dict[str, Any]:
        """A node that is new to this process: its labels and its size must be ours, whoever created it."""
        labels = found["metadata"].get("labels") or {}
        if any(labels.get(name) != value for name, value in self._node.all_labels.items()):
            await self._api.patch(_NODE, self._node.name, {"metadata": {"labels": self._node.all_labels}})
        return await self._say_ready(await self._api.get(_NODE, self._node.name), everything=True)

    async def _say_ready(self, found: dict[str, Any], *, everything: bool = False) -> dict[str, Any]:
        """Write the conditions, or all of the status. Controllers write to a node too, most of all to a new one."""
        for _ in range(CONFLICT_ATTEMPTS):
            with contextlib.suppress(Conflict):
                return await self._write_status(found, everything=everything)
            found = await self._api.get(_NODE, self._node.name)
        return await self._write_status(found, everything=everything)

    async def _write_status(self, found: dict[str, Any], *, everything: bool) -> dict[str, Any]:
        before = (found.get("status") or {}).get("conditions") or []
        full = self._status(before)
        status = full if everything else {"conditions": full["conditions"]}
        gone = (found.get("status") or {}).get("capacity") or {}
        if everything and (absent := {name: None for name in gone if name not in self._node.resources}):
            status = status | {part: {**status[part], **absent} for part in ("capacity", "allocatable")}
        updated = await self._api.patch_status(
            _NODE, self._node.name, status, resource_version=found["metadata"]["resourceVersion"]
        )
        self._heartbeat = self._clock.monotonic()
        return updated

    def _status(self, conditions_before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        port = self._node.kubelet_port
        served = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}, "declaredFeatures": list(FEATURES)}
        return (served if port else {}) | {
            "capacity": self._node.resources,
            "allocatable": self._allocatable,
            "addresses": [
                {"type": "InternalIP", "address": self._node.address},
                {"type": "Hostname", "address": self._node.name},
            ],
            "nodeInfo": _node_info(),
            "conditions": node_conditions(conditions_before, format_time(self._clock.now())),
        }

    @property
    def _allocatable(self) -> dict[str, str]:
        """What pods may ask for. A GPU that is not healthy is among what the node has, and not among this."""
        return self._node.resources | ({GPU_RESOURCE: str(self._gpus.healthy)} if self._node.gpus else {})

    async def _renew_lease(self) -> None:
        spec = {
            "holderIdentity": self._node.name,
            "leaseDurationSeconds": self._settings.lease_duration,
            "renewTime": format_time(self._clock.now(), micro=True),
        }
        try:
            await self._api.patch(_LEASE, self._node.name, {"spec": spec}, LEASE_NAMESPACE)
        except NotFound:
            await self._create_lease(spec)

    async def _create_lease(self, spec: Mapping[str, Any]) -> None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node.name, "uid": self._uid}
        metadata = {"name": self._node.name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]}
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": dict(spec)}
        try:
            await self._api.create(_LEASE, body)
        except NotFound:
            # Every cluster has this namespace; a store that has just been made may not yet.
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASE_NAMESPACE}}
            await self._api.create(NAMESPACE, namespace)
            await self._api.create(_LEASE, body)


def is_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)


def node_conditions(before: Sequence[Mapping[str, Any]], now: str) -> list[dict[str, Any]]:
    """A healthy node's conditions, with transition times kept, and those of others (GPU health) as they are."""
    wanted = {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
    }
    known = {condition.get("type"): condition for condition in before}
    conditions = [dict(condition) for kind, condition in known.items() if kind not in wanted]
    for kind, (status, reason, message) in wanted.items():
        old = known.get(kind) or {}
        same = old.get("status") == status and old.get("lastTransitionTime")
        conditions.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": old["lastTransitionTime"] if same else now,
            }
        )
    return conditions


def _node_info() -> dict[str, str]:
    system = os.uname()
    return dict.fromkeys(MACHINE_FACTS, "") | {
        "kernelVersion": system.release,
        "osImage": f"{system.sysname} {system.release}",
        "containerRuntimeVersion": f"outrider://{outrider.__version__}",
        "kubeletVersion": f"v1.36.0-outrider.{outrider.__version__}",
        "kubeProxyVersion": "",
        "operatingSystem": system.sysname.lower(),
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine),
    }
