"""A pod's status, computed from what is known of its containers. Pure: it receives the time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outrider.api.meta import Instant, format_time
from outrider.local.kubelet.runtime import RunExit

Json = dict[str, Any]

CONDITION_TYPES = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
"""The conditions that a kubelet writes, in its order. All others belong to others and are kept."""


@dataclass(frozen=True, kw_only=True)
class ContainerView:
    """One container as its status shows it."""

    name: str
    image: str = ""
    restart_count: int = 0
    container_id: str = ""
    last_container_id: str = ""
    started: bool = False
    ready: bool = False
    running_since: Instant | None = None
    waiting: tuple[str, str] | None = None
    """Reason and message."""
    exit: RunExit | None = None
    last_exit: RunExit | None = None
    will_restart: bool = False
    """Ended, but going to be run again."""
    devices: Sequence[Json] = ()
    """How the devices are that it was given (`allocatedResourcesStatus`)."""
    restartable: bool = False
    """Of init containers: runs beside the others (restartPolicy Always) instead of before them."""

    @property
    def succeeded(self) -> bool:
        return self.exit is not None and self.exit.exit_code == 0 and not self.will_restart

    @property
    def initialized(self) -> bool:
        """Of an init container: whether the next one may start."""
        return self.started if self.restartable else self.succeeded


@dataclass(frozen=True, kw_only=True)
class PodView:
    """All that the status depends on."""

    pod: Mapping[str, Any]
    address: str
    host_address: str
    start_time: Instant
    init: Sequence[ContainerView]
    main: Sequence[ContainerView]
    deleted: bool = False
    """All has been ended because the pod is to go."""
    failure: tuple[str, str] | None = None
    """Reason and message why the pod as a whole has failed."""


def pod_status(view: PodView, now: Instant) -> Json:
    """The status subresource, ready to be merged; None means that a field goes."""
    before: Mapping[str, Any] = view.pod.get("status") or {}
    phase = pod_phase(view)
    reason, message = view.failure or (None, None)
    hosts = [{"ip": view.host_address}]
    status: Json = {
        "phase": phase,
        "reason": reason,
        "message": message,
        "startTime": format_time(view.start_time),
        "hostIP": view.host_address,
        "hostIPs": hosts,
        "podIP": view.address or None,
        "podIPs": [{"ip": view.address}] if view.address else None,
        "conditions": _conditions(view, phase, before.get("conditions") or (), now),
        "containerStatuses": [container_status(container) for container in view.main],
    }
    if view.init:
        status["initContainerStatuses"] = [container_status(container) for container in view.init]
    if generation := view.pod["metadata"].get("generation"):
        status["observedGeneration"] = generation
    return status


def changes(status: Mapping[str, Any], before: Mapping[str, Any]) -> Json:
    """The part of `status` that `before` does not say already. An API server may write null for what is left out."""
    return {key: value for key, value in status.items() if _without_nulls(before.get(key)) != _without_nulls(value)}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def pod_phase(view: PodView) -> str:
    """Kubernetes' rules: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase."""
    if view.failure is not None:
        return "Failed"
    plain_init = [container for container in view.init if not container.restartable]
    if any(c.exit is not None and c.exit.exit_code != 0 and not c.will_restart for c in plain_init):
        return "Failed"
    everything_ended = all(c.exit is not None and not c.will_restart for c in view.main)
    if everything_ended and view.main:
        return "Succeeded" if all(c.succeeded for c in view.main) else "Failed"
    if view.deleted:
        return "Failed"
    if any(c.running_since is None and c.exit is None and c.last_exit is None for c in view.main):
        return "Pending"
    return "Running"


def container_status(view: ContainerView) -> Json:
    return {
        "name": view.name,
        "image": view.image,
        "imageID": view.image if view.container_id else "",
        "containerID": view.container_id,
        "restartCount": view.restart_count,
        "started": view.started,
        "ready": view.ready,
        "state": _state(view),
        "lastState": _terminated(view.last_exit, view.last_container_id) if view.last_exit else {},
    } | ({"allocatedResourcesStatus": list(view.devices)} if view.devices else {})


def _state(view: ContainerView) -> Json:
    if view.running_since is not None:
        return {"running": {"startedAt": format_time(view.running_since)}}
    if view.waiting is not None:
        reason, message = view.waiting
        return {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    if view.exit is not None:
        return _terminated(view.exit, view.container_id)
    return {"waiting": {"reason": "ContainerCreating"}}


def _terminated(ending: RunExit, container_id: str) -> Json:
    # "Stopped" is our own note that it ended with its node; "NodeShutdown" is a kubelet's word for that.
    terminated: Json = {
        "exitCode": ending.exit_code,
        "reason": "NodeShutdown" if ending.reason == "Stopped" else ending.reason,
        "startedAt": format_time(ending.started_at),
        "finishedAt": format_time(ending.finished_at),
        "containerID": container_id,
    }
    if ending.signal:
        terminated["signal"] = ending.signal
    if ending.message:
        terminated["message"] = ending.message
    return {"terminated": terminated}


def _conditions(view: PodView, phase: str, before: Sequence[Mapping[str, Any]], now: Instant) -> list[Json]:
    """Ours, each with the transition time it had unless its status changed; then those of others as they are."""
    known = {condition.get("type"): condition for condition in before}
    containers_ready = _containers_ready(view, phase)
    desired = {
        "PodReadyToStartContainers": (bool(view.address) and phase not in ("Succeeded", "Failed"), "", ""),
        "Initialized": _initialized(view, phase),
        "Ready": _ready(view, containers_ready, known),
        "ContainersReady": containers_ready,
        "PodScheduled": (True, "", ""),
    }
    conditions = []
    for kind in CONDITION_TYPES:
        met, reason, message = desired[kind]
        old = known.get(kind) or {}
        value = "True" if met else "False"
        same = old.get("status") == value and old.get("lastTransitionTime")
        condition: Json = {
            "type": kind,
            "status": value,
            "lastTransitionTime": old["lastTransitionTime"] if same else format_time(now),
        }
        condition |= {name: text for name, text in (("reason", reason), ("message", message)) if text}
        if "observedGeneration" in old:
            condition["observedGeneration"] = view.pod["metadata"].get("generation") or old["observedGeneration"]
        conditions.append(condition)
    return conditions + [dict(condition) for kind, condition in known.items() if kind not in CONDITION_TYPES]


def _initialized(view: PodView, phase: str) -> tuple[bool, str, str]:
    incomplete = [container.name for container in view.init if not container.initialized]
    begun = any(container.container_id for container in view.main)
    if not incomplete or begun:
        return True, "PodCompleted" if phase == "Succeeded" else "", ""
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"


def _containers_ready(view: PodView, phase: str) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    sidecars = [container for container in view.init if container.restartable]
    unready = [container.name for container in (*sidecars, *view.main) if not container.ready]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _ready(
    view: PodView, containers_ready: tuple[bool, str, str], known: Mapping[Any, Mapping[str, Any]]
) -> tuple[bool, str, str]:
    """Ready needs ready containers, and every readiness gate that others must open."""
    if not containers_ready[0]:
        return containers_ready
    closed = []
    for gate in view.pod["spec"].get("readinessGates") or ():
        kind = gate.get("conditionType", "")
        if kind not in known:
            closed.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif known[kind].get("status") != "True":
            status = known[kind].get("status")
            closed.append(f'the status of pod readiness gate "{kind}" is not "True", but {status}')
    if closed:
        return False, "ReadinessGatesNotReady", ", ".join(closed)
    return True, "", ""
