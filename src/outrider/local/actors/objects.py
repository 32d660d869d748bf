"""What the actors read of Kubernetes' objects.

The projections of `kube.objects`, with the fields that only a cluster's own controllers need.
"""

from typing import Any

import msgspec

from outrider.api.meta import ConditionStatus, ObjectMeta
from outrider.kube import objects


class Toleration(msgspec.Struct, frozen=True, rename="camel", gc=False):
    key: str = ""
    """Empty with operator Exists: every taint."""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    """Empty: every effect."""
    toleration_seconds: int | None = None
    """How long a NoExecute taint is borne; None is for ever."""


class PodSpec(objects.PodSpec, frozen=True):
    init_containers: tuple[objects.Container, ...] = ()
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    affinity: dict[str, Any] = msgspec.field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    priority: int = 0
    overhead: dict[str, str | int | float] = msgspec.field(default_factory=dict)
    scheduling_gates: tuple[dict[str, Any], ...] = ()


class Pod(objects.Pod, frozen=True):
    spec: PodSpec = PodSpec()


class Taint(objects.Taint, frozen=True):
    time_added: str | None = None


class NodeSpec(objects.NodeSpec, frozen=True):
    taints: tuple[Taint, ...] = ()


class Node(objects.Node, frozen=True):
    spec: NodeSpec = NodeSpec()


class DeploymentCondition(msgspec.Struct, frozen=True, rename="camel", gc=False):
    type: str = ""
    status: ConditionStatus = "Unknown"
    reason: str = ""
    message: str = ""
    last_update_time: str | None = None
    """When the condition was last confirmed: progress is measured from here."""
    last_transition_time: str | None = None


class DeploymentStatus(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    collision_count: int | None = None
    """How often the name of a new ReplicaSet was taken by a different template; goes into the hash."""
    conditions: tuple[DeploymentCondition, ...] = ()


class Deployment(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: objects.DeploymentSpec = objects.DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetStatus(objects.ReplicaSetStatus, frozen=True):
    fully_labeled_replicas: int = 0
    conditions: tuple[DeploymentCondition, ...] = ()


class ReplicaSet(objects.ReplicaSet, frozen=True):
    status: ReplicaSetStatus = ReplicaSetStatus()


class ServiceSpec(objects.ServiceSpec, frozen=True):
    publish_not_ready_addresses: bool = False


class Service(objects.Service, frozen=True):
    spec: ServiceSpec = ServiceSpec()


class DisruptionBudgetSpec(msgspec.Struct, frozen=True, rename="camel"):
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: objects.LabelSelector | None = None
    """None selects no pod, an empty selector every pod of the namespace."""


class DisruptionBudgetStatus(objects.PodDisruptionBudgetStatus, frozen=True):
    conditions: tuple[dict[str, Any], ...] = ()


class DisruptionBudget(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: DisruptionBudgetSpec = DisruptionBudgetSpec()
    status: DisruptionBudgetStatus = DisruptionBudgetStatus()


class NamespaceSpec(msgspec.Struct, frozen=True, rename="camel"):
    finalizers: tuple[str, ...] = ()


class Namespace(objects.Namespace, frozen=True):
    spec: NamespaceSpec = NamespaceSpec()


class Dependent(msgspec.Struct, frozen=True, rename="camel"):
    """Any object, as the garbage collector sees it."""

    metadata: ObjectMeta = ObjectMeta()


POD = objects.POD.into(Pod)
NODE = objects.NODE.into(Node)
DEPLOYMENT = objects.DEPLOYMENT.into(Deployment)
REPLICA_SET = objects.REPLICA_SET.into(ReplicaSet)
SERVICE = objects.SERVICE.into(Service)
POD_DISRUPTION_BUDGET = objects.POD_DISRUPTION_BUDGET.into(DisruptionBudget)
NAMESPACE = objects.NAMESPACE.into(Namespace)
ENDPOINT_SLICE = objects.ENDPOINT_SLICE
LEASE = objects.LEASE
