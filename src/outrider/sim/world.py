"""The cluster of a simulation: the local world's own store and actors, kubelets that pretend, and one namespace."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any, Self

from outrider.api import labels
from outrider.api.meta import format_time
from outrider.api.names import revision_name
from outrider.kube.api import ApiError, Kind, Object
from outrider.kube.objects import DEPLOYMENT, NAMESPACE, NODE, POD, POD_DISRUPTION_BUDGET, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN
from outrider.local.actors import ActorSettings, run_actors
from outrider.local.store import Store, StoreApi
from outrider.local.store.history import Change
from outrider.local.store.records import Record
from outrider.local.store.store import Table
from outrider.sim.incidents import Apply, Edit, Meddle, Meddling, Pin, Steer, Steering
from outrider.sim.kubelet import Kubelet
from outrider.sim.loop import LoopClock
from outrider.sim.readings import rejection

NAMESPACE_NAME = "production"
SETTINGS = ActorSettings(node_monitor_period=60.0, node_monitor_grace=1e9, seed=1)
"""The scenario says when a node is lost: heartbeats would cost more than everything else."""

Observe = Callable[[Kind[Any], Change, Object], None]


class ObservedStore(Store):
    """Tells every change in the moment that it is made."""

    observers: tuple[Observe, ...] = ()

    def commit(self, table: Table, old: Record | None, obj: Object, *, remove: bool = False) -> Record:
        record = super().commit(table, old, obj, remove=remove)
        change = Change(old, record, removed=remove)
        for observe in self.observers:
            observe(table.kind, change, obj)
        return record


class World:
    """Use as an async context manager. `observers` are told every change of the store."""

    def __init__(self, *, nodes: int, gpus: int, load_seconds: float, seed: int) -> None:
        self.clock = LoopClock()
        self.store = ObservedStore(self.clock, rng=random.Random(seed))  # noqa: S311
        self.api = StoreApi(self.store, user="kubectl")
        self.kubelet = Kubelet(StoreApi(self.store, user="kubelet"), random.Random(seed), load_seconds)  # noqa: S311
        self.store.observers = (self._pods_change,)
        self.refused: Callable[[str], None] = lambda _: None
        """Told of what people asked for in vain."""
        self._sizes = [gpus] * nodes
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        await self.api.create(NAMESPACE, {**_type(NAMESPACE), "metadata": {"name": NAMESPACE_NAME}})
        for number, gpus in enumerate(self._sizes):
            await self.add_node(f"node-{number}", gpus)
        actors = StoreApi(self.store, user="kube-controller-manager")
        self._tasks = [
            asyncio.create_task(run_actors(actors, self.clock, SETTINGS)),
            asyncio.create_task(self.kubelet.run()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    def observe(self, observe: Observe) -> None:
        self.store.observers = (*self.store.observers, observe)

    def _pods_change(self, kind: Kind[Any], change: Change, obj: Object) -> None:
        if kind == POD:
            self.kubelet.changed(obj, removed=change.removed)

    async def add_node(self, name: str, gpus: int) -> None:
        """A node joins, ready, with so many GPUs."""
        found = {labels.GPU_PRODUCT: "NVIDIA-A100-SXM4-40GB"}
        await self.api.create(NODE, {**_type(NODE), "metadata": {"name": name, "labels": found}})
        amounts = {"cpu": "96", "memory": "512Gi", "pods": "110", labels.GPU_RESOURCE: str(gpus)}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": self._time()}
        status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
        await self.api.patch_status(NODE, name, status)

    # What people do: what the server refuses is refused, as people are used to

    async def apply(self, one: Apply) -> None:
        body = {
            **_type(LLM_DEPLOYMENT),
            "metadata": {"name": one.deployment, "namespace": NAMESPACE_NAME},
            "spec": one.spec,
        }
        await self._try(self.api.apply(LLM_DEPLOYMENT, body, owner="argocd"))

    async def edit(self, one: Edit) -> None:
        await self._try(self.api.patch(LLM_DEPLOYMENT, one.deployment, {"spec": one.spec}, NAMESPACE_NAME))

    async def remove(self, deployment: str) -> None:
        await self._try(self.api.delete(LLM_DEPLOYMENT, deployment, NAMESPACE_NAME))

    async def pin(self, one: Pin) -> None:
        name = one.deployment
        wanted = self._rollback(one) if one.rejects else {"version": one.version}
        if wanted is None:
            self.refused(f"there is no {one.version} to go back to")
            return
        body = {
            **_type(VERSION_PIN),
            "metadata": {"name": name, "namespace": NAMESPACE_NAME},
            "spec": {"deployment": name, **wanted},
        }
        await self._try(self.api.apply(VERSION_PIN, body, owner=labels.CLI_FIELD_OWNER))

    def _rollback(self, one: Pin) -> dict[str, str] | None:
        """What the pin of an `outrider rollback` names; None where that refuses."""
        status = self._status(one.deployment)
        found = {
            obj["spec"]["hash"]: obj["spec"]["version"]
            for obj in (record.object() for record in self.store.table(MODEL_REVISION).all())
            if obj["spec"]["deployment"] == one.deployment
        }
        goes_to = (status.get("rollback") or {}).get("targetRevision", "")
        if one.version != "previous-stable":
            goes_to = next((key for key, version in found.items() if version == one.version), "")
        if goes_to not in found:
            return None
        left = status.get("effectiveRevision") or goes_to
        rejects = {"rejects": left} if left != goes_to else {}
        return {"version": found[goes_to], "revision": goes_to, **rejects}

    def _status(self, deployment: str) -> Object:
        found = (record.object() for record in self.store.table(LLM_DEPLOYMENT).all() if record.name == deployment)
        return next((obj.get("status") or {} for obj in found), {})

    async def unpin(self, deployment: str) -> None:
        await self._try(self.api.delete(VERSION_PIN, deployment, NAMESPACE_NAME))

    async def delete_pod(self, deployment: str, place: int) -> None:
        uid = self.pod_at(deployment, place)
        if uid:
            await self._try(self.api.delete(POD, self.kubelet.pods[uid].name, NAMESPACE_NAME, uid=uid))

    async def steer(self, one: Steer) -> None:
        """What `outrider rollout` writes; nothing where no release is under way."""
        release = self._status(one.deployment).get("release")
        if not release or release["phase"] != "Watching":
            return
        started = release["startedTime"]
        notes: dict[Steering, dict[str, str | None]] = {
            "pause": {labels.PAUSE_RELEASE: started},
            "resume": {labels.PAUSE_RELEASE: None},
            "promote": {labels.PROMOTE_RELEASE: started},
            "skip": {labels.SKIP_STEP: f"{started}/{release.get('step', 0)}"},
            "abort": {labels.ABORT_RELEASE: started},
        }
        patch = {"metadata": {"annotations": notes[one.how]}}
        name = revision_name(one.deployment, release["revision"])
        await self._try(self.api.patch(MODEL_REVISION, name, patch, NAMESPACE_NAME))

    async def retry(self, deployment: str) -> bool:
        """What `outrider rollout retry` writes; nothing, and False, where nothing was taken back."""
        found = [one.object() for one in self.store.table(MODEL_REVISION).all()]
        taken_back = [
            (told["time"], one["metadata"]["name"])
            for one in found
            if one["spec"]["deployment"] == deployment and (told := rejection(one)) is not None
        ]
        if not taken_back:
            return False
        time, name = max(taken_back)
        patch = {"metadata": {"annotations": {labels.RETRY: time}}}
        await self._try(self.api.patch(MODEL_REVISION, name, patch, NAMESPACE_NAME))
        return True

    async def drill(self, deployment: str) -> bool:
        """What `outrider rollback --drill` writes; nothing, and False, where there is nothing to go back to."""
        target = (self._status(deployment).get("rollback") or {}).get("targetRevision")
        if not target:
            return False
        patch = {"metadata": {"annotations": {labels.DRILL: self._time()}}}
        await self._try(self.api.patch(MODEL_REVISION, revision_name(deployment, target), patch, NAMESPACE_NAME))
        return True

    async def meddle(self, one: Meddle) -> None:
        name, services = one.deployment, list(self._names(SERVICE, one.deployment))
        workloads = list(self._names(DEPLOYMENT, name))
        patches: dict[Meddling, tuple[Kind[Any], Iterable[str], Object | None]] = {
            "scales the workload to zero": (DEPLOYMENT, workloads, {"spec": {"replicas": 0}}),
            "scales the workload up": (DEPLOYMENT, workloads, {"spec": {"replicas": 5}}),
            "deletes the workload": (DEPLOYMENT, workloads, None),
            "deletes the Service": (SERVICE, services, None),
            "deletes the budget": (POD_DISRUPTION_BUDGET, [name], None),
            "points the Service elsewhere": (SERVICE, services, {"spec": {"selector": {"app": "elsewhere"}}}),
            "changes the image": (
                DEPLOYMENT,
                workloads,
                {"spec": {"template": {"spec": {"containers": [OTHER_IMAGE]}}}},
            ),
        }
        kind, names, patch = patches[one.how]
        for each in names:
            if patch is None:
                await self._try(self.api.delete(kind, each, NAMESPACE_NAME))
            else:
                await self._try(self.api.patch(kind, each, patch, NAMESPACE_NAME, patch_type="strategic"))

    def pod_at(self, deployment: str, place: int) -> str:
        """The uid of the pod at a place in the list of names, counted round and round; empty where there is none."""
        pods = sorted((pod.name, pod.uid) for pod in self.kubelet.pods.values() if pod.deployment == deployment)
        return pods[place % len(pods)][1] if pods else ""

    def _names(self, kind: Kind[Any], deployment: str) -> Iterable[str]:
        return [
            record.name
            for record in self.store.table(kind).all(NAMESPACE_NAME)
            if record.labels.get(labels.DEPLOYMENT) == deployment
        ]

    async def _try(self, call: Any) -> None:
        try:
            await call
        except ApiError as error:
            self.refused(str(error))

    def _time(self) -> str:
        return format_time(self.clock.now())


OTHER_IMAGE = {"name": "model-server", "image": "somebody/else:1"}


def _type(kind: Kind[Any]) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind}
