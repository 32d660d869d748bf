"""All that is remembered of a release's evidence: a value of a few numbers for each indicator, kept as JSON."""

import math
from collections.abc import Mapping

import msgspec

from outrider.api.meta import Instant
from outrider.plan.evidence.eprocess import log_sum
from outrider.plan.evidence.outcomes import Counts, Indicator

STAKED = 0.75
"""The part of the stake that is bet from the start."""
DEPOSIT = 1 / 360
"""The part of the rest that is added at each tick (half an hour has 360)."""


class Account(msgspec.Struct, frozen=True, rename="camel"):
    """Log-wealth of one bettor who began with 1.

    A quarter is held back and put in bit by bit, so that what was lost while all was well can be won again by a fault
    that shows late: a mixture over the time of its beginning.
    """

    staked: float = math.log(STAKED)
    kept: float = math.log(1 - STAKED)

    @property
    def wealth(self) -> float:
        return log_sum(self.staked, self.kept)

    def after(self, gain: float) -> "Account":
        """After one more bet."""
        staked = log_sum(self.staked, self.kept + math.log(DEPOSIT)) + gain
        return Account(staked, self.kept + math.log1p(-DEPOSIT))


class Arm(msgspec.Struct, frozen=True, rename="camel"):
    """What one arm counted."""

    total: Counts = Counts()
    """Since the release began."""
    recent: Counts = Counts()
    """Fading: outcomes of two minutes ago count for little. What the next bet is made of."""
    window: Counts = Counts()
    """In the window that is not over yet."""
    last: Counts = Counts()
    """In the one before it."""
    bad_windows: int = 0
    """How many in a row were above the limit. Windows with too few requests say nothing."""

    @property
    def lately(self) -> Counts:
        """In this window and the one before it."""
        return self.window.plus(self.last)


class Evidence(msgspec.Struct, frozen=True, rename="camel"):
    """What one indicator tells."""

    stable: Arm = Arm()
    candidate: Arm = Arm()
    worse: Account = Account()
    """Against: the candidate is no worse than the stable one that runs beside it."""
    above: Account = Account()
    """Against: the candidate's share is within the limit. Bet on only while nothing runs beside it."""
    not_worse: float = 0.0
    """Log-wealth against: the candidate is worse by the margin or more."""
    excess: float = 0.0
    pairs: float = 0.0
    """How far the stable one's pods scatter more than by chance, and how many pairs of outcomes show it."""
    pods: dict[str, Counts] = {}
    """The candidate's outcomes by pod, fading; those with the most bad ones."""
    stable_pods: dict[str, Counts] = {}
    """The same of the stable version."""


PAST = 2000.0
"""The most that counts of what the stable version did before the release: what it does beside the new one soon counts
for more."""
PAST_BET = 200.0
"""The most of it that bets are made of."""


class State(msgspec.Struct, frozen=True, rename="camel"):
    """Of one release. `State()` is the beginning."""

    started_at: Instant | None = None
    """When the candidate's first outcome came."""
    last_tick_at: Instant | None = None
    ticks: int = 0
    """Those that counted any outcome of the candidate."""
    window_started: Instant | None = None
    evidence: dict[Indicator, Evidence] = {}
    newest: Counts = Counts()
    """The candidate's newest answers, ten at most."""
    failing_ticks: int = 0
    """How many ticks in a row had hardly any good answer of the candidate."""
    alone: bool = False
    """No stable pod was left at the last tick."""

    def of(self, indicator: Indicator) -> Evidence:
        return self.evidence.get(indicator, Evidence())


def begun(past: Mapping[Indicator, Counts]) -> State:
    """The beginning of a release over a version that has counted so much before. It is no outcome of the release and no
    bet is settled by it: it only says what that version's share is, so that a candidate that is soon alone is held to
    it, and not to what a handful of requests beside each other allow.
    """
    return State(
        evidence={
            name: Evidence(stable=Arm(total=_at_most(counts, PAST), recent=_at_most(counts, PAST_BET)))
            for name, counts in past.items()
            if counts.total > 0
        }
    )


def _at_most(counts: Counts, most: float) -> Counts:
    return counts if counts.total <= most else counts.times(most / counts.total)
