"""Everything that a decision about one LLMDeployment depends on, frozen.

What nobody knows is `None`, and the decisions treat it as unknown: never as zero, never as healthy.
"""

from collections.abc import Callable

import msgspec

from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import ConditionStatus, Instant
from outrider.api.modelrevision import ModelRevision
from outrider.api.parse import Parsed
from outrider.api.versionpin import VersionPin
from outrider.plan.deployment.observed import (
    BudgetView,
    ClusterKinds,
    ExtraView,
    FrontDoorView,
    GatewayView,
    RouteView,
    ServiceView,
    WorkloadView,
)
from outrider.plan.evidence import Indicator, State


class ProbeView(msgspec.Struct, frozen=True):
    """What the real requests to one pod said: probes of the model server, not of the kubelet."""

    ok: bool
    """Whether the last request was answered as it should be."""
    at: Instant
    """When the last request ended."""
    last_success: Instant | None = None
    last_failure: Instant | None = None
    message: str = ""
    """Why the last one that failed did."""


class FaultView(msgspec.Struct, frozen=True):
    """What is wrong beneath a pod: with its node or its GPUs, as far as Kubernetes knows."""

    message: str
    """A clause: `node-7 is NotReady`, `GPU-... of node-7 is Unhealthy`."""
    of_gpu: bool = False
    """It is that of GPUs, which a container keeps when it is restarted: only a new pod gets others."""


class PodView(msgspec.Struct, frozen=True):
    """One pod of the deployment."""

    name: str
    uid: str = ""
    revision: str = ""
    """Hash of the ModelRevision that it runs."""
    version: str = ""
    owner: str = ""
    """Name of its controller, a ReplicaSet: that of the Deployment, a dash and a hash."""
    ready: bool = False
    """Ready as the kubelet says, and not being deleted."""
    was_ready: bool = False
    """It has been ready at some time, as far as its conditions tell."""
    containers_ready: bool = False
    """Its model server runs and is content with itself; it is not being deleted."""
    gate: ConditionStatus | None = None
    """Its condition `answers-requests`, which has to be True before it is ready; None for a pod without that gate."""
    terminating: bool = False
    gone_by: Instant | None = None
    """When one that was told to end ought to have gone; None where it was not, or nobody knows."""
    node: str = ""
    """Empty until it is scheduled."""
    gpus: int = 0
    gpu_product: str = ""
    """What its node says that its GPUs are; empty where that is not known."""
    restarts: int = 0
    waiting: str = ""
    """Why a container of it does not run: CrashLoopBackOff, ImagePullBackOff ..., else empty."""
    waiting_message: str = ""
    unschedulable: str = ""
    """The scheduler's message when it found no node, else empty."""
    placed_at: Instant | None = None
    """When it got its node; None while it has none, and where that is not known."""
    created: Instant | None = None
    finished: bool = False
    """Succeeded or Failed: it holds no GPU and never runs again."""
    loaded_at: Instant | None = None
    """When its gate was opened, because it had answered a request; None while it is not."""
    up_since: Instant | None = None
    """Since when its model server runs and is content with itself; None while it is not."""
    unready_since: Instant | None = None
    """Since when it has not been ready, as its condition says; None while it is, and before the kubelet has said so."""
    drill: str = ""
    """The request, by its time, of the drill that it was started for; empty for a pod that serves."""
    probe: ProbeView | None = None
    fault: FaultView | None = None
    """None where nothing is known to be wrong beneath it."""

    @property
    def alive(self) -> bool:
        """Whether it runs, or may come to run: it is not on its way out, and has not ended."""
        return not self.terminating and not self.finished


class Measurements(msgspec.Struct, frozen=True):
    """What the pods' counters said over the last few minutes; None where there was no traffic or no fresh sample."""

    latency_p95: float | None = None
    """End-to-end seconds of a request, 95th percentile."""
    error_rate: float | None = None
    """Share of requests that failed, 0 to 1."""


class Watch(msgspec.Struct, frozen=True):
    """What was counted of the release that `status.release` names."""

    revision: str
    """The candidate's."""
    state: State
    data_age: float | None
    """Seconds since the candidate was last counted; None where it never was."""
    unread: float = 0.0
    """Seconds since the counters of the candidate's ready pods could last be read: see `Situation`."""
    why_unread: str = ""
    gateway_read: bool = False
    """Whether the counters of the Gateway could be read lately."""
    edges: dict[Indicator, float] = {}
    """Seconds above which an answer counts as slow, by indicator."""


class NodeView(msgspec.Struct, frozen=True):
    name: str
    gpus: int
    """Allocatable."""
    used: int
    """Held by pods bound to it that have not finished, whoever owns them."""
    schedulable: bool
    """Ready, not cordoned, and without a taint that GPU pods do not tolerate."""
    product: str = ""
    has: int = 0
    """All of its GPUs, healthy or not (`capacity`); 0 where that is not known."""

    @property
    def free(self) -> int:
        return max(0, self.gpus - self.used) if self.schedulable else 0


class GpuHolder(msgspec.Struct, frozen=True):
    """Who holds GPUs: an LLMDeployment, or a pod that belongs to none."""

    namespace: str
    name: str
    replicas: int
    """Pods on a node, those that are being deleted included."""
    gpus: int
    """Of all of them together."""
    terminating_gpus: int = 0
    is_deployment: bool = True

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Waiting(msgspec.Struct, frozen=True):
    """A pod that asks for GPUs and found no node; those of drills are left out."""

    name: str
    """`namespace/name`."""
    gpus: int


class Capacity(msgspec.Struct, frozen=True):
    """The cluster's GPUs."""

    nodes: tuple[NodeView, ...] = ()
    """Nodes that have, or ought to have, GPUs; by name."""
    holders: tuple[GpuHolder, ...] = ()
    """Greatest first."""
    waiting: tuple[Waiting, ...] = ()
    """By name."""


class PlanConfig(msgspec.Struct, frozen=True):
    """What the operator's configuration decides about plans."""

    engine_image: str = "vllm/vllm-openai:v0.32.0"
    gateway_name: str = ""
    """Gateway that HTTPRoutes attach to; empty: no gateway, no routes."""
    gateway_namespace: str = ""
    base_url: str = ""
    """With it `status.url` is `BASE_URL/NAMESPACE/SERVICE`: the address that people outside can use. Empty: the address
    that the Gateway's own status tells, if any."""
    request_timeout: str = "0s"
    """`timeouts.request` of every route, as Gateway API writes durations. `0s`: none, since an answer may stream for
    minutes; some gateways cut it off after 15 s by default. Empty: not written, for gateways that refuse the field."""
    inference_pool: bool = False
    """Whether the Gateway can send requests to InferencePools, so that endpoint pickers may be set up."""
    picker_image: str = "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.9.0"
    picker_tls: bool = True
    """Whether the endpoint picker serves its gRPC with TLS, with a certificate that it signs itself, as Istio and GKE
    expect; agentgateway expects plain text."""
    monitor_labels: dict[str, str] = {}
    """Labels of ServiceMonitors, by which a Prometheus chooses them."""
    drain_seconds: int = 15
    """How long a pod that leaves the endpoints still takes requests that were on their way.

    Proxies learn of it late: Traefik 3.7 takes over changes every 2 s (`providersThrottleDuration`). Of 3,000 requests
    through it 259 failed in a rolling restart without a delay, and none with 3 s. 15 s is llm-d's preStop value, and
    leaves room for a proxy under load.
    """
    shutdown_seconds: int = 45
    """`--shutdown-timeout` of the engine: how long requests in flight may take to end (llm-d's value)."""
    probe_freshness: float = 60.0
    """Seconds after which an answer to a probe says nothing about now."""
    history_limit: int = 10
    """ModelRevisions kept besides those in use."""
    gpu_price_per_hour: float | None = None
    """Of one GPU, in dollars, where node labels and the catalogue do not say."""


class Snapshot(msgspec.Struct, frozen=True):
    deployment: LLMDeployment
    parsed: Parsed
    revisions: tuple[ModelRevision, ...] = ()
    pin: VersionPin | None = None
    workload: WorkloadView | None = None
    """The Deployment named after the LLMDeployment."""
    own_workloads: tuple[WorkloadView, ...] = ()
    """Deployments with one revision each, beside it, by name."""
    drill_workloads: tuple[WorkloadView, ...] = ()
    """Deployments of drills, by name: one while a drill runs, and what a crash has left."""
    service: ServiceView | None = None
    candidate_services: tuple[ServiceView, ...] = ()
    """Services with one revision each, by name."""
    routes: dict[str, RouteView] = {}
    """Of the namespace, by name."""
    gateway: GatewayView | None = None
    """None when it was not looked for."""
    budget: BudgetView | None = None
    picker_name: str = ""
    """Name of the endpoint picker's objects: one that nothing else in the namespace has."""
    picker: WorkloadView | None = None
    """Deployment of the endpoint picker."""
    picker_service: ServiceView | None = None
    extras: tuple[ExtraView, ...] = ()
    """What else belongs to this LLMDeployment: the endpoint picker's InferencePool, account and rights."""
    kinds: ClusterKinds = ClusterKinds()
    pods: tuple[PodView, ...] = ()
    """Those of drills left out: they serve nobody, and nothing that is decided about the service looks at them."""
    drill_pods: tuple[PodView, ...] = ()
    measurements: Measurements | None = None
    watch: Watch | None = None
    """None: nothing was counted, as in `outrider plan`; what the status says stands."""
    front_door: FrontDoorView | None = None
    """None: no candidate has a path of its own at the Gateway, or nobody asks there."""
    gpus: Callable[[], Capacity] | None = None
    """Gives the cluster's GPUs, always the same ones; None when nodes cannot be read. Counting them takes
    the longer the bigger the cluster is, and most of what a look decides does not depend on it."""
    service_owners: dict[str, str] = {}
    """Every Service name in the namespace, and the LLMDeployment that owns it; empty text where none does."""
    probing_since: Instant | None = None
    """When this observer began to probe; None: it does not probe, and what was known before stands."""
    config: PlanConfig = PlanConfig()

    @property
    def name(self) -> str:
        return self.deployment.metadata.name

    @property
    def namespace(self) -> str:
        return self.deployment.metadata.namespace

    @property
    def capacity(self) -> Capacity | None:
        """The cluster's GPUs; None when nodes cannot be read."""
        return self.gpus() if self.gpus is not None else None
