"""When a release begins, and with what the new version is compared."""

import msgspec

from outrider.api.llmdeployment import ReleaseStage, ReleaseStatus
from outrider.api.meta import Instant, format_time
from outrider.api.modelrevision import ModelRevision, ModelRevisionSpec
from outrider.api.spec_operations import STEPWISE
from outrider.plan.deployment import fleet, rejection, trial
from outrider.plan.deployment.effective import (
    ALIAS,
    SPEC,
    Effective,
    current_revision,
    find_revision,
    has_served,
    previous_stable,
)
from outrider.plan.deployment.snapshot import Snapshot
from outrider.plan.evidence.verdict import AWAITING_PODS


def begun(snapshot: Snapshot, effective: Effective, now: Instant) -> ReleaseStatus | None:
    """The release that the status tells of, or the one that begins now."""
    before, target = snapshot.deployment.status.release, effective.target
    if effective.hold is not None or effective.source not in (SPEC, ALIAS) or target is None:
        return before
    traffic = snapshot.deployment.status.traffic
    serving = snapshot.deployment.status.effective_revision or fleet.selected(snapshot) or current_revision(snapshot)
    if target.hash == serving or not serving or _is_given_up(snapshot, before, serving, target.hash):
        return before
    if traffic is not None and traffic.revision:
        if traffic.revision == target.hash:
            return _retried(snapshot, before, target.hash, now)  # or else back to what never stopped serving
        # And not the candidate that was about to take its place, unless that answers alone.
        serving = fleet.carrying(snapshot, traffic, target.hash)
    candidate = find_revision(snapshot.revisions, target.hash)
    if candidate is not None and candidate.status.verified_time is not None and not rejection.retried(candidate):
        return before  # back to what has proven itself
    # At zero replicas it takes over all traffic, and answers none.
    took_over = traffic is not None and traffic.revision == serving and fleet.ready(snapshot, serving) > 0
    stable = _stable(snapshot, before, serving, target.hash, took_over=took_over)
    if stable is None:
        return None
    return _with_strategy(snapshot, _new(target, stable.spec, now))


def _new(target: ModelRevisionSpec, stable: ModelRevisionSpec, now: Instant) -> ReleaseStatus:
    return ReleaseStatus(
        revision=target.hash,
        version=target.version,
        stable_revision=stable.hash,
        stable_version=stable.version,
        started_time=format_time(now),
        updated_time=format_time(now),
        reason=AWAITING_PODS,
        message=f"{target.version}: no pod is ready yet.",
    )


def _is_given_up(snapshot: Snapshot, before: ReleaseStatus | None, serving: str, target: str) -> bool:
    """Whether people go back to what a release was compared with, from a candidate that never served in full: it is no
    place to go back to.
    """
    if before is None or (before.revision, before.stable_revision) != (serving, target):
        return False
    candidate = find_revision(snapshot.revisions, serving)
    return candidate is None or not has_served(candidate)


def _retried(snapshot: Snapshot, before: ReleaseStatus | None, target: str, now: Instant) -> ReleaseStatus | None:
    """The release anew of what was taken back and is asked for again while it still has the traffic."""
    if before is None or (before.revision, before.phase) != (target, "RolledBack"):
        return before
    candidate = find_revision(snapshot.revisions, before.revision)
    stable = find_revision(snapshot.revisions, before.stable_revision)
    if candidate is None or stable is None or not rejection.retried(candidate) or rejection.stands(stable):
        return before
    begun_anew = _with_strategy(snapshot, _new(candidate.spec, stable.spec, now))
    return msgspec.structs.replace(begun_anew, stage="Rollout", step=len(begun_anew.steps))


def _with_strategy(snapshot: Snapshot, release: ReleaseStatus) -> ReleaseStatus:
    """How it is going to be released. By steps only beside a stable version that serves."""
    spec = snapshot.parsed.spec
    in_place = fleet.home(snapshot, release.revision) == snapshot.name
    if spec is None or in_place or not fleet.is_stepwise(snapshot):
        named = spec.deployment.rollout_strategy if spec is not None else release.strategy
        stage: ReleaseStage = "Trial" if trial.begun(snapshot, release) else "Rollout"
        return msgspec.structs.replace(release, strategy="RollingUpdate" if named in STEPWISE else named, stage=stage)
    planned = fleet.steps_of(spec)
    stage = "Preview" if spec.deployment.rollout_strategy == "BlueGreen" else "Canary"
    return msgspec.structs.replace(
        release,
        strategy=spec.deployment.rollout_strategy,
        steps=planned,
        stage=stage if planned and fleet.ready(snapshot, release.stable_revision) else "Rollout",
    )


def _stable(
    snapshot: Snapshot, before: ReleaseStatus | None, serving: str, candidate: str, *, took_over: bool
) -> ModelRevision | None:
    """What the candidate is compared with: what serves now if it ever served in full (or `took_over` all traffic a
    moment ago, after all its steps), else what that was compared with, else the last that was good.
    """
    for wanted in (serving, before.stable_revision if before is not None and before.revision == serving else ""):
        found = find_revision(snapshot.revisions, wanted)
        proven = found is not None and (has_served(found) or (took_over and wanted == serving))
        if found is not None and proven and wanted != candidate and not rejection.stands(found):
            return found
    good, found = previous_stable(snapshot, candidate), find_revision(snapshot.revisions, serving)
    if good is not None or found is None or serving == candidate or rejection.stands(found):
        return good
    return found if fleet.ready(snapshot, serving) else None  # it never had all its replicas, and is all there is
