"""Revisions that evidence spoke against: they are not released again until somebody asks for it on purpose."""

from collections.abc import Iterable, Sequence

import msgspec

from outrider.api.labels import RETRY
from outrider.api.meta import Instant, parse_time
from outrider.api.modelrevision import ModelRevision, Rejection

DAY = 86_400.0
ABORTED = "Aborted"
"""The reason of a rejection that a person asked for."""


def retried(revision: ModelRevision) -> bool:
    """Whether somebody asked for it anew since it was rejected."""
    rejection = revision.status.rejection
    return rejection is not None and (rejection.lifted or revision.metadata.annotations.get(RETRY) == rejection.time)


def stands(revision: ModelRevision) -> bool:
    """Whether it was rolled back by itself, and nobody has asked for it anew."""
    return revision.status.rejection is not None and not retried(revision)


def is_severe(revision: ModelRevision) -> bool:
    """Whether it was rolled back, which stands, for answering hardly anything: none at all is better."""
    found = revision.status.rejection
    return found is not None and found.severe and stands(revision)


def severe(revisions: Iterable[ModelRevision], asked_for: str) -> dict[str, Rejection]:
    """By hash: those revisions that are severely rejected, but for the one that is asked for all the same, and why."""
    return {
        one.spec.hash: one.status.rejection
        for one in revisions
        if one.status.rejection is not None and is_severe(one) and one.spec.hash != asked_for
    }


def kept(revision: ModelRevision) -> Rejection | None:
    """The rejection as it should be stored: a retry is noted, so that the annotation may go."""
    rejection = revision.status.rejection
    if rejection is None or not retried(revision):
        return rejection
    return msgspec.structs.replace(rejection, lifted=True)


def times(revisions: Sequence[ModelRevision]) -> tuple[Instant, ...]:
    """When releases of this deployment were rolled back by themselves, newest first; retried ones count, too, and those
    that a person aborted do not.
    """
    found = (
        parse_time(one.status.rejection.time)
        for one in revisions
        if one.status.rejection is not None and one.status.rejection.reason != ABORTED
    )
    return tuple(sorted((moment for moment in found if moment is not None), reverse=True))


def within(moments: Iterable[Instant], seconds: float, now: Instant) -> int:
    """How many of them lie within the last so many seconds. A clock that was set back counts them all the same."""
    return sum(1 for moment in moments if now - moment < seconds)
