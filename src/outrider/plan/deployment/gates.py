"""The readiness gate of every pod: it is ready, and takes traffic, only after it has answered a real request.

A rolling update removes an old pod for each new one that is ready. By `/v1/models` and `/health` alone a version that
answers nothing is ready too, and would replace all that worked (vllm-project/vllm#36960). A gate that has been opened
stays open: pods that serve go on serving while the operator is away, and a probe that fails later takes none of them
out of the endpoints, which for a fault that all share would leave nobody.
"""

from outrider.api.labels import ANSWERS_REQUESTS
from outrider.api.meta import Condition, Instant, format_time
from outrider.plan.actions import SetPodCondition
from outrider.plan.deployment.snapshot import PodView, Snapshot


def opened(snapshot: Snapshot, now: Instant) -> list[SetPodCondition]:
    """The gates to open, and those to be marked False because the pod was asked and did not answer well."""
    waiting = [pod for pod in snapshot.pods if pod.gate not in (None, "True") and pod.containers_ready]
    found = [(pod, _condition(pod, now)) for pod in waiting if pod.probe is not None]
    return [
        SetPodCondition(
            namespace=snapshot.namespace, name=pod.name, uid=pod.uid, condition=condition, why=condition.message
        )
        for pod, condition in found
        if condition.status != pod.gate
    ]


def _condition(pod: PodView, now: Instant) -> Condition:
    assert pod.probe is not None, "only pods that were asked have an answer"
    stamp = format_time(now)
    if pod.probe.ok:
        message = "It has answered a real request."
        return Condition(ANSWERS_REQUESTS, "True", "Answered", message, last_transition_time=stamp)
    message = f"A real request failed: {pod.probe.message}."
    return Condition(ANSWERS_REQUESTS, "False", "SyntheticCheckFailed", message, last_transition_time=stamp)
