"""Which Deployment holds the pods of which revision.

A rolling update goes on inside one Deployment, named after the LLMDeployment. A canary or blue-green release has a
Deployment of its own for the new revision, beside the one that serves: promotion then moves the traffic and starts no
pod again, which for a model is minutes of loading, and going back finds the old pods still loaded. So each revision is
either alone in a Deployment of its own, or in the one with the plain name.
"""

import math

import msgspec

from outrider.api.labels import REVISION
from outrider.api.llmdeployment import ReleaseStatus, StepStatus, TrafficStatus
from outrider.api.meta import Instant, parse_time
from outrider.api.names import revision_name
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.spec_operations import STEPWISE
from outrider.plan.deployment import rejection, rolling
from outrider.plan.deployment.effective import find_revision, has_served, rejected
from outrider.plan.deployment.observed import WorkloadView
from outrider.plan.deployment.picker import SCHEDULER
from outrider.plan.deployment.snapshot import PodView, Snapshot

DEFAULT_STEPS = (StepStatus(10, 600.0), StepStatus(50, 1800.0))
"""Of a canary whose spec names none: 10 % for ten minutes, 50 % for half an hour, as the SRE guide's staged rollout."""


class Resize(msgspec.Struct, frozen=True):
    """A Deployment of another revision than the one that is made true, and what becomes of it."""

    workload: WorkloadView
    replicas: int | None
    """None: it is to go."""
    why: str


def is_stepwise(snapshot: Snapshot) -> bool:
    """Whether new versions are released beside the old one. Not where an endpoint picker chooses the pod: its pool is
    one, and knows no weights.
    """
    spec = snapshot.parsed.spec
    if spec is None or spec.deployment.rollout_strategy not in STEPWISE:
        return False
    return not (snapshot.config.inference_pool and spec.scheduling.scheduler == SCHEDULER)


def is_routed(snapshot: Snapshot) -> bool:
    """Whether routes can divide the traffic by weight; else only the numbers of pods can."""
    return bool(snapshot.config.gateway_name) and snapshot.kinds.http_routes is not False


def alive(snapshot: Snapshot) -> tuple[PodView, ...]:
    return tuple(pod for pod in snapshot.pods if pod.alive)


def ready(snapshot: Snapshot, revision: str) -> int:
    """Pods of the revision that are ready, and whose Deployment is there: else they are about to go."""
    return sum(
        1
        for pod in snapshot.pods
        if pod.alive and pod.ready and pod.revision == revision and not _is_orphaned(snapshot, pod)
    )


def holder(snapshot: Snapshot, revision: str) -> WorkloadView | None:
    """The Deployment whose template is of that revision; its own before the one with the plain name."""
    own = next((one for one in snapshot.own_workloads if one.revision == revision), None)
    base = snapshot.workload
    return own or (base if base is not None and base.revision == revision else None)


def home(snapshot: Snapshot, revision: str) -> str:
    """The name of the Deployment in which the revision is, or is to be."""
    own = revision_name(snapshot.name, revision)
    if any(one.revision == revision for one in snapshot.own_workloads):
        return own
    base = snapshot.workload
    if base is not None and base.revision == revision:
        return snapshot.name
    release = snapshot.deployment.status.release
    if release is not None and (release.revision, release.phase) == (revision, "Watching"):
        return own if release.strategy in STEPWISE else snapshot.name  # as it was begun, whatever is there since
    if not is_stepwise(snapshot) or _is_mixed(snapshot):
        return snapshot.name
    others_serve = any(pod.alive and pod.ready and pod.revision != revision for pod in snapshot.pods)
    return own if others_serve else snapshot.name


def selected_revision(selector: dict[str, str]) -> str:
    """The revision that a Service selects; empty where it selects all."""
    return selector.get(REVISION, "")


def selected(snapshot: Snapshot) -> str:
    """The revision that the Service selects, which tells where requests go when the status is lost; empty where it
    selects every pod, or none.
    """
    said = selected_revision(snapshot.service.selector) if snapshot.service is not None else ""
    return said if any(pod.revision == said for pod in alive(snapshot)) else ""


def workloads(snapshot: Snapshot) -> tuple[WorkloadView, ...]:
    """All Deployments with pods that serve."""
    base = (snapshot.workload,) if snapshot.workload is not None else ()
    return (*snapshot.own_workloads, *base)


def workload_at(snapshot: Snapshot, name: str) -> WorkloadView | None:
    """The Deployment of that name, among those of this LLMDeployment."""
    if name == snapshot.name:
        return snapshot.workload
    return next((one for one in snapshot.own_workloads if one.name == name), None)


def _is_mixed(snapshot: Snapshot) -> bool:
    """Whether a rolling update is under way: it is ended as it was begun."""
    if snapshot.workload is None:
        return False  # pods that are left of it are about to go
    base = snapshot.workload.revision
    return any(pod.revision != base and not _is_apart(snapshot, pod) for pod in alive(snapshot))


def _is_apart(snapshot: Snapshot, pod: PodView) -> bool:
    """Whether it is of a Deployment for its revision alone, be that still there or not."""
    return pod.owner.startswith(f"{revision_name(snapshot.name, pod.revision)}-")


def _workload_of(snapshot: Snapshot, pod: PodView) -> str:
    """The name of its Deployment."""
    return revision_name(snapshot.name, pod.revision) if _is_apart(snapshot, pod) else snapshot.name


def _is_orphaned(snapshot: Snapshot, pod: PodView) -> bool:
    """Whether its Deployment is gone."""
    return holder(snapshot, pod.revision) is None if _is_apart(snapshot, pod) else snapshot.workload is None


def is_left(snapshot: Snapshot, target: str, *, ending: bool = False) -> bool:
    """Whether there are still pods of a Deployment that is gone: the garbage collector takes a moment. `ending`: also
    those that were told to end, and have not ended yet.
    """
    return any(
        pod.revision != target and _is_apart(snapshot, pod) and holder(snapshot, pod.revision) is None
        for pod in snapshot.pods
        if pod.alive or (ending and not pod.finished)
    )


def is_in_the_way(snapshot: Snapshot, revisions: tuple[str, ...]) -> bool:
    """Whether there is a Deployment of its own, or a pod of one, of another revision than these."""
    return any(one.revision not in revisions for one in snapshot.own_workloads) or any(
        pod.revision not in revisions and _is_apart(snapshot, pod) for pod in alive(snapshot)
    )


def steps_of(spec: LLMDeploymentSpec) -> tuple[StepStatus, ...]:
    """The steps of a release that begins now. One with all of the traffic is no step: it is the end."""
    deployment = spec.deployment
    if deployment.rollout_strategy == "BlueGreen":
        return (StepStatus(0, deployment.blue_green.preview_duration.seconds),)
    if deployment.rollout_strategy != "Canary":
        return ()
    written = tuple(StepStatus(step.weight, step.duration.seconds) for step in deployment.canary.steps)
    return tuple(step for step in written or DEFAULT_STEPS if step.weight < 100)


def replicas(snapshot: Snapshot, spec: LLMDeploymentSpec, revision: str, release: ReleaseStatus | None) -> int:
    """How many pods the revision that is made true is to have now."""
    wanted = spec.desired_replicas
    if release is None or not is_on_steps(release, revision) or release.stage == "Preview" or not wanted:
        return wanted
    weight = release.steps[release.step].weight
    # By weight it needs its share of what all of the traffic needs; without routes its share is that of its pods.
    share = weight / 100 if is_routed(snapshot) else weight / (100 - weight)
    return min(wanted, max(1, math.ceil(round(wanted * share, 6))))


def is_on_steps(release: ReleaseStatus, revision: str) -> bool:
    """Whether the revision is being released, and has not all of its pods or traffic yet."""
    return (
        (release.revision, release.phase) == (revision, "Watching")
        and release.stage in ("Canary", "Preview")
        and release.step < len(release.steps)
    )


def is_idle(traffic: TrafficStatus | None, revision: str) -> bool:
    """Whether pods of the revision take no requests although they are ready: as preview, as standby, or as they are
    about to go.
    """
    if traffic is None or revision == traffic.revision:
        return False
    return revision != traffic.candidate or not traffic.weight


def carrying(snapshot: Snapshot, traffic: TrafficStatus, target: str) -> str:
    """The revision that has the traffic. Where that one stopped answering and its candidate has everything meanwhile,
    it is the candidate for whoever comes after both.
    """
    if traffic.weight < 100 or target in (traffic.revision, traffic.candidate):
        return traffic.revision
    stopped = not ready(snapshot, traffic.revision) and ready(snapshot, traffic.candidate)
    return traffic.candidate if stopped else traffic.revision


def others(
    snapshot: Snapshot, target: str, traffic: TrafficStatus | None, release: ReleaseStatus | None, now: float
) -> list[Resize]:
    """What becomes of the Deployments of other revisions than the one that is made true."""
    spec = snapshot.parsed.spec
    if spec is None:
        return []
    place = home(snapshot, target)
    found = []
    for one in workloads(snapshot):
        if not one.owned or one.revision == target:
            continue
        if one.name != place:
            found.append(_other(snapshot, spec, one, target, traffic, release, now))
        elif (
            traffic is not None
            and is_idle(traffic, one.revision)
            and ready(snapshot, traffic.revision) >= spec.desired_replicas
        ):
            found.append(Resize(one, None, "nothing is sent to its pods, and another version takes its place"))
    return found


def _other(
    snapshot: Snapshot,
    spec: LLMDeploymentSpec,
    one: WorkloadView,
    target: str,
    traffic: TrafficStatus | None,
    release: ReleaseStatus | None,
    now: float,
) -> Resize:
    wanted, short = spec.desired_replicas, _is_short(snapshot, target, now)
    on_steps = release is not None and is_on_steps(release, target)
    if rolling.recreates(spec) and not on_steps and holder(snapshot, target) is None:
        return Resize(one, None, "all old pods go before a new one comes")
    if traffic is None or one.revision in (traffic.revision, traffic.candidate):
        if short and not on_steps:
            # What it gives up is what the others already carry, and what the spec lets be unavailable.
            left = max(0, wanted - may_be_missing(snapshot, spec, target, one.name, now) - ready(snapshot, target))
            return Resize(
                one, min(left, one.spec_replicas), "its GPUs are needed, and others have taken over its share"
            )
        stable = release.stable_revision if release is not None else ""
        found = find_revision(snapshot.revisions, one.revision)
        grows = target != traffic.revision if traffic is not None else one.revision == stable
        grows = grows and not (found is not None and rejected(snapshot, found))
        return Resize(one, wanted if grows else min(wanted, one.spec_replicas), "it takes requests")
    if is_standby(release, one.revision, target, now) and not short:
        return Resize(one, wanted, "it stays loaded to go back to")
    # A third version has what the second one serves to go back to: the first would only make them three at once.
    if target == traffic.revision and _is_last_resort(snapshot, one, traffic, release, wanted) and not short:
        return Resize(one, min(wanted, one.spec_replicas), "what has its traffic does not answer in full")
    return Resize(one, None, "nothing is sent to its pods any more")


def is_standby(release: ReleaseStatus | None, revision: str, target: str, now: float) -> bool:
    """Whether the revision is to stay loaded, beside the one that took its traffic."""
    if release is None or (release.revision, release.stable_revision) != (target, revision):
        return False
    if release.phase == "RolledBack" or release.strategy not in STEPWISE:
        return False
    if release.stage != "Standby":
        return release.phase == "Watching"  # it may have ended before it was promoted, as by a pin
    return now < (parse_time(release.standby_until) or now)


def _is_last_resort(
    snapshot: Snapshot, one: WorkloadView, traffic: TrafficStatus, release: ReleaseStatus | None, wanted: int
) -> bool:
    """Whether pods that are ready have to stay although their time is over: what has the traffic does not answer in
    full at the moment, and they have served before it, if never in full (one of a first version was late).
    """
    revision = find_revision(snapshot.revisions, one.revision)
    if revision is None or rejected(snapshot, revision):
        return False
    gave_way = release is not None and (release.revision, release.stable_revision) == (traffic.revision, one.revision)
    if not gave_way and not has_served(revision):
        return False
    return ready(snapshot, traffic.revision) < wanted and ready(snapshot, one.revision) > 0


def may_be_missing(snapshot: Snapshot, spec: LLMDeploymentSpec, target: str, place: str, now: Instant) -> int:
    """How many replicas of the Deployment `place` may be taken away before their successors are ready: what the spec
    says, and half of them where the target's pods find no node, and those that hold it run what was rolled back for
    answering hardly anything: who waits for a surge on a full cluster would wait for ever, and nobody is served.
    """
    allowed, bad = rolling.max_unavailable(spec), rejection.severe(snapshot.revisions, target)
    there = [pod for pod in alive(snapshot) if _workload_of(snapshot, pod) == place]
    worthless = sum(1 for pod in there if pod.revision in bad)
    if not worthless or not _is_short(snapshot, target, now):
        return allowed
    good = sum(1 for pod in there if pod.ready and pod.revision not in bad)
    if good >= spec.desired_replicas - allowed:
        return allowed  # those are what would be taken away
    return max(allowed, min(worthless, math.ceil(spec.desired_replicas / 2)))


def missing_already(snapshot: Snapshot, spec: LLMDeploymentSpec, target: str) -> int:
    """How many replicas of the target's Deployment serve nobody, because their pods run what was rolled back for
    answering hardly anything, and are not ready. Made anew one after another they would take as many times as long.
    """
    if home(snapshot, target) != snapshot.name:
        return 0
    there = [pod for pod in alive(snapshot) if not _is_apart(snapshot, pod)]
    bad = rejection.severe(snapshot.revisions, target)
    idle = sum(1 for pod in there if pod.revision in bad and not pod.ready)
    # A good pod that has loaded serves in a moment: this very plan may open its gate.
    serving = sum(1 for pod in there if pod.ready or (pod.containers_ready and pod.revision not in bad))
    return min(idle, max(0, spec.desired_replicas - serving))


def _is_short(snapshot: Snapshot, target: str, now: Instant) -> bool:
    """Whether pods of the revision find no node, nor will when those that are on their way out have gone."""
    going = sum(1 for pod in _going(snapshot) if now < (pod.gone_by or now))
    waiting = sum(1 for pod in alive(snapshot) if pod.revision == target and pod.unschedulable and not pod.node)
    return waiting > going


def _going(snapshot: Snapshot) -> list[PodView]:
    """Pods that were told to end, and can."""
    return [pod for pod in snapshot.pods if pod.terminating and not pod.finished and pod.node and pod.fault is None]


def looks_again_at(snapshot: Snapshot, now: Instant) -> Instant | None:
    """When a pod that waits for one that ends has waited long enough."""
    if not any(pod.unschedulable and not pod.node for pod in alive(snapshot)):
        return None
    return min((pod.gone_by for pod in _going(snapshot) if pod.gone_by and pod.gone_by > now), default=None)
