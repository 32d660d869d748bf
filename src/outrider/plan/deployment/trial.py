"""The trial of a new version: its first replicas serve beside the old ones for a while before the rest are replaced.

The Deployment is paused for that, and the readiness gate of the first new pod is opened only when its controller has
seen the pause, so that no old pod goes for it. `minReadySeconds` would be simpler, and wrong: pods that are ready and
not yet "available" are the first to be ended when the template changes again (deployment/rolling.go,
`cleanupUnhealthyReplicas`), which with two edits in a minute can be all that serve.

There is no trial where the first new pods are all that is wanted (one replica, or a `maxSurge` for all of them): a
Deployment whose new ReplicaSet is complete loses its old ones even while it is paused (deployment/sync.go, `scale`).
"""

from typing import Any

import msgspec

from outrider.api.llmdeployment import ReleaseStatus
from outrider.api.meta import format_time, parse_time
from outrider.plan.deployment import fleet, rolling, steps
from outrider.plan.deployment.drift import difference
from outrider.plan.deployment.effective import find_revision
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.observed import WorkloadView
from outrider.plan.deployment.snapshot import PodView, Snapshot
from outrider.plan.evidence.settings import LEAST_TICKS


def pauses(snapshot: Snapshot, revision: str, template: dict[str, Any]) -> bool:
    """Whether the rollout is to stop where it is: for a trial as soon as a new pod could take requests, and where a
    release is worse and may not be taken back by itself.
    """
    release, workload = snapshot.deployment.status.release, snapshot.workload
    if release is None or (release.revision, release.phase) != (revision, "Watching"):
        return False
    if workload is None or difference(template, workload.template):
        return False  # what is wanted has changed: pods of it have to come first
    if _recreates(snapshot):
        return False
    if steps.wishes(find_revision(snapshot.revisions, revision), release).paused:
        return _is_under_way(workload)
    if not _is_automatic(snapshot):
        return False
    if release.verdict == "RollBack":
        return _is_under_way(workload)
    if not _of(snapshot, release.stable_revision) or not _is_in_place(snapshot, release):
        return False  # nothing to be compared with is left (in this very moment the rest may follow), or none would go
    return release.stage == "Trial" and (
        any(pod.containers_ready for pod in _of(snapshot, revision))
        or (workload.paused and bool(_of(snapshot, revision)))
    )


def _is_under_way(workload: WorkloadView) -> bool:
    """Whether there is anything left to stop: changing a Deployment whose pods all run what they should would look like
    a rollout, and the service for a moment as if it were not ready.
    """
    return not workload.is_observed or not workload.replicas == workload.updated_replicas == workload.spec_replicas


def waits(snapshot: Snapshot, pod: PodView) -> bool:
    """Whether the pod may not take requests yet, because an old one would go for it."""
    release, workload = snapshot.deployment.status.release, snapshot.workload
    if release is None or (release.revision, release.phase, release.stage) != (pod.revision, "Watching", "Trial"):
        return False
    if not _is_in_place(snapshot, release):
        return False
    return workload is None or not workload.paused or not workload.is_observed


def begun(snapshot: Snapshot, release: ReleaseStatus) -> bool:
    """Whether a release that begins now is tried first: it may be taken back by itself, there is something to compare
    it with, and not all replicas are replaced at once.
    """
    spec = snapshot.parsed.spec
    if spec is None or not _is_automatic(snapshot) or not _of(snapshot, release.stable_revision):
        return False
    return _is_in_place(snapshot, release) and rolling.first_batch(spec) < spec.desired_replicas


def _is_in_place(snapshot: Snapshot, release: ReleaseStatus) -> bool:
    """Whether the candidate is in the Deployment of the others, so that one of them goes for each of its pods.

    It is not where that one was seen last as it began: a watch that is late, and its successor has pods of its own.
    Nor where the others have one of their own, from a release by steps: they stay until all of the candidate is ready.
    """
    if any(one.revision == release.stable_revision for one in snapshot.own_workloads):
        return False
    return fleet.home(snapshot, release.revision) == snapshot.name


def went_on(facts: Facts, release: ReleaseStatus) -> ReleaseStatus:
    """The release with its trial begun or ended, where it is time for that."""
    snapshot, now = facts.snapshot, facts.now
    if release.stage != "Trial":
        return release
    spec = snapshot.parsed.spec
    is_possible = _is_automatic(snapshot) and _is_in_place(snapshot, release) and not _recreates(snapshot)
    if spec is not None and not (is_possible and _of(snapshot, release.stable_revision)):
        return msgspec.structs.replace(release, stage="Rollout")
    since = parse_time(release.trial_since)
    if since is None:
        serves = any(pod.ready for pod in _of(snapshot, release.revision))
        return msgspec.structs.replace(release, trial_since=format_time(now)) if serves else release
    over = spec is not None and now - since >= spec.rollback.auto_rollback.window.seconds
    seen = _was_seen(snapshot) and not steps.nothing_read(facts, since)
    if over and seen and release.verdict in ("Watching", "Good"):
        if steps.leans_against(facts, release):
            return msgspec.structs.replace(release, waits_for=steps.LOOKS_WORSE)
        return msgspec.structs.replace(release, stage="Rollout", waits_for="")
    return release


def _recreates(snapshot: Snapshot) -> bool:
    """Whether all old pods go first, so that there is nothing beside which a new one could be tried."""
    return snapshot.parsed.spec is not None and rolling.recreates(snapshot.parsed.spec)


def _was_seen(snapshot: Snapshot) -> bool:
    """Whether the candidate was counted so often that it could have been found out: an operator that was away for most
    of the trial, or is killed again and again, has seen nothing that speaks for it.
    """
    watch = snapshot.watch
    return watch is not None and watch.state.ticks >= LEAST_TICKS


def _is_automatic(snapshot: Snapshot) -> bool:
    spec = snapshot.parsed.spec
    return spec is not None and spec.rollback.auto_rollback.enabled and spec.rollback.auto_rollback.mode == "auto"


def _of(snapshot: Snapshot, revision: str) -> list[PodView]:
    return [pod for pod in snapshot.pods if pod.revision == revision and pod.alive]
