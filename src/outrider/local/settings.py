"""What a local world is made of, and what it tells of itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from outrider.kube.api import Api
from outrider.local.folder import WorldInfo

GATEWAY_NAME = "outrider"
GATEWAY_CLASS_NAME = "outrider-local"
GATEWAY_PORT = 8080
"""Of the Gateway's listener, and where it is reached within the world's own network."""
SYSTEM_NAMESPACE = "outrider-system"
NAMESPACES = ("default", "production", "staging", "development", "kube-system", "kube-node-lease", SYSTEM_NAMESPACE)
"""What exists from the start: those of every cluster, and those that the SRE guide's manifests name."""

Engine = Literal["simulator", "vllm"]


@dataclass(frozen=True)
class WorldSettings:
    """What the world is made of."""

    nodes: int = 2
    gpus_per_node: int = 8
    gpu_product: str = "NVIDIA-A100-SXM4-40GB"
    engine: Engine = "simulator"
    gateway_port: int | None = None
    """None: 8080 if it is free, else any. 0: any."""
    api_port: int | None = None
    """None: 7070 (with Kubernetes 6443) if it is free, else any. 0: any."""
    fresh: bool = False
    """Forget what an earlier run kept, once nothing is in the way of this one."""


@dataclass(frozen=True)
class Running:
    """A world that has come up."""

    info: WorldInfo
    api: Api
    seconds: dict[str, float] = field(default_factory=dict)
    """What came up, and when, in seconds since the start."""


Companion = Callable[[Api, str], Awaitable[None]]
"""What runs beside the world and is given its API and the gateway's URL: the operator."""
