"""Quantiles as PromQL estimates them, and differences that survive restarts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.signals.histogram import Histogram, add

BOUNDS = ("0.3", "0.5", "0.8", "1.0", "+Inf")


def histogram(*counts: float, total: float = 0.0) -> Histogram:
    return Histogram(BOUNDS, counts, total)


# Expected values: histogram_quantile of Prometheus 3 over the same buckets (promql/quantile.go, worked by hand).
QUANTILES: dict[str, tuple[Histogram, float, float | None]] = {
    "linear within a bucket": (histogram(0, 10, 10, 10, 10), 0.5, 0.4),
    "from zero in the first bucket": (histogram(10, 10, 10, 10, 10), 0.5, 0.15),
    "on the edge of a bucket": (histogram(5, 10, 10, 10, 10), 0.5, 0.3),
    "in the infinite bucket: the highest finite bound": (histogram(0, 0, 0, 0, 10), 0.95, 1.0),
    "over several buckets": (histogram(50, 80, 90, 100, 100), 0.95, 0.9),
    "the maximum": (histogram(0, 0, 10, 10, 10), 1.0, 0.8),
    "the minimum, with empty buckets in front": (histogram(0, 10, 10, 10, 10), 0.0, 0.3),
    "nothing observed": (histogram(0, 0, 0, 0, 0), 0.95, None),
    "counts that fall in a torn scrape": (histogram(5, 10, 9, 10, 10), 0.9, 0.46),
    "no infinite bucket": (Histogram(("1", "2"), (1, 2), 0), 0.5, None),
    "only an infinite bucket": (Histogram(("+Inf",), (5,), 0), 0.5, None),
    "no bucket": (Histogram((), (), 0), 0.5, None),
    "a first bound below zero": (Histogram(("-1", "+Inf"), (5, 5), 0), 0.5, -1.0),
}


@pytest.mark.parametrize("case", QUANTILES)
def test_quantile(case: str) -> None:
    measured, quantile, expected = QUANTILES[case]
    value = measured.quantile(quantile)
    assert value == (pytest.approx(expected) if expected is not None else None)


@pytest.mark.parametrize("quantile", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_0_to_1_is_an_error(quantile: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram(1, 1, 1, 1, 1).quantile(quantile)


def test_a_share_is_exact_where_there_is_a_bucket_and_unknown_where_there_is_none() -> None:
    measured = histogram(50, 80, 90, 95, 100)
    assert measured.share_at_most(0.5) == 0.8
    assert measured.share_at_most(0.45) is None
    assert histogram(0, 0, 0, 0, 0).share_at_most(0.5) is None


OBSERVATIONS = st.lists(st.floats(0.001, 3), min_size=1, max_size=40)


def of(values: list[float]) -> Histogram:
    counts = [float(sum(value <= float(bound) for value in values)) for bound in BOUNDS]
    return Histogram(BOUNDS, tuple(counts), sum(values))


@given(OBSERVATIONS, st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], quantile: float) -> None:
    true = sorted(values)[math.ceil(quantile * len(values) - 1e-9) - 1]
    edges = [0.0, *(float(bound) for bound in BOUNDS[:-1]), math.inf]
    upper = next(position for position, edge in enumerate(edges) if true <= edge)
    estimate = of(values).quantile(quantile)
    assert estimate is not None
    assert edges[upper - 1] - 1e-9 <= estimate <= min(edges[upper], 1.0) + 1e-9


@given(OBSERVATIONS, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_never_fall(values: list[float], one: float, other: float) -> None:
    low, high = of(values).quantile(min(one, other)), of(values).quantile(max(one, other))
    assert low is not None
    assert high is not None
    assert low <= high


@given(OBSERVATIONS, OBSERVATIONS)
def test_a_difference_is_what_was_observed_in_between(before: list[float], after: list[float]) -> None:
    grown = of(before + after).since(of(before))
    assert grown.counts == of(after).counts
    assert grown.sum == pytest.approx(sum(after), abs=1e-9)


@given(OBSERVATIONS, OBSERVATIONS)
def test_after_a_restart_no_difference_is_negative(before: list[float], after: list[float]) -> None:
    grown = of(after).since(of(before))
    assert all(count >= 0 for count in grown.counts)
    assert grown.sum >= 0


def test_histograms_add_up_bound_by_bound() -> None:
    total = add([Histogram(("1.0", "+Inf"), (1, 2), 3), Histogram(("0.5", "1.0", "+Inf"), (1, 1, 1), 0.5)])
    assert total == Histogram(("0.5", "1.0", "+Inf"), (1, 2, 3), 3.5)
    assert add([]) is None
