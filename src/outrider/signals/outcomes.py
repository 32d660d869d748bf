"""How many requests of a model server ended, and how many of them badly, from one reading of its counters to the next.

Every indicator is a share of bad ones of all, never a mean or a quantile: a share needs no more than counters, adds up
over pods and ticks, and what is known of it does not depend on how the values are spread.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from outrider.signals.histogram import Histogram
from outrider.signals.vllm_metrics import ServerSample, restarted

Indicator = Literal["errors", "rejections", "firstToken", "interToken", "endToEnd", "stalled"]
"""`errors`: 5xx and streams that the engine gave up, of all requests but 4xx. `rejections`: 4xx, of all requests.
`firstToken`, `interToken`, `endToEnd`: observations above an edge. `stalled`: ticks without a token, of those in which
requests ran all the time."""


class Counts(msgspec.Struct, frozen=True):
    """So many ended, and so many of them were bad."""

    bad: int
    total: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.bad + other.bad, self.total + other.total)


Outcomes = Mapping[Indicator, Counts]
"""What is not known is absent, and never zero."""


class Edges(msgspec.Struct, frozen=True):
    """Above how many seconds an observation is a slow one. None: there is no such indicator."""

    first_token: float | None = None
    inter_token: float | None = None
    end_to_end: float | None = None


def snap(seconds: float, histograms: Iterable[Histogram]) -> float | None:
    """The edge to take for a wanted number of seconds: the lowest that is not below it, of those that all of the
    histograms have; where there is none, the highest that they have. None where no edge is common to all.

    Only at an edge is the share of slow ones exact, and only at the same edge can two servers be compared: versions of
    an engine may differ in their buckets. A histogram that has observed nothing yet may not show its buckets.
    """
    common: set[float] | None = None
    for histogram in histograms:
        if histogram.bounds:
            edges = {float(bound) for bound in histogram.bounds} - {math.inf}  # as numbers: "2.0" and "2" are one
            common = edges if common is None else common & edges
    if not common:
        return None
    return min((edge for edge in common if edge >= seconds), default=max(common))


def snap_all(wanted: Edges, samples: Iterable[ServerSample]) -> Edges:
    """The edges to take for servers of which these are readings."""
    listed = list(samples)

    def taken(seconds: float | None, histograms: Iterable[Histogram | None]) -> float | None:
        return None if seconds is None else snap(seconds, (known for known in histograms if known is not None))

    return Edges(
        first_token=taken(wanted.first_token, (sample.time_to_first_token for sample in listed)),
        inter_token=taken(wanted.inter_token, (sample.inter_token_latency for sample in listed)),
        end_to_end=taken(wanted.end_to_end, (sample.end_to_end for sample in listed)),
    )


def between(before: ServerSample, after: ServerSample, edges: Edges) -> Outcomes:
    """What one server counted from one reading to the next, Outrider's own probes included.

    A server that was restarted gives all that it has counted since, and so does a counter that fell. What the old
    process counted after its last reading is lost.
    """
    return _counted(before, after, edges, anew=restarted(before, after))


def so_far(sample: ServerSample, edges: Edges) -> Outcomes:
    """What one server has counted since its process began, Outrider's own probes included."""
    return _counted(sample, sample, edges, anew=True)


def _counted(before: ServerSample, after: ServerSample, edges: Edges, *, anew: bool) -> Outcomes:
    outcomes: dict[Indicator, Counts] = {}
    statuses = _statuses_between(before, after, anew=anew)
    if statuses is not None:
        good, refused, failed = _with_given_up(statuses, _given_up_between(before, after, anew=anew))
        outcomes["errors"] = Counts(failed, good + failed)
        outcomes["rejections"] = Counts(refused, good + refused + failed)
    latencies: tuple[tuple[Indicator, float | None, Histogram | None, Histogram | None], ...] = (
        ("firstToken", edges.first_token, before.time_to_first_token, after.time_to_first_token),
        ("interToken", edges.inter_token, before.inter_token_latency, after.inter_token_latency),
        ("endToEnd", edges.end_to_end, before.end_to_end, after.end_to_end),
    )
    for indicator, edge, then, now in latencies:
        slow = _slow(then, now, edge, anew=anew)
        if slow is not None:
            outcomes[indicator] = slow
    stalled = None if anew else _stalled(before, after, statuses)
    if stalled is not None:
        outcomes["stalled"] = stalled
    return outcomes


def together(parts: Iterable[Outcomes]) -> dict[Indicator, Counts]:
    """The sum, indicator by indicator, of those that know it."""
    total: dict[Indicator, Counts] = {}
    for part in parts:
        for indicator, counts in part.items():
            total[indicator] = total[indicator] + counts if indicator in total else counts
    return total


def _statuses(sample: ServerSample) -> tuple[int, int, int] | None:
    """Inference requests by the status with which their answers began: well, refused (4xx), failed (5xx)."""
    if sample.requests is None or sample.errors_4xx is None or sample.errors_5xx is None:
        return None
    refused, failed = round(sample.errors_4xx), round(sample.errors_5xx)
    return round(sample.requests) - refused - failed, refused, failed


def _statuses_between(before: ServerSample, after: ServerSample, *, anew: bool) -> tuple[int, int, int] | None:
    then, now = _statuses(before), _statuses(after)
    if then is None or now is None:
        return None
    if anew or any(new < old for old, new in zip(then, now, strict=True)):
        return now
    return now[0] - then[0], now[1] - then[1], now[2] - then[2]


def _given_up_between(before: ServerSample, after: ServerSample, *, anew: bool) -> int:
    """At how many requests the engine failed; 0 where the page does not have it, as before vLLM counted them."""
    if before.given_up is None or after.given_up is None:
        return 0
    grown = after.given_up - before.given_up
    return round(after.given_up if anew or grown < 0 else grown)


def _with_given_up(statuses: tuple[int, int, int], given_up: int) -> tuple[int, int, int]:
    """Streams that the engine gave up count as good by their status. What it gave up before it began is a 5xx too, and
    nobody says how many those are: so no more are taken from the good ones than cannot be among the 5xx.
    """
    good, refused, failed = statuses
    broken = min(good, max(0, given_up - failed))
    return good - broken, refused, failed + broken


def _slow(then: Histogram | None, now: Histogram | None, edge: float | None, *, anew: bool) -> Counts | None:
    """The observations above the edge, which must be one of the histogram's."""
    if then is None or now is None or edge is None:
        return None
    grown = now if anew else now.since(then)
    total = round(grown.count)
    for bound, count in zip(grown.bounds, grown.counts, strict=True):
        if float(bound) == edge:
            return Counts(max(0, total - round(count)), total)
    return None


def _stalled(before: ServerSample, after: ServerSample, statuses: tuple[int, int, int] | None) -> Counts | None:
    """Requests run at both ends, and in between not a token came and no request ended.

    A hung engine looks perfect in all other indicators, for they count a request when it ends. Whether one has ended is
    the engine's to say, where it does: it leaves out those whose client gave up (vllm-project/vllm#55634), which the
    web layer counts as answered.
    """
    ended = sum(statuses) if statuses is not None else None
    if before.end_to_end is not None and after.end_to_end is not None:
        ended = round(after.end_to_end.since(before.end_to_end).count)
    gauges, tokens = (before.running, after.running), (before.generation_tokens, after.generation_tokens)
    if ended is None or None in gauges or None in tokens:
        return None
    if not all(gauges):
        return Counts(0, 0)
    return Counts(int(tokens[0] == tokens[1] and not ended), 1)
