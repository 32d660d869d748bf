"""Runs pods as local processes: the little of a kubelet that makes `Pod` objects true on this machine."""

from outrider.local.kubelet.addresses import AddressPool
from outrider.local.kubelet.images import ImageNotAvailable, ImageResolver, Program, make_image_resolver
from outrider.local.kubelet.kubelet import Kubelet, end_all_containers
from outrider.local.kubelet.logs import PodLogs
from outrider.local.kubelet.node import NodeConfig
from outrider.local.kubelet.settings import Settings

__all__ = [
    "AddressPool",
    "ImageNotAvailable",
    "ImageResolver",
    "Kubelet",
    "NodeConfig",
    "PodLogs",
    "Program",
    "Settings",
    "end_all_containers",
    "make_image_resolver",
]
