"""Questions that several actors ask about a pod."""

from collections.abc import Iterable

from outrider.api.meta import Condition, Instant, find_condition, parse_time
from outrider.kube.objects import Pod

FINISHED = ("Succeeded", "Failed")
"""The phases in which a pod's containers will not run again."""


def is_active(pod: Pod) -> bool:
    """Whether the pod counts as a replica: neither finished nor on its way out."""
    return pod.metadata.deletion_timestamp is None and pod.status.phase not in FINISHED


def ready_condition(pod: Pod) -> Condition | None:
    return find_condition(pod.status.conditions, "Ready")


def has_ready_condition(pod: Pod) -> bool:
    """Whether the pod's containers are ready, although the pod may be on its way out (`Pod.ready` is then False)."""
    condition = ready_condition(pod)
    return condition is not None and condition.status == "True"


def available_at(pod: Pod, min_ready_seconds: int) -> Instant | None:
    """When the pod has been, or will have been, ready for `min_ready_seconds`; None while it is not ready."""
    condition = ready_condition(pod)
    if condition is None or not pod.ready:
        return None
    since = parse_time(condition.last_transition_time)
    if min_ready_seconds == 0:
        return since or 0.0
    return None if since is None else since + min_ready_seconds


def is_available(pod: Pod, min_ready_seconds: int, now: Instant) -> bool:
    """Ready for at least `min_ready_seconds`; without such a wait, ready is available whatever the clocks say."""
    moment = available_at(pod, min_ready_seconds)
    return moment is not None and (min_ready_seconds == 0 or moment <= now)


def next_available_at(pods: Iterable[Pod], min_ready_seconds: int, now: Instant) -> Instant | None:
    """The next moment at which a ready pod becomes available without any event to say so."""
    moments = [moment for pod in pods if (moment := available_at(pod, min_ready_seconds)) is not None and moment > now]
    return min(moments) if moments and min_ready_seconds else None


def restarts(pod: Pod) -> int:
    return sum(status.restart_count for status in pod.status.container_statuses)
