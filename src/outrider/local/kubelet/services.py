"""What all pods of one node share."""

from dataclasses import dataclass

from outrider.kube.api import Api
from outrider.kube.clock import Clock
from outrider.local.kubelet.addresses import AddressPool
from outrider.local.kubelet.events import PodEvents
from outrider.local.kubelet.gpus import GpuPool
from outrider.local.kubelet.handlers import Handlers
from outrider.local.kubelet.identity import ServiceAccounts
from outrider.local.kubelet.images import ImageResolver
from outrider.local.kubelet.node import NodeConfig
from outrider.local.kubelet.runtime import Runtime
from outrider.local.kubelet.settings import Settings
from outrider.local.kubelet.simulated_gpus import SimulatedGpus


@dataclass(frozen=True, kw_only=True)
class Services:
    api: Api
    clock: Clock
    node: NodeConfig
    settings: Settings
    runtime: Runtime
    images: ImageResolver
    addresses: AddressPool
    gpus: GpuPool
    simulated_gpus: SimulatedGpus | None
    handlers: Handlers
    events: PodEvents
    service_accounts: ServiceAccounts
