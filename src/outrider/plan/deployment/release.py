"""A release that is compared with the version before it: when it begins, how it fares, and when it is taken back."""

import math
from collections.abc import Mapping

import msgspec

from outrider.api.llmdeployment import IndicatorStatus, ReleaseStage, ReleaseStatus
from outrider.api.meta import Instant, format_time, parse_time
from outrider.api.modelrevision import ModelRevision, ModelRevisionStatus, Rejection
from outrider.api.spec_operations import STEPWISE
from outrider.plan import evidence
from outrider.plan.deployment import fleet, front_door, rejection, steps, trial
from outrider.plan.deployment.effective import (
    ALIAS,
    SPEC,
    Effective,
    current_revision,
    find_revision,
    has_served,
    previous_stable,
)
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.rollout import CRASH_REASONS
from outrider.plan.deployment.snapshot import PodView, Snapshot, Watch
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
SEVERE = 0.5
"""The share of bad answers among the newest from which on none at all is better for whoever can ask another pod."""
NEWS = (
    "verdict", "stage", "trial_since", "step", "step_since", "weight", "waits_for", "standby_until", "suspended_since"
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
    watch, noted = facts.snapshot.watch, _suspended(facts, status)
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


def begun(snapshot: Snapshot, effective: Effective, now: Instant) -> ReleaseStatus | None:
    """The release that the status tells of, or the one that begins now."""
    before, target = snapshot.deployment.status.release, effective.target
    if effective.hold is not None or effective.source not in (SPEC, ALIAS) or target is None:
        return before
    traffic = snapshot.deployment.status.traffic
    serving = snapshot.deployment.status.effective_revision or fleet.selected(snapshot) or current_revision(snapshot)
    if target.hash == serving or not serving:
        return before
    if traffic is not None and traffic.revision:
        if traffic.revision == target.hash:
            return before  # back to what never stopped serving
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
    release = ReleaseStatus(
        revision=target.hash,
        version=target.version,
        stable_revision=stable.spec.hash,
        stable_version=stable.spec.version,
        started_time=format_time(now),
        updated_time=format_time(now),
        reason=AWAITING_PODS,
        message=f"{target.version}: no pod is ready yet.",
    )
    return _with_strategy(snapshot, release)


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


def _suspended(facts: Facts, status: ReleaseStatus) -> ReleaseStatus:
    """With a note of the time in which no replica is wanted: nobody learns anything of a version that does not run."""
    since = parse_time(status.suspended_since)
    if (facts.wish.replicas == 0) == (since is not None):
        return status
    if since is None:
        return msgspec.structs.replace(status, suspended_since=format_time(facts.now))
    lasted = math.ceil(max(0.0, facts.now - since)) if _served_at(facts, status) is not None else 0
    return msgspec.structs.replace(status, suspended_since="", suspended_seconds=status.suspended_seconds + lasted)


def _baked(facts: Facts, status: ReleaseStatus) -> float:
    """Seconds for which the candidate has served, but for those in which no replica was wanted."""
    served = _served_at(facts, status)
    if served is None:
        return 0.0
    until = parse_time(status.suspended_since) or facts.now
    return max(0.0, until - max(served, parse_time(status.started_time) or facts.now) - status.suspended_seconds)


def _served_at(facts: Facts, status: ReleaseStatus) -> Instant | None:
    candidate = find_revision(facts.snapshot.revisions, status.revision)
    return parse_time(candidate.status.first_served_time) if candidate is not None else None


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
        # The kubelet waits 10 s before a second restart and 20 s before a third: whoever waits crashes that often.
        restarts=pod.restarts if pod.waiting in CRASH_REASONS else 0,
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
