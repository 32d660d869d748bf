"""What all actors share: the API, the clock, the settings, and one informer for each kind."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from outrider.api.meta import OwnerReference
from outrider.kube import resources
from outrider.kube.api import Api, Kind
from outrider.kube.clock import Clock
from outrider.kube.controller import Controller, Reconcile
from outrider.kube.informer import Informer
from outrider.kube.metadata import metadata_of
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.objects import EVENT, EndpointSlice, Lease
from outrider.kube.queue import Backoff
from outrider.local.actors import objects
from outrider.local.actors.endpoint_slices import SERVICE_NAME

T = TypeVar("T")

BY_OWNER, BY_CONTROLLER, BY_NAMESPACE = "owner", "controller", "namespace"
BY_NODE, BY_SERVICE = "node", "service"
LONGEST_RETRY = 10.0
"""Seconds, as long as kube-scheduler lets a pod wait (podMaxBackoffSeconds)."""


@dataclass(frozen=True)
class ActorSettings:
    """How patient the actors are. The defaults are Kubernetes'; tests and demonstrations choose shorter times."""

    node_monitor_period: float = 5.0
    """Seconds between looks at the nodes' heartbeats (--node-monitor-period)."""
    node_monitor_grace: float = 50.0
    """Seconds without a heartbeat after which a node counts as lost (--node-monitor-grace-period)."""
    eviction_delay: float = 300.0
    """Seconds that a pod which says nothing about it stays on a lost node (default-unreachable-toleration-seconds)."""
    missing_node_grace: float = 40.0
    """Seconds after a Node object is gone until its pods are removed (the pod garbage collector's quarantine)."""
    resync_period: float = 30.0
    """Seconds after which what waits for others (namespaces that empty, owners that go) is looked at again."""
    seed: int | None = None
    """Seed of the random parts of pod names, and of jitter; None for what differs from run to run."""


def owner_uids(obj: Any) -> Iterable[str]:
    return [owner.uid for owner in metadata_of(obj).owner_references]


def controller_uid(obj: Any) -> Iterable[str]:
    owner = metadata_of(obj).controller
    return [owner.uid] if owner else ()


def namespace_of(obj: Any) -> Iterable[str]:
    return [metadata_of(obj).namespace]


def _node_of(pod: objects.Pod) -> Iterable[str]:
    return [pod.spec.node_name] if pod.spec.node_name else ()


def service_of(endpoints: EndpointSlice) -> Iterable[str]:
    """The key of the Service that a slice belongs to."""
    name = endpoints.metadata.labels.get(SERVICE_NAME)
    return [f"{endpoints.metadata.namespace}/{name}"] if name else ()


class Shared:
    """The informers. Every kind has the indexes owner, controller (by uid) and namespace."""

    def __init__(self, api: Api, clock: Clock, settings: ActorSettings, metrics: RuntimeMetrics | None = None) -> None:
        self.api, self.clock, self.settings = api, clock, settings
        self._metrics = metrics
        self._rng = random.Random(settings.seed)  # noqa: S311  (jitter is no secret)
        self._informers: dict[Kind[Any], Informer[Any]] = {}
        self.pods: Informer[objects.Pod] = self._add(objects.POD, {BY_NODE: _node_of})
        self.nodes: Informer[objects.Node] = self._add(objects.NODE)
        self.deployments: Informer[objects.Deployment] = self._add(objects.DEPLOYMENT)
        self.replica_sets: Informer[objects.ReplicaSet] = self._add(objects.REPLICA_SET)
        self.services: Informer[objects.Service] = self._add(objects.SERVICE)
        self.endpoint_slices: Informer[EndpointSlice] = self._add(objects.ENDPOINT_SLICE, {BY_SERVICE: service_of})
        self.budgets: Informer[objects.DisruptionBudget] = self._add(objects.POD_DISRUPTION_BUDGET)
        self.leases: Informer[Lease] = self._add(objects.LEASE)
        self.namespaces: Informer[objects.Namespace] = self._add(objects.NAMESPACE)
        for kind in resources.ALL:
            if kind not in self._informers and kind != EVENT:
                self._add(kind.into(objects.Dependent))

    def _add(self, kind: Kind[T], indexes: Mapping[str, Callable[[Any], Iterable[str]]] | None = None) -> Informer[T]:
        by = {BY_OWNER: owner_uids, BY_CONTROLLER: controller_uid, BY_NAMESPACE: namespace_of, **(indexes or {})}
        informer: Informer[T] = Informer(
            self.api, kind, self.clock, indexes=by, optional="." in kind.group, rng=self._rng
        )
        self._informers[kind] = informer
        return informer

    def controller(self, name: str, reconcile: Reconcile, *, concurrency: int = 1) -> Controller:
        """A controller whose failures are retried after ten seconds at the latest: the server is in this process."""
        return Controller(
            name,
            reconcile,
            clock=self.clock,
            concurrency=concurrency,
            backoff=Backoff(limit=LONGEST_RETRY),
            metrics=self._metrics,
        )

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """One for every kind but events, which nobody owns and which own nobody."""
        return tuple(self._informers.values())

    def informer(self, kind: Kind[Any]) -> Informer[Any] | None:
        return self._informers.get(kind)

    def owned(self, informer: Informer[T], owner_uid: str) -> tuple[T, ...]:
        """The objects that the owner controls."""
        return informer.by_index(BY_CONTROLLER, owner_uid)


def without_owner(references: Iterable[OwnerReference], uids: Iterable[str]) -> list[dict[str, Any]]:
    """The owner references as JSON, without those to `uids`."""
    gone = set(uids)
    return [reference_json(each) for each in references if each.uid not in gone]


def reference_json(reference: OwnerReference) -> dict[str, Any]:
    return {
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "name": reference.name,
        "uid": reference.uid,
        "controller": reference.controller,
        "blockOwnerDeletion": reference.block_owner_deletion,
    }
