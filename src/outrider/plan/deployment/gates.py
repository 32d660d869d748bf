"""The readiness gate of every pod: it is ready, and takes traffic, only after it has answered a real request.

A rolling update removes an old pod for each new one that is ready. By `/v1/models` and `/health` alone a version that
answers nothing is ready too, and would replace all that worked (vllm-project/vllm#36960). A gate that has been opened
stays open: pods that serve go on serving while the operator is away, and a probe that fails later takes none of them
out of the endpoints, which for a fault that all share would leave nobody.

One thing closes a gate again: the pod runs a revision that was rolled back because most of its answers were bad, and a
pod of another revision is ready, to which the Service leads. Until the good revision has loaded everywhere, late
answers are better than bad ones. Where none of its pods was ready, and this one is again and answers, that has passed:
it serves until it is replaced.
"""

from collections.abc import Mapping

from outrider.api.labels import ANSWERS_REQUESTS
from outrider.api.llmdeployment import TrafficStatus
from outrider.api.meta import Condition, Instant, format_time
from outrider.api.modelrevision import Rejection
from outrider.plan.actions import SetPodCondition
from outrider.plan.deployment import rejection, traffic, trial
from outrider.plan.deployment.snapshot import PodView, Snapshot
from outrider.plan.evidence.verdict import NO_ENDPOINTS_LEFT


def opened(
    snapshot: Snapshot, now: Instant, divided: TrafficStatus | None = None, asked_for: str = ""
) -> list[SetPodCondition]:
    """The gates to open, and those to be marked False because the pod did not answer well.

    `asked_for` is the revision that is made true: a person may pin one that was rolled back, and then it is to serve.
    """
    shut = _shut(snapshot, asked_for, divided)
    waiting = [pod for pod in snapshot.pods if pod.gate not in (None, "True") and pod.containers_ready]
    return [
        _set(snapshot, pod, _condition(pod, now))
        for pod in waiting
        if pod.probe is not None and not _is_shut(pod, shut) and not (pod.probe.ok and _waits(snapshot, divided, pod))
        if pod.gate != ("True" if pod.probe.ok else "False")
    ]


def shut(
    snapshot: Snapshot, now: Instant, divided: TrafficStatus | None = None, asked_for: str = ""
) -> list[SetPodCondition]:
    """The gates to close: those of pods whose revision was rolled back. To be carried out after what leads requests to
    other pods.
    """
    whose = _shut(snapshot, asked_for, divided)
    return [
        _set(snapshot, pod, _closed(whose[pod.revision], now))
        for pod in snapshot.pods
        if _is_shut(pod, whose) and pod.gate != "False"
    ]


def _set(snapshot: Snapshot, pod: PodView, condition: Condition) -> SetPodCondition:
    return SetPodCondition(
        namespace=snapshot.namespace, name=pod.name, uid=pod.uid, condition=condition, why=condition.message
    )


def _waits(snapshot: Snapshot, divided: TrafficStatus | None, pod: PodView) -> bool:
    return trial.waits(snapshot, pod) or traffic.gate_waits(snapshot, divided, pod)


def _shut(snapshot: Snapshot, asked_for: str, divided: TrafficStatus | None) -> dict[str, Rejection]:
    """The revisions whose pods are to take no requests, and why; none as long as nobody else would take them."""
    severe = rejection.severe(snapshot.revisions, asked_for)
    selected = traffic.service_selects(snapshot, divided)
    others = any(pod.ready and pod.revision not in severe and selected in ("", pod.revision) for pod in snapshot.pods)
    return severe if others else {}


def _is_shut(pod: PodView, shut: Mapping[str, Rejection]) -> bool:
    if pod.gate is None or pod.revision not in shut or not pod.alive:
        return False
    return shut[pod.revision].reason != NO_ENDPOINTS_LEFT or pod.probe is None or not pod.probe.ok


def _closed(why: Rejection, now: Instant) -> Condition:
    message = f"Its revision was rolled back: {why.message}"
    return Condition(ANSWERS_REQUESTS, "False", "RolledBack", message, last_transition_time=format_time(now))


def _condition(pod: PodView, now: Instant) -> Condition:
    assert pod.probe is not None, "only pods that were asked have an answer"
    stamp = format_time(now)
    if pod.probe.ok:
        message = "It has answered a real request."
        return Condition(ANSWERS_REQUESTS, "True", "Answered", message, last_transition_time=stamp)
    message = f"A real request failed: {pod.probe.message}."
    return Condition(ANSWERS_REQUESTS, "False", "SyntheticCheckFailed", message, last_transition_time=stamp)
