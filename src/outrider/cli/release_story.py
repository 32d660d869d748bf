"""The story of a release, afterwards: what happened in order of time, what was decided and why, and what is next."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus
from outrider.api.meta import Instant, format_time, parse_time
from outrider.api.modelrevision import ModelRevision, Rejection
from outrider.cli import release_words as words
from outrider.cli.release_report import Seen
from outrider.cli.tables import dig
from outrider.kube.api import Object

EventsLeft = Literal["all", "some", "none", "forbidden"]
"""How many of the release's events there still are; forbidden: they may not be read."""

_FIRST_EVENT = "ReleaseStarted"
_SOON = 60.0
"""Seconds after a release began within which its first event was written."""


class Moment(msgspec.Struct, frozen=True, rename="camel"):
    """Something that happened."""

    time: str
    source: str
    """What tells of it: status, revision or event."""
    what: str
    reason: str = ""
    """One word for programs, where there is one."""


class Decision(msgspec.Struct, frozen=True, rename="camel"):
    """How a release came out."""

    outcome: Literal["Undecided", "TakenBack", "Kept", "NotProven", "Replaced"]
    """Kept: it was shown to be no worse. NotProven: watching ended, and nothing was shown. Replaced: something else was
    asked for before that."""
    reason: str
    message: str
    time: str = ""
    """When; empty where that is not known, or nothing is decided."""


class Step(msgspec.Struct, frozen=True, rename="camel"):
    """Something that can be done next."""

    why: str
    command: str = ""
    """Empty where there is none for it."""


class Story(msgspec.Struct, frozen=True):
    moments: tuple[Moment, ...]
    events_left: EventsLeft
    decision: Decision
    following: tuple[Step, ...]


def tell(
    seen: Seen, release: ReleaseStatus, revisions: Sequence[ModelRevision], events: Sequence[Object] | None
) -> Story:
    """The story of `release`, the last one of the LLMDeployment. `events`: all about the LLMDeployment that are left;
    None: they may not be read.
    """
    candidate = _of(revisions, release.revision)
    began = parse_time(release.started_time) or 0.0
    its_own = [event for event in events or () if (_begun(event) or 0.0) >= began]
    known = [*_of_status(release), *_of_revision(candidate, release, began), *(_of_event(one) for one in its_own)]
    rejection = candidate.status.rejection if candidate is not None else None
    if rejection is not None and (parse_time(rejection.time) or 0.0) < began:
        rejection = None  # of an earlier release of the same revision
    return Story(
        moments=tuple(sorted(known, key=lambda one: parse_time(one.time) or 0.0)),
        events_left="forbidden" if events is None else _left(its_own, began),
        decision=_decision(seen.item, release, rejection),
        following=tuple(_following(seen, release, rejection)),
    )


def _of(revisions: Sequence[ModelRevision], hash_: str) -> ModelRevision | None:
    return next((one for one in revisions if one.spec.hash == hash_), None)


def _of_status(release: ReleaseStatus) -> list[Moment]:
    what = f"{release.version} is released beside {release.stable_version}. {words.strategy_text(release)}"
    found = [Moment(release.started_time, "status", what)]
    if release.trial_since:
        found.append(Moment(release.trial_since, "status", "its first replicas serve beside the old ones"))
    if release.step_since and release.step < len(release.steps):
        place, weight = f"{release.step + 1} of {len(release.steps)}", release.steps[release.step].weight
        found.append(Moment(release.step_since, "status", f"step {place} begins, with {weight} % of the traffic"))
    return found


def _of_revision(candidate: ModelRevision | None, release: ReleaseStatus, began: Instant) -> list[Moment]:
    if candidate is None:
        return []
    status, version = candidate.status, candidate.spec.version
    found = []
    if status.first_served_time is not None:
        found.append(Moment(status.first_served_time, "revision", f"{version} serves with every replica, and answers"))
    if status.verified_time is not None:
        found.append(
            Moment(status.verified_time, "revision", f"{version} has served for the whole bake time: Verified")
        )
    if status.rejection is not None:
        why = status.rejection
        what = f"{version} is taken back, {release.stable_version} takes its place: {why.message}"
        found.append(Moment(why.time, "revision", what, why.reason))
    return [one for one in found if (parse_time(one.time) or 0.0) >= began]


def _begun(event: Object) -> Instant | None:
    """When an Event happened first."""
    return parse_time(event.get("eventTime")) or parse_time(dig(event, "metadata", "creationTimestamp"))


def _of_event(event: Object) -> Moment:
    count = dig(event, "series", "count")
    what = f"{event.get('note') or ''}{f' (x{count})' if count else ''}"
    return Moment(format_time(_begun(event) or 0.0), "event", what, str(event.get("reason") or ""))


def _left(events: Sequence[Object], began: Instant) -> EventsLeft:
    if not events:
        return "none"
    first = (_begun(one) or 0.0 for one in events if one.get("reason") == _FIRST_EVENT)
    return "all" if any(when - began <= _SOON for when in first) else "some"


def _decision(item: LLMDeployment, release: ReleaseStatus, rejection: Rejection | None) -> Decision:
    status = item.status
    if release.phase == "RolledBack" or (rejection is not None and not rejection.lifted):
        if rejection is None:
            return Decision("TakenBack", release.reason, release.message, release.updated_time)
        return Decision("TakenBack", rejection.reason, rejection.message, rejection.time)
    if release.phase == "Watching":
        return Decision("Undecided", release.reason, release.message)
    if release.verdict == "Good":
        return Decision("Kept", release.reason, release.message, release.updated_time)
    if status.effective_revision != release.revision:
        reason, why = ("Pinned", "is pinned") if status.pinned else ("OtherVersion", "was asked for")
        message = f"{status.effective_version} {why} instead. Until then: {release.message}"
        return Decision("Replaced", reason, message, release.updated_time)
    return Decision("NotProven", release.reason, release.message, release.updated_time)


def _following(seen: Seen, release: ReleaseStatus, rejection: Rejection | None) -> list[Step]:
    item = seen.item
    status, which = item.status, f"{item.metadata.name} --namespace {item.metadata.namespace}"
    if status.pinned:
        return [Step("follow the spec again once it is right: lift the pin", f"outrider unpin {which}")]
    if rejection is not None and rejection.lifted:
        return [Step("it was asked for anew: follow that", f"outrider rollout status {which}")]
    if release.phase == "RolledBack" or rejection is not None:
        if status.desired_revision != release.revision:
            return [
                Step(
                    f"the spec asks for {status.desired_version} by now: follow that",
                    f"outrider rollout status {which}",
                )
            ]
        return [
            Step("fix what was wrong, and release another version: change the spec"),
            Step("or, where it was not the version's fault, release the same again", f"outrider rollout retry {which}"),
        ]
    if release.phase == "Watching":
        return _while_it_is_watched(seen, release, which)
    back = words.readiness_text(status.rollback)
    if not status.rollback.ready:
        return []
    where = f"go back to {status.rollback.target}{f' ({back})' if back else ''}, if there is need"
    return [Step(where, f"outrider rollback {which}")]


def _while_it_is_watched(seen: Seen, release: ReleaseStatus, which: str) -> list[Step]:
    if seen.paused:
        steps = [Step("a person holds it: let it go on", f"outrider rollout resume {which}")]
    else:
        awaited = release.waits_for or "evidence"
        steps = [Step(f"it waits for {awaited}: follow it", f"outrider rollout status {which}")]
    if words.progress(release, seen.now) is not None:
        steps.append(Step("give it all traffic now", f"outrider rollout promote {which}"))
    return [*steps, Step("take it back", f"outrider rollout abort {which}")]
