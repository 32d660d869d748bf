"""How far the effective revision has come: replicas, pods and answers, as observed, judged for one revision only.

A pod of another revision never counts: that is how others came to report success while the old pods still served.
"""

import msgspec

from outrider.api.llmdeployment import ReleaseStatus, TrafficStatus
from outrider.api.meta import Instant, find_condition
from outrider.plan.deployment import fleet
from outrider.plan.deployment.snapshot import PodView, Snapshot

CRASH_REASONS = frozenset(
    {"CrashLoopBackOff", "RunContainerError", "CreateContainerError", "CreateContainerConfigError"}
)
IMAGE_REASONS = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageNotAvailable"}
)
"""Waiting reasons of the kubelet that do not go away by waiting."""


class Rollout(msgspec.Struct, frozen=True):
    """Counts of pods, those that are ending or have ended left out."""

    revision: str
    wanted: int
    applied: bool
    """The Deployment is as it should be, and its controller has seen it."""
    settled: bool
    """The Deployment's own count: every replica is up to date and ready, and there are no others."""
    updated: tuple[PodView, ...] = ()
    """Pods of the revision."""
    old: tuple[PodView, ...] = ()
    """Pods of other revisions, those on standby left out."""
    shown: bool = True
    """Whether pods of the revision take requests as soon as they are ready; not in a preview."""
    deadline_exceeded: bool = False
    """It makes no progress, by its Deployment; or a pod of it loads for longer than that may take. Kubernetes no longer
    looks once all replicas have been ready: not when more of them are asked for, as for each step of a release.
    """
    deadline_at: Instant | None = None
    """When that will be, unless the pods that load now are ready by then; None where none loads."""
    on_steps: bool = False
    """A release is on its steps: its pods take a share of the requests, or stand in for those that should."""

    @property
    def ready(self) -> tuple[PodView, ...]:
        return tuple(pod for pod in self.updated if pod.ready)

    @property
    def up(self) -> tuple[PodView, ...]:
        """Pods of the revision that can be asked: ready, or kept from it only by not having answered yet."""
        return tuple(pod for pod in self.updated if pod.ready or pod.containers_ready)

    @property
    def old_ready(self) -> tuple[PodView, ...]:
        return tuple(pod for pod in self.old if pod.ready)

    @property
    def serving(self) -> tuple[PodView, ...]:
        """Pods that may answer a request now."""
        return (*(self.ready if self.shown else ()), *self.old_ready)

    @property
    def unplaced(self) -> int:
        """Replicas of the revision that have no node yet."""
        placed = sum(1 for pod in self.updated if pod.node)
        waiting = sum(1 for pod in self.updated if not pod.node)
        return max(waiting, 0 if self.old else self.wanted - placed)

    @property
    def broken(self) -> tuple[PodView, ...]:
        """Pods of the revision that will not become ready by waiting."""
        return tuple(pod for pod in self.updated if pod.waiting in CRASH_REASONS or pod.waiting in IMAGE_REASONS)

    @property
    def complete(self) -> bool:
        """All wanted replicas run the revision and are ready, and nothing else serves, or is to."""
        if self.on_steps or not (self.applied and self.settled):
            return False
        return len(self.updated) == len(self.ready) == self.wanted and not self.old_ready


def observe(
    snapshot: Snapshot,
    revision: str,
    wanted: int,
    *,
    now: Instant,
    pending_write: bool,
    traffic: TrafficStatus | None = None,
    release: ReleaseStatus | None = None,
) -> Rollout:
    """The rollout of `revision`. `pending_write`: the Deployment is not yet what it should be."""
    alive = fleet.alive(snapshot)
    updated = tuple(pod for pod in alive if pod.revision == revision)
    due = _due(snapshot, updated)
    workload = fleet.workload_at(snapshot, fleet.home(snapshot, revision))
    seen = workload is not None and workload.is_observed
    settled = (
        workload is not None
        and workload.replicas
        == workload.updated_replicas
        == workload.ready_replicas
        == workload.spec_replicas
        == wanted
    )
    progressing = find_condition(workload.conditions, "Progressing") if workload is not None else None
    return Rollout(
        revision=revision,
        wanted=wanted,
        applied=seen and not pending_write,
        settled=settled,
        updated=updated,
        old=tuple(pod for pod in alive if pod.revision != revision and not fleet.is_idle(traffic, pod.revision)),
        shown=not fleet.is_idle(traffic, revision),
        on_steps=release is not None and fleet.is_on_steps(release, revision),
        deadline_exceeded=any(moment <= now for moment in due)
        or (seen and progressing is not None and progressing.reason == "ProgressDeadlineExceeded"),
        deadline_at=min((moment for moment in due if moment > now), default=None),
    )


def _due(snapshot: Snapshot, pods: tuple[PodView, ...]) -> list[Instant]:
    """By when each of those has to be ready that loads, or has loaded and does not answer. What is wrong beneath a pod
    says nothing about how long it takes.
    """
    spec = snapshot.parsed.spec
    if spec is None:
        return []
    late = [pod for pod in pods if not pod.was_ready and pod.fault is None and not _may_wait_for_its_gate(pod)]
    return [pod.placed_at + spec.workload_deadline_seconds for pod in late if pod.placed_at is not None]


def _may_wait_for_its_gate(pod: PodView) -> bool:
    """Whether the pod could be ready for all that is known. An operator that has just begun has not asked it yet."""
    return pod.containers_ready and (pod.probe is None or pod.probe.ok)


class Answers(msgspec.Struct, frozen=True):
    """What the real requests to the pods of the revision that are up said."""

    good: tuple[PodView, ...] = ()
    """Answered well within the freshness window."""
    failing: tuple[PodView, ...] = ()
    """The last request failed, and none was answered well within the window."""
    unknown: tuple[PodView, ...] = ()
    """Not asked yet, or the answer is too old to mean anything."""
    faltering: tuple[PodView, ...] = ()
    """Among the good: a request failed within the window, if not the last one. Whoever fails now and then would else be
    news with each answer."""
    just_started: bool = False
    """Whoever asks has begun to do so within the window (or does not ask at all): unknown is no news."""


def answers(snapshot: Snapshot, rollout: Rollout, now: Instant) -> Answers:
    window = snapshot.config.probe_freshness
    good, failing, unknown, faltering = [], [], [], []
    for pod in rollout.up:
        probe = pod.probe
        if probe is None or not _is_fresh(probe.at, now, window):
            unknown.append(pod)
        elif probe.ok or (probe.last_success is not None and _is_fresh(probe.last_success, now, window)):
            good.append(pod)
            if not probe.ok or (probe.last_failure is not None and _is_fresh(probe.last_failure, now, window)):
                faltering.append(pod)
        else:
            failing.append(pod)
    since = snapshot.probing_since
    return Answers(
        good=tuple(good),
        failing=tuple(failing),
        unknown=tuple(unknown),
        faltering=tuple(faltering),
        just_started=since is None or _is_fresh(since, now, window),
    )


def _is_fresh(moment: Instant, now: Instant, window: float) -> bool:
    """Whether it lies within the window. What lies beyond it in the future was seen before the clock was set back."""
    return abs(now - moment) <= window


def next_staleness(rollout: Rollout, now: Instant, window: float) -> Instant | None:
    """When the first answer that counts now will be too old to count."""
    probes = [pod.probe for pod in rollout.up if pod.probe is not None]
    moments = [moment for probe in probes for moment in (probe.last_success, probe.last_failure) if moment is not None]
    return min((moment + window for moment in moments if moment + window > now), default=None)
