"""What the containers of one pod share."""

from collections.abc import Callable, Mapping
from typing import Any

from outrider.local.kubelet.addresses import Lease
from outrider.local.kubelet.environment import PodFacts
from outrider.local.kubelet.layout import PodFolder, PodRecord
from outrider.local.kubelet.services import Services

DEFAULT_GRACE = 30.0


class PodContext:
    """A pod as its containers see it. Its worker keeps it up to date."""

    def __init__(self, services: Services, pod: Mapping[str, Any], folder: PodFolder, wake: Callable[[], None]) -> None:
        self.services = services
        self.pod = pod
        self.folder = folder
        self.wake = wake
        self.ending = False
        """The pod is going, or has failed as a whole: nothing is started any more."""
        self.uid: str = pod["metadata"]["uid"]
        self.name: str = pod["metadata"]["name"]
        self.namespace: str = pod["metadata"].get("namespace", "")
        self.record = PodRecord(namespace=self.namespace, name=self.name, uid=self.uid)
        self.lease = Lease("", {})

    @property
    def grace(self) -> float:
        """The pod's termination grace period in seconds."""
        seconds = self.pod["spec"].get("terminationGracePeriodSeconds")
        return DEFAULT_GRACE if seconds is None else float(seconds)

    @property
    def facts(self) -> PodFacts:
        node = self.services.node
        return PodFacts(
            node_name=node.name, host_ip=node.address, pod_ip=self.lease.address, allocatable=node.resources
        )

    def event(self, reason: str, note: str, *, warning: bool = False, container: str = "") -> None:
        self.services.events.record(self.pod, reason, note, warning=warning, container=container)
