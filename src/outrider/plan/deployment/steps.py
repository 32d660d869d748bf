"""A release by steps: how much of the traffic the new version has, what the next step waits for, and its end.

A step begins when its pods are ready, so that its traffic never meets fewer of them than it needs, and ends when it has
lasted as long as it should, the evidence does not speak against it, and nobody holds it. The steps are those of the
moment in which the release began: whoever edits them in the middle of it means the next one.
"""

import msgspec

from outrider.api import labels
from outrider.api.llmdeployment import ReleaseStatus
from outrider.api.meta import Instant, format_time, parse_time
from outrider.api.modelrevision import ModelRevision
from outrider.api.spec_operations import STEPWISE
from outrider.plan.deployment import fleet, front_door
from outrider.plan.deployment.capacity import are, count
from outrider.plan.deployment.effective import find_revision
from outrider.plan.deployment.facts import Facts
from outrider.plan.evidence.leaning import looks_worse
from outrider.plan.evidence.outcomes import GATEWAY_FAILURES, Counts
from outrider.plan.evidence.settings import LEANING
from outrider.plan.evidence.verdict import UNREACHABLE_THROUGH_GATEWAY

RESUME = "outrider rollout resume"
PROMOTE = "outrider rollout promote"
LOOKS_WORSE = "better evidence: so far it looks worse"
_GRAIN = 1.0
"""Seconds: a status has times without fractions."""


class Wishes(msgspec.Struct, frozen=True):
    """What people asked of this very release."""

    paused: bool = False
    promote: bool = False
    skip: bool = False
    abort: bool = False


def wishes(candidate: ModelRevision | None, release: ReleaseStatus) -> Wishes:
    """As the annotations of the candidate's ModelRevision say them; those that mean another release say nothing."""
    if candidate is None or not release.started_time:
        return Wishes()
    said, this = candidate.metadata.annotations, release.started_time
    return Wishes(
        paused=said.get(labels.PAUSE_RELEASE) == this,
        promote=said.get(labels.PROMOTE_RELEASE) == this,
        skip=said.get(labels.SKIP_STEP) == f"{this}/{release.step}",
        abort=said.get(labels.ABORT_RELEASE) == this,
    )


def is_under_way(release: ReleaseStatus) -> bool:
    """Whether the candidate of a release by steps is still to get replicas or traffic: however good it is, and however
    long that takes, it is not over.
    """
    return release.strategy in STEPWISE and release.stage != "Standby"


def went_on(facts: Facts, release: ReleaseStatus) -> ReleaseStatus:
    """The release with its step begun or ended, or with the old version on standby, where it is time for that."""
    if release.stage in ("Canary", "Preview"):
        asked = wishes(find_revision(facts.snapshot.revisions, release.revision), release)
        return _promoted(release) if asked.promote else _step(facts, release, asked)
    if release.stage == "Rollout" and release.strategy in STEPWISE:
        return _rollout(facts, release)
    return release


def _step(facts: Facts, release: ReleaseStatus, asked: Wishes) -> ReleaseStatus:
    spec = facts.snapshot.parsed.spec
    if spec is None or facts.effective.hold is not None:
        return _waiting(release, "the spec: what is asked for cannot be made true")
    if release.step >= len(release.steps):
        return _promoted(release)
    step = release.steps[release.step]
    needed = fleet.replicas(facts.snapshot, spec, release.revision, release)
    able = len(facts.rollout.ready)
    if not needed:  # it begins anew once there are pods again
        return _waiting(msgspec.structs.replace(release, step_since=""), "replicas: none is wanted")
    if able < needed:
        return _waiting(release, f"{count(needed, 'replica')}, of which {able} {are(able)} ready")
    if not release.step_since or release.weight != step.weight:
        if step.weight and (unproven := front_door.awaited(facts, release)):
            return _waiting(release, unproven)
        release = msgspec.structs.replace(release, weight=step.weight, step_since=format_time(facts.now))
    waits_for = _awaited(facts, release, asked)
    return _waiting(release, waits_for) if waits_for else _next(release)


def _awaited(facts: Facts, release: ReleaseStatus, asked: Wishes) -> str:
    """What the present step, which has all it needs, waits for; empty when it may end."""
    spec, name = facts.snapshot.parsed.spec, facts.snapshot.name
    assert spec is not None, "the caller looked"
    if asked.paused:
        return f"a person: {RESUME} {name}"
    if held := _held(release, name):
        return held
    if asked.skip:
        return ""
    if unproven := _unproven(facts, release):
        return unproven
    since, last = parse_time(release.step_since), release.steps[release.step].seconds
    if since is None or facts.now - since < last:
        return "its time"
    if nothing_read(facts, since):
        return "its metrics, of which none could be read since it began"
    few = next((one.candidate_total for one in release.indicators if one.name == "errors"), 0.0)
    if few < spec.rollback.auto_rollback.min_requests:
        return f"{spec.rollback.auto_rollback.min_requests} answers (spec.rollback.autoRollback.minRequests)"
    if release.stage == "Preview" and not spec.deployment.blue_green.auto_promotion:
        return f"a person: {PROMOTE} {name}"
    return ""


def _held(release: ReleaseStatus, name: str) -> str:
    if release.reason == UNREACHABLE_THROUGH_GATEWAY:
        return "the Gateway to reach it"
    if release.verdict in ("Watching", "Good"):
        return ""
    if release.verdict == "RollBack":
        return f"a person, for it is worse and may not be taken back by itself now: outrider rollback {name}"
    return "evidence that says something"


def _unproven(facts: Facts, release: ReleaseStatus) -> str:
    if leans_against(facts, release):
        return LOOKS_WORSE
    return front_door.awaited(facts, release)


def nothing_read(facts: Facts, since: Instant) -> bool:
    """Whether the candidate's counters were never read since then, where its servers show any: a step that is shorter
    than what makes data old would else end on probes alone.
    """
    watch = facts.snapshot.watch
    return watch is not None and watch.unread > facts.now - since - _GRAIN


def leans_against(facts: Facts, release: ReleaseStatus) -> bool:
    """Whether what was counted looks worse than the stable version, though nothing is proven yet."""
    margins = {str(name): margin for name, margin in LEANING.items()}
    watch = facts.snapshot.watch
    if watch is None or not watch.gateway_read:
        del margins[GATEWAY_FAILURES]  # nobody waits for numbers that do not come
    return any(
        looks_worse(
            Counts(one.candidate_bad, one.candidate_total), Counts(one.stable_bad, one.stable_total), margins[one.name]
        )
        for one in release.indicators
        if one.name in margins
    )


def _next(release: ReleaseStatus) -> ReleaseStatus:
    ended = msgspec.structs.replace(release, step=release.step + 1, step_since="", waits_for="")
    return _promoted(ended) if ended.step >= len(ended.steps) else ended


def _promoted(release: ReleaseStatus) -> ReleaseStatus:
    return msgspec.structs.replace(
        release, stage="Rollout", step=len(release.steps), step_since="", waits_for="all of its replicas"
    )


def _rollout(facts: Facts, release: ReleaseStatus) -> ReleaseStatus:
    """Once the candidate has all replicas and all traffic, the stable version stays for a while."""
    traffic, spec = facts.traffic, facts.snapshot.parsed.spec
    if spec is None or traffic is None or traffic.revision != release.revision or not facts.rollout.complete:
        return release
    until = format_time(facts.now + spec.rollback.standby.seconds)
    return msgspec.structs.replace(release, stage="Standby", weight=100, standby_until=until, waits_for="")


def _waiting(release: ReleaseStatus, waits_for: str) -> ReleaseStatus:
    return msgspec.structs.replace(release, waits_for=waits_for)


def next_moment(release: ReleaseStatus | None) -> float | None:
    """When the standby ends, where one is kept."""
    return parse_time(release.standby_until) if release is not None and release.stage == "Standby" else None
