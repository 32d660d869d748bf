"""Eviction: deleting a pod by leave of the disruption budgets that cover it.

The disruption actor keeps `status.disruptionsAllowed`; an eviction takes one of them and notes the pod in
`status.disruptedPods`, so that the next is not granted on the same count before the actor has seen the pod go.
"""

from typing import Any

import msgspec

from outrider.kube.api import Object, TooManyRequests
from outrider.kube.objects import POD, POD_DISRUPTION_BUDGET, LabelSelector
from outrider.kube.selectors import label_selector
from outrider.local.store import errors
from outrider.local.store.deletion import FINISHED, Deletion, delete
from outrider.local.store.ownership import Manager
from outrider.local.store.records import Record
from outrider.local.store.store import Store
from outrider.local.store.writes import Write, change

_RETRY_SECONDS = 10
"""When a refused eviction may be asked for again (pkg/registry/core/pod/storage/eviction.go)."""


def evict(store: Store, name: str, namespace: str, deletion: Deletion) -> Record:
    """Delete the pod, unless a budget forbids it.

    Raises `TooManyRequests` with cause DisruptionBudget when it does, `NotFound`, `Conflict` for another uid.
    """
    record = store.get(POD, name, namespace)
    if _needs_no_leave(record.object()):
        return delete(store, POD, name, namespace, deletion)
    budgets = _budgets_of(store, record)
    if len(budgets) > 1:
        raise errors.internal(f"pod {name!r} has more than one PodDisruptionBudget, which eviction does not support")
    charged = [budget for budget in budgets if not _waived(budget.object(), record.object())]
    for budget in charged:
        _check_budget(budget.object())
    # Whatever else is wrong with the request must be found before the budget pays for it.
    delete(store, POD, name, namespace, msgspec.structs.replace(deletion, dry_run=True))
    for budget in charged:
        _charge(store, budget, name, dry_run=deletion.dry_run)
    return delete(store, POD, name, namespace, deletion)


def _waived(budget: Object, pod: Object) -> bool:
    """Whether the budget lets the pod go without being charged: an unhealthy pod, as `unhealthyPodEvictionPolicy` says.

    Under IfHealthyBudget, the default, that is so while all pods that the budget wants are healthy without this one.
    """
    conditions = (pod.get("status") or {}).get("conditions") or []
    if any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions):
        return False
    status = budget.get("status") or {}
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    return bool(0 < status.get("desiredHealthy", 0) <= status.get("currentHealthy", 0))


def _needs_no_leave(pod: Object) -> bool:
    """A pod that does not serve anybody, because it has not started, has ended, or is being deleted."""
    phase = (pod.get("status") or {}).get("phase", "Pending")
    return phase in ("Pending", *FINISHED) or bool(pod["metadata"].get("deletionTimestamp"))


def _budgets_of(store: Store, pod: Record) -> list[Record]:
    found = []
    for budget in store.table(POD_DISRUPTION_BUDGET).all(pod.namespace):
        selector = (budget.object().get("spec") or {}).get("selector")
        if selector is not None and label_selector(msgspec.convert(selector, LabelSelector)).matches(pod.labels):
            found.append(budget)
    return found


def _check_budget(budget: Object) -> None:
    metadata, status = budget["metadata"], budget.get("status") or {}
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.")
    if status.get("disruptionsAllowed", 0) <= 0:
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _refusal(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")


def _refusal(why: str) -> TooManyRequests:
    return TooManyRequests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details={"causes": [{"reason": "DisruptionBudget", "message": why}], "retryAfterSeconds": _RETRY_SECONDS},
        retry_after=_RETRY_SECONDS,
    )


def _charge(store: Store, budget: Record, pod: str, *, dry_run: bool) -> None:
    obj = budget.object()
    status: dict[str, Any] = obj["status"]
    status["disruptionsAllowed"] -= 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: store.now()}
    write = Write(Manager("outrider-local-eviction", subresource="status"), dry_run)
    change(store, store.table(POD_DISRUPTION_BUDGET), budget, obj, write)
