"""What is counted: how many requests ended, and how many of them badly, per pod and tick."""

import math
from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec

from outrider.api.meta import Instant

Indicator = Literal["errors", "rejections", "firstToken", "interToken", "endToEnd", "stalled", "gatewayFailures"]
GATEWAY_FAILURES: Final = "gatewayFailures"
"""Attempts of the Gateway to have a version answer that failed so that no pod knows: no connection, no answer to what
was sent, an answer that broke off. What Envoy calls gateway failures (`consecutive_gateway_failure`), but for the pods'
own 5xx, which are `errors`. Of the version as a whole: nobody knows of which pod."""
INDICATORS: tuple[Indicator, ...] = get_args(Indicator)
SLOW: tuple[Indicator, ...] = ("firstToken", "interToken", "endToEnd")
"""Those that count what took longer than a bucket's edge."""


class Counts(msgspec.Struct, frozen=True):
    bad: float = 0.0
    total: float = 0.0

    @property
    def share(self) -> float | None:
        """The bad share (0..1); None where there was nothing."""
        return self.bad / self.total if self.total > 0 else None

    def plus(self, other: "Counts") -> "Counts":
        return Counts(self.bad + other.bad, self.total + other.total)

    def times(self, factor: float) -> "Counts":
        return Counts(self.bad * factor, self.total * factor)


PodCounts = dict[str, dict[Indicator, Counts]]
"""By the pod's uid. A pod that exists and of which nothing is known has an empty dict; no pod is left out."""


class Tick(msgspec.Struct, frozen=True):
    """What ended within `seconds` before `at`. An indicator of which nothing is known is absent, and never zero.

    Latencies of a pod's first minute belong in no tick: cold caches are slow in every version.
    """

    at: Instant
    seconds: float
    stable: PodCounts
    candidate: PodCounts
    stable_at_gateway: Counts | None = None
    """What the Gateway counted of the whole version (`GATEWAY_FAILURES`); None where that is not known."""
    candidate_at_gateway: Counts | None = None


_LEAST = 1e-3
_MOST = 1e12
"""Requests of a pod in a tick; anything else is no number of requests."""


def known(pods: PodCounts, indicator: Indicator) -> dict[str, Counts]:
    """What each pod that had any outcome counted. Torn readings are made harmless."""
    found = {uid: counts[indicator] for uid, counts in pods.items() if indicator in counts}
    return {
        uid: Counts(min(max(counts.bad, 0.0), counts.total), counts.total)
        for uid, counts in found.items()
        if math.isfinite(counts.bad) and _LEAST <= counts.total <= _MOST
    }


def arms(tick: Tick, indicator: Indicator) -> tuple[dict[str, Counts], dict[str, Counts]]:
    """What the stable version and the candidate counted, by pod; what the Gateway did, under no pod's name."""
    if indicator != GATEWAY_FAILURES:
        return known(tick.stable, indicator), known(tick.candidate, indicator)
    return known(_of_gateway(tick.stable_at_gateway), indicator), known(
        _of_gateway(tick.candidate_at_gateway), indicator
    )


def _of_gateway(counts: Counts | None) -> PodCounts:
    return {} if counts is None else {"": {GATEWAY_FAILURES: counts}}


def total(counts: Iterable[Counts]) -> Counts:
    bad = ended = 0.0
    for each in counts:
        bad, ended = bad + each.bad, ended + each.total
    return Counts(bad, ended)
