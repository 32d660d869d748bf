"""The informers that the operator's controllers read."""

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import ObjectMeta, find_condition
from outrider.api.modelrevision import ModelRevision
from outrider.api.names import label_value
from outrider.api.versionpin import VersionPin
from outrider.controllers.config import GatewayConfig
from outrider.controllers.deployment.gather import OPTIONAL_KINDS, PICKER_KINDS
from outrider.controllers.deployment.observe import gpus_of
from outrider.kube.api import Api, Kind
from outrider.kube.clock import Clock
from outrider.kube.discovery import INTERVAL, Discovery
from outrider.kube.informer import Informer
from outrider.kube.informers import InformerGroup
from outrider.kube.metadata import metadata_of
from outrider.kube.objects import (
    DEPLOYMENT,
    GATEWAY,
    HTTP_ROUTE,
    NODE,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_MONITOR,
    Deployment,
    Gateway,
    HTTPRoute,
    Node,
    Pod,
    PodDisruptionBudget,
    Service,
)
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN
from outrider.plan.deployment.drill import is_running
from outrider.plan.monitoring import NAME as MONITOR_NAME

BY_DEPLOYMENT = "by-deployment"
BY_NAMESPACE = "by-namespace"
BY_GPU = "by-gpu"
"""Pods that ask for GPUs: all of them under the empty value, and those on a node under its name."""
BY_NEED = "by-need"
"""LLMDeployments that look again when GPUs come or go (`SHORT_OF_GPUS`), or somebody waits for some (`DRILLED`)."""
SHORT_OF_GPUS, DRILLED = "short-of-gpus", "drilled"

log = structlog.get_logger(__name__)


class Caches:
    """The informers that the controllers read. They may be shared with other controllers.

    With `namespaces` nothing is looked at outside them: neither nodes nor the pods of others, so that what room there
    is for GPUs is unknown.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        namespaces: tuple[str, ...] = (),
        gateway: GatewayConfig | None = None,
        *,
        on_kinds: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        """`on_kinds` is told when optional kinds came to the cluster, or went. `rng` is where jitter comes from."""
        self.discovery = Discovery(api, clock, OPTIONAL_KINDS, on_change=self._kinds_changed)
        self._on_kinds = on_kinds
        in_namespaces = partial(InformerGroup, api, clock=clock, namespaces=namespaces, rng=rng)
        by_own_label = {BY_DEPLOYMENT: _by_own_label}
        self.deployments: InformerGroup[LLMDeployment] = in_namespaces(
            kind=LLM_DEPLOYMENT,
            indexes={BY_NAMESPACE: _by_namespace, BY_DEPLOYMENT: _by_label_value, BY_NEED: _by_need},
        )
        self.revisions: InformerGroup[ModelRevision] = in_namespaces(
            kind=MODEL_REVISION, indexes={BY_DEPLOYMENT: _by_revision_owner}
        )
        self.pins: InformerGroup[VersionPin] = in_namespaces(kind=VERSION_PIN)
        self.workloads: InformerGroup[Deployment] = in_namespaces(kind=DEPLOYMENT, indexes=by_own_label)
        self.services: InformerGroup[Service] = in_namespaces(kind=SERVICE, indexes=by_own_label)
        # Discovery tells when they come, so that nothing has to ask for them again and again.
        optional = partial(in_namespaces, optional=True, absent_retry=INTERVAL)
        self.routes: InformerGroup[HTTPRoute] = optional(kind=HTTP_ROUTE)
        self.budgets: InformerGroup[PodDisruptionBudget] = in_namespaces(kind=POD_DISRUPTION_BUDGET)
        self.monitors: InformerGroup[Any] = optional(kind=SERVICE_MONITOR, fields=f"metadata.name={MONITOR_NAME}")
        self.gateways = _gateways(api, clock, namespaces, gateway, rng)
        self.extras: tuple[InformerGroup[Any], ...] = ()
        if gateway is not None and gateway.inference_pool:
            # Of kinds that others use, too: only what belongs to an LLMDeployment, and all of that, to compare it.
            labelled = partial(optional, labels=labels.DEPLOYMENT, indexes={BY_DEPLOYMENT: _by_own_label})
            self.extras = tuple(labelled(kind=kind) for kind in PICKER_KINDS)
        # Of the whole cluster, where that may be looked at: GPUs are held by anybody.
        self.pods: InformerGroup[Pod] = in_namespaces(kind=POD, indexes={BY_DEPLOYMENT: _by_own_label, BY_GPU: _by_gpu})
        self.nodes: Informer[Node] | None = None if namespaces else Informer(api, NODE, clock, rng=rng)
        own: tuple[InformerGroup[Any], ...] = (
            self.deployments, self.revisions, self.pins, self.workloads, self.services, self.routes, self.budgets,
            self.pods, self.monitors, *self.extras,
        )  # fmt: skip
        self._by_kind = {group.kind: group for group in own}

    @property
    def gateway_members(self) -> tuple[Informer[Gateway], ...]:
        return self.gateways.members if self.gateways is not None else ()

    def _kinds_changed(self) -> None:
        log.info("optional kinds", **{kind.plural: self.discovery.has(kind) for kind in OPTIONAL_KINDS})
        for group in (self.routes, self.monitors, *self.extras):
            group.look_again()
        for informer in self.gateway_members:
            informer.look_again()
        self._on_kinds()

    def written(self, kind: Kind[Any], obj: Any) -> None:
        """Own writes are seen at once."""
        group = self._by_kind.get(kind)
        if group is not None:
            group.written(obj)


def _gateways(
    api: Api,
    clock: Clock,
    namespaces: tuple[str, ...],
    gateway: GatewayConfig | None,
    rng: random.Random | None,
) -> InformerGroup[Gateway] | None:
    """The Gateway that is configured; None where there is none, or where it may not be looked at."""
    if gateway is None or (namespaces and gateway.namespace and gateway.namespace not in namespaces):
        return None
    where = (gateway.namespace,) if gateway.namespace else namespaces
    only = f"metadata.name={gateway.name}"
    kind = GATEWAY.into(Gateway)
    return InformerGroup(api, kind, clock, namespaces=where, fields=only, optional=True, absent_retry=INTERVAL, rng=rng)


def labelled_value(metadata: ObjectMeta) -> str:
    """Whose the object is, by the label of a service or of its drills; empty where it is nobody's."""
    return metadata.labels.get(labels.DEPLOYMENT) or metadata.labels.get(labels.DRILL_OF) or ""


def _by_own_label(obj: Any) -> Iterable[str]:
    metadata = metadata_of(obj)
    value = labelled_value(metadata)
    return (f"{metadata.namespace}/{value}",) if value else ()


def _by_namespace(obj: Any) -> Iterable[str]:
    return (obj.metadata.namespace,)


def _by_revision_owner(revision: ModelRevision) -> Iterable[str]:
    return (f"{revision.metadata.namespace}/{revision.spec.deployment}",)


def _by_gpu(pod: Pod) -> Iterable[str]:
    if not gpus_of(pod):
        return ()
    return ("", pod.spec.node_name) if pod.spec.node_name else ("",)


def _by_label_value(deployment: LLMDeployment) -> Iterable[str]:
    """As its objects are labelled: with a shortened form of a name that is too long for a label."""
    return (f"{deployment.metadata.namespace}/{label_value(deployment.metadata.name)}",)


def _by_need(deployment: LLMDeployment) -> Iterable[str]:
    condition = find_condition(deployment.status.conditions, "CapacityAvailable")
    if condition is not None and condition.status != "True":
        yield SHORT_OF_GPUS
    if is_running(deployment.status):
        yield DRILLED
