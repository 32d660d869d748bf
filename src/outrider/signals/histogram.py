"""Histograms as Prometheus has them: cumulative buckets, their differences over time, and quantiles."""

import math
from collections.abc import Iterable
from itertools import accumulate

import msgspec

from outrider.signals.prometheus_text import Family


class Histogram(msgspec.Struct, frozen=True):
    """How many observations were at most each bound. Counts are cumulative, as `le` says."""

    bounds: tuple[str, ...]
    """The `le` labels as text, in ascending order; the last is `+Inf`."""
    counts: tuple[float, ...]
    sum: float
    """Of all observed values, in their unit."""

    @property
    def count(self) -> float:
        """Of all observations."""
        return self.counts[-1] if self.counts else 0.0

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count > 0 else None

    def quantile(self, quantile: float) -> float | None:
        """The value below which this share (0..1) of the observations lies, as PromQL's `histogram_quantile` estimates
        it: linear within a bucket, from 0 in the first; the highest finite bound where it lies in the `+Inf` bucket.

        None where nothing was observed, or where there is no finite bucket: PromQL's NaN. Raises `ValueError` for
        a quantile outside 0..1. Source: Prometheus, promql/quantile.go, `BucketQuantile`.
        """
        if not 0 <= quantile <= 1:
            raise ValueError(f"a quantile is between 0 and 1, not {quantile}")
        uppers = [float(bound) for bound in self.bounds]
        if len(uppers) < 2 or uppers[-1] != math.inf or not self.count > 0:
            return None
        counts = list(accumulate(self.counts, max))  # a torn scrape must not make them fall
        rank = quantile * counts[-1]
        # `count > 0`: for quantile 0 PromQL divides zero by zero where the first bucket is empty; we take the minimum.
        bucket = next(position for position, count in enumerate(counts) if count >= rank and count > 0)
        if bucket == len(uppers) - 1:
            return uppers[-2]
        if bucket == 0 and uppers[0] <= 0:
            return uppers[0]
        lower, below = (uppers[bucket - 1], counts[bucket - 1]) if bucket else (0.0, 0.0)
        inside = counts[bucket] - below
        return lower + (uppers[bucket] - lower) * (rank - below) / inside

    def share_at_most(self, bound: float) -> float | None:
        """The share of the observations that were at most `bound`, which must be a bucket's; else None, as where
        nothing was observed. Exact, unlike a quantile.
        """
        for upper, count in zip(self.bounds, self.counts, strict=True):
            if float(upper) == bound:
                return min(1.0, count / self.count) if self.count > 0 else None
        return None

    def since(self, before: "Histogram") -> "Histogram":
        """What was observed after `before`; all of it where anything fell, for then the counters began anew."""
        if before.bounds != self.bounds or before.sum > self.sum or any(map(_fell, before.counts, self.counts)):
            return self
        counts = tuple(now - then for then, now in zip(before.counts, self.counts, strict=True))
        return Histogram(self.bounds, counts, self.sum - before.sum)


def _fell(before: float, after: float) -> bool:
    return after < before


def add(histograms: Iterable[Histogram]) -> Histogram | None:
    """All observations together, bound by bound as PromQL's `sum by (le)`; None of none."""
    counts: dict[str, float] = {}
    total = 0.0
    some = False
    for histogram in histograms:
        some = True
        total += histogram.sum
        for bound, count in zip(histogram.bounds, histogram.counts, strict=True):
            counts[bound] = counts.get(bound, 0.0) + count
    if not some:
        return None
    bounds = sorted(counts, key=float)
    return Histogram(tuple(bounds), tuple(counts[bound] for bound in bounds), total)


def histogram_of(family: Family) -> Histogram:
    """The sum of all series of a histogram family. One that has no series yet has observed nothing."""
    counts: dict[str, float] = {}
    total = 0.0
    for sample in family.samples:
        if sample.name.endswith("_bucket") and "le" in sample.labels:
            bound = sample.labels["le"]
            counts[bound] = counts.get(bound, 0.0) + sample.value
        elif sample.name.endswith("_sum"):
            total += sample.value
    bounds = sorted(counts, key=float)
    return Histogram(tuple(bounds), tuple(counts[bound] for bound in bounds), total)
