"""What the counts say against the candidate, and what speaks for blaming something else."""

import math

from outrider.plan.evidence import attribution, guards, verdict, wording
from outrider.plan.evidence.advance import NEWEST, in_trouble, limit_of
from outrider.plan.evidence.eprocess import log_sum
from outrider.plan.evidence.outcomes import GATEWAY_FAILURES, SLOW, Indicator
from outrider.plan.evidence.settings import Settings
from outrider.plan.evidence.situation import Situation
from outrider.plan.evidence.state import Account, Evidence, State
from outrider.plan.evidence.verdict import Verdict

PASSED = 0.1
"""Bad outcomes that are left of those that fade: of a single one after five minutes, of a hundred after 14."""
BESIDE = 0.75
"""The part of an indicator's stake that is bet on the comparison; the rest is bet on the limit."""

_WORSE: dict[Indicator, str] = {
    "errors": verdict.ERRORS_WORSE,
    "rejections": verdict.REJECTIONS_WORSE,
    "stalled": verdict.STALLED,
    "gatewayFailures": verdict.GATEWAY_FAILURES_WORSE,
    **dict.fromkeys(SLOW, verdict.LATENCY_WORSE),
}
Accusation = tuple[Indicator, Verdict]


def log_wealth(state: State, settings: Settings) -> float:
    """What all bets together have made of 1. An average of e-processes is one, so nothing needs a correction."""
    untouched = sum(weight for indicator, weight in settings.weights.items() if indicator not in state.evidence)
    parts = [stake + account.wealth for _, _, stake, account in _accounts(state, settings)]
    return log_sum(*parts, math.log(untouched)) if untouched > 0 else log_sum(*parts)


def accused(state: State, situation: Situation, settings: Settings) -> Verdict | None:
    """A rollback, or a Hold where the version is not at fault; None where the counts accuse nobody.

    While both versions serve, a limit that people wrote accuses nobody by itself: what speaks is the comparison. Even
    with a wealth of 10 beside it, it took back 1 to 2 % of releases that were no worse and near the limit.
    """
    troubled = [indicator for indicator in state.evidence if _both_in_trouble(state, indicator, settings)]
    of_pods = next((indicator for indicator in troubled if indicator != GATEWAY_FAILURES), None)
    if of_pods is not None:
        return _shared_incident(state.of(of_pods), of_pods, situation)
    found = _all_failed(state, situation) or _outweighed(state, situation, settings)
    if troubled and (found is None or found[0] in troubled):
        # A Gateway in trouble excuses nothing that was seen at the pods themselves.
        return _shared_incident(state.of(GATEWAY_FAILURES), GATEWAY_FAILURES, situation)
    if found is None:
        return _both_above(state, situation, settings)
    indicator, rollback = found
    return _excused(state, situation, indicator, settings) or rollback


def _accounts(state: State, settings: Settings) -> list[tuple[Indicator, bool, float, Account]]:
    """The indicator, whether it is the comparison, the logarithm of what was staked, and the account."""
    found: list[tuple[Indicator, bool, float, Account]] = []
    for indicator, evidence in state.evidence.items():
        weight = settings.weights.get(indicator, 0.0)
        if weight <= 0:
            continue
        worse = Account() if has_passed(evidence) and evidence.worse.wealth > 0 else evidence.worse
        if indicator == "rejections":  # they have no limit
            found.append((indicator, True, math.log(weight), worse))
            continue
        found.append((indicator, True, math.log(weight * BESIDE), worse))
        found.append((indicator, False, math.log(weight * (1 - BESIDE)), evidence.above))
    return found


def has_passed(evidence: Evidence) -> bool:
    """Whether the candidate has answered well for so long that what was bad says nothing of now. What the bets have won
    stays won: once both fare alike there is nothing to bet on. So where nothing was done about it (a cooldown, a person
    who only wants to be told), it would accuse for ever.
    """
    recent = evidence.candidate.recent
    return recent.bad < PASSED and recent.total - recent.bad >= NEWEST


def _both_in_trouble(state: State, indicator: Indicator, settings: Settings) -> bool:
    evidence = state.of(indicator)
    both = (evidence.candidate, evidence.stable)
    return not state.alone and all(in_trouble(arm, indicator, settings) for arm in both)


def _both_above(state: State, situation: Situation, settings: Settings) -> Verdict | None:
    """Whether the limit is exceeded by both, and by neither more than by the other as far as is known."""
    for indicator, evidence in state.evidence.items():
        arms = (evidence.candidate, evidence.stable)
        if not state.alone and all(arm.bad_windows >= settings.consecutive for arm in arms):
            return _shared_incident(evidence, indicator, situation)
    return None


def _shared_incident(evidence: Evidence, indicator: Indicator, situation: Situation) -> Verdict:
    message = f"Both versions fare badly, so it is not the new one. {_compared(evidence, indicator, situation)}."
    return Verdict("Hold", verdict.SHARED_INCIDENT, message)


def _all_failed(state: State, situation: Situation) -> Accusation | None:
    found = guards.all_recent_failed(state, situation)
    return None if found is None else ("errors", found)


def _outweighed(state: State, situation: Situation, settings: Settings) -> Accusation | None:
    """The bets have won: the candidate is worse than the stable version, or (alone) than the limit."""
    if log_wealth(state, settings) < settings.enough:
        return None
    indicator, beside, _, _ = max(_accounts(state, settings), key=lambda each: each[2] + each[3].wealth)
    evidence = state.of(indicator)
    if evidence.candidate.total.total < settings.least(indicator):
        return None
    if beside:
        odds = f"In fewer than 1 of {1 / settings.alpha:.0f} releases chance alone does that"
        # What was put off, as by a cooldown, may speak of what was some minutes ago.
        told = _compared if evidence.candidate.lately.bad > 0 else wording.over_all
        return indicator, _rollback(_WORSE[indicator], f"{told(evidence, indicator, situation)}. {odds}.")
    if evidence.candidate.bad_windows < settings.consecutive:
        return None
    return indicator, _above(evidence, indicator, situation, settings)


def _above(evidence: Evidence, indicator: Indicator, situation: Situation, settings: Settings) -> Verdict:
    limit = limit_of(evidence, indicator, settings)
    assert limit is not None, "without a limit nothing is above it"
    written = limit == settings.limits.get(indicator)
    windows = f"in {evidence.candidate.bad_windows} windows of {wording.seconds(settings.window)} in a row"
    message = (
        f"{_compared(evidence, indicator, situation)}: more than the {wording.percent(limit)} "
        f"{_whose(evidence, situation, written=written)}, {windows}."
    )
    return _rollback(verdict.TRIGGER_FIRED if written else _WORSE[indicator], message)


def _whose(evidence: Evidence, situation: Situation, *, written: bool) -> str:
    """Where the limit comes from."""
    if written:
        return "that the trigger allows"
    before = situation.stable or "the version before"
    if evidence.stable.total.total <= 0:
        return f"that are an incident (nothing is known of how {before} fared)"
    return f"that {before} may have had"


def _excused(state: State, situation: Situation, indicator: Indicator, settings: Settings) -> Verdict | None:
    what = _compared(state.of(indicator), indicator, situation)
    if indicator == GATEWAY_FAILURES:
        return _excused_at_gateway(situation, what)
    faulty = attribution.faulty(situation, state, indicator)
    if faulty:
        return guards.node_fault(f"{what}, but all on faulty hardware", faulty)
    uid = attribution.one_pod(state.of(indicator))
    if uid is None:
        grave = in_trouble(state.of(indicator).candidate, indicator, settings)  # then nobody waits for a proof
        if grave or not attribution.pods_differ(state.of(indicator)):
            return None
        message = f"{what}. Pods of one and the same version differ about as much."
        return Verdict("Hold", verdict.PODS_DIFFER, message)
    name = next((pod.name for pod in situation.pods if pod.uid == uid), f"the pod {uid}")
    return guards.one_pod_only(f"{what}, but nearly all with {name}", name)


def _excused_at_gateway(situation: Situation, what: str) -> Verdict | None:
    """The Gateway does not say at which pods requests failed: one on faulty hardware is enough to blame that."""
    faulty = tuple(pod for pod in situation.pods if pod.fault)
    return guards.node_fault(f"{what}, and some of its pods are on faulty hardware", faulty) if faulty else None


def _compared(evidence: Evidence, indicator: Indicator, situation: Situation) -> str:
    return wording.comparison(evidence, indicator, situation)


def _rollback(reason: str, message: str) -> Verdict:
    return Verdict("RollBack", reason, message)
