"""How much proof a verdict needs, and what the triggers that people write mean for it."""

import math
from collections.abc import Callable

import msgspec

from outrider.api.spec_operations import AutoRollback
from outrider.api.spec_operations import Indicator as Written
from outrider.plan.evidence.outcomes import Indicator

LEAST_TICKS = 3
"""Without so many nothing can be proven against a candidate."""
LOWEST_LIMIT = 0.0005
"""`errorRate: ">0%"` would ask for a rollback at the first error of a version's life."""


Shares = dict[Indicator, float]
WEIGHTS: Shares = {
    "errors": 0.40,
    "rejections": 0.05,
    "firstToken": 0.13,
    "interToken": 0.09,
    "endToEnd": 0.13,
    "stalled": 0.15,
    "gatewayFailures": 0.05,
}
"""What only the Gateway knows is an addition to what pods count. Its part is taken from the three latencies, which
mostly turn bad together."""
SLACK: Shares = {"rejections": 0.02, "firstToken": 0.01, "interToken": 0.01, "endToEnd": 0.01}
MARGINS: Shares = {
    "errors": 0.005,
    "firstToken": 0.05,
    "interToken": 0.05,
    "endToEnd": 0.05,
    "stalled": 0.05,
}
LEANING: Shares = {**MARGINS, "gatewayFailures": 0.005}
"""The same for what merely looks worse, and keeps a step from ending."""
INCIDENT: Shares = {
    "errors": 0.1,
    "stalled": 0.3,
    "firstToken": 0.5,
    "interToken": 0.5,
    "endToEnd": 0.5,
    "gatewayFailures": 0.1,
}


class Settings(msgspec.Struct, frozen=True):
    alpha: float = 0.005
    """The most that the chance of a rollback may be, over a whole release, where the candidate is no worse."""
    beta: float = 0.05
    """The same for calling a candidate good that is worse than `margins` allow."""
    weights: Shares = msgspec.field(default_factory=WEIGHTS.copy)
    """The part of the stake that is put on each indicator. The sum is at most 1."""
    slack: Shares = msgspec.field(default_factory=SLACK.copy)
    """By how much a candidate's share may be higher and still nobody would want it back. 0 where not given."""
    margins: Shares = msgspec.field(default_factory=MARGINS.copy)
    """By how much less than this a candidate has to be worse to be good. Other indicators do not matter for that."""
    limits: Shares = {}
    """The share above which people want the candidate taken back, whatever the stable one does."""
    edges: Shares = {}
    """Seconds beyond which an outcome is bad, where the triggers say so. Counters have them at the nearest bucket."""
    incident: Shares = msgspec.field(default_factory=INCIDENT.copy)
    """A stable one with a higher share is in trouble itself."""
    window: float = 60.0
    """Seconds over which limits are judged."""
    consecutive: int = 2
    """How many windows in a row have to be above the limit."""
    min_requests: int = 20
    min_bake: float = 1800.0
    """Seconds."""
    stale_after: float = 15.0
    """Seconds, three ticks: older data says nothing about now."""
    clustering: float = 0.03
    """How correlated outcomes of a pod within a tick are thought to be before the stable one's have shown it."""

    @property
    def enough(self) -> float:
        """The log-wealth at which the candidate is worse."""
        return math.log(1 / self.alpha)

    @property
    def cap(self) -> float:
        """The most log-wealth that a tick may bring: never does one burst decide."""
        return self.enough / LEAST_TICKS

    @property
    def good_enough(self) -> float:
        """The log-wealth at which the candidate is not worse."""
        return math.log(1 / self.beta)

    def least(self, indicator: Indicator) -> float:
        """Outcomes without which nothing is concluded. `stalled` has one for each pod and tick, about all that runs."""
        return min(5, self.min_requests) if indicator == "stalled" else self.min_requests

    @property
    def max_bake(self) -> float:
        """Seconds after which a candidate that nothing speaks against need not be proven to be no worse."""
        return 2 * self.min_bake


_MEANING: dict[Written, tuple[Indicator, Callable[[float], float], Callable[[float], float | None]]] = {
    # A share of failed requests; nothing to choose an edge for.
    "errorRate": ("errors", lambda limit: limit, lambda _: None),
    # The 95th percentile is above the edge: more than 5 % of the requests take longer.
    "latencyP95": ("endToEnd", lambda _: 0.05, lambda limit: limit),
    # Fewer tokens per second than N as a client sees it: the median pause between tokens is longer than 1/N. The sum
    # of all tokens would be low at night, too.
    "throughput": ("interToken", lambda _: 0.5, lambda limit: 1 / limit if limit > 0 else None),
}


def settings_of(auto_rollback: AutoRollback) -> Settings:
    """What the spec asks for. Of several triggers for one indicator the strictest counts."""
    limits: Shares = {}
    edges: Shares = {}
    for rule in auto_rollback.rules:
        indicator, share_of, edge_of = _MEANING[rule.indicator]
        edge = edge_of(rule.trigger.limit)
        share = max(share_of(rule.trigger.limit), LOWEST_LIMIT)
        if rule.indicator == "throughput" and edge is None:
            continue  # nothing is slower than no tokens at all
        limits[indicator] = min(share, limits.get(indicator, 1.0))
        if edge is not None:
            edges[indicator] = min(edge, edges.get(indicator, math.inf))
    return Settings(
        limits=limits,
        edges=edges,
        window=auto_rollback.window.seconds,
        consecutive=auto_rollback.consecutive,
        min_requests=auto_rollback.min_requests,
        min_bake=auto_rollback.bake_time.seconds,
    )
