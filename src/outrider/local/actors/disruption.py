"""The disruption controller: keeps the status of disruption budgets true, for evictions to ask."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from outrider.kube.api import Kind
from outrider.kube.controller import Controller, Result
from outrider.kube.events import EventRecorder
from outrider.kube.metadata import metadata_of
from outrider.kube.predicates import content_changed, generation_changed
from outrider.kube.selectors import label_selector
from outrider.local.actors.budgets import judge_budget
from outrider.local.actors.objects import POD_DISRUPTION_BUDGET, DisruptionBudget, DisruptionBudgetStatus, Pod
from outrider.local.actors.shared import BY_NAMESPACE, Shared


class Disruption:
    def __init__(self, shared: Shared, events: EventRecorder) -> None:
        self._shared, self._api, self._events = shared, shared.api, events

    def controller(self) -> Controller:
        shared = self._shared
        controller = shared.controller("disruption", self.reconcile, concurrency=2)
        controller.for_(shared.budgets, content_changed)
        controller.maps(shared.pods, self._budgets_of, content_changed)
        # Of these only how many pods they ask for matters.
        controller.maps(shared.replica_sets, self._budgets_in_namespace, generation_changed)
        return controller.maps(shared.deployments, self._budgets_in_namespace, generation_changed)

    def _budgets_of(self, pod: Pod) -> list[str]:
        budgets = self._shared.budgets.by_index(BY_NAMESPACE, pod.metadata.namespace)
        labels = pod.metadata.labels
        return [each.metadata.key for each in budgets if label_selector(each.spec.selector).matches(labels)]

    def _budgets_in_namespace(self, obj: Any) -> Iterable[str]:
        return [each.metadata.key for each in self._shared.budgets.by_index(BY_NAMESPACE, metadata_of(obj).namespace)]

    async def reconcile(self, key: str) -> Result | None:
        budget = self._shared.budgets.get(key)
        if budget is None:
            return None
        selector = label_selector(budget.spec.selector)
        in_namespace = self._shared.pods.by_index(BY_NAMESPACE, budget.metadata.namespace)
        pods = [pod for pod in in_namespace if selector.matches(pod.metadata.labels)]
        now = self._shared.clock.now()
        verdict = judge_budget(budget, pods, self._scale(pods), now)
        for name in verdict.not_deleted:
            note = f"Pod was expected by PDB {key} to be deleted but it wasn't: {name}"
            self._events.event(POD_DISRUPTION_BUDGET, budget, "Warning", "NotDeleted", note, action="Evict")
        if verdict.status != budget.status:
            await self._write_status(budget, verdict.status)
        return None if verdict.look_again_at is None else Result(max(0.1, verdict.look_again_at - now))

    def _scale(self, pods: Sequence[Pod]) -> int:
        """What the controllers of the pods ask for in sum: a Deployment's replicas, or a lone ReplicaSet's."""
        scales: dict[str, int] = {}
        for pod in pods:
            owner, namespace = pod.metadata.controller, pod.metadata.namespace
            replica_set = self._shared.replica_sets.get(f"{namespace}/{owner.name}") if owner else None
            if owner is None or replica_set is None or replica_set.metadata.uid != owner.uid:
                continue
            parent = replica_set.metadata.controller
            deployment = self._shared.deployments.get(f"{namespace}/{parent.name}") if parent else None
            if parent is None:
                scales[owner.uid] = replica_set.spec.replicas
            elif deployment is not None and deployment.metadata.uid == parent.uid:
                scales[parent.uid] = deployment.spec.replicas
        return sum(scales.values())

    async def _write_status(self, budget: DisruptionBudget, status: DisruptionBudgetStatus) -> None:
        """Write it only if no eviction was granted since it was worked out: the version tells."""
        kind: Kind[DisruptionBudget] = POD_DISRUPTION_BUDGET
        body = msgspec.to_builtins(status)
        gone = {name: None for name in budget.status.disrupted_pods if name not in status.disrupted_pods}
        body["disruptedPods"] = {**status.disrupted_pods, **gone}
        metadata = budget.metadata
        written = await self._api.patch_status(
            kind, metadata.name, body, metadata.namespace, resource_version=metadata.resource_version
        )
        self._shared.budgets.written(written)
