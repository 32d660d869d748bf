"""Objects as Kubernetes shows them -> the views that decisions are made from. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from outrider.api import labels
from outrider.api.labels import GPU_RESOURCE
from outrider.api.meta import ConditionStatus, Instant, ObjectMeta, find_condition, parse_time
from outrider.api.quantity import Quantity
from outrider.kube.api import Kind
from outrider.kube.metadata import metadata_of
from outrider.kube.objects import (
    ContainerStatus,
    Deployment,
    Gateway,
    HTTPRoute,
    Node,
    Pod,
    PodDisruptionBudget,
    Service,
    Taint,
)
from outrider.plan.deployment.observed import (
    APPLIED_HASH,
    BudgetView,
    ExtraView,
    GatewayView,
    ParentView,
    RouteView,
    ServiceView,
    WorkloadView,
)
from outrider.plan.deployment.rollout import CRASH_REASONS
from outrider.plan.deployment.snapshot import Capacity, FaultView, GpuHolder, NodeView, PodView, ProbeView, Waiting

FINISHED = frozenset({"Succeeded", "Failed"})
GOING = 30.0
"""Seconds that a pod may take to go once its grace period is over: for the kubelet to kill it, and to tell."""
STARTING = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Waiting reasons that every start passes through."""
RESTARTS_OF_A_CRASH_LOOP = 2
"""A container that is not ready and was restarted so often is in a crash loop, also in the moments in which it runs.
Without this, its state would turn with every restart."""
ENDED_WITH_ITS_NODE = frozenset({"NodeShutdown", "ContainerStatusUnknown"})
"""Reasons of ends that say nothing about the container: its node was shut down, or went."""


def owned_by(metadata: ObjectMeta, owner_uid: str) -> bool:
    controller = metadata.controller
    return controller is not None and controller.uid == owner_uid


def owned_by_another(metadata: ObjectMeta, owner_uid: str) -> bool:
    """Whether it goes with some other object; what nobody owns is free to be used."""
    controller = metadata.controller
    return controller is not None and controller.uid != owner_uid


def gpus_of(pod: Pod) -> int:
    """GPUs that the pod holds once it is on a node."""
    return sum(
        whole(container.resources.limits.get(GPU_RESOURCE) or container.resources.requests.get(GPU_RESOURCE))
        for container in pod.spec.containers
    )


def whole(amount: str | float | None) -> int:
    """A number of devices; 0 for what is not there or is no quantity."""
    try:
        return Quantity.from_json(amount).whole if amount is not None else 0
    except ValueError:
        return 0


def pod_view(
    pod: Pod,
    versions: Mapping[str, str],
    probe: ProbeView | None,
    fault: FaultView | None = None,
    node: Node | None = None,
) -> PodView:
    """`versions` maps a revision's hash to its version, for labels cannot hold every version as it is written. `node`
    is the one that the pod is on, where it can be read.
    """
    revision = pod.metadata.labels.get(labels.REVISION, "")
    waiting, message = _waiting(pod)
    controller = pod.metadata.controller
    return PodView(
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        revision=revision,
        version=versions.get(revision) or pod.metadata.labels.get(labels.MODEL_VERSION, ""),
        owner=controller.name if controller is not None else "",
        ready=pod.ready,
        was_ready=pod.ready or _lost_readiness(pod),
        containers_ready=pod.containers_ready,
        gate=_gate(pod),
        terminating=pod.metadata.deletion_timestamp is not None,
        gone_by=_gone_by(pod),
        node=pod.spec.node_name,
        gpus=gpus_of(pod),
        gpu_product=node.metadata.labels.get(labels.GPU_PRODUCT, "") if node is not None else "",
        restarts=sum(status.restart_count for status in pod.status.container_statuses),
        waiting=waiting,
        waiting_message=message,
        unschedulable=_unschedulable(pod),
        placed_at=_since(pod, "PodScheduled"),
        created=parse_time(pod.metadata.creation_timestamp),
        finished=pod.status.phase in FINISHED,
        loaded_at=_since(pod, labels.ANSWERS_REQUESTS),
        up_since=_since(pod, "ContainersReady"),
        unready_since=_since(pod, "Ready", "False"),
        drill=(pod.metadata.annotations.get(labels.DRILL) or "unknown") if is_of_drill(pod) else "",
        probe=probe,
        fault=fault,
    )


def is_of_drill(pod: Pod) -> bool:
    """Whether it was started for a drill, and serves nobody."""
    return labels.DRILL_OF in pod.metadata.labels


def _gone_by(pod: Pod) -> Instant | None:
    """An API server marks a pod with the end of its grace period (kubernetes/registry/rest/delete.go)."""
    ends = parse_time(pod.metadata.deletion_timestamp)
    return ends + GOING if ends is not None else None


def _since(pod: Pod, kind: str, status: ConditionStatus = "True") -> float | None:
    """Since when the condition is True, or what `status` says; None where it is not."""
    found = find_condition(pod.status.conditions, kind)
    return parse_time(found.last_transition_time) if found is not None and found.status == status else None


def _waiting(pod: Pod) -> tuple[str, str]:
    """(reason, message) of the first container that does not run and will not by itself; messages that count up are
    left out, since a status that repeats them would be written with every restart.
    """
    for status in pod.status.container_statuses:
        waiting, ended = status.state.waiting, status.last_state.terminated or status.state.terminated
        reason = waiting.reason if waiting is not None else ""
        crashed = ended is not None and ended.reason not in ENDED_WITH_ITS_NODE
        looping = crashed and status.restart_count >= RESTARTS_OF_A_CRASH_LOOP and not _has_been_up(status, pod)
        if looping or reason in CRASH_REASONS:
            how = f"it ended with exit code {ended.exit_code}" if ended is not None else ""
            said = ended.message.strip().splitlines()[-1] if ended is not None and ended.message.strip() else ""
            return ("CrashLoopBackOff" if looping else reason), f"{how}{f' ({said})' if said else ''}"
        if waiting is not None and reason not in STARTING:
            return reason, waiting.message
    return "", ""


def _has_been_up(status: ContainerStatus, pod: Pod) -> bool:
    """Whether the container is content with itself, or was since it was last started: whatever it ended of before, it
    does not crash again and again.
    """
    running = status.state.running
    if status.ready:
        return True
    if running is None:
        return False
    started, lost = parse_time(running.started_at), _since(pod, "ContainersReady", "False")
    return started is not None and lost is not None and lost > started


def _lost_readiness(pod: Pod) -> bool:
    """Whether it is not ready although its gate is open, and that came later: between the two the kubelet takes a
    moment, in which a pod that never was ready looks alike.
    """
    gate = find_condition(pod.status.conditions, labels.ANSWERS_REQUESTS)
    ready = find_condition(pod.status.conditions, "Ready")
    if gate is None or ready is None or gate.status != "True" or ready.status == "True":
        return False
    opened, lost = parse_time(gate.last_transition_time), parse_time(ready.last_transition_time)
    return opened is not None and lost is not None and lost > opened


def _gate(pod: Pod) -> ConditionStatus | None:
    if all(gate.condition_type != labels.ANSWERS_REQUESTS for gate in pod.spec.readiness_gates):
        return None
    condition = find_condition(pod.status.conditions, labels.ANSWERS_REQUESTS)
    return condition.status if condition is not None else "Unknown"


def _unschedulable(pod: Pod) -> str:
    scheduled = find_condition(pod.status.conditions, "PodScheduled")
    return scheduled.message if scheduled is not None and scheduled.status == "False" else ""


def capacity_of(
    nodes: Iterable[Node], gpu_pods: Iterable[Pod], *, node_selector: Mapping[str, str], tolerated: frozenset[str]
) -> Capacity:
    """The GPUs as pods with this node selector and these tolerated taint keys can use them."""
    live = [pod for pod in gpu_pods if pod.status.phase not in FINISHED]
    bound = [pod for pod in live if pod.spec.node_name]
    used: dict[str, int] = {}
    for pod in bound:
        used[pod.spec.node_name] = used.get(pod.spec.node_name, 0) + gpus_of(pod)
    views = [
        NodeView(
            name=node.metadata.name,
            gpus=whole(node.status.allocatable.get(GPU_RESOURCE)),
            used=used.get(node.metadata.name, 0),
            schedulable=_schedulable(node, node_selector, tolerated),
            product=node.metadata.labels.get(labels.GPU_PRODUCT, ""),
            has=whole(node.status.capacity.get(GPU_RESOURCE)),
        )
        for node in nodes
    ]
    return Capacity(
        nodes=tuple(sorted((view for view in views if view.gpus), key=lambda view: view.name)),
        holders=_holders(bound),
        waiting=_waiting_for_gpus(live),
    )


def _waiting_for_gpus(live: Iterable[Pod]) -> tuple[Waiting, ...]:
    found = [
        Waiting(pod.metadata.key, gpus_of(pod))
        for pod in live
        if not pod.spec.node_name
        and pod.metadata.deletion_timestamp is None
        and _unschedulable(pod)
        and not is_of_drill(pod)
    ]
    return tuple(sorted((one for one in found if one.gpus), key=lambda one: one.name))


def _schedulable(node: Node, node_selector: Mapping[str, str], tolerated: frozenset[str]) -> bool:
    return (
        not node.spec.unschedulable
        and is_node_ready(node)
        and all(node.metadata.labels.get(key) == value for key, value in node_selector.items())
        and not any(_repels(taint, tolerated) for taint in node.spec.taints)
    )


def is_node_ready(node: Node) -> bool:
    """Whether its condition says so; a node that says nothing of it is taken for ready."""
    ready = find_condition(node.status.conditions, "Ready")
    return ready is None or ready.status == "True"


def _repels(taint: Taint, tolerated: frozenset[str]) -> bool:
    return taint.effect in {"NoSchedule", "NoExecute"} and taint.key not in tolerated and "" not in tolerated


def _holders(bound: Iterable[Pod]) -> tuple[GpuHolder, ...]:
    pods_of: dict[tuple[str, str, bool], list[Pod]] = {}
    for pod in bound:
        deployment = pod.metadata.labels.get(labels.DEPLOYMENT, "")
        key = (pod.metadata.namespace, deployment or pod.metadata.name, bool(deployment))
        pods_of.setdefault(key, []).append(pod)
    holders = [
        GpuHolder(
            namespace=namespace,
            name=name,
            replicas=len(pods),
            gpus=sum(gpus_of(pod) for pod in pods),
            terminating_gpus=sum(gpus_of(pod) for pod in pods if pod.metadata.deletion_timestamp is not None),
            is_deployment=is_deployment,
        )
        for (namespace, name, is_deployment), pods in pods_of.items()
    ]
    return tuple(sorted((one for one in holders if one.gpus), key=lambda one: (-one.gpus, one.key)))


def workload_view(deployment: Deployment | None, owner_uid: str) -> WorkloadView | None:
    if deployment is None:
        return None
    meta, spec, status = deployment.metadata, deployment.spec, deployment.status
    return WorkloadView(
        uid=meta.uid,
        name=meta.name,
        applied_hash=meta.annotations.get(APPLIED_HASH, ""),
        owned=owned_by(meta, owner_uid),
        generation=meta.generation,
        observed_generation=status.observed_generation,
        spec_replicas=spec.replicas,
        paused=spec.paused,
        template=spec.template,
        max_surge=spec.strategy.rolling_update.max_surge,
        max_unavailable=spec.strategy.rolling_update.max_unavailable,
        replicas=status.replicas,
        updated_replicas=status.updated_replicas,
        ready_replicas=status.ready_replicas,
        available_replicas=status.available_replicas,
        unavailable_replicas=status.unavailable_replicas,
        conditions=status.conditions,
    )


def service_view(service: Service | None, owner_uid: str) -> ServiceView | None:
    if service is None:
        return None
    ports = tuple((port.name, port.port, str(port.target_port)) for port in service.spec.ports)
    return ServiceView(
        uid=service.metadata.uid,
        applied_hash=service.metadata.annotations.get(APPLIED_HASH, ""),
        owned=owned_by(service.metadata, owner_uid),
        name=service.metadata.name,
        selector=service.spec.selector,
        ports=ports,
    )


def route_view(route: HTTPRoute, owner_uid: str) -> RouteView:
    return RouteView(
        uid=route.metadata.uid,
        applied_hash=route.metadata.annotations.get(APPLIED_HASH, ""),
        owned=owned_by(route.metadata, owner_uid),
        generation=route.metadata.generation,
        spec=route.spec,
        parents=tuple(
            ParentView(one.parent_ref.name, one.parent_ref.namespace, one.conditions) for one in route.status.parents
        ),
    )


def gateway_view(gateway: Gateway | None) -> GatewayView:
    if gateway is None:
        return GatewayView(exists=False)
    # API servers write `Pending` into the status of a Gateway that no controller has seen.
    controlled = any(condition.reason != "Pending" for condition in gateway.status.conditions)
    return GatewayView(base_url=_base_url(gateway), controlled=controlled)


def _base_url(gateway: Gateway) -> str:
    """The Gateway's first address, at its first listener for HTTP. A listener's host name counts more than an address:
    no other name would be served there, nor be in its certificate.
    """
    addresses = [address.value for address in gateway.status.addresses if address.value]
    for listener in gateway.spec.listeners:
        scheme = {"HTTP": "http", "HTTPS": "https"}.get(listener.protocol)
        if scheme is None or not addresses:
            continue
        host = listener.hostname if listener.hostname and "*" not in listener.hostname else addresses[0]
        host = f"[{host}]" if ":" in host else host
        usual = listener.port == {"http": 80, "https": 443}[scheme]
        return f"{scheme}://{host}" + ("" if usual else f":{listener.port}")
    return ""


def extra_view(kind: Kind[Any], found: Mapping[str, Any], owner_uid: str) -> ExtraView:
    metadata = metadata_of(found)
    return ExtraView(
        uid=metadata.uid,
        applied_hash=metadata.annotations.get(APPLIED_HASH, ""),
        owned=owned_by(metadata, owner_uid),
        api_version=kind.api_version,
        kind=kind.kind,
        name=metadata.name,
        content={"apiVersion": kind.api_version, "kind": kind.kind, **found},
    )


def budget_view(budget: PodDisruptionBudget | None, owner_uid: str) -> BudgetView | None:
    if budget is None:
        return None
    return BudgetView(
        uid=budget.metadata.uid,
        applied_hash=budget.metadata.annotations.get(APPLIED_HASH, ""),
        owned=owned_by(budget.metadata, owner_uid),
        min_available=budget.spec.min_available,
        max_unavailable=budget.spec.max_unavailable,
        unhealthy_pod_eviction_policy=budget.spec.unhealthy_pod_eviction_policy,
        selector=budget.spec.selector.match_labels,
    )
