"""The scheduler: binds pods to nodes, in one pass over all that wait.

One pass, because placing is about all pods at once: who has priority, who came first, and what the pods placed a
moment ago have taken. Whatever may have made room (a pod gone, a node added or changed) starts another pass.

A GPU must never be given twice, though the cache lags behind the scheduler's own bindings. So a binding is *assumed*
from the moment it is sent, and counts as used until the cache shows the pod on its node or shows it gone. When the
outcome of a binding is unknown, it stays assumed, and only a look at the live pod ends that.
"""

from typing import Any

import structlog

from outrider.api.meta import find_condition, format_time
from outrider.kube.api import ApiError, NotFound
from outrider.kube.controller import Controller, Result
from outrider.kube.events import EventRecorder
from outrider.kube.predicates import content_changed
from outrider.local.actors.conditions import set_condition
from outrider.local.actors.objects import POD, Pod
from outrider.local.actors.pods import FINISHED
from outrider.local.actors.scheduling import NodeInfo, Placement, awaits_node, node_infos, place, queue_order
from outrider.local.actors.shared import Shared

_ALL_WAITING = "all"
"""The only key of the controller: one pass over all pods that wait."""
_RETRY = 1.0
"""Seconds until a binding whose outcome is unknown is looked at again."""

log = structlog.get_logger(__name__)


class Scheduler:
    def __init__(self, shared: Shared, events: EventRecorder) -> None:
        self._shared, self._api, self._events = shared, shared.api, events
        self._assumed: dict[str, tuple[Pod, str]] = {}
        """Own bindings that the cache does not show yet: pod uid to the pod and its node."""
        self._unknown: set[str] = set()
        """Uids of the assumed pods whose binding may or may not have happened."""

    def controller(self) -> Controller:
        controller = self._shared.controller("scheduler", self.reconcile)
        controller.maps(self._shared.pods, lambda _pod: (_ALL_WAITING,), _concerns_scheduling)
        return controller.maps(self._shared.nodes, lambda _node: (_ALL_WAITING,), content_changed)

    async def reconcile(self, _key: str) -> Result | None:
        await self._settle()
        waiting = [
            pod for pod in self._shared.pods.list() if awaits_node(pod) and pod.metadata.uid not in self._assumed
        ]
        if not waiting:
            return Result(_RETRY) if self._unknown else None
        infos = node_infos(self._shared.nodes.list(), self._shared.pods.list(), self._assumed)
        failures: list[ApiError] = []
        for pod in sorted(waiting, key=queue_order):
            placement = place(pod, infos)
            try:
                if placement.node:
                    await self._bind(pod, placement, infos)
                else:
                    await self._refuse(pod, placement.message)
            except NotFound:
                continue
            except ApiError as error:  # one pod's trouble is not the others'
                failures.append(error)
        if failures:
            raise failures[0]
        return Result(_RETRY) if self._unknown else None

    async def _settle(self) -> None:
        """End the assumptions that the cache confirms, and find out about bindings of unknown outcome."""
        for uid, (pod, _node) in list(self._assumed.items()):
            if uid in self._unknown:
                await self._find_out(uid, pod)
            cached = self._shared.pods.get(pod.metadata.key)
            if uid not in self._unknown and (
                cached is None or cached.metadata.uid != uid or cached.spec.node_name or cached.status.phase in FINISHED
            ):
                self._assumed.pop(uid, None)

    async def _find_out(self, uid: str, pod: Pod) -> None:
        try:
            live = await self._api.get(POD, pod.metadata.name, pod.metadata.namespace)
        except NotFound:
            self._unknown.discard(uid)
            self._assumed.pop(uid, None)
            return
        except ApiError as error:
            log.warning("cannot find out whether a pod was bound", pod=pod.metadata.key, error=str(error))
            return
        self._unknown.discard(uid)
        if live.metadata.uid != uid or not live.spec.node_name:
            self._assumed.pop(uid, None)
        else:
            self._shared.pods.written(live)

    async def _bind(self, pod: Pod, placement: Placement, infos: list[NodeInfo]) -> None:
        metadata, node = pod.metadata, placement.node
        # The version makes sure that nobody else has bound or changed the pod since this was decided.
        patch = {"metadata": {"resourceVersion": metadata.resource_version}, "spec": {"nodeName": node}}
        self._assumed[metadata.uid] = (pod, node)
        self._unknown.add(metadata.uid)
        next(info for info in infos if info.node.metadata.name == node).add(pod)
        try:
            bound = await self._api.patch(POD, metadata.name, patch, metadata.namespace)
        except ApiError as error:
            if error.status < 500:  # refused for sure
                self._unknown.discard(metadata.uid)
                self._assumed.pop(metadata.uid, None)
            raise
        self._unknown.discard(metadata.uid)
        self._shared.pods.written(bound)
        note = f"Successfully assigned {metadata.key} to {node}"
        self._events.event(POD, pod, "Normal", "Scheduled", note, action="Binding")
        now = format_time(self._shared.clock.now())
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
        await set_condition(self._api, self._shared.pods, pod.metadata, scheduled)

    async def _refuse(self, pod: Pod, message: str) -> None:
        known = find_condition(pod.status.conditions, "PodScheduled")
        if known is not None and (known.reason, known.message) == ("Unschedulable", message):
            return
        self._events.event(POD, pod, "Warning", "FailedScheduling", message, action="Scheduling")
        since = known.last_transition_time if known is not None and known.status == "False" else None
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": since or format_time(self._shared.clock.now()),
        }
        await set_condition(self._api, self._shared.pods, pod.metadata, condition)


def _concerns_scheduling(old: Any, new: Any) -> bool:
    """Whether a pod came to wait, was changed while it waits, or gave back what it held."""
    if new is None or old is None:
        return True
    if new.spec.node_name:
        return not old.spec.node_name or (new.status.phase in FINISHED) != (old.status.phase in FINISHED)
    return bool(old.spec != new.spec or old.metadata.deletion_timestamp != new.metadata.deletion_timestamp)
