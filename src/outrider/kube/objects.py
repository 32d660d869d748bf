"""Built-in kinds, each with a projection: a struct of only the fields that Outrider reads.

A reader that needs more of an object uses `KIND.into(dict)` or a projection of its own.
"""

from typing import Any

import msgspec

from outrider.api.meta import Condition, ObjectMeta
from outrider.kube.api import Kind


class Namespace(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()


class Taint(msgspec.Struct, frozen=True, rename="camel", gc=False):
    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(msgspec.Struct, frozen=True, rename="camel"):
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(msgspec.Struct, frozen=True, rename="camel"):
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    conditions: tuple[Condition, ...] = ()


class Node(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ResourceRequirements(msgspec.Struct, frozen=True, rename="camel"):
    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}


class ContainerPort(msgspec.Struct, frozen=True, rename="camel", gc=False):
    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class Container(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()


class PodReadinessGate(msgspec.Struct, frozen=True, rename="camel", gc=False):
    condition_type: str = ""


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""
    containers: tuple[Container, ...] = ()
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    termination_grace_period_seconds: int | None = None


class ContainerStateWaiting(msgspec.Struct, frozen=True, rename="camel", gc=False):
    reason: str = ""
    message: str = ""


class ContainerStateRunning(msgspec.Struct, frozen=True, rename="camel", gc=False):
    started_at: str | None = None


class ContainerStateTerminated(msgspec.Struct, frozen=True, rename="camel", gc=False):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(msgspec.Struct, frozen=True, rename="camel"):
    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ResourceHealth(msgspec.Struct, frozen=True, rename="camel", gc=False):
    resource_id: str = msgspec.field(name="resourceID", default="")
    """Of a device plugin its name for the device, which for NVIDIA's is the GPU's UUID."""
    health: str = ""
    """`Healthy`, `Unhealthy` or `Unknown`."""
    message: str = ""


class ResourceStatus(msgspec.Struct, frozen=True, rename="camel"):
    """How the devices are that a container was given (KEP-4680: by default since Kubernetes 1.36)."""

    name: str = ""
    resources: tuple[ResourceHealth, ...] = ()


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    allocated_resources_status: tuple[ResourceStatus, ...] = ()


class PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    reason: str = ""
    message: str = ""
    host_ip: str = msgspec.field(name="hostIP", default="")
    pod_ip: str = msgspec.field(name="podIP", default="")
    start_time: str | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        return self._stays_with("Ready")

    @property
    def containers_ready(self) -> bool:
        """All its own probes are content; readiness gates may still keep it from being `ready`."""
        return self.ready or self._stays_with("ContainersReady")

    def _stays_with(self, kind: str) -> bool:
        return self.metadata.deletion_timestamp is None and any(
            condition.type == kind and condition.status == "True" for condition in self.status.conditions
        )


class LabelSelectorRequirement(msgspec.Struct, frozen=True, rename="camel"):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(msgspec.Struct, frozen=True, rename="camel"):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class RollingUpdate(msgspec.Struct, frozen=True, rename="camel", gc=False):
    max_surge: int | str | None = None
    max_unavailable: int | str | None = None


class DeploymentStrategy(msgspec.Struct, frozen=True, rename="camel"):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class DeploymentSpec(msgspec.Struct, frozen=True, rename="camel"):
    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    strategy: DeploymentStrategy = DeploymentStrategy()
    template: dict[str, Any] = {}
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    revision_history_limit: int = 10
    paused: bool = False


class DeploymentStatus(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(msgspec.Struct, frozen=True, rename="camel"):
    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: dict[str, Any] = {}
    min_ready_seconds: int = 0


class ReplicaSetStatus(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0


class ReplicaSet(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class ServicePort(msgspec.Struct, frozen=True, rename="camel", gc=False):
    port: int = 0
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None


class ServiceSpec(msgspec.Struct, frozen=True, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()


class Service(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


class ObjectReference(msgspec.Struct, frozen=True, rename="camel", gc=False):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""


class EndpointConditions(msgspec.Struct, frozen=True, rename="camel", gc=False):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(msgspec.Struct, frozen=True, rename="camel"):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    node_name: str = ""
    target_ref: ObjectReference | None = None


class EndpointPort(msgspec.Struct, frozen=True, rename="camel", gc=False):
    name: str = ""
    port: int = 0
    protocol: str = "TCP"


class EndpointSlice(msgspec.Struct, frozen=True, rename="camel"):
    """Belongs to the Service that its label `kubernetes.io/service-name` names."""

    metadata: ObjectMeta = ObjectMeta()
    address_type: str = "IPv4"
    endpoints_or_null: tuple[Endpoint, ...] | None = msgspec.field(name="endpoints", default=())
    """Kubernetes' own controller writes null where there are none."""
    ports_or_null: tuple[EndpointPort, ...] | None = msgspec.field(name="ports", default=())

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self.endpoints_or_null or ()

    @property
    def ports(self) -> tuple[EndpointPort, ...]:
        return self.ports_or_null or ()


class ConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}


class Secret(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}
    """Values are base64, as on the wire."""


class PodDisruptionBudgetSpec(msgspec.Struct, frozen=True, rename="camel"):
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    unhealthy_pod_eviction_policy: str | None = None
    selector: LabelSelector = LabelSelector()


class PodDisruptionBudgetStatus(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    disrupted_pods: dict[str, str] = {}
    """Pod name to the time of an eviction that the budget has granted but not yet seen happen."""


class PodDisruptionBudget(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    renew_time: str | None = None


class Lease(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """An events.k8s.io/v1 Event."""

    metadata: ObjectMeta = ObjectMeta()
    event_time: str | None = None
    type: str = "Normal"
    reason: str = ""
    action: str = ""
    note: str = ""
    reporting_controller: str = ""
    reporting_instance: str = ""
    regarding: ObjectReference = ObjectReference()
    series: dict[str, Any] | None = None


class BackendRef(msgspec.Struct, frozen=True, rename="camel", gc=False):
    name: str = ""
    kind: str = "Service"
    group: str = ""
    namespace: str = ""
    port: int | None = None
    weight: int = 1


class ParentReference(msgspec.Struct, frozen=True, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""


class RouteParentStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What the controller of one Gateway says about a route."""

    parent_ref: ParentReference = ParentReference()
    conditions: tuple[Condition, ...] = ()


class HTTPRouteStatus(msgspec.Struct, frozen=True, rename="camel"):
    parents: tuple[RouteParentStatus, ...] = ()


class HTTPRoute(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: dict[str, Any] = {}
    status: HTTPRouteStatus = HTTPRouteStatus()


class Listener(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    port: int = 0
    protocol: str = ""
    hostname: str = ""


class GatewaySpec(msgspec.Struct, frozen=True, rename="camel"):
    gateway_class_name: str = ""
    listeners: tuple[Listener, ...] = ()


class GatewayAddress(msgspec.Struct, frozen=True, rename="camel", gc=False):
    type: str = "IPAddress"
    value: str = ""


class GatewayStatus(msgspec.Struct, frozen=True, rename="camel"):
    addresses: tuple[GatewayAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Gateway(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: GatewaySpec = GatewaySpec()
    status: GatewayStatus = GatewayStatus()


NAMESPACE = Kind("", "v1", "Namespace", "namespaces", False, Namespace, ("ns",))
NODE = Kind("", "v1", "Node", "nodes", False, Node, ("no",))
POD = Kind("", "v1", "Pod", "pods", True, Pod, ("po",))
SERVICE = Kind("", "v1", "Service", "services", True, Service, ("svc",))
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", True, ConfigMap, ("cm",))
SECRET = Kind("", "v1", "Secret", "secrets", True, Secret)
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", True, Deployment, ("deploy",))
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets", True, ReplicaSet, ("rs",))
POD_DISRUPTION_BUDGET = Kind(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, PodDisruptionBudget, ("pdb",)
)
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True, EndpointSlice)
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases", True, Lease)
EVENT = Kind("events.k8s.io", "v1", "Event", "events", True, Event, ("ev",))
GATEWAY_CLASS = Kind("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", False, dict, ("gc",))
GATEWAY = Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways", True, dict, ("gtw",))
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", True, HTTPRoute)

BUILT_IN: tuple[Kind[Any], ...] = (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    DEPLOYMENT,
    REPLICA_SET,
    POD_DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    LEASE,
    EVENT,
    GATEWAY_CLASS,
    GATEWAY,
    HTTP_ROUTE,
)

SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts", True, dict, ("sa",))
ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles", True, dict)
ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", True, dict)
INFERENCE_POOL = Kind("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools", True, dict, ("infpool",))
SERVICE_MONITOR = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", True, dict, ("smon",))

CLUSTER_ONLY: tuple[Kind[Any], ...] = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, INFERENCE_POOL, SERVICE_MONITOR)
"""Kinds that the operator writes in a cluster, and that the local world has no use for."""
