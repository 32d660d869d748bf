"""Whether a candidate against which nothing speaks is good, and what is awaited until then."""

import math

from outrider.api.meta import Instant
from outrider.plan.evidence import verdict, wording
from outrider.plan.evidence.advance import limit_of
from outrider.plan.evidence.eprocess import bounds
from outrider.plan.evidence.outcomes import GATEWAY_FAILURES, Indicator
from outrider.plan.evidence.settings import Settings
from outrider.plan.evidence.situation import Situation
from outrider.plan.evidence.state import State
from outrider.plan.evidence.verdict import Verdict

UNSUSPICIOUS = math.log(2)
SIGMAS = 1.64
"""One-sided 95 %."""


def unknown(state: State, situation: Situation, settings: Settings, now: Instant) -> Verdict | None:
    """Where there is nothing to judge: pods that are not there yet, or data that is not. Neither is good news."""
    name = situation.candidate
    if situation.suspended:
        message = f"{name}: no replica is wanted, and its bake time stands still."
        return Verdict("Watching", verdict.AWAITING_PODS, message)
    if state.ticks == 0 and not any(pod.ever_ready for pod in situation.pods):
        return Verdict("Watching", verdict.AWAITING_PODS, f"{name}: no pod is ready yet.")
    if state.ticks == 0 and max(situation.baked, situation.loaded) <= settings.stale_after:
        return Verdict("Watching", verdict.AWAITING_REQUESTS, f"{name}: its first answer is awaited.")
    if state.last_tick_at is None or situation.data_age is None:
        return Verdict("Hold", verdict.STALE_DATA, f"{name}: nothing is known of how it answers.")
    age = max(situation.data_age, now - state.last_tick_at)
    if age > settings.stale_after:
        return Verdict(
            "Hold", verdict.STALE_DATA, f"{name}: the newest data is {wording.seconds(age)} old, and nobody can tell."
        )
    return None


def unread(situation: Situation, settings: Settings) -> Verdict | None:
    """Where short probes are all that is known. Bad ones accuse a version; good ones do not say how its users fare."""
    if situation.unread <= settings.stale_after:
        return None
    why = f" ({situation.why_unread})" if situation.why_unread else ""
    message = (
        f"{situation.candidate}: its metrics could not be read for {wording.seconds(situation.unread)}{why}, "
        "and nobody can tell how its users fare."
    )
    return Verdict("Hold", verdict.STALE_DATA, message)


def cleared(state: State, situation: Situation, settings: Settings) -> Verdict:
    """Good, or what it still takes."""
    name, seen = situation.candidate, state.of("errors").candidate.total.total
    few = f"{name}: {seen:.0f} of {settings.min_requests} requests"
    if situation.baked < settings.min_bake or not situation.complete:
        if seen < settings.min_requests:
            return Verdict("Watching", verdict.AWAITING_REQUESTS, f"{few} so far, and nothing proves it worse.")
        return Verdict("Watching", verdict.AWAITING_TIME, f"{name}: {_waits_for(situation, settings)}.")
    if seen < settings.min_requests:
        return Verdict("Hold", verdict.AWAITING_REQUESTS, f"{few} in {wording.seconds(situation.baked)}: too few.")
    doubtful = [indicator for indicator in settings.margins if not _fine(state, indicator, situation, settings)]
    doubtful += [GATEWAY_FAILURES] if _suspicious_at_gateway(state, situation) else []
    if not doubtful:
        after = f"after {wording.seconds(situation.baked)} and {seen:.0f} requests"
        return Verdict("Good", verdict.NOT_WORSE, f"{_summary(state, situation)}: no worse {after}.")
    evidence = state.of(doubtful[0])
    what = wording.comparison(evidence, doubtful[0], situation)
    if situation.baked < settings.max_bake:
        message = f"{what}: it takes more requests to tell that it is no worse."
        return Verdict("Watching", verdict.AWAITING_REQUESTS, message)
    message = f"{what}: after {wording.seconds(situation.baked)} nobody can tell whether it is worse."
    return Verdict("Hold", verdict.INCONCLUSIVE, message)


def _fine(state: State, indicator: Indicator, situation: Situation, settings: Settings) -> bool:
    """Proven to be no worse than the margin; where that cannot be, nothing speaks against it and it is within the
    limit. An indicator of which neither version knows anything says nothing.
    """
    evidence = state.of(indicator)
    if evidence.candidate.total.total <= 0 and evidence.stable.total.total <= 0:
        return True
    if evidence.above.wealth >= UNSUSPICIOUS:
        return False
    if evidence.not_worse >= settings.good_enough:
        return True
    if evidence.worse.wealth >= UNSUSPICIOUS or (not state.alone and situation.baked < settings.max_bake):
        return False
    written = settings.limits.get(indicator)
    limit = (
        limit_of(evidence, indicator, settings)
        if written is None
        else max(written, evidence.stable.total.share or 0.0)  # nobody has to be better than what was there
    )
    highest = bounds(evidence.candidate.total, SIGMAS)[1]
    return limit is None or highest <= limit + settings.margins[indicator]


def _suspicious_at_gateway(state: State, situation: Situation) -> bool:
    """Whether what the Gateway counts speaks against the candidate. Nobody waits for a proof that it does not, nor at
    all while it cannot be read: it is an addition.
    """
    evidence = state.of(GATEWAY_FAILURES)
    return situation.gateway_read and max(evidence.worse.wealth, evidence.above.wealth) >= UNSUSPICIOUS


def _waits_for(situation: Situation, settings: Settings) -> str:
    left = settings.min_bake - situation.baked
    if left > 0:
        return f"nothing proves it worse; {wording.seconds(left)} of its bake time are left"
    return "nothing proves it worse; not all of its pods are ready yet"


def _summary(state: State, situation: Situation) -> str:
    return wording.comparison(state.of("errors"), "errors", situation)
