"""The snapshot of one LLMDeployment: from the operator's caches, or by GET and LIST for `outrider plan`."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import msgspec

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import Instant, ObjectMeta
from outrider.api.modelrevision import ModelRevision
from outrider.api.names import (
    candidate_service_name,
    drill_name,
    label_value,
    picker_names,
    revision_name,
    service_name,
)
from outrider.api.parse import Parsed, parse_spec
from outrider.api.versionpin import VersionPin
from outrider.controllers.deployment import observe
from outrider.controllers.deployment.faults import Faults, faults
from outrider.kube.api import Api, ApiError, Kind, NotFound
from outrider.kube.clock import SystemClock
from outrider.kube.discovery import Discovery
from outrider.kube.objects import (
    DEPLOYMENT,
    GATEWAY,
    HTTP_ROUTE,
    INFERENCE_POOL,
    NODE,
    POD,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
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
from outrider.plan.deployment.observed import ClusterKinds, ServiceView, WorkloadView
from outrider.plan.deployment.snapshot import Capacity, Measurements, PlanConfig, ProbeView, Snapshot, Watch

T = TypeVar("T")

MOST_PARSED = 4096
"""LLMDeployments whose spec is remembered as it was parsed last, 9 KB each."""
_parsed: OrderedDict[str, tuple[tuple[bytes, dict[str, str], dict[str, str]], Parsed]] = OrderedDict()
"""By namespace and name: a service that is released to every day is remembered once."""

OPTIONAL_KINDS: tuple[Kind[Any], ...] = (HTTP_ROUTE, INFERENCE_POOL, SERVICE_MONITOR)
"""What a cluster may lack."""
PICKER_KINDS: tuple[Kind[Any], ...] = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, INFERENCE_POOL)
"""What an endpoint picker takes beside its Deployment and Service."""


Cluster: TypeAlias = tuple[Iterable[Node], Iterable[Pod]]


@dataclass(frozen=True)
class Observed:
    """The objects around one LLMDeployment, as they were read."""

    deployment: LLMDeployment
    revisions: Sequence[ModelRevision] = ()
    """Of this deployment."""
    pin: VersionPin | None = None
    workload: Deployment | None = None
    services: Sequence[Service] = ()
    """Of the namespace, those at least with one of the names that this deployment's may get (`names.service_names`),
    and those of its single revisions."""
    routes: Mapping[str, HTTPRoute] = field(default_factory=dict)
    """By name; those at least that lead to one of these Services."""
    gateway: Gateway | None = None
    """The Gateway that the configuration names, where there is one."""
    gateway_read: bool = False
    """Whether it was looked for."""
    kinds: ClusterKinds = field(default_factory=ClusterKinds)
    budget: PodDisruptionBudget | None = None
    workloads: Mapping[str, Deployment] = field(default_factory=dict)
    """Deployments of single revisions and of drills, and those of the namespace that may be the endpoint picker's, by
    name."""
    extras: Sequence[tuple[Kind[Any], Mapping[str, Any]]] = ()
    """What else has this deployment's label."""
    pods: Sequence[Pod] = ()
    """Of this deployment, those of its drills too."""
    own_nodes: Sequence[Node] = ()
    """Those that its pods are on, as far as nodes can be read."""
    cluster: Callable[[], Cluster] | None = None
    """Gives all nodes, and all pods that ask for GPUs; None when nodes cannot be read."""
    faults: Faults = field(default_factory=Faults)
    """What is wrong with its own nodes."""
    probes: Mapping[str, ProbeView] = field(default_factory=dict)
    """By the pod's uid."""
    measurements: Measurements | None = None
    watch: Watch | None = None
    """What was counted of the release that the status tells of."""
    probing_since: Instant | None = None


def parse_deployment(deployment: LLMDeployment) -> Parsed:
    """What its spec, labels and annotations mean. Each object is looked at some times per change, and parsed once."""
    meta = deployment.metadata
    key, written = meta.key, (bytes(deployment.spec), meta.annotations, meta.labels)
    known = _parsed.get(key)
    if known is not None and known[0] == written:
        _parsed.move_to_end(key)
        return known[1]
    spec, annotations, labelled = written
    found = parse_spec(spec, name=meta.name, namespace=meta.namespace, annotations=annotations, labels=labelled)
    _parsed[key] = (written, found)
    _parsed.move_to_end(key)
    while len(_parsed) > MOST_PARSED:
        _parsed.popitem(last=False)
    return found


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
    # Those of a deleted LLMDeployment of the same name are about to go, and must not say what serves.
    revisions = [one for one in observed.revisions if not observe.owned_by_another(one.metadata, meta.uid)]
    versions = {one.spec.hash: one.spec.version for one in revisions}
    nodes = {one.metadata.name: one for one in observed.own_nodes}
    pods = [
        observe.pod_view(
            pod,
            versions,
            observed.probes.get(pod.metadata.uid),
            observed.faults.of(pod),
            nodes.get(pod.spec.node_name),
        )
        for pod in sorted(observed.pods, key=lambda pod: pod.metadata.name)
    ]
    pin = observed.pin
    picker = _picker_name(name, meta.uid, meta.name, owners, observed.workloads)
    picker_service = next((one for one in observed.services if one.metadata.name == picker), None)
    return Snapshot(
        deployment=deployment,
        parsed=parsed,
        revisions=tuple(sorted(revisions, key=lambda one: (one.spec.sequence, one.spec.hash))),
        pin=pin if pin is not None and pin.metadata.deletion_timestamp is None else None,
        workload=observe.workload_view(observed.workload, meta.uid),
        own_workloads=_own_workloads(observed, meta, revision_name),
        drill_workloads=_own_workloads(observed, meta, drill_name),
        service=observe.service_view(service, meta.uid),
        candidate_services=_candidate_services(observed, name, meta.uid),
        routes={key: observe.route_view(one, meta.uid) for key, one in observed.routes.items()},
        gateway=observe.gateway_view(observed.gateway) if observed.gateway_read else None,
        budget=observe.budget_view(observed.budget, meta.uid),
        picker_name=picker,
        picker=observe.workload_view(observed.workloads.get(picker), meta.uid),
        picker_service=observe.service_view(picker_service, meta.uid),
        extras=tuple(observe.extra_view(kind, one, meta.uid) for kind, one in observed.extras),
        kinds=observed.kinds,
        pods=tuple(pod for pod in pods if not pod.drill),
        drill_pods=tuple(pod for pod in pods if pod.drill),
        measurements=observed.measurements,
        watch=observed.watch,
        gpus=_gpus(observed.cluster, parsed),
        service_owners=owners,
        probing_since=observed.probing_since,
        config=config,
    )


def _gpus(cluster: Callable[[], Cluster] | None, parsed: Parsed) -> Callable[[], Capacity] | None:
    """Counts the cluster's GPUs once it is asked to, and once only."""
    if cluster is None:
        return None
    settings = parsed.spec.pod if parsed.spec is not None else None
    keys = (str(one.get("key") or "") for one in (settings.tolerations if settings else ()))
    tolerated = frozenset({labels.GPU_RESOURCE, *keys})
    selector = settings.node_selector if settings else {}

    @functools.cache
    def look() -> Capacity:
        nodes, gpu_pods = cluster()
        return observe.capacity_of(nodes, gpu_pods, node_selector=selector, tolerated=tolerated)

    return look


def _own_workloads(observed: Observed, meta: ObjectMeta, named: Callable[[str, str], str]) -> tuple[WorkloadView, ...]:
    """Those that hold one revision each, beside the service or for a drill: their names say so."""
    found = (observe.workload_view(one, meta.uid) for one in observed.workloads.values())
    own = [one for one in found if one is not None and one.owned and one.name == named(meta.name, one.revision)]
    return tuple(sorted(own, key=lambda one: one.name))


def _candidate_services(observed: Observed, service: str, uid: str) -> tuple[ServiceView, ...]:
    found = (observe.service_view(one, uid) for one in observed.services)
    own = [
        one
        for one in found
        if one is not None
        and one.owned
        and one.name == candidate_service_name(service, one.selector.get(labels.REVISION, ""))
    ]
    return tuple(sorted(own, key=lambda one: one.name))


def _picker_name(
    service: str, uid: str, owner: str, services: Mapping[str, str], workloads: Mapping[str, Deployment]
) -> str:
    """The first name that neither a Service nor a Deployment of somebody else has."""
    names = picker_names(service)
    for name in names:
        workload = workloads.get(name)
        free = workload is None or observe.owned_by(workload.metadata, uid)
        if free and services.get(name, owner) == owner:
            return name
    return names[-1]


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
    pods = await _labelled(api, POD, namespace, name)
    nodes, everywhere = await _capacity(api, pods)
    gpu_pods = [pod for pod in everywhere if observe.gpus_of(pod)]
    own_nodes = nodes_of(pods, nodes or ())
    revisions = await api.list(MODEL_REVISION, namespace)
    routes = await _routes(api, namespace)
    services = (await api.list(SERVICE, namespace)).items
    names = picker_names(service_name(name, service_owners(services)))
    picker_workloads = {each: await _get(api, DEPLOYMENT, each, namespace) for each in names}
    own = await _labelled(api, DEPLOYMENT, namespace, name)
    kinds = await live_kinds(api)
    observed = Observed(
        deployment=deployment,
        revisions=[one for one in revisions.items if one.spec.deployment == name],
        pin=await _get(api, VERSION_PIN, name, namespace),
        workload=await _get(api, DEPLOYMENT, name, namespace),
        services=services,
        routes=routes,
        gateway=await _get(api, GATEWAY.into(Gateway), config.gateway_name, config.gateway_namespace or namespace)
        if config.gateway_name
        else None,
        gateway_read=bool(config.gateway_name),
        kinds=kinds,
        budget=await _get(api, POD_DISRUPTION_BUDGET, name, namespace),
        workloads={
            **{each: found for each, found in picker_workloads.items() if found is not None},
            **{one.metadata.name: one for one in own},
        },
        extras=await _extras(api, namespace, name) if kinds.inference_pools else (),
        pods=pods,
        own_nodes=own_nodes,
        cluster=None if nodes is None else lambda: (nodes, gpu_pods),
        faults=faults(own_nodes, gpu_pods),
    )
    return build_snapshot(observed, config)


def nodes_of(pods: Iterable[Pod], nodes: Iterable[Node]) -> list[Node]:
    """Those of the nodes that some of the pods are on."""
    names = {pod.spec.node_name for pod in pods}
    return [node for node in nodes if node.metadata.name in names]


async def live_kinds(api: Api) -> ClusterKinds:
    """Which optional kinds the cluster has, asked now."""
    discovery = Discovery(api, SystemClock(), OPTIONAL_KINDS)
    await discovery.look()
    return cluster_kinds(discovery)


def cluster_kinds(discovery: Discovery) -> ClusterKinds:
    return ClusterKinds(
        http_routes=discovery.has(HTTP_ROUTE),
        inference_pools=discovery.has(INFERENCE_POOL),
        service_monitors=discovery.has(SERVICE_MONITOR),
    )


async def _extras(api: Api, namespace: str, name: str) -> list[tuple[Kind[Any], Mapping[str, Any]]]:
    selector = f"{labels.DEPLOYMENT}={label_value(name)}"
    return [
        (kind, found)
        for kind in PICKER_KINDS
        for found in (await api.list(kind.into(dict), namespace, labels=selector)).items
    ]


async def _labelled(api: Api, kind: Kind[T], namespace: str, name: str) -> list[T]:
    """What belongs to the LLMDeployment, and to its drills."""
    selectors = (f"{label}={label_value(name)}" for label in (labels.DEPLOYMENT, labels.DRILL_OF))
    return [one for selector in selectors for one in (await api.list(kind, namespace, labels=selector)).items]


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
