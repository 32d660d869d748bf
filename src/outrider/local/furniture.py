"""What every local world has from the start: namespaces, a Gateway, nodes; whatever keeps its objects."""

import contextlib
import os
from collections.abc import Mapping, Sequence

from outrider import __version__
from outrider.api.labels import GPU_NODE, MANAGED_BY, MANAGED_BY_VALUE
from outrider.api.meta import Instant, format_time
from outrider.kube.api import AlreadyExists, Api, Conflict, NotFound
from outrider.kube.objects import GATEWAY, GATEWAY_CLASS, NAMESPACE, NODE, POD
from outrider.local.folder import WorldFolder, WorldInfo
from outrider.local.gateway.attachment import CONTROLLER
from outrider.local.kubelet import NodeConfig
from outrider.local.settings import (
    GATEWAY_CLASS_NAME,
    GATEWAY_NAME,
    GATEWAY_PORT,
    NAMESPACES,
    SYSTEM_NAMESPACE,
    WorldSettings,
)

_CPUS_AT_LEAST = 256
"""Simulated servers need next to no CPU or memory, whatever their specs ask for: what is scarce is GPUs."""


async def furnish(api: Api) -> None:
    """Create the namespaces, the GatewayClass and the Gateway, where they are not there yet."""
    for name in NAMESPACES:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        with contextlib.suppress(AlreadyExists):
            await api.create(NAMESPACE, body)
    gateway_class = {
        "apiVersion": GATEWAY_CLASS.api_version,
        "kind": "GatewayClass",
        "metadata": {"name": GATEWAY_CLASS_NAME, "labels": {MANAGED_BY: MANAGED_BY_VALUE}},
        "spec": {"controllerName": CONTROLLER, "description": "The HTTP gateway of Outrider's local world"},
    }
    gateway = {
        "apiVersion": GATEWAY.api_version,
        "kind": "Gateway",
        "metadata": {"name": GATEWAY_NAME, "namespace": SYSTEM_NAMESPACE, "labels": {MANAGED_BY: MANAGED_BY_VALUE}},
        "spec": {
            "gatewayClassName": GATEWAY_CLASS_NAME,
            "listeners": [
                {
                    "name": "http",
                    "port": GATEWAY_PORT,
                    "protocol": "HTTP",
                    "allowedRoutes": {"namespaces": {"from": "All"}},
                }
            ],
        },
    }
    for kind, body in ((GATEWAY_CLASS, gateway_class), (GATEWAY, gateway)):
        with contextlib.suppress(AlreadyExists):
            await api.create(kind, body)


def node_configs(settings: WorldSettings) -> list[NodeConfig]:
    """The nodes of the world, without addresses of their own."""
    return [
        NodeConfig(
            name=f"node-{number}",
            cpu=str(max(_CPUS_AT_LEAST, os.cpu_count() or 1)),
            memory="2Ti",
            gpus=settings.gpus_per_node,
            gpu_product=settings.gpu_product,
            # A real engine uses the GPUs of this machine, which have their own nvidia-smi.
            gpus_simulated=settings.engine == "simulator",
            labels={GPU_NODE: "gpu"} if settings.gpus_per_node else {GPU_NODE: "cpu"},
        )
        for number in range(1, settings.nodes + 1)
    ]


async def remove_surplus_nodes(api: Api, settings: WorldSettings) -> None:
    """Nodes of an earlier start that had more of them are gone, not lost: nobody should wait for them, nor take the
    pods that were on them for ready until the control plane has given them up (40 s).
    """
    wanted = {node.name for node in node_configs(settings)}
    for node in (await api.list(NODE)).items:
        if node.metadata.name not in wanted:
            await api.delete(NODE, node.metadata.name)
    for pod in (await api.list(POD)).items:
        if pod.spec.node_name and pod.spec.node_name not in wanted:
            meta = pod.metadata
            with contextlib.suppress(NotFound, Conflict):
                await api.delete(POD, meta.name, meta.namespace, uid=meta.uid, grace_seconds=0)


def describe(
    folder: WorldFolder,
    settings: WorldSettings,
    api_url: str,
    gateway_url: str,
    *,
    now: Instant,
    kubernetes: str = "",
    seconds: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
) -> WorldInfo:
    """What a world that has come up tells of itself."""
    return WorldInfo(
        name=folder.name,
        pid=os.getpid(),
        api_url=api_url,
        gateway_url=gateway_url,
        kubeconfig=str(folder.kubeconfig),
        version=__version__,
        engine=settings.engine,
        nodes=settings.nodes,
        gpus_per_node=settings.gpus_per_node,
        started_at=format_time(now),
        kubernetes=kubernetes,
        seconds=dict(seconds or {}),
        warnings=list(warnings),
    )
