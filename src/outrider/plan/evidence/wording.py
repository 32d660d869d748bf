"""Numbers as people read them in the middle of the night."""

from outrider.plan.evidence.outcomes import Counts, Indicator
from outrider.plan.evidence.situation import Situation
from outrider.plan.evidence.state import Arm, Evidence

WHAT: dict[Indicator, str] = {
    "errors": "requests failed",
    "rejections": "requests were rejected (4xx)",
    "firstToken": "first tokens were slow",
    "interToken": "pauses between tokens were long",
    "endToEnd": "answers were slow",
    "gatewayFailures": "requests failed at the Gateway (no connection to a pod, no answer, or cut off)",
    "stalled": "looks found requests running and no token coming",
}


def seconds(value: float) -> str:
    """`45 s`, `12 min`, `3 h`."""
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def percent(share: float) -> str:
    """`0.1 %`, `12 %`."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def of(counts: Counts) -> str:
    """`14 of 62`."""
    return f"{counts.bad:.0f} of {counts.total:.0f}"


def shown(arm: Arm) -> Counts:
    """What is told of an arm: the last two windows where they have something, else all of it."""
    return arm.lately if arm.lately.total > 0 else arm.total


def comparison(evidence: Evidence, indicator: Indicator, situation: Situation) -> str:
    """`v1.3.0: 14 of 62 requests failed, v1.2.0: 0 of 310`."""
    mine = f"{situation.candidate}: {of(shown(evidence.candidate))} {WHAT[indicator]}"
    return _beside(mine, shown(evidence.stable), situation)


def over_all(evidence: Evidence, indicator: Indicator, situation: Situation) -> str:
    """`v1.3.0: 24 of 1570 requests failed since its release began, v1.2.0: 0 of 3200`."""
    mine = f"{situation.candidate}: {of(evidence.candidate.total)} {WHAT[indicator]} since its release began"
    return _beside(mine, evidence.stable.total, situation)


def _beside(mine: str, theirs: Counts, situation: Situation) -> str:
    return f"{mine}, {situation.stable}: {of(theirs)}" if situation.stable and theirs.total > 0 else mine
