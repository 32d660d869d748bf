"""The state of every ModelRevision: Candidate, Serving, Verified or Quarantined; and which of them are kept."""

from collections.abc import Collection, Mapping

import msgspec

from outrider.api.meta import Instant, format_time, parse_time
from outrider.api.modelrevision import ModelRevision, ModelRevisionStatus
from outrider.plan.deployment import rejection
from outrider.plan.deployment.effective import PINNED, has_served
from outrider.plan.deployment.snapshot import Snapshot

LAST_SERVED_GRANULARITY = 60.0
"""Seconds. `lastServedTime` is written no oftener, which bounds the writes of a release that takes hours."""
LAST_SERVED_SHARE, LAST_SERVED_COARSEST = 0.1, 3600.0
"""What has served for long is noted less often, after a tenth of its time and at least hourly: a release that is stuck
over a weekend must not write every minute. Whoever becomes Ready is noted to the second, so that the order stays."""


class Judgement(msgspec.Struct, frozen=True):
    """What the present moment says about revisions."""

    ready: str = ""
    """Hash of the revision that serves alone, every replica, and answers; empty when none does."""
    ready_since: Instant | None = None
    """Since when without interruption."""
    answering: frozenset[str] = frozenset()
    """Hashes of revisions of which at least one pod is ready, during a release usually two."""
    just_became_ready: bool = False


def judge(
    snapshot: Snapshot, judgement: Judgement, bake_seconds: float, now: Instant
) -> dict[str, ModelRevisionStatus]:
    """The status that each known revision should have, by hash."""
    return {one.spec.hash: _judge_one(snapshot, one, judgement, bake_seconds, now) for one in snapshot.revisions}


def _judge_one(
    snapshot: Snapshot, revision: ModelRevision, judgement: Judgement, bake_seconds: float, now: Instant
) -> ModelRevisionStatus:
    status = revision.status
    if revision.spec.hash == judgement.ready:
        status = _mark_served(status, judgement, bake_seconds, now)
    elif revision.spec.hash in judgement.answering and has_served(revision):
        status = _mark_last_served(status, now)
    return _with_state(snapshot, revision, status)


def _mark_served(
    status: ModelRevisionStatus, judgement: Judgement, bake_seconds: float, now: Instant
) -> ModelRevisionStatus:
    stamp = format_time(now)
    if status.first_served_time is None:
        status = msgspec.structs.replace(status, first_served_time=stamp, last_served_time=stamp)
    elif judgement.just_became_ready:  # to the second: within one minute, who served last may have changed twice
        status = msgspec.structs.replace(status, last_served_time=stamp)
    since = judgement.ready_since
    if status.verified_time is None and since is not None and now - since >= bake_seconds:
        status = msgspec.structs.replace(status, verified_time=stamp, last_served_time=stamp)
    return status


def _mark_last_served(status: ModelRevisionStatus, now: Instant) -> ModelRevisionStatus:
    last, first = parse_time(status.last_served_time), parse_time(status.first_served_time)
    age = now - first if first is not None else 0.0
    pause = min(max(LAST_SERVED_GRANULARITY, LAST_SERVED_SHARE * age), LAST_SERVED_COARSEST)
    if last is not None and now - last < pause:
        return status
    return msgspec.structs.replace(status, last_served_time=format_time(now))


def _with_state(snapshot: Snapshot, revision: ModelRevision, status: ModelRevisionStatus) -> ModelRevisionStatus:
    pin = snapshot.pin
    if pin is not None and pin.spec.rejects and pin.spec.rejects == revision.spec.hash:
        who = f" by {pin.spec.created_by}" if pin.spec.created_by else ""
        why = f": {pin.spec.reason}" if pin.spec.reason else ""
        message = f"Rejected by the pin{who}{why}. Deleting the pin lifts this."
        return msgspec.structs.replace(status, state="Quarantined", reason=PINNED, message=message)
    status = msgspec.structs.replace(status, rejection=rejection.kept(revision))
    if status.rejection is not None and not status.rejection.lifted:
        return msgspec.structs.replace(
            status, state="Quarantined", reason=status.rejection.reason, message=status.rejection.message
        )
    if status.verified_time is not None:
        return msgspec.structs.replace(
            status, state="Verified", reason="Baked", message="Served for the whole bake time."
        )
    if status == ModelRevisionStatus():
        return status  # A new one is a Candidate by its type's default: that need not be written.
    if status.first_served_time is not None:
        return msgspec.structs.replace(
            status, state="Serving", reason="Served", message="Was fully rolled out and answered a real request."
        )
    return msgspec.structs.replace(
        status, state="Candidate", reason="NotServedYet", message="Has not been fully rolled out yet."
    )


def verified_at(snapshot: Snapshot, judgement: Judgement, bake_seconds: float) -> Instant | None:
    """When the revision that serves now will have served for the bake time; None when it has, or none serves."""
    ready = next((one for one in snapshot.revisions if one.spec.hash == judgement.ready), None)
    if ready is None or judgement.ready_since is None or ready.status.verified_time is not None:
        return None
    return judgement.ready_since + bake_seconds


def stable(snapshot: Snapshot, states: Mapping[str, ModelRevisionStatus], effective: str) -> ModelRevision | None:
    """The newest revision that has fully served and is not quarantined: the effective one if it has, else what was
    stable before, else the last that served.
    """
    good = {
        one.spec.hash: one
        for one in snapshot.revisions
        if states[one.spec.hash].first_served_time is not None and states[one.spec.hash].state != "Quarantined"
    }
    for candidate in (effective, snapshot.deployment.status.stable_revision):
        if candidate in good:
            return good[candidate]
    return max(
        good.values(),
        key=lambda one: (states[one.spec.hash].last_served_time or "", one.spec.sequence),
        default=None,
    )


def prunable(
    snapshot: Snapshot, states: Mapping[str, ModelRevisionStatus], in_use: Collection[str]
) -> tuple[ModelRevision, ...]:
    """The oldest revisions beyond the history limit. What is in use never goes, nor what a pod still runs, nor the last
    that was verified; a quarantined one stays as long as what quarantined it.
    """
    verified = [one for one in snapshot.revisions if states[one.spec.hash].verified_time is not None]
    last_verified = max(verified, key=lambda one: states[one.spec.hash].last_served_time or "", default=None)
    kept = {*in_use, *(pod.revision for pod in snapshot.pods)}
    if last_verified is not None:
        kept.add(last_verified.spec.hash)
    if snapshot.pin is not None:
        kept |= {snapshot.pin.spec.revision, snapshot.pin.spec.rejects, snapshot.pin.status.revision}
    others = [one for one in snapshot.revisions if one.spec.hash not in kept]
    excess = len(snapshot.revisions) - max(snapshot.config.history_limit, 10)
    oldest_first = sorted(others, key=lambda one: one.spec.sequence)
    return tuple(oldest_first[: max(0, excess)])
