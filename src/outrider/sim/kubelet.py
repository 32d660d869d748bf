"""Kubelets that only pretend: pods load, serve, fail as the scenario says, and end when they are told to."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from outrider.api import labels
from outrider.api.meta import format_time
from outrider.kube.api import ApiError, Object
from outrider.kube.objects import NODE, POD
from outrider.local.store import StoreApi
from outrider.sim.incidents import BadVersion, NodeLost, PodFault, SlowLoads, VersionFault
from outrider.sim.loop import EPOCH, LoopClock

END_SECONDS = 1.5
"""How long a container takes to end."""
A_MOMENT = 0.01
NODE_GRACE = 50.0
"""Seconds of silence after which the control plane gives a node up (--node-monitor-grace-period)."""

CUT_OFF = "no connection comes about"


@dataclass
class Pod:
    """What the kubelet knows of a pod."""

    uid: str
    name: str
    namespace: str
    deployment: str
    version: str
    node: str = ""
    up_at: float | None = None
    """When its model is loaded; None before its containers were started."""
    given_up_at: float = 0.0
    """When its startup probe gives up, unless it is loaded by then, and the container is started anew."""
    restarts: int = 0
    ends_at: float | None = None


Fault = BadVersion | PodFault
"""What makes pods fail."""


class Kubelet:
    """All kubelets of the cluster. `changed` is to be called with every Pod object that the store tells of."""

    def __init__(self, api: StoreApi, rng: random.Random, load_seconds: float) -> None:
        self.pods: dict[str, Pod] = {}
        """By uid: those that exist."""
        self._api, self._rng, self._load_seconds = api, rng, load_seconds
        self._clock = LoopClock()
        self._faults: list[tuple[Fault, str]] = []
        """The faults there ever were, each with the uid of the pod that it is about, empty for a whole version."""
        self._slow: list[SlowLoads] = []
        self._lost: set[str] = set()
        self._without_gpu: set[str] = set()
        """By uid: pods whose GPU is lost. It is mended when they are gone."""
        self._nodes_due: dict[str, None] = {}
        self._due: dict[str, None] = {}
        self._wake = asyncio.Event()

    # What the store tells

    def changed(self, obj: Object, *, removed: bool) -> None:
        meta = obj["metadata"]
        uid = meta["uid"]
        if removed:
            gone = self.pods.pop(uid, None)
            if gone is not None and uid in self._without_gpu:
                self._tell_of_gpus_later(gone.node)
            return
        if uid not in self.pods:
            found = meta.get("labels") or {}
            self.pods[uid] = Pod(
                uid, meta["name"], meta["namespace"],
                found.get(labels.DEPLOYMENT, ""), found.get(labels.MODEL_VERSION, ""),
            )  # fmt: skip
        self.pods[uid].node = obj["spec"].get("nodeName") or ""
        self._look_at(uid)

    # What the scenario does

    def fault(self, fault: Fault, uid: str = "") -> None:
        """Pods fail from now until the fault is over."""
        self._faults.append((fault, uid))
        self._look_at_all()
        # A moment after its end: a timer for the end itself may fire a rounding error before it.
        asyncio.get_running_loop().call_at(fault.until + A_MOMENT, self._look_at_all)

    def lose_gpu(self, uid: str) -> None:
        """The pod crashes for as long as it is there, and its status says that its GPU is unhealthy."""
        self._without_gpu.add(uid)
        self._tell_of_gpus_later(self.pods[uid].node)
        self._look_at(uid)

    def slow(self, slow: SlowLoads) -> None:
        self._slow.append(slow)

    async def lose(self, lost: NodeLost, node: str) -> None:
        """The node is silent for a time; whether the control plane notices depends on how long."""
        if node in self._lost:
            return
        self._lost.add(node)
        await self._clock.sleep(min(lost.seconds, NODE_GRACE))
        if lost.seconds > NODE_GRACE:
            await self._tell_of_node(node, "Unknown", "NodeStatusUnknown")
            await self._clock.sleep(lost.seconds - NODE_GRACE)
        self._lost.discard(node)
        self._tell_of_gpus_later(node)
        await self._tell_of_node(node, "True", "KubeletReady")
        for pod in self.pods.values():
            if pod.node == node:
                pod.up_at = None
        self._look_at_all()

    def is_lost(self, node: str) -> bool:
        return node in self._lost

    async def _tell_of_node(self, node: str, status: str, reason: str) -> None:
        now = format_time(self._clock.now())
        condition = {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": now}
        await self._api.patch_status(NODE, node, {"conditions": [condition]})

    def _tell_of_gpus_later(self, node: str) -> None:
        if node:
            self._nodes_due[node] = None
            self._wake.set()

    async def _tell_of_gpus(self, node: str) -> None:
        """How many of the node's GPUs pods may ask for."""
        status = (await self._api.get(NODE.into(dict), node))["status"]
        lost = sum(1 for pod in self.pods.values() if pod.node == node and pod.uid in self._without_gpu)
        healthy = str(int(status["capacity"][labels.GPU_RESOURCE]) - lost)
        if status["allocatable"][labels.GPU_RESOURCE] != healthy:
            await self._api.patch_status(NODE, node, {"allocatable": {labels.GPU_RESOURCE: healthy}})

    # What others ask

    def answers(self, uid: str) -> str:
        """Why the pod does not answer a request; empty if it does."""
        pod = self.pods.get(uid)
        if pod is not None and pod.node in self._lost:
            return CUT_OFF
        if pod is None or not self._is_up(pod):
            return "nobody listens there"
        fault = self._fault_of(pod)
        return "" if fault is None else "it answered 500"

    def _is_up(self, pod: Pod) -> bool:
        return pod.up_at is not None and pod.up_at <= self._clock.monotonic() and self._fault_of(pod) != "crashes"

    def _fault_of(self, pod: Pod) -> VersionFault | None:
        now = self._clock.monotonic()
        if pod.uid in self._without_gpu:
            return "crashes"
        for fault, uid in self._faults:
            about = uid == pod.uid or (isinstance(fault, BadVersion) and fault.version == pod.version)
            if about and now < fault.until:
                return fault.how
        return None

    # Working

    def _look_at(self, uid: str) -> None:
        self._due[uid] = None
        self._wake.set()

    def _look_at_all(self) -> None:
        for uid in self.pods:
            self._look_at(uid)

    def _look_at_later(self, uid: str, when: float) -> None:
        asyncio.get_running_loop().call_at(when, self._look_at, uid)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for node in [one for one in self._nodes_due if one not in self._lost]:
                del self._nodes_due[node]
                await self._tell_of_gpus(node)
            due, self._due = self._due, {}
            for uid in due:
                pod = self.pods.get(uid)
                if pod is not None and pod.node not in self._lost:
                    try:
                        await self._look_after(pod)
                    except ApiError:  # somebody else was faster: its change brings us back here
                        continue

    async def _look_after(self, pod: Pod) -> None:
        obj = await self._api.get(POD.into(dict), pod.name, pod.namespace)
        if obj["metadata"]["uid"] != pod.uid:
            return
        now = self._clock.monotonic()
        if obj["metadata"].get("deletionTimestamp"):
            await self._end(pod, now)
            return
        if not pod.node:
            return
        crashed = self._fault_of(pod) == "crashes"
        hung = pod.up_at is not None and pod.up_at > now >= pod.given_up_at and not crashed
        if pod.up_at is None or crashed or hung:
            pod.up_at, pod.given_up_at = now + self._load(now), now + _allowed(obj)
            pod.restarts += hung
        if pod.up_at > now and not crashed:
            self._look_at_later(pod.uid, min(pod.up_at, pod.given_up_at))
        sick = pod.uid in self._without_gpu
        status = _crashed(now, unhealthy=sick) if crashed else _running(obj, pod, up=self._is_up(pod), now=now)
        if _differs(obj.get("status") or {}, status):
            since = _with_their_times(obj.get("status") or {}, status)
            await self._api.patch(
                POD, pod.name, {"status": since}, pod.namespace, patch_type="strategic", subresource="status"
            )

    async def _end(self, pod: Pod, now: float) -> None:
        if pod.ends_at is None:
            pod.ends_at = now + (END_SECONDS if pod.node else 0.0)
        if pod.ends_at > now:
            self._look_at_later(pod.uid, pod.ends_at)
            return
        await self._api.delete(POD, pod.name, pod.namespace, uid=pod.uid, grace_seconds=0)

    def _load(self, now: float) -> float:
        slow = [one.load_seconds for one in self._slow if now < one.until]
        return (slow[-1] if slow else self._load_seconds) * self._rng.uniform(0.8, 1.2)


def _allowed(obj: Object) -> float:
    """Seconds that a container may take to load: what its startup probe allows."""
    probe = next(one for one in obj["spec"]["containers"] if one["name"] == "model-server").get("startupProbe")
    return float(probe["periodSeconds"] * probe["failureThreshold"]) if probe else float("inf")


def _running(obj: Object, pod: Pod, *, up: bool, now: float) -> Object:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    opened = {one["type"] for one in conditions if one["status"] == "True"}
    gates = {gate["conditionType"] for gate in obj["spec"].get("readinessGates") or ()}
    container = {"name": "model-server", "ready": up, "restartCount": pod.restarts, "image": "", "imageID": ""}
    ready = [_condition("ContainersReady", up, now), _condition("Ready", up and gates <= opened, now)]
    return {
        "phase": "Running", "podIP": "127.64.0.9", "conditions": ready,
        "containerStatuses": [container | {"state": {"running": {}}}],
    }  # fmt: skip


def _crashed(now: float, *, unhealthy: bool) -> Object:
    container: Object = {"name": "model-server", "ready": False, "restartCount": 3, "image": "", "imageID": ""}
    if unhealthy:
        device = {"resourceID": "GPU-0", "health": "Unhealthy"}
        container["allocatedResourcesStatus"] = [{"name": labels.GPU_RESOURCE, "resources": [device]}]
    states = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}
    conditions = [_condition("ContainersReady", False, now), _condition("Ready", False, now)]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [container | states]}


def _condition(kind: str, value: bool, now: float) -> Object:
    return {"type": kind, "status": "True" if value else "False", "lastTransitionTime": format_time(EPOCH + now)}


def _differs(seen: Object, wanted: Object) -> bool:
    """Whether anything but times differs."""
    known = {one["type"]: one["status"] for one in seen.get("conditions") or ()}
    new = {one["type"]: one["status"] for one in wanted["conditions"]}
    return bool(seen.get("containerStatuses") != wanted["containerStatuses"] or known | new != known)


def _with_their_times(seen: Object, wanted: Object) -> Object:
    """Conditions that are as they were have been so since then."""
    known = {(one["type"], one["status"]): one for one in seen.get("conditions") or ()}
    conditions = [known.get((one["type"], one["status"]), one) for one in wanted["conditions"]]
    return {**wanted, "conditions": conditions}


def has_condition(obj: Object, kind: str) -> bool:
    """Whether a condition in an object's status is True."""
    conditions: Any = (obj.get("status") or {}).get("conditions") or ()
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def ready(obj: Object) -> bool:
    """Whether a Pod object says that it is ready, and is not on its way out."""
    return not obj["metadata"].get("deletionTimestamp") and has_condition(obj, "Ready")
