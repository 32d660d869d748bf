"""The replica set controller: as many pods as are asked for, no more after a crash and no more on a stale cache."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial

import msgspec

from outrider.api.meta import Instant
from outrider.kube.api import AlreadyExists, ApiError, Conflict, NotFound
from outrider.kube.controller import Controller, Result
from outrider.kube.events import EventKind, EventRecorder
from outrider.kube.expectations import Expectations
from outrider.kube.predicates import content_changed
from outrider.local.actors.claims import claim, possible_owners
from outrider.local.actors.names import generate_name
from outrider.local.actors.objects import POD, REPLICA_SET, Pod, ReplicaSet
from outrider.local.actors.pods import is_active, next_available_at
from outrider.local.actors.replica_math import plan_replicas, pod_from_template, replica_set_status, slow_start
from outrider.local.actors.shared import BY_CONTROLLER, Shared

FAILED_CREATE, FAILED_DELETE = "FailedCreate", "FailedDelete"


class _RefusedError(Exception):
    """A pod could not be created or deleted; `reason` is that of the condition ReplicaFailure."""

    def __init__(self, reason: str, error: ApiError) -> None:
        super().__init__(error.message)
        self.reason, self.error = reason, error


class ReplicaSets:
    """Creates and deletes the pods of ReplicaSets, and counts them."""

    def __init__(self, shared: Shared, events: EventRecorder) -> None:
        self._shared, self._api, self._events = shared, shared.api, events
        self._expectations = Expectations(shared.clock, shared.pods)
        self._random = random.Random(shared.settings.seed)  # noqa: S311  (pod names are no secret)

    def controller(self) -> Controller:
        controller = self._shared.controller("replica_sets", self.reconcile, concurrency=8)
        controller.for_(self._shared.replica_sets, content_changed)
        controller.owns(self._shared.pods, REPLICA_SET, content_changed)
        orphans = partial(possible_owners, owners=self._shared.replica_sets)
        return controller.maps(self._shared.pods, orphans, content_changed)

    async def reconcile(self, key: str) -> Result | None:
        replica_set = self._shared.replica_sets.get(key)
        if replica_set is None:
            self._expectations.forget(key)
            return None
        may_act = self._expectations.satisfied(key)
        metadata, selector = replica_set.metadata, replica_set.spec.selector
        pods = await claim(self._api, REPLICA_SET, metadata, selector, self._shared.pods)
        refused: _RefusedError | None = None
        if may_act:
            try:
                await self._manage(key, replica_set, pods)
            except _RefusedError as error:
                refused = error
        now = self._shared.clock.now()
        await self._write_status(replica_set, refused, now)
        if refused is not None:
            raise refused.error
        return self._when_to_look_again(key, replica_set, pods, now)

    def _when_to_look_again(
        self, key: str, replica_set: ReplicaSet, pods: Sequence[Pod], now: Instant
    ) -> Result | None:
        if remaining := self._expectations.remaining(key):
            return Result(remaining)
        moment = next_available_at(pods, replica_set.spec.min_ready_seconds, now)
        return None if moment is None else Result(max(0.0, moment - now))

    async def _manage(self, key: str, replica_set: ReplicaSet, pods: Sequence[Pod]) -> None:
        plan = plan_replicas(replica_set, pods, self._siblings_on_node(replica_set))
        if plan.delete:
            await self._in_parallel([self._delete(key, replica_set, pod) for pod in plan.delete])
        for batch in slow_start(plan.create):
            await self._in_parallel([self._create(key, replica_set) for _ in range(batch)])

    async def _in_parallel(self, writes: Sequence["asyncio._CoroutineLike[None]"]) -> None:
        """All of them; then the first failure, if any."""
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _siblings_on_node(self, replica_set: ReplicaSet) -> Counter[str]:
        """How many active pods of the same Deployment each node has."""
        owner = replica_set.metadata.controller
        related = self._shared.replica_sets.by_index(BY_CONTROLLER, owner.uid) if owner else (replica_set,)
        pods = (pod for each in related for pod in self._shared.pods.by_index(BY_CONTROLLER, each.metadata.uid))
        return Counter(pod.spec.node_name for pod in pods if pod.spec.node_name and is_active(pod))

    async def _create(self, key: str, replica_set: ReplicaSet) -> None:
        name = generate_name(f"{replica_set.metadata.name}-", self._random)
        try:
            with self._expectations.creating(key, POD, f"{replica_set.metadata.namespace}/{name}"):
                self._shared.pods.written(await self._api.create(POD, pod_from_template(replica_set, name)))
        except AlreadyExists:
            raise  # another pod has this random name: the next attempt draws another
        except ApiError as error:
            self._tell(replica_set, "Warning", FAILED_CREATE, f"Error creating: {error.message}", "Create")
            raise _RefusedError(FAILED_CREATE, error) from error
        self._tell(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}", f"Create {name}")

    async def _delete(self, key: str, replica_set: ReplicaSet, pod: Pod) -> None:
        metadata = pod.metadata
        try:
            with self._expectations.deleting(key, POD, metadata.key, metadata.uid):
                await self._api.delete(POD, metadata.name, metadata.namespace, uid=metadata.uid)
        except (NotFound, Conflict):  # gone, or another pod of that name
            return
        except ApiError as error:
            self._tell(replica_set, "Warning", FAILED_DELETE, f"Error deleting: {error.message}", "Delete")
            raise _RefusedError(FAILED_DELETE, error) from error
        self._tell(
            replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata.name}", f"Delete {metadata.name}"
        )

    def _tell(self, replica_set: ReplicaSet, type_: EventKind, reason: str, note: str, action: str) -> None:
        """Events that differ in the action are kept apart, so that every pod is named."""
        self._events.event(REPLICA_SET, replica_set, type_, reason, note, action=action)

    async def _write_status(self, replica_set: ReplicaSet, refused: _RefusedError | None, now: Instant) -> None:
        pods = self._shared.pods.by_index(BY_CONTROLLER, replica_set.metadata.uid)
        failure = (refused.reason, str(refused)) if refused else None
        status = replica_set_status(replica_set, pods, now, failure)
        if status == replica_set.status:
            return
        metadata = replica_set.metadata
        body, version = msgspec.to_builtins(status), metadata.resource_version
        try:
            written = await self._api.patch_status(
                REPLICA_SET, metadata.name, body, metadata.namespace, resource_version=version
            )
        except NotFound:
            return
        self._shared.replica_sets.written(written)
