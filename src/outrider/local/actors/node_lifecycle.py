"""The node lifecycle controller: notices lost nodes by their silence, and moves their pods after a while."""

from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from outrider.api.meta import Instant, find_condition, format_time
from outrider.kube.api import Conflict, NotFound
from outrider.kube.controller import Controller, Result
from outrider.kube.events import EventRecorder
from outrider.kube.predicates import content_changed
from outrider.local.actors.conditions import set_condition
from outrider.local.actors.node_health import desired_taints, eviction_time, lost_conditions
from outrider.local.actors.objects import NODE, POD, Node, Pod
from outrider.local.actors.pods import FINISHED, has_ready_condition
from outrider.local.actors.shared import BY_NODE, Shared

LEASES = "kube-node-lease"
"""The namespace of the kubelets' Leases, each named after its node."""

log = structlog.get_logger(__name__)


@dataclass
class _Heartbeat:
    renewed: str | None
    """The Lease's renewTime; only that it changes counts, for the kubelet's clock is not ours."""
    posted: str | None
    """When the node's Ready condition changed, as the kubelet last wrote it."""
    seen_at: float
    """When that was first seen, by our own monotonic clock."""


class NodeLifecycle:
    def __init__(self, shared: Shared, events: EventRecorder) -> None:
        self._shared, self._api, self._events = shared, shared.api, events
        self._settings = shared.settings
        self._heartbeats: dict[str, _Heartbeat] = {}
        self._looked_at: dict[str, float] = {}
        self._missing_since: dict[str, float] = {}

    def controller(self) -> Controller:
        controller = self._shared.controller("node_lifecycle", self.reconcile, concurrency=2)
        controller.for_(self._shared.nodes, content_changed)
        return controller.maps(self._shared.pods, _node_of, _placed_anew)

    async def reconcile(self, name: str) -> Result | None:
        node = self._shared.nodes.get(name)
        if node is None:
            return await self._remove_pods_of_missing(name)
        self._missing_since.pop(name, None)
        now = self._shared.clock.now()
        if self._is_silent(node):
            node = await self._mark_lost(node, now)
        ready = find_condition(node.status.conditions, "Ready")
        if ready is not None and ready.status != "True":
            await self._mark_pods_not_ready(node)
        node = await self._taint(node, now)
        due = await self._evict(node, now)
        moments = [now + self._settings.node_monitor_period, *([] if due is None else [due])]
        return Result(max(0.01, min(moments) - now))

    def _is_silent(self, node: Node) -> bool:
        """Whether nothing has been heard of the kubelet for the grace period, during which we ourselves listened."""
        name, moment = node.metadata.name, self._shared.clock.monotonic()
        lease = self._shared.leases.get(f"{LEASES}/{name}")
        renewed = lease.spec.renew_time if lease else None
        ready = find_condition(node.status.conditions, "Ready")
        known, last_look = self._heartbeats.get(name), self._looked_at.get(name, moment)
        self._looked_at[name] = moment
        posted = known.posted if known else None
        if ready is not None and ready.status != "Unknown":  # Unknown is what we wrote, and no sign of life
            posted = ready.last_transition_time
        # If we slept (a laptop's lid was closed), the kubelets may have, too: give them a grace period from now on.
        slept = moment - last_look > self._settings.node_monitor_period + self._settings.node_monitor_grace / 2
        if known is None or slept or (renewed, posted) != (known.renewed, known.posted):
            self._heartbeats[name] = _Heartbeat(renewed, posted, moment)
            return False
        return moment - known.seen_at > self._settings.node_monitor_grace

    async def _mark_lost(self, node: Node, now: Instant) -> Node:
        ready = find_condition(node.status.conditions, "Ready")
        if ready is not None and ready.status == "Unknown":
            return node
        live = await self._api.get(NODE.into(dict), node.metadata.name)
        before = {each.get("type"): each for each in (live.get("status") or {}).get("conditions") or []}
        decoded = msgspec.convert(live, Node)
        after = [
            {**before.get(each.type, {}), **_condition_json(each)}
            for each in lost_conditions(decoded.status.conditions, now)
        ]
        version = decoded.metadata.resource_version
        written = await self._api.patch_status(
            NODE, node.metadata.name, {"conditions": after}, resource_version=version
        )
        self._shared.nodes.written(written)
        log.warning("node lost", node=node.metadata.name)
        note = f"Node {node.metadata.name} status is now: NodeNotReady"
        self._events.event(NODE, node, "Normal", "NodeNotReady", note, action="MarkNotReady")
        return written

    async def _mark_pods_not_ready(self, node: Node) -> None:
        """Nobody can say that pods on such a node serve: take them out of the endpoints."""
        for pod in self._shared.pods.by_index(BY_NODE, node.metadata.name):
            if not has_ready_condition(pod):
                continue
            now = format_time(self._shared.clock.now())
            condition = {"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastTransitionTime": now}
            try:
                await set_condition(self._api, self._shared.pods, pod.metadata, condition)
            except (NotFound, Conflict):
                continue
            self._events.event(POD, pod, "Warning", "NodeNotReady", "Node is not ready", action="MarkNotReady")

    async def _taint(self, node: Node, now: Instant) -> Node:
        may_evict = any(_is_healthy(each) for each in self._shared.nodes.list())
        taints = desired_taints(node, now, may_evict=may_evict)
        if taints == node.spec.taints:
            return node
        body = [
            {key: value for key, value in msgspec.to_builtins(each).items() if value is not None} for each in taints
        ]
        patch = {"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": body}}
        written = await self._api.patch(NODE, node.metadata.name, patch)
        self._shared.nodes.written(written)
        return written

    async def _evict(self, node: Node, now: Instant) -> Instant | None:
        """Delete the pods whose time on the node is over; gives when the next one's is."""
        due = []
        for pod in self._shared.pods.by_index(BY_NODE, node.metadata.name):
            moment = eviction_time(pod, node.spec.taints, self._settings.eviction_delay)
            if moment is None or pod.status.phase in FINISHED:
                continue
            if moment > now:
                due.append(moment)
                continue
            note = f"Marking for deletion Pod {pod.metadata.key}"
            self._events.event(POD, pod, "Normal", "TaintManagerEviction", note, action="Evict")
            await self._delete(pod, None)
        return min(due, default=None)

    async def _remove_pods_of_missing(self, name: str) -> Result | None:
        """Nothing will ever end the pods of a Node that is no more: remove them, after a look at the live state."""
        self._heartbeats.pop(name, None)
        self._looked_at.pop(name, None)
        pods = self._shared.pods.by_index(BY_NODE, name)
        if not pods:
            self._missing_since.pop(name, None)
            return None
        moment = self._shared.clock.monotonic()
        left = self._missing_since.setdefault(name, moment) + self._settings.missing_node_grace - moment
        if left > 0:
            return Result(left)
        try:
            await self._api.get(NODE, name)
        except NotFound:
            for pod in pods:
                await self._delete(pod, 0)
        return Result(self._settings.node_monitor_period)

    async def _delete(self, pod: Pod, grace: int | None) -> None:
        metadata = pod.metadata
        try:
            await self._api.delete(POD, metadata.name, metadata.namespace, uid=metadata.uid, grace_seconds=grace)
        except (NotFound, Conflict):
            return


def _node_of(pod: Pod) -> tuple[str, ...]:
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def _placed_anew(old: Any, new: Any) -> bool:
    return new is not None and (old is None or old.spec.node_name != new.spec.node_name)


def _is_healthy(node: Node) -> bool:
    ready = find_condition(node.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


def _condition_json(condition: Any) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(condition)
    made.pop("observedGeneration", None)
    return made
