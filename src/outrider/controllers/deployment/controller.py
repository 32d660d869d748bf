"""Reconciles LLMDeployments: caches and probes -> snapshot -> plan -> writes."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import Instant, ObjectMeta, find_condition
from outrider.api.names import label_value, picker_names, service_name, service_names
from outrider.api.versionpin import VersionPin
from outrider.controllers.act import execute
from outrider.controllers.config import OperatorConfig
from outrider.controllers.deployment.caches import (
    BY_DEPLOYMENT,
    BY_GPU,
    BY_NEED,
    DRILLED,
    SHORT_OF_GPUS,
    Caches,
    labelled_value,
)
from outrider.controllers.deployment.confirmed import Confirmed, confirm, over
from outrider.controllers.deployment.faults import faults, health_changed
from outrider.controllers.deployment.front_door import FrontDoor
from outrider.controllers.deployment.gather import (
    Cluster,
    Observed,
    build_snapshot,
    cluster_kinds,
    service_owners,
)
from outrider.controllers.deployment.observe import gpus_of, is_of_drill
from outrider.controllers.deployment.sensors import Sensors
from outrider.controllers.deployment.watcher import Watcher
from outrider.kube.api import Api, Invalid
from outrider.kube.clock import Clock
from outrider.kube.controller import Controller, Result
from outrider.kube.events import EventRecorder
from outrider.kube.informer import Informer
from outrider.kube.informers import InformerGroup
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.objects import Deployment, Gateway, HTTPRoute, Node, Pod, Service
from outrider.kube.predicates import (
    annotations_changed,
    any_of,
    content_changed,
    deletion_requested,
    generation_changed,
    labels_changed,
)
from outrider.kube.queue import URGENT_PRIORITY
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.actions import Emit, Plan
from outrider.plan.deployment import plan
from outrider.plan.deployment.effective import INVALID_SPEC
from outrider.plan.deployment.render_routes import route_names
from outrider.plan.deployment.snapshot import Snapshot

log = structlog.get_logger(__name__)


class DeploymentController:
    """One per operator. `controller` is what the manager runs."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        config: OperatorConfig,
        caches: Caches,
        sensors: Sensors,
        watcher: Watcher,
        *,
        front_door: FrontDoor | None = None,
        recorder: EventRecorder | None = None,
        metrics: RuntimeMetrics | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._gateway_config = config.gateway
        self._plan_config = config.for_plans()
        self._caches = caches
        self._sensors = sensors
        self._watcher = watcher
        self._front_door = front_door
        self._recorder = recorder
        self._probing_since: Instant | None = None
        self.controller = Controller(
            "llmdeployment", self.reconcile, clock=clock, concurrency=config.concurrency, metrics=metrics
        )
        self._watch()

    def _watch(self) -> None:
        controller, caches = self.controller, self._caches
        edited = any_of(generation_changed, annotations_changed, labels_changed, deletion_requested)
        for deployments in caches.deployments.members:
            controller.for_(deployments, edited, priority=URGENT_PRIORITY)
        for pins in caches.pins.members:
            controller.maps(pins, _key_of_pinned, edited, priority=URGENT_PRIORITY)
        groups: tuple[InformerGroup[Any], ...] = (caches.revisions, caches.workloads, caches.services, caches.routes)
        for group in groups + caches.extras:
            for owned in group.members:
                controller.owns(owned, LLM_DEPLOYMENT, content_changed)
        for gateways in caches.gateway_members:
            controller.maps(gateways, self._keys_of_gateway, content_changed)
        for budgets in caches.budgets.members:
            controller.owns(budgets, LLM_DEPLOYMENT, generation_changed)
        for pods in caches.pods.members:
            controller.maps(pods, self._keys_of_pod, content_changed)
            controller.maps(pods, self._keys_waiting_for_gpus, _gpus_moved)
            controller.maps(pods, self._keys_drilled, _found_no_node)
        if caches.nodes is not None:
            controller.maps(caches.nodes, lambda _node: self._keys_waiting(), content_changed)
            controller.maps(caches.nodes, self._keys_on, health_changed)

    def wake(self, key: str) -> None:
        """Something that was measured about this LLMDeployment changed."""
        self.controller.enqueue(key)

    def stood_still(self) -> None:
        """Take note that this process did nothing for a while (a suspended machine, a clock that was set): that its
        answers to probes are old says something about itself, and nothing about the pods.
        """
        self._probing_since = self._clock.now()
        self.wake_all()

    def wake_all(self) -> None:
        """Something that concerns every LLMDeployment changed."""
        for one in self._caches.deployments.list():
            self.controller.enqueue(one.metadata.key)

    def _keys_of_gateway(self, gateway: Gateway) -> Iterable[str]:
        config = self._gateway_config
        within = "" if config is not None and config.namespace else gateway.metadata.namespace
        return tuple(
            one.metadata.key
            for one in self._caches.deployments.list()
            if not within or one.metadata.namespace == within
        )

    def _keys_of_pod(self, pod: Pod) -> Iterable[str]:
        value = labelled_value(pod.metadata)
        return self._keys_of(BY_DEPLOYMENT, f"{pod.metadata.namespace}/{value}") if value else ()

    def _keys_of(self, index: str, value: str) -> tuple[str, ...]:
        return tuple(one.metadata.key for one in self._caches.deployments.by_index(index, value))

    def _keys_waiting_for_gpus(self, pod: Pod) -> Iterable[str]:
        return self._keys_waiting() if gpus_of(pod) else ()

    def _keys_waiting(self) -> Iterable[str]:
        """Those for whom GPUs that came or went make a difference."""
        return self._keys_of(BY_NEED, SHORT_OF_GPUS)

    def _keys_on(self, node: Node) -> Iterable[str]:
        """Those with pods that hold GPUs of the node: its fault is news for them although no pod of theirs changes."""
        there = self._caches.pods.by_index(BY_GPU, node.metadata.name)
        return tuple({key for pod in there for key in self._keys_of_pod(pod)})

    def _keys_drilled(self, pod: Pod) -> Iterable[str]:
        """Those with a drill that may have to give up its GPUs."""
        return self._keys_of(BY_NEED, DRILLED) if gpus_of(pod) else ()

    async def reconcile(self, key: str) -> Result | None:
        """One look at one LLMDeployment, and what follows from it."""
        deployment = self._caches.deployments.get(key)
        if deployment is None or deployment.metadata.deletion_timestamp is not None:
            self._sensors.forget(key)
            self._watcher.forget(key)
            if self._front_door is not None:
                self._front_door.forget(key)
            return None
        now = self._clock.now()
        if self._probing_since is None:
            self._probing_since = now
        snapshot = self._snapshot(deployment, now)
        decided = plan(snapshot, now)
        if decided.confirm_first:
            snapshot = await self._confirmed(deployment, now)
            decided = plan(snapshot, now)
        try:
            writes = await self._carry_out(deployment, decided)
        except Invalid as refusal:
            if not snapshot.parsed.errors:
                raise
            writes = await self._without_status(deployment, decided, refusal)
        if writes:
            log.info("reconciled", writes=writes, because=decided.because)
        return Result(None if decided.requeue_at is None else max(0.0, decided.requeue_at - self._clock.now()))

    async def _confirmed(self, deployment: LLMDeployment, now: Instant) -> Snapshot:
        """What to plan from where much depends on the pods: with those that there are at this moment. What was counted
        of pods that are gone, and of which the cache does not know it, is no evidence.
        """
        meta = deployment.metadata
        confirmed = await confirm(self._api, meta, with_nodes=self._caches.nodes is not None)
        gone = confirmed.gone(pod for pod in self._pods(meta) if not is_of_drill(pod))
        if not gone:
            return self._snapshot(deployment, now, confirmed)
        log.warning("the cache is behind: what pods did that are gone decides nothing", pods=sorted(gone))
        self._watcher.doubt(meta.key, gone)
        return msgspec.structs.replace(self._snapshot(deployment, now, confirmed), watch=None)

    def _snapshot(self, deployment: LLMDeployment, now: Instant, confirmed: Confirmed | None = None) -> Snapshot:
        snapshot = build_snapshot(self._observe(deployment, confirmed), self._plan_config)
        if self._front_door is not None:
            snapshot = msgspec.structs.replace(snapshot, front_door=self._front_door.look(snapshot, now))
        return snapshot

    def _pods(self, meta: ObjectMeta) -> tuple[Pod, ...]:
        """As the cache has them, those of its drills too."""
        return self._caches.pods.by_index(BY_DEPLOYMENT, f"{meta.namespace}/{label_value(meta.name)}")

    def _observe(self, deployment: LLMDeployment, confirmed: Confirmed | None) -> Observed:
        caches, meta = self._caches, deployment.metadata
        own_label = f"{meta.namespace}/{label_value(meta.name)}"
        pods: Sequence[Pod] = self._pods(meta)
        if confirmed is not None:
            pods = [*confirmed.pods, *(pod for pod in pods if is_of_drill(pod))]
        own_nodes, beside = self._nodes_under(pods, confirmed)
        serving = [pod for pod in pods if not is_of_drill(pod)]  # what a drill's pod answers is no evidence of anything
        revisions = caches.revisions.by_index(BY_DEPLOYMENT, meta.key)
        model_names = {one.spec.hash: one.spec.model_name for one in revisions}
        models = {
            pod.metadata.uid: model_names[revision]
            for pod in pods
            if (revision := pod.metadata.labels.get(labels.REVISION, "")) in model_names
        }
        names = service_names(meta.name)
        services = self._services(meta.namespace, names, own_label)
        wrong = faults(own_nodes, beside)
        return Observed(
            deployment=deployment,
            revisions=revisions,
            pin=caches.pins.get(meta.key),
            workload=caches.workloads.get(meta.key),
            services=services,
            routes=self._routes(meta.namespace, names),
            gateway=self._gateway(meta.namespace),
            gateway_read=caches.gateways is not None,
            kinds=cluster_kinds(caches.discovery),
            budget=caches.budgets.get(meta.key),
            workloads=self._workloads(meta.namespace, meta.name, services, own_label),
            extras=[(group.kind, one) for group in caches.extras for one in group.by_index(BY_DEPLOYMENT, own_label)],
            pods=pods,
            own_nodes=own_nodes,
            cluster=None if caches.nodes is None else partial(_cluster, caches.nodes, caches.pods, confirmed),
            faults=wrong,
            probes=self._sensors.probes(meta.key, pods, models),
            measurements=self._sensors.measure(meta.key, serving),
            watch=self._watcher.watch(deployment, serving, wrong.uids(serving)),
            probing_since=self._probing_since,
        )

    def _nodes_under(self, pods: Iterable[Pod], confirmed: Confirmed | None) -> tuple[list[Node], list[Pod]]:
        """The nodes that these pods are on, and all pods there that ask for GPUs, whoever owns them."""
        nodes, cached = self._caches.nodes, self._caches.pods
        names = dict.fromkeys(pod.spec.node_name for pod in pods if pod.spec.node_name)
        if nodes is None:
            return [], []
        found = [node for name in names if (node := nodes.get(name)) is not None]
        beside = [pod for name in names for pod in cached.by_index(BY_GPU, name)]
        if confirmed is None:
            return found, beside
        own = {pod.metadata.key: pod for pod in confirmed.pods if gpus_of(pod)}
        return over(confirmed.nodes, found), [*own.values(), *(one for one in beside if one.metadata.key not in own)]

    def _gateway(self, namespace: str) -> Gateway | None:
        config, informer = self._gateway_config, self._caches.gateways
        if config is None or informer is None:
            return None
        return informer.get(f"{config.namespace or namespace}/{config.name}")

    def _services(self, namespace: str, names: Iterable[str], own_label: str) -> list[Service]:
        named = (self._caches.services.get(f"{namespace}/{name}") for name in names)
        labelled = self._caches.services.by_index(BY_DEPLOYMENT, own_label)
        return list({one.metadata.name: one for one in (*named, *labelled) if one is not None}.values())

    def _routes(self, namespace: str, services: Iterable[str]) -> dict[str, HTTPRoute]:
        names = (route for service in services for route in route_names(service))
        found = (self._caches.routes.get(f"{namespace}/{name}") for name in names)
        return {one.metadata.name: one for one in found if one is not None}

    def _workloads(
        self, namespace: str, name: str, services: Iterable[Service], own_label: str
    ) -> dict[str, Deployment]:
        """Of single revisions, and whatever has a name that the endpoint picker's may get."""
        labelled = self._caches.workloads.by_index(BY_DEPLOYMENT, own_label)
        names = picker_names(service_name(name, service_owners(services))) if self._caches.extras else ()
        named = (self._caches.workloads.get(f"{namespace}/{each}") for each in names)
        return {one.metadata.name: one for one in (*labelled, *named) if one is not None}

    async def _without_status(self, deployment: LLMDeployment, decided: Plan, refusal: Invalid) -> int:
        """Say by an event what the status cannot say, and do the rest.

        The API server takes no status for a stored object one of whose values has a type that a rule of its schema
        cannot be evaluated on: of all mistakes it lets those alone not be.
        """
        log.warning("the status of an invalid object is not taken", error=refusal.message, because=decided.because)
        self._tell(deployment, Emit("Warning", INVALID_SPEC, "; ".join(decided.because)))
        return await self._carry_out(deployment, msgspec.structs.replace(decided, status=None))

    def _tell(self, deployment: LLMDeployment, event: Emit) -> None:
        if self._recorder is not None:
            self._recorder.event(LLM_DEPLOYMENT, deployment, event.type, event.reason, event.note, action=event.reason)

    async def _carry_out(self, deployment: LLMDeployment, decided: Plan) -> int:
        def tell(event: Emit) -> None:
            self._tell(deployment, event)

        return await execute(
            self._api, decided, LLM_DEPLOYMENT, deployment.metadata, tell=tell, written=self._caches.written
        )


def _cluster(nodes: Informer[Node], pods: InformerGroup[Pod], confirmed: Confirmed | None) -> Cluster:
    """All nodes, and all pods that ask for GPUs, as the caches have them when it is called: within the same look,
    before anything else can happen.
    """
    everywhere, holders = nodes.list(), pods.by_index(BY_GPU, "")
    if confirmed is None:
        return everywhere, holders
    return over(confirmed.nodes, everywhere), over(confirmed.pods, holders)


def _key_of_pinned(pin: VersionPin) -> Iterable[str]:
    return (f"{pin.metadata.namespace}/{pin.spec.deployment}",)


def _gpus_moved(old: Pod | None, new: Pod | None) -> bool:
    """Whether the pod took or freed GPUs on a node, or is about to free them."""
    return _held(old) != _held(new)


def _found_no_node(_old: Pod | None, new: Pod | None) -> bool:
    """Whether the pod waits for room that others may have to give up."""
    if new is None or new.spec.node_name:
        return False
    scheduled = find_condition(new.status.conditions, "PodScheduled")
    return scheduled is not None and scheduled.status == "False"


def _held(pod: Pod | None) -> tuple[str, str, bool]:
    if pod is None:
        return "", "", False
    return pod.spec.node_name, pod.status.phase, pod.metadata.deletion_timestamp is not None
