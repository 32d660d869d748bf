"""What the evidence and the facts together mean."""

import math

import msgspec

from outrider.api.meta import Instant
from outrider.plan.evidence import guards
from outrider.plan.evidence.accusation import accused, log_wealth
from outrider.plan.evidence.clearance import cleared, unknown, unread
from outrider.plan.evidence.settings import Settings
from outrider.plan.evidence.situation import Situation
from outrider.plan.evidence.state import State
from outrider.plan.evidence.verdict import Verdict

_LARGEST = 300.0
"""The log-wealth beyond which a number is no news, and soon none."""


def judge(state: State, situation: Situation, settings: Settings, now: Instant) -> Verdict:
    """The verdict at `now`: facts first, which need neither numbers nor fresh data. Nothing is remembered."""
    found = (
        guards.crash_looping(situation)
        or guards.no_endpoints_left(situation)
        or guards.progress_deadline(situation)
        or unknown(state, situation, settings, now)
        or accused(state, situation, settings)
        or unread(situation, settings)
        or guards.unreachable(situation)
        or cleared(state, situation, settings)
    )
    return msgspec.structs.replace(found, evidence=numbers(state, settings))


def numbers(state: State, settings: Settings) -> dict[str, float]:
    """The evidence as numbers: counts of each indicator since the release began, and what the bets have made of 1."""
    found: dict[str, float] = {}
    for indicator, evidence in state.evidence.items():
        for arm, counts in (("candidate", evidence.candidate.total), ("stable", evidence.stable.total)):
            found[f"{indicator}.{arm}.bad"] = counts.bad
            found[f"{indicator}.{arm}.total"] = counts.total
    wealth = math.exp(min(log_wealth(state, settings), _LARGEST))
    return found | {"wealth": wealth, "always_valid_p": min(1.0, 1 / wealth)}
