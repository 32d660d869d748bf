"""What needs no statistics: pods that crash, vanish or never come, and a version that answers nothing at all."""

from collections.abc import Sequence

from outrider.plan.evidence import verdict, wording
from outrider.plan.evidence.advance import FAILING, NEWEST
from outrider.plan.evidence.situation import PodFacts, Situation
from outrider.plan.evidence.state import State
from outrider.plan.evidence.verdict import Verdict

CRASHES = 2
"""Restarts that make a crash loop: the kubelet waits 10 s before a second one and 20 s before a third."""
HARDWARE_SECONDS = 10.0
"""Two ticks. An engine dies with its GPU at once; that the GPU is to blame takes a driver's event, a device plugin and
a kubelet (which syncs a pod every second) until it is in the pod's status."""


def crash_looping(situation: Situation) -> Verdict | None:
    pods = situation.pods
    crashing = [pod for pod in pods if pod.restarts >= CRASHES]
    if not crashing:
        return None
    names = ", ".join(pod.name for pod in crashing)
    what = f"{situation.candidate}: {names} crashed {max(pod.restarts for pod in crashing)} times and does not run"
    if all(pod.fault for pod in crashing):
        return node_fault(what, tuple(crashing))
    others = [pod for pod in pods if pod not in crashing]
    if len(crashing) == 1 and others and all(pod.ready and not pod.restarts for pod in others):
        return one_pod_only(f"{what}, and the other {len(others)} run", crashing[0].name)
    return Verdict("RollBack", verdict.CRASH_LOOPING, f"{what}.")


def no_endpoints_left(situation: Situation) -> Verdict | None:
    """Pods that were made anew have not been ready yet: that somebody deleted one is not the version's fault."""
    had = [pod for pod in situation.pods if pod.ever_ready]
    if not had or any(pod.ready for pod in situation.pods) or _may_be_hardware(had):
        return None
    what = f"{situation.candidate}: none of {len(had)} pods that were ready is ready any more"
    if all(pod.fault for pod in had):
        return node_fault(what, tuple(had))
    if situation.stable and situation.stable_ready == 0 and situation.stable_there:
        return Verdict(
            "Hold", verdict.SHARED_INCIDENT, f"{what}, and no pod of {situation.stable} is: it is not the version."
        )
    return Verdict("RollBack", verdict.NO_ENDPOINTS_LEFT, f"{what}.")


def _may_be_hardware(lost: Sequence[PodFacts]) -> bool:
    """Whether a moment more may show what is beneath it: a good version that is taken back is loaded anew."""
    latest = min((pod.unready_for for pod in lost if pod.unready_for is not None), default=None)
    return latest is not None and latest < HARDWARE_SECONDS


def progress_deadline(situation: Situation) -> Verdict | None:
    if not situation.deadline_exceeded or situation.complete:
        return None
    late = [pod for pod in situation.pods if not pod.ready]
    if situation.pods and not late:
        return None  # nothing is late any more, and Kubernetes says it until something moves
    placed = [pod for pod in late if pod.placed and not pod.fault]
    started = [pod for pod in placed if pod.placed_for is None or pod.placed_for >= situation.deadline]
    if started:
        names = ", ".join(pod.name for pod in started)
        message = f"{situation.candidate}: {names} did not become ready within the progress deadline."
        return Verdict("RollBack", verdict.PROGRESS_DEADLINE_EXCEEDED, message)
    faults = tuple(pod for pod in late if pod.fault)
    what = f"{situation.candidate} makes no progress"
    if faults:
        return node_fault(what, faults)
    if placed:
        names = ", ".join(pod.name for pod in placed)
        return Verdict("Hold", verdict.PROGRESS_DEADLINE_EXCEEDED, f"{what}: {names} got a node only lately.")
    message = f"{what}: its pods have no node. That is not the version's fault, and going back would not find one."
    return Verdict("Hold", verdict.PROGRESS_DEADLINE_EXCEEDED, message)


def all_recent_failed(state: State, situation: Situation) -> Verdict | None:
    """Of the last ten answers at least eight were bad, in more than one tick, while the stable version's are good."""
    newest, stable = state.newest, wording.shown(state.of("errors").stable)
    if newest.total < NEWEST - 0.5 or newest.bad < FAILING * NEWEST - 0.01 or state.failing_ticks < 2:
        return None
    if stable.share is None or stable.share > 1 - FAILING:
        return None
    message = (
        f"{situation.candidate}: {newest.bad:.0f} of the last {newest.total:.0f} requests failed, "
        f"{situation.stable}: {wording.of(stable)}."
    )
    return Verdict("RollBack", verdict.ALL_RECENT_FAILED, message)


def unreachable(situation: Situation) -> Verdict | None:
    """Whose doing it is, a policy's or the version's, cannot be told from here: nothing is taken back for it."""
    if not situation.unreachable:
        return None
    return Verdict("Hold", verdict.UNREACHABLE_THROUGH_GATEWAY, f"{situation.unreachable}.")


def node_fault(what: str, pods: tuple[PodFacts, ...]) -> Verdict:
    faults = "; ".join(sorted({pod.fault for pod in pods}))
    return Verdict("Hold", verdict.NODE_FAULT, f"{what}. It is not the version: {faults}.")


def one_pod_only(what: str, name: str) -> Verdict:
    return Verdict("Hold", verdict.ONE_POD_ONLY, f"{what}. It is not the version, it is {name}.")
