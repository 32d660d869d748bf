"""One more tick: bets are settled first, with what was known before it, and only then is the tick remembered."""

from collections.abc import Collection

import msgspec

from outrider.plan.evidence import eprocess
from outrider.plan.evidence.outcomes import GATEWAY_FAILURES, INDICATORS, Counts, Indicator, Tick, arms, known, total
from outrider.plan.evidence.settings import Settings
from outrider.plan.evidence.state import Account, Arm, Evidence, State

FADING = 0.96
"""Per tick: half of what counts is of the last 85 seconds."""
POD_FADING = 0.99
"""Per tick: half is of the last 6 minutes."""
MOST_PODS = 8
NEWEST = 10
ENOUGH_TO_SCATTER = 20
"""Outcomes without which the stable one's share is too uncertain to say how its pods differ from it."""
FAILING = 0.8
"""A tick with a larger bad share has hardly any good answer."""
BELIEF = 10.0
"""For how many pairs of bad outcomes the clustering that settings presume counts."""
SIGMAS = 3.0
"""How far above the stable one's own share its limit is: once in 700 times it is above that."""

Pods = dict[str, Counts]


def advance(state: State, tick: Tick, settings: Settings) -> State:
    """The state after `tick`. One that is not newer than the last changes nothing, so repeating is harmless."""
    if state.last_tick_at is not None and tick.at <= state.last_tick_at:
        return state
    alone = not tick.stable
    closing = state.window_started is not None and tick.at - state.window_started >= settings.window
    evidence, heard = {}, False
    named = {indicator for counts in (*tick.stable.values(), *tick.candidate.values()) for indicator in counts}
    for indicator in INDICATORS:
        stable, candidate = arms(tick, indicator)
        if indicator not in named and not (stable or candidate) and indicator not in state.evidence:
            continue
        heard = heard or (bool(candidate) and indicator != GATEWAY_FAILURES)
        before = state.of(indicator)
        if closing:
            before = _close_window(before, indicator, settings, alone=alone)
        evidence[indicator] = _learn(before, indicator, stable, candidate, settings, alone=alone)
    answered = total(known(tick.candidate, "errors").values())
    return State(
        started_at=tick.at if state.started_at is None and heard else state.started_at,
        last_tick_at=tick.at,
        ticks=state.ticks + heard,
        window_started=tick.at if closing or state.window_started is None else state.window_started,
        evidence=evidence,
        newest=_newest(state.newest, answered),
        failing_ticks=_failing(state.failing_ticks, answered),
        alone=alone,
    )


def limit_of(evidence: Evidence, indicator: Indicator, settings: Settings) -> float | None:
    """The share that a candidate without company must not exceed: what people wrote, or what the stable one may have
    had, whichever is higher. Where there is neither, what would be an incident whoever served. None for rejections: how
    many mistakes clients make now is only seen where another version answers them at the same time; nor for what only
    the Gateway counts, where that is not known of the stable one.
    """
    if indicator == "rejections":
        return None
    written = settings.limits.get(indicator)
    if evidence.stable.total.total <= 0:
        return settings.incident.get(indicator) if written is None and indicator != GATEWAY_FAILURES else written
    own = eprocess.bounds(evidence.stable.total, SIGMAS)[1]
    return own if written is None else max(written, own)


def in_trouble(arm: Arm, indicator: Indicator, settings: Settings) -> bool:
    """Whether an arm fares so badly that it proves nothing about another one."""
    share, worst = arm.lately.share, settings.incident.get(indicator)
    return share is not None and worst is not None and share > worst and arm.lately.total >= NEWEST


def clustering_of(evidence: Evidence, settings: Settings) -> float:
    """The intra-class correlation of outcomes of a pod in a tick, by the method of moments, 0..0.5."""
    seen = (evidence.excess + settings.clustering * BELIEF) / (evidence.pairs + BELIEF)
    return min(max(seen, 0.0), 0.5)


def _learn(
    before: Evidence, indicator: Indicator, stable: Pods, candidate: Pods, settings: Settings, *, alone: bool
) -> Evidence:
    settled = _settle(before, indicator, stable, candidate, settings, alone=alone)
    excess, pairs = _scatter(before, stable)
    of_pods = indicator != GATEWAY_FAILURES
    return msgspec.structs.replace(
        settled,
        stable=_remember(before.stable, total(stable.values())),
        candidate=_remember(before.candidate, total(candidate.values())),
        excess=excess,
        pairs=pairs,
        pods=_attribute(before.pods, candidate) if of_pods else {},
        stable_pods=_attribute(before.stable_pods, stable) if of_pods else {},
    )


def _settle(
    before: Evidence, indicator: Indicator, stable: Pods, candidate: Pods, settings: Settings, *, alone: bool
) -> Evidence:
    """Pay out the bets. There is none before the candidate's second tick: nothing is known to bet on."""
    if not candidate or before.candidate.recent.total <= 0:
        return before
    clustering = clustering_of(before, settings)
    ours = [eprocess.scaled(counts, clustering) for counts in candidate.values()]
    bets = (eprocess.expected(before.stable.recent), eprocess.expected(before.candidate.recent))
    if alone:
        limit = limit_of(before, indicator, settings)
        gain = 0.0 if limit is None else eprocess.one_sample(ours, bets[1], limit, settings.cap)
        return msgspec.structs.replace(before, above=before.above.after(gain))
    theirs = [eprocess.scaled(counts, clustering) for counts in stable.values()]
    gain = eprocess.two_sample(theirs, ours, bets, settings.slack.get(indicator, 0.0), settings.cap)
    if in_trouble(_remember(before.stable, total(stable.values())), indicator, settings):
        gain = min(gain, 0.0)  # what hits both may hit one harder: nothing is won in an incident
    return msgspec.structs.replace(
        before, worse=before.worse.after(gain), not_worse=_not_worse(before, indicator, theirs, ours, bets, settings)
    )


def _not_worse(
    before: Evidence,
    indicator: Indicator,
    stable: list[Counts],
    candidate: list[Counts],
    bets: tuple[float, float],
    settings: Settings,
) -> float:
    """Wealth beyond what is needed is given away, so that what turns bad late is not outweighed by a good past."""
    margin = settings.margins.get(indicator)
    if margin is None:
        return before.not_worse
    gain = eprocess.not_worse(total(stable), total(candidate), bets, margin, settings.cap)
    return min(before.not_worse + gain, settings.good_enough + settings.cap)


def _scatter(before: Evidence, stable: Pods) -> tuple[float, float]:
    """By the stable pods alone: a candidate that turns bad would look like one whose outcomes come in clusters."""
    if before.stable.recent.total < ENOUGH_TO_SCATTER or not stable:
        return before.excess, before.pairs
    excess, pairs = before.excess * POD_FADING, before.pairs * POD_FADING
    share = eprocess.expected(before.stable.recent)
    chance = share * (1 - share)
    for counts in stable.values():
        excess += (counts.bad - counts.total * share) ** 2 - counts.total * chance
        pairs += counts.total * max(counts.total - 1, 0.0) * chance
    return excess, pairs


def _remember(arm: Arm, counts: Counts) -> Arm:
    """Nothing fades by silence."""
    if counts.total <= 0:
        return arm
    return msgspec.structs.replace(
        arm,
        total=arm.total.plus(counts),
        recent=arm.recent.times(FADING).plus(counts),
        window=arm.window.plus(counts),
    )


def _close_window(evidence: Evidence, indicator: Indicator, settings: Settings, *, alone: bool) -> Evidence:
    written, least = settings.limits.get(indicator), settings.least(indicator)
    limit = limit_of(evidence, indicator, settings) if alone or written is None else written
    return msgspec.structs.replace(
        evidence, stable=_close(evidence.stable, written, least), candidate=_close(evidence.candidate, limit, least)
    )


def _close(arm: Arm, limit: float | None, least: float) -> Arm:
    share, bad_windows = arm.window.share, arm.bad_windows
    if limit is not None and share is not None and arm.window.total >= least:
        bad_windows = bad_windows + 1 if share > limit else 0
    return msgspec.structs.replace(arm, window=Counts(), last=arm.window, bad_windows=bad_windows)


def _attribute(before: Pods, now: Pods) -> Pods:
    if not now:
        return before
    pods = {uid: counts.times(POD_FADING) for uid, counts in before.items()}
    for uid, counts in now.items():
        pods[uid] = pods.get(uid, Counts()).plus(counts)
    kept = sorted(pods, key=lambda uid: (-pods[uid].bad, -pods[uid].total, uid))[:MOST_PODS]
    return {uid: pods[uid] for uid in sorted(kept)}


def _newest(before: Counts, tick: Counts) -> Counts:
    """The last ten answers. In which order a tick's came is not known: they are alike in parts."""
    if tick.total >= NEWEST:
        return tick.times(NEWEST / tick.total)
    room = NEWEST - tick.total
    rest = before if before.total <= room else before.times(room / before.total)
    return rest.plus(tick)


def _failing(before: int, tick: Counts) -> int:
    """Silence neither ends a series nor makes it longer."""
    if tick.share is None:
        return before
    return before + 1 if tick.share >= FAILING else 0


def forgive(state: State, gone: Collection[str]) -> State:
    """The state once pods that were to blame, of these uids, were replaced. What they did counts no more.

    It is in the wealth, and in the totals, for which a step waits; so all begins anew, which allows for another
    `alpha` each time.
    """
    return msgspec.structs.replace(
        state,
        newest=Counts(),
        failing_ticks=0,
        evidence={indicator: _forgiven(evidence, gone) for indicator, evidence in state.evidence.items()},
    )


def _forgiven(evidence: Evidence, gone: Collection[str]) -> Evidence:
    pods = {uid: counts for uid, counts in evidence.pods.items() if uid not in gone}
    return msgspec.structs.replace(
        evidence, candidate=Arm(), worse=Account(), above=Account(), not_worse=0.0, pods=pods
    )
