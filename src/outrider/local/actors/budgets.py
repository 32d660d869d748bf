"""What a PodDisruptionBudget allows: pure functions, after kube-controller-manager's disruption controller."""

from collections.abc import Mapping, Sequence

import msgspec

from outrider.api.int_or_percent import resolve
from outrider.api.meta import Instant, format_time, parse_time
from outrider.kube.objects import Pod
from outrider.local.actors.objects import DisruptionBudget, DisruptionBudgetStatus

DELETION_TIMEOUT = 120.0
"""Seconds for which a granted eviction counts as a disruption before the pod is seen to go (DeletionTimeout)."""
DISRUPTION_ALLOWED, SUFFICIENT, INSUFFICIENT = "DisruptionAllowed", "SufficientPods", "InsufficientPods"


class BudgetVerdict(msgspec.Struct, frozen=True):
    status: DisruptionBudgetStatus
    not_deleted: tuple[str, ...] = ()
    """Pods whose eviction was granted more than two minutes ago and that are still there."""
    look_again_at: Instant | None = None


def expected_and_desired(budget: DisruptionBudget, pods: Sequence[Pod], scale: int) -> tuple[int, int]:
    """(expected pods, how many of them must stay healthy); `scale` is what the pods' controllers ask for in sum.

    Both percentages round up, of the scale and not of the pods that happen to exist.
    """
    if budget.spec.max_unavailable is not None:
        unavailable = resolve(budget.spec.max_unavailable, scale, round_up=True)
        return scale, max(0, scale - unavailable)
    if isinstance(budget.spec.min_available, int):
        return len(pods), budget.spec.min_available
    if budget.spec.min_available is not None:
        return scale, resolve(budget.spec.min_available, scale, round_up=True)
    return len(pods), 0


def judge_budget(budget: DisruptionBudget, pods: Sequence[Pod], scale: int, now: Instant) -> BudgetVerdict:
    """The status that follows from the selected pods. Raises ValueError for an amount that cannot be read."""
    waiting, not_deleted = _disrupted(budget.status.disrupted_pods, pods, now)
    healthy = sum(pod.ready and pod.metadata.name not in waiting for pod in pods)
    expected, desired = expected_and_desired(budget, pods, scale)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status = DisruptionBudgetStatus(
        observed_generation=budget.metadata.generation,
        disruptions_allowed=allowed,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        disrupted_pods=waiting,
        conditions=(_condition(budget, allowed, now),),
    )
    ends = [moment + DELETION_TIMEOUT for text in waiting.values() if (moment := parse_time(text)) is not None]
    return BudgetVerdict(status, not_deleted, min(ends, default=None))


def _disrupted(granted: Mapping[str, str], pods: Sequence[Pod], now: Instant) -> tuple[dict[str, str], tuple[str, ...]]:
    """Granted evictions still to be seen happen, and those that never did."""
    waiting, overdue = {}, []
    for pod in pods:
        name = pod.metadata.name
        if name not in granted or pod.metadata.deletion_timestamp is not None:
            continue
        since = parse_time(granted[name])
        if since is not None and since + DELETION_TIMEOUT > now:
            waiting[name] = granted[name]
        else:
            overdue.append(name)
    return waiting, tuple(overdue)


def _condition(budget: DisruptionBudget, allowed: int, now: Instant) -> dict[str, str | int]:
    wanted = "True" if allowed > 0 else "False"
    old = next((each for each in budget.status.conditions if each.get("type") == DISRUPTION_ALLOWED), {})
    since = old.get("lastTransitionTime") if old.get("status") == wanted else None
    return {
        "type": DISRUPTION_ALLOWED,
        "status": wanted,
        "reason": SUFFICIENT if allowed > 0 else INSUFFICIENT,
        "message": "",
        "lastTransitionTime": since or format_time(now),
        "observedGeneration": budget.metadata.generation,
    }
