"""Whether a new version is worse than the one before it: `advance` takes in what was counted, `judge` says what it
means. Pure; docs/design/0004-evidence.md is the contract.
"""

from outrider.plan.evidence.advance import advance, forgive
from outrider.plan.evidence.judge import judge
from outrider.plan.evidence.outcomes import INDICATORS, Counts, Indicator, PodCounts, Tick
from outrider.plan.evidence.settings import Settings, settings_of
from outrider.plan.evidence.situation import PodFacts, Situation
from outrider.plan.evidence.state import State, begun
from outrider.plan.evidence.verdict import Kind, Verdict

__all__ = [
    "INDICATORS",
    "Counts",
    "Indicator",
    "Kind",
    "PodCounts",
    "PodFacts",
    "Settings",
    "Situation",
    "State",
    "Tick",
    "Verdict",
    "advance",
    "begun",
    "forgive",
    "judge",
    "settings_of",
]
