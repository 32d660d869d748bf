"""The arithmetic of bets, against what can be computed in full."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.plan.evidence import Counts
from outrider.plan.evidence.attribution import at_most
from outrider.plan.evidence.eprocess import bounds, nearest, not_worse, one_sample, scaled, two_sample

shares = st.floats(0.001, 0.999)
NO_CAP = math.inf


def _mean(bet, a: float, b: float, n_a: int, n_b: int) -> float:
    """The exact expectation of exp(bet) over all outcomes of n_a and n_b requests."""
    total = 0.0
    for k_a, k_b in itertools.product(range(n_a + 1), range(n_b + 1)):
        chance = math.comb(n_a, k_a) * a**k_a * (1 - a) ** (n_a - k_a)
        chance *= math.comb(n_b, k_b) * b**k_b * (1 - b) ** (n_b - k_b)
        total += chance * math.exp(bet(Counts(k_a, n_a), Counts(k_b, n_b)))
    return total


@settings(max_examples=150)
@given(shares, shares, shares, st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.1]), st.integers(1, 6), st.integers(1, 6))
def test_a_bet_on_worse_is_fair_wherever_the_candidate_is_no_worse(p_a, p_b, a, part, delta, n_a, n_b) -> None:
    b = part * min(a + delta, 1.0)
    mean = _mean(lambda old, new: two_sample([old], [new], (p_a, p_b), delta, NO_CAP), a, b, n_a, n_b)
    assert mean <= 1 + 1e-6


@settings(max_examples=150)
@given(shares, shares, shares, st.floats(0, 1), st.integers(1, 6), st.integers(1, 6))
def test_a_bet_on_not_worse_is_fair_wherever_the_candidate_is_worse(p_a, p_b, b, part, n_a, n_b) -> None:
    margin = 0.05
    a = part * max(b - margin, 0.0)
    if b < margin:
        return
    mean = _mean(lambda old, new: not_worse(old, new, (p_a, p_b), margin, NO_CAP), a, b, n_a, n_b)
    assert mean <= 1 + 1e-6


@settings(max_examples=100)
@given(shares, shares, st.floats(0, 1), st.floats(0, 0.5), st.integers(1, 8), st.integers(1, 8))
def test_bets_stay_fair_with_counts_that_are_scaled_down(p_a, p_b, a, clustering, n_a, n_b) -> None:
    def bet(old: Counts, new: Counts) -> float:
        return two_sample([scaled(old, clustering)], [scaled(new, clustering)], (p_a, p_b), 0.0, NO_CAP)

    assert _mean(bet, a, a, n_a, n_b) <= 1 + 1e-6


@settings(max_examples=100)
@given(shares, st.floats(0.01, 0.9), st.floats(0, 1), st.integers(1, 10))
def test_a_bet_on_the_limit_is_fair_below_it(bet, limit, part, n) -> None:
    assert _mean(lambda _, new: one_sample([new], bet, limit, NO_CAP), 0.5, part * limit, 0, n) <= 1 + 1e-6


@given(shares, shares, st.integers(1, 1000), st.integers(1, 1000), st.floats(0, 0.3))
def test_the_nearest_point_lies_between(p_a, p_b, n_a, n_b, delta) -> None:
    q_a, q_b = nearest(p_a, p_b, n_a, n_b, delta)
    assert q_b == pytest.approx(q_a + delta)
    low, high = sorted((p_a, p_b - delta))
    assert low - 1e-9 <= q_a <= high + 1e-9 or not 0 <= low <= high <= 1 - delta


def test_correlated_outcomes_are_worth_fewer() -> None:
    assert scaled(Counts(10, 100), 0.0) == Counts(10, 100)
    assert scaled(Counts(10, 1000), 0.05).total == pytest.approx(19.6, abs=0.1)
    assert scaled(Counts(1, 1), 0.5) == Counts(1, 1)


def test_confidence_limits_hold_what_tables_say() -> None:
    assert bounds(Counts(0, 0), 3) == (0, 1)
    assert bounds(Counts(5, 100), 1.96) == pytest.approx((0.0215, 0.1118), abs=1e-4)


def test_chances_of_few_bad_outcomes_are_binomial() -> None:
    assert at_most(Counts(0, 30), 0.1) == pytest.approx(0.9**30)
    assert at_most(Counts(1, 30), 0.1) == pytest.approx(0.9**30 + 30 * 0.1 * 0.9**29)
    assert at_most(Counts(3, 30), 1.0) == 0
