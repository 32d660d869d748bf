"""The snapshot of one LLMDeployment: from the operator's caches, or by GET and LIST for `outrider plan`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import Instant
from outrider.api.modelrevision import ModelRevision
from outrider.api.names import label_value, service_name
from outrider.api.parse import Parsed, parse_spec
from outrider.api.versionpin import VersionPin
from outrider.controllers.deployment import observe
from outrider.kube.api import Api, ApiError, Kind, NotFound
from outrider.kube.objects import (
    DEPLOYMENT,
    HTTP_ROUTE,
    NODE,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    Deployment,
    HTTPRoute,
    Node,
    Pod,
    PodDisruptionBudget,
    Service,
)
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN
from outrider.plan.deployment.snapshot import Measurements, PlanConfig, ProbeView, Snapshot


@dataclass(frozen=True)
class Observed:
    """The objects around one LLMDeployment, as they were read."""

    deployment: LLMDeployment
    revisions: Sequence[ModelRevision] = ()
    """Of this deployment."""
    pin: VersionPin | None = None
    workload: Deployment | None = None
    services: Sequence[Service] = ()
    """All of the namespace."""
    routes: Mapping[str, HTTPRoute] = field(default_factory=dict)
    """Of the namespace, by name."""
    budget: PodDisruptionBudget | None = None
    pods: Sequence[Pod] = ()
    """Of this deployment."""
    gpu_pods: Iterable[Pod] = ()
    """All pods of the cluster that ask for GPUs."""
    nodes: Sequence[Node] | None = None
    """None when they cannot be read."""
    probes: Mapping[str, ProbeView] = field(default_factory=dict)
    """By the pod's uid."""
    measurements: Measurements | None = None
    probing_since: Instant | None = None


def parse_deployment(deployment: LLMDeployment) -> Parsed:
    meta = deployment.metadata
    return parse_spec(
        deployment.spec, name=meta.name, namespace=meta.namespace, annotations=meta.annotations, labels=meta.labels
    )


def service_owners(services: Iterable[Service]) -> dict[str, str]:
    """Service name -> the LLMDeployment that owns it, empty text where none does."""
    owners = {}
    for service in services:
        controller = service.metadata.controller
        ours = controller is not None and controller.kind == LLM_DEPLOYMENT.kind
        owners[service.metadata.name] = controller.name if controller is not None and ours else ""
    return owners


def build_snapshot(observed: Observed, config: PlanConfig, parsed: Parsed | None = None) -> Snapshot:
    """The snapshot that `plan` decides from."""
    deployment = observed.deployment
    meta = deployment.metadata
    parsed = parsed or parse_deployment(deployment)
    owners = service_owners(observed.services)
    name = service_name(meta.name, owners)
    service = next((one for one in observed.services if one.metadata.name == name), None)
    versions = {one.spec.hash: one.spec.version for one in observed.revisions}
    pods = sorted(observed.pods, key=lambda pod: pod.metadata.name)
    pin = observed.pin
    settings = parsed.spec.pod if parsed.spec is not None else None
    tolerated = {
        labels.GPU_RESOURCE,
        *(str(one.get("key") or "") for one in (settings.tolerations if settings else ())),
    }
    return Snapshot(
        deployment=deployment,
        parsed=parsed,
        revisions=tuple(sorted(observed.revisions, key=lambda one: (one.spec.sequence, one.spec.hash))),
        pin=pin if pin is not None and pin.metadata.deletion_timestamp is None else None,
        workload=observe.workload_view(observed.workload, meta.uid),
        service=observe.service_view(service, meta.uid),
        route=observe.route_view(observed.routes.get(name), meta.uid),
        budget=observe.budget_view(observed.budget, meta.uid),
        pods=tuple(observe.pod_view(pod, versions, observed.probes.get(pod.metadata.uid)) for pod in pods),
        measurements=observed.measurements,
        capacity=None
        if observed.nodes is None
        else observe.capacity_of(
            observed.nodes,
            observed.gpu_pods,
            node_selector=settings.node_selector if settings else {},
            tolerated=frozenset(tolerated),
        ),
        service_owners=owners,
        probing_since=observed.probing_since,
        config=config,
    )


async def gather_live(
    api: Api, namespace: str, name: str, config: PlanConfig, *, manifest: Mapping[str, Any] | None = None
) -> Snapshot:
    """The same snapshot by GET and LIST. Nothing is probed or measured: what the status says of that stands.

    `manifest`, a whole LLMDeployment, takes the place of the stored spec, labels and annotations, so that the plan says
    what *would* happen. Without it the object has to exist.

    Raises:
        NotFound: there is no such LLMDeployment, and no manifest.
        ApiError: something else could not be read. Nodes that may not be read only make capacity unknown.
    """
    stored = await _get(api, LLM_DEPLOYMENT, name, namespace)
    if stored is None and manifest is None:
        raise NotFound(f'llmdeployments.{labels.GROUP} "{name}" not found in namespace {namespace}')
    deployment = stored if manifest is None else _as_applied(stored, manifest, namespace, name)
    assert deployment is not None, "either it is stored or the manifest was given"
    pods = (await api.list(POD, namespace, labels=f"{labels.DEPLOYMENT}={label_value(name)}")).items
    nodes, everywhere = await _capacity(api, pods)
    revisions = await api.list(MODEL_REVISION, namespace)
    routes = await _routes(api, namespace)
    observed = Observed(
        deployment=deployment,
        revisions=[one for one in revisions.items if one.spec.deployment == name],
        pin=await _get(api, VERSION_PIN, name, namespace),
        workload=await _get(api, DEPLOYMENT, name, namespace),
        services=(await api.list(SERVICE, namespace)).items,
        routes=routes,
        budget=await _get(api, POD_DISRUPTION_BUDGET, name, namespace),
        pods=pods,
        gpu_pods=[pod for pod in everywhere if observe.gpus_of(pod)],
        nodes=nodes,
    )
    return build_snapshot(observed, config)


async def _get(api: Api, kind: Kind[Any], name: str, namespace: str) -> Any:
    try:
        return await api.get(kind, name, namespace)
    except NotFound:
        return None


async def _routes(api: Api, namespace: str) -> dict[str, HTTPRoute]:
    try:
        return {one.metadata.name: one for one in (await api.list(HTTP_ROUTE, namespace)).items}
    except NotFound:  # the cluster has no Gateway API
        return {}


async def _capacity(api: Api, own: Sequence[Pod]) -> tuple[Sequence[Node] | None, Sequence[Pod]]:
    """Nodes and all pods, for whoever may read them."""
    try:
        return (await api.list(NODE)).items, (await api.list(POD)).items
    except ApiError:
        return None, own


def _as_applied(stored: LLMDeployment | None, manifest: Mapping[str, Any], namespace: str, name: str) -> LLMDeployment:
    """The stored object as it would be once the manifest is applied: a changed spec is a new generation."""
    given = manifest.get("metadata") or {}
    stored = stored or LLMDeployment()
    spec = msgspec.Raw(msgspec.json.encode(dict(manifest.get("spec") or {})))
    metadata = msgspec.structs.replace(
        stored.metadata,
        name=name,
        namespace=namespace,
        labels=stored.metadata.labels | dict(given.get("labels") or {}),
        annotations=stored.metadata.annotations | dict(given.get("annotations") or {}),
    )
    applied = msgspec.structs.replace(stored, metadata=metadata, spec=spec)
    # What the API server fills in as defaults is no change, so the meaning is compared and not the text.
    if parse_deployment(applied).spec == parse_deployment(stored).spec:
        return applied
    metadata = msgspec.structs.replace(metadata, generation=metadata.generation + 1)
    return msgspec.structs.replace(applied, metadata=metadata)
