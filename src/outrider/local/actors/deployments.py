"""The deployment controller: carries out what `rollout.plan_rollout` decides."""

from functools import partial
from typing import Any

import msgspec

from outrider.kube.api import AlreadyExists, Conflict, NotFound
from outrider.kube.controller import Controller, Result
from outrider.kube.events import EventRecorder
from outrider.kube.predicates import content_changed
from outrider.local.actors.claims import claim, possible_owners
from outrider.local.actors.objects import DEPLOYMENT, REPLICA_SET, Deployment, DeploymentStatus, ReplicaSet
from outrider.local.actors.pods import FINISHED
from outrider.local.actors.rollout import Change, RolloutPlan, plan_rollout, same_template
from outrider.local.actors.rollout_math import REVISION, is_rolling
from outrider.local.actors.shared import BY_CONTROLLER, Shared

ACTION_LENGTH = 128
"""The API server's limit. Events that differ in the action are kept apart: each scaling step stays to be seen."""


class Deployments:
    """Brings each Deployment's ReplicaSets one step closer to what it asks for, and says how far it is."""

    def __init__(self, shared: Shared, events: EventRecorder) -> None:
        self._shared, self._api, self._events = shared, shared.api, events

    def controller(self) -> Controller:
        controller = self._shared.controller("deployments", self.reconcile, concurrency=4)
        controller.for_(self._shared.deployments, content_changed)
        controller.owns(self._shared.replica_sets, DEPLOYMENT, content_changed)
        orphans = partial(possible_owners, owners=self._shared.deployments)
        controller.maps(self._shared.replica_sets, orphans, content_changed)
        # Recreate waits for the last old pod to go, and only the pod tells.
        return controller.maps(self._shared.pods, self._recreating_owner, lambda _old, new: new is None)

    def _recreating_owner(self, pod: Any) -> tuple[str, ...]:
        owner = pod.metadata.controller
        owned = self._shared.replica_sets.get(f"{pod.metadata.namespace}/{owner.name}") if owner else None
        deployment = owned.metadata.controller if owned else None
        return (f"{pod.metadata.namespace}/{deployment.name}",) if deployment else ()

    async def reconcile(self, key: str) -> Result | None:
        deployment = self._shared.deployments.get(key)
        if deployment is None:
            return None
        metadata, selector = deployment.metadata, deployment.spec.selector
        sets = await claim(self._api, DEPLOYMENT, metadata, selector, self._shared.replica_sets)
        now = self._shared.clock.now()
        running = not is_rolling(deployment) and self._old_pods_running(deployment, sets)
        plan = plan_rollout(deployment, sets, now, old_pods_running=running)
        await self._carry_out(deployment, plan)
        return None if plan.look_again_at is None else Result(max(1.0, plan.look_again_at - now + 1.0))

    def _old_pods_running(self, deployment: Deployment, sets: tuple[ReplicaSet, ...]) -> bool:
        old = (each for each in sets if not same_template(each.spec.template, deployment.spec.template))
        pods = (pod for each in old for pod in self._shared.pods.by_index(BY_CONTROLLER, each.metadata.uid))
        return any(pod.status.phase not in FINISHED for pod in pods)

    async def _carry_out(self, deployment: Deployment, plan: RolloutPlan) -> None:
        for change in plan.changes:
            await self._change(deployment.metadata.namespace, change)
        if plan.create is not None and not await self._create(deployment, plan.create):
            return
        for each in plan.deletes:
            await self._delete(each)
        for reason, note in plan.events:
            self._events.event(DEPLOYMENT, deployment, "Normal", reason, note, action=note[:ACTION_LENGTH])
        version = deployment.metadata.resource_version
        if plan.revision:
            version = await self._annotate(deployment, plan.revision)
        if plan.status != deployment.status:
            await self._write_status(deployment, plan.status, version)

    async def _change(self, namespace: str, change: Change) -> None:
        metadata = {**change.patch.get("metadata", {}), "resourceVersion": change.resource_version}
        written = await self._api.patch(REPLICA_SET, change.name, {**change.patch, "metadata": metadata}, namespace)
        self._shared.replica_sets.written(written)

    async def _create(self, deployment: Deployment, body: dict[str, Any]) -> bool:
        """Create the ReplicaSet. False when its name belongs to another one: then the next hash will be different."""
        namespace, name = deployment.metadata.namespace, body["metadata"]["name"]
        try:
            written = await self._api.create(REPLICA_SET, body)
        except AlreadyExists:
            written = await self._api.get(REPLICA_SET, name, namespace)
            owner = written.metadata.controller
            ours = owner is not None and owner.uid == deployment.metadata.uid
            if not ours or not same_template(written.spec.template, deployment.spec.template):
                count = (deployment.status.collision_count or 0) + 1
                status = msgspec.structs.replace(deployment.status, collision_count=count)
                await self._write_status(deployment, status, deployment.metadata.resource_version)
                return False
        self._shared.replica_sets.written(written)
        return True

    async def _delete(self, replica_set: ReplicaSet) -> None:
        metadata = replica_set.metadata
        try:
            await self._api.delete(REPLICA_SET, metadata.name, metadata.namespace, uid=metadata.uid)
        except (NotFound, Conflict):
            return

    async def _annotate(self, deployment: Deployment, revision: str) -> str:
        """Note the revision on the Deployment; gives the resource version that it has then."""
        metadata = deployment.metadata
        patch = {"metadata": {"resourceVersion": metadata.resource_version, "annotations": {REVISION: revision}}}
        written = await self._api.patch(DEPLOYMENT, metadata.name, patch, metadata.namespace)
        self._shared.deployments.written(written)
        return written.metadata.resource_version

    async def _write_status(self, deployment: Deployment, status: DeploymentStatus, version: str) -> None:
        written = await self._api.patch_status(
            DEPLOYMENT,
            deployment.metadata.name,
            msgspec.to_builtins(status),
            deployment.metadata.namespace,
            resource_version=version,
        )
        self._shared.deployments.written(written)
