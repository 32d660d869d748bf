"""A release that is compared with the version before it: how it fares, when it is taken back, and when it is over."""

import math
from collections.abc import Mapping

import msgspec

from outrider.api.llmdeployment import IndicatorStatus, ReleaseStatus
from outrider.api.meta import Instant, format_time, parse_time
from outrider.api.modelrevision import ModelRevisionStatus, Rejection
from outrider.plan import evidence
from outrider.plan.deployment import front_door, rejection, steps, trial
from outrider.plan.deployment.effective import (
    ALIAS,
    SPEC,
    find_revision,
)
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.snapshot import PodView, Watch
from outrider.plan.evidence.situation import PodFacts, Situation
from outrider.plan.evidence.verdict import AWAITING_PODS, Verdict

TICK = 5.0
"""Seconds between two looks at a release that may be rolled back by itself."""
SLOW_TICK = 30.0
"""The same where nothing would be done about it."""
FOLLOW_UP = 1.0
"""Seconds until replicas and traffic follow a step that has just begun or ended: its time runs from then on."""
WRITE_PAUSE, SLOW_WRITE_PAUSE, WRITE_SHARE = 30.0, 120.0, 0.3
"""Numbers are written after 30 s (where nothing would be done about them, two minutes), then after three tenths of the
release's age: 15 writes in half an hour, or 9."""
MOST_IN_A_DAY = 3
"""Rollbacks of one service that happen by themselves. Whoever needs a fourth has another problem."""
RESTARTING = frozenset({"CrashLoopBackOff", "RunContainerError"})
"""Why a pod waits whose container ended and is started anew."""
SEVERE = 0.5
"""The share of bad answers among the newest from which on none at all is better for whoever can ask another pod."""
NEWS = (
    "verdict", "stage", "trial_since", "step", "step_since", "weight", "waits_for", "standby_until", "served_time",
    "suspended_since",
)  # fmt: skip
CERTAIN = frozenset({"CrashLooping", "NoEndpointsLeft", "AllRecentFailed", "Stalled"})


class Kept(msgspec.Struct, frozen=True):
    """What another process needs to go on."""

    state: evidence.State = evidence.State()
    edges: dict[evidence.Indicator, float] = {}


class Release(msgspec.Struct, frozen=True):
    """What one look at a release found."""

    status: ReleaseStatus
    """As it should be stored."""
    rejection: Rejection | None = None
    """The candidate is to be taken back now."""
    looks_again_in: float | None = None
    """Seconds; None once it is over, and while no replica is wanted."""


def look(facts: Facts, status: ReleaseStatus | None) -> Release | None:
    """How the release fares that is under way or was the last; None where there was none to compare."""
    if status is None or status.phase != "Watching":
        return Release(status) if status is not None else None
    if not _is_asked_for(facts, status):
        return Release(_over(facts, status))
    watch, noted = facts.snapshot.watch, _timed(facts, status)
    if watch is None or watch.revision != status.revision:
        return Release(noted, looks_again_in=_pause(facts))
    settings = _settings(facts)
    verdict = evidence.judge(watch.state, _situation(facts, noted), settings, facts.now)
    wanted = steps.went_on(facts, trial.went_on(facts, _concluded(noted, verdict, watch, facts.now)))
    asked = steps.wishes(find_revision(facts.snapshot.revisions, status.revision), status)
    if asked.abort:
        return _aborted(facts, status, wanted)
    if verdict.kind == "RollBack":
        return _bad(facts, status, wanted, watch.state.newest.share)
    over = verdict.kind == "Good" or _baked(facts, noted) >= settings.max_bake
    if over and not steps.is_under_way(wanted):
        return Release(msgspec.structs.replace(wanted, phase="Ended"))
    moved = (status.stage, status.step, status.weight) != (wanted.stage, wanted.step, wanted.weight)
    again = FOLLOW_UP if moved else None if wanted.suspended_since else _pause(facts)
    return Release(wanted if _is_news(facts, status, wanted) else status, looks_again_in=again)


def _concluded(status: ReleaseStatus, verdict: Verdict, watch: Watch, now: Instant) -> ReleaseStatus:
    known = {name: watch.state.evidence[name] for name in evidence.INDICATORS if name in watch.state.evidence}
    return msgspec.structs.replace(
        status,
        verdict=verdict.kind,
        reason=verdict.reason,
        message=verdict.message,
        updated_time=format_time(now),
        p_value=verdict.evidence.get("always_valid_p", 1.0),
        indicators=tuple(
            IndicatorStatus(
                name=name,
                slower_than=watch.edges.get(name),
                candidate_bad=found.candidate.total.bad,
                candidate_total=found.candidate.total.total,
                stable_bad=found.stable.total.bad,
                stable_total=found.stable.total.total,
            )
            for name, found in known.items()
        ),
        evidence=msgspec.json.encode(Kept(watch.state, watch.edges)).decode(),
    )


def _aborted(facts: Facts, before: ReleaseStatus, wanted: ReleaseStatus) -> Release:
    """Taken back because a person said so; like one that evidence spoke against, it is not released again by itself."""
    message = f"{wanted.version} was aborted by hand."
    candidate = find_revision(facts.snapshot.revisions, wanted.revision)
    if candidate is not None and rejection.stands(candidate):
        why = "the spec is invalid" if facts.snapshot.parsed.spec is None else "there is nothing to go back to"
        stays = msgspec.structs.replace(wanted, reason=rejection.ABORTED, message=f"{message} It serves on, for {why}.")
        return Release(stays if _is_news(facts, before, stays) else before, looks_again_in=_pause(facts))
    told = msgspec.structs.replace(wanted, reason=rejection.ABORTED, message=message)
    taken_back = Rejection(
        time=format_time(facts.now), reason=told.reason, message=told.message, fallback=told.stable_revision
    )
    return Release(told, taken_back, looks_again_in=_pause(facts))


def _is_asked_for(facts: Facts, status: ReleaseStatus) -> bool:
    effective = facts.effective
    if effective.target is None:
        return True  # nobody can tell what is asked for: it is still what it was
    if effective.hold is not None:
        return effective.target.hash == status.revision
    return effective.source in (SPEC, ALIAS) and effective.target.hash == status.revision


def _over(facts: Facts, status: ReleaseStatus) -> ReleaseStatus:
    """The release once something else is made true: because it was taken back, or because it is no longer asked for."""
    candidate = find_revision(facts.snapshot.revisions, status.revision)
    taken_back = candidate is not None and rejection.stands(candidate)
    return msgspec.structs.replace(
        status, phase="RolledBack" if taken_back else "Ended", updated_time=format_time(facts.now)
    )


def _settings(facts: Facts) -> evidence.Settings:
    spec = facts.snapshot.parsed.spec
    return evidence.settings_of(spec.rollback.auto_rollback) if spec is not None else evidence.Settings()


def _pause(facts: Facts) -> float:
    spec = facts.snapshot.parsed.spec
    return TICK if spec is not None and spec.rollback.auto_rollback.enabled else SLOW_TICK


def _timed(facts: Facts, status: ReleaseStatus) -> ReleaseStatus:
    """With a note of when it first served in full, and of the time in which no replica is wanted: nobody learns
    anything of a version that does not run.
    """
    since = parse_time(status.suspended_since)
    if since is None and facts.wish.replicas == 0:
        return msgspec.structs.replace(status, suspended_since=format_time(facts.now))
    if since is not None and facts.wish.replicas:
        lasted = math.ceil(max(0.0, facts.now - since)) if status.served_time else 0
        status = msgspec.structs.replace(
            status, suspended_since="", suspended_seconds=status.suspended_seconds + lasted
        )
    if not status.served_time and _serves_in_full(facts, status):
        return msgspec.structs.replace(status, served_time=format_time(facts.now))
    return status


def _serves_in_full(facts: Facts, status: ReleaseStatus) -> bool:
    """Whether all replicas and all traffic are the candidate's, and it has answered."""
    known = facts.states.get(status.revision)
    served = known is not None and known.first_served_time is not None
    return served and facts.rollout.complete and status.stage != "Trial" and not steps.is_under_way(status)


def _baked(facts: Facts, status: ReleaseStatus) -> float:
    """Seconds for which the candidate has served in full, or could have, but for those in which no replica was wanted.
    What it did in an earlier release proves nothing of this one.
    """
    served, until = parse_time(status.served_time), parse_time(status.suspended_since) or facts.now
    return max(0.0, until - served - status.suspended_seconds) if served is not None else 0.0


def _situation(facts: Facts, status: ReleaseStatus) -> Situation:
    snapshot, rollout, now, watch = facts.snapshot, facts.rollout, facts.now, facts.snapshot.watch
    stable = [pod for pod in snapshot.pods if pod.alive and pod.revision == status.stable_revision]
    return Situation(
        candidate=status.version,
        stable=status.stable_version,
        pods=tuple(_pod_facts(pod, now) for pod in rollout.updated),
        stable_ready=sum(1 for pod in stable if pod.ready),
        stable_there=bool(stable),
        data_age=watch.data_age if watch is not None else None,
        unread=watch.unread if watch is not None else 0.0,
        why_unread=watch.why_unread if watch is not None else "",
        gateway_read=watch is not None and watch.gateway_read,
        unreachable=front_door.unreachable(facts, status),
        baked=_baked(facts, status),
        suspended=bool(status.suspended_since),
        loaded=max((now - pod.loaded_at for pod in rollout.updated if pod.loaded_at is not None), default=0.0),
        complete=rollout.complete,
        deadline_exceeded=rollout.deadline_exceeded,
        deadline=float(snapshot.parsed.spec.workload_deadline_seconds) if snapshot.parsed.spec is not None else 0.0,
    )


def _pod_facts(pod: PodView, now: Instant) -> PodFacts:
    return PodFacts(
        uid=pod.uid,
        name=pod.name,
        placed=bool(pod.node),
        placed_for=max(0.0, now - pod.placed_at) if pod.placed_at is not None else None,
        ever_ready=pod.was_ready,
        ready=pod.ready,
        unready_for=max(0.0, now - pod.unready_since) if pod.unready_since is not None else None,
        restarts=pod.restarts if pod.waiting in RESTARTING else 0,
        fault=pod.fault.message if pod.fault is not None else "",
    )


def _bad(facts: Facts, before: ReleaseStatus, wanted: ReleaseStatus, bad_share: float | None) -> Release:
    why_not = _why_not(facts, wanted)
    if why_not:
        told = msgspec.structs.replace(wanted, message=f"{wanted.message} {why_not}")
        return Release(told if _is_news(facts, before, told) else before, looks_again_in=_pause(facts))
    severe = wanted.reason in CERTAIN or (bad_share is not None and bad_share >= SEVERE)
    taken_back = Rejection(
        time=format_time(facts.now),
        reason=wanted.reason,
        message=wanted.message,
        severe=severe,
        fallback=wanted.stable_revision,
    )
    # Rolled back it is called by the next look, which sees the rejection: a crash in between changes nothing.
    return Release(wanted, taken_back, looks_again_in=_pause(facts))


def _why_not(facts: Facts, status: ReleaseStatus) -> str:
    """Why a release that is worse is not rolled back by itself; empty where it is."""
    snapshot, now = facts.snapshot, facts.now
    spec, name = snapshot.parsed.spec, snapshot.name
    by_hand = f"To go back: outrider rollback {name} --namespace {snapshot.namespace}."
    if spec is None:
        return f"The spec is invalid, so nothing is changed by itself. {by_hand}"
    auto = spec.rollback.auto_rollback
    if not auto.enabled:
        return f"It is not rolled back by itself (spec.rollback.autoRollback.enabled is not true). {by_hand}"
    if auto.mode == "recommend":
        return f"It is not rolled back by itself (spec.rollback.autoRollback.mode is recommend). {by_hand}"
    stable = find_revision(snapshot.revisions, status.stable_revision)
    if stable is None or rejection.stands(stable):
        return f"{status.stable_version}, to which it would go back, is not good either. {by_hand}"
    moments = rejection.times(snapshot.revisions)
    if rejection.within(moments, auto.cooldown.seconds, now):
        since = f"the last rollback is less than {auto.cooldown} ago (spec.rollback.autoRollback.cooldown)"
        return f"The rollout is held where it is: {since}. {by_hand}"
    if rejection.within(moments, rejection.DAY, now) >= MOST_IN_A_DAY:
        return f"The rollout is held where it is: there were {MOST_IN_A_DAY} rollbacks in a day. {by_hand}"
    return ""


def _is_news(facts: Facts, before: ReleaseStatus, after: ReleaseStatus) -> bool:
    """Whether it is worth a write: another conclusion at once; other numbers, and what is awaited, now and then."""
    if any(getattr(before, name) != getattr(after, name) for name in NEWS):
        return True
    if after.verdict != "Watching" and before.reason != after.reason:
        return True
    if (before.reason == AWAITING_PODS) != (after.reason == AWAITING_PODS):
        return True  # nobody should read for minutes that no pod is ready
    now = facts.now
    started, updated = parse_time(before.started_time) or now, parse_time(before.updated_time) or now
    pause = WRITE_PAUSE if _pause(facts) == TICK else SLOW_WRITE_PAUSE
    return now - updated >= max(pause, WRITE_SHARE * (now - started))


def with_rejection(
    states: Mapping[str, ModelRevisionStatus], release: Release | None
) -> dict[str, ModelRevisionStatus]:
    """The states of all revisions, once the release was looked at."""
    found = dict(states)
    if release is not None and release.rejection is not None and release.status.revision in found:
        why = release.rejection
        found[release.status.revision] = msgspec.structs.replace(
            found[release.status.revision],
            state="Quarantined",
            reason=why.reason,
            message=why.message,
            rejection=why,
        )
    return found


def kept(status: ReleaseStatus) -> Kept:
    """The evidence that was written last. What cannot be read (another version wrote it) is no evidence."""
    try:
        return msgspec.json.decode(status.evidence, type=Kept) if status.evidence else Kept()
    except msgspec.DecodeError:
        return Kept()
