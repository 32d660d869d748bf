"""E-values of counts: how many times a bet against a hypothesis has multiplied its stake. All of them as logarithms.

Where the hypothesis holds, a fair bet gains nothing on average, whatever is staked as long as it is chosen before the
outcome is seen. So the chance that the product of all bets *ever* reaches 1/alpha is at most alpha (Ville's
inequality), however often somebody looks. Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample
tests that allow for optional stopping", arXiv 2106.02693; Turner, Grünwald, arXiv 2302.11401 (effects of a given size).

Why a bet that is won against the nearest point (q_a, q_b) of the line q_b = q_a + delta is fair for the whole null: the
expectation of a tick is f(a)^n_a g(b)^n_b with f and g linear in the true shares, so its logarithm is concave. Along
the line its slope at (q_a, q_b) is zero, which is what nearest means, and so its maximum there is 1; f and g fall to
the inner side. By Jensen's inequality the same holds for counts that are scaled down, see `scaled`.
"""

import math
from collections.abc import Sequence

from outrider.plan.evidence.outcomes import Counts

PRIOR = Counts(0.18, 1.0)
"""Beta(0.18, 0.82), by which Turner, Ly and Grünwald found bets to grow well for any pair of shares."""
_HALVINGS = 30


def expected(past: Counts) -> float:
    """The mean of the Beta posterior: the share that is bet on. Never 0 or 1."""
    return (past.bad + PRIOR.bad) / (past.total + PRIOR.total)


def scaled(counts: Counts, clustering: float) -> Counts:
    """As many independent outcomes as these are worth, where outcomes of a pod in a tick are correlated.

    `clustering` is their intra-class correlation; n outcomes have the variance of n / (1 + (n - 1) clustering).
    Kish, "Survey Sampling", 1965 (design effect).
    """
    return counts.times(1 / (1 + max(counts.total - 1, 0.0) * clustering))


def nearest(p_a: float, p_b: float, n_a: float, n_b: float, delta: float) -> tuple[float, float]:
    """The (q_a, q_a + delta) from which counts of n_a and n_b outcomes tell (p_a, p_b) worst (Kullback-Leibler)."""
    if delta == 0.0:
        both = (n_a * p_a + n_b * p_b) / (n_a + n_b)
        return both, both
    low, high = sorted((p_a, p_b - delta))
    low, high = max(low, 0.0, -delta), min(high, 1.0, 1.0 - delta)
    for _ in range(_HALVINGS):
        q_a = (low + high) / 2
        q_b = q_a + delta
        if not 0 < q_a < 1 or not 0 < q_b < 1:
            break
        if n_a * (q_a - p_a) / (q_a * (1 - q_a)) + n_b * (q_b - p_b) / (q_b * (1 - q_b)) < 0:
            low = q_a
        else:
            high = q_a
    return (low + high) / 2, (low + high) / 2 + delta


def gained(counts: Counts, bet: float, against: float) -> float:
    """The logarithm of the likelihood ratio of two shares."""
    good = counts.total - counts.bad
    return counts.bad * math.log(bet / against) + good * math.log((1 - bet) / (1 - against))


def two_sample(
    stable: Sequence[Counts], candidate: Sequence[Counts], bets: tuple[float, float], delta: float, cap: float
) -> float:
    """The tick's bet that the candidate's share is above the stable one's by more than `delta`.

    Counts are one per pod. `cap` is the most that a tick may gain; with several pods one alone gains half of that:
    what is only one pod's weighs less. A cap makes an e-value smaller, so it stays one.
    """
    p_a, p_b = bets
    n_a, n_b = sum(counts.total for counts in stable), sum(counts.total for counts in candidate)
    if p_b <= p_a + delta or n_a <= 0 or n_b <= 0:
        return 0.0
    q_a, q_b = nearest(p_a, p_b, n_a, n_b, delta)
    if not (0 < q_a < 1 and 0 < q_b < 1):
        return 0.0
    beside = sum(gained(counts, p_a, q_a) for counts in stable) / n_b
    return min(cap, _by_pods(candidate, p_b, q_b, beside, cap))


def not_worse(stable: Counts, candidate: Counts, bets: tuple[float, float], delta: float, cap: float) -> float:
    """The tick's bet that the candidate's share is below the stable one's plus `delta`: the other side."""
    p_a, p_b = bets
    if p_b >= p_a + delta or stable.total <= 0 or candidate.total <= 0:
        return 0.0
    q_a, q_b = nearest(p_a, p_b, stable.total, candidate.total, delta)
    if not (0 < q_a < 1 and 0 < q_b < 1):
        return 0.0
    return min(cap, gained(stable, p_a, q_a) + gained(candidate, p_b, q_b))


def one_sample(candidate: Sequence[Counts], bet: float, limit: float, cap: float) -> float:
    """The tick's bet that the candidate's share is above `limit`, where nothing else runs to compare with."""
    if bet <= limit or not 0 < limit < 1:
        return 0.0
    return min(cap, _by_pods(candidate, bet, limit, 0.0, cap))


def _by_pods(pods: Sequence[Counts], bet: float, against: float, beside: float, cap: float) -> float:
    """What each pod gains, with its part of what the stable version's outcomes gain (`beside`, for each outcome)."""
    most = cap if len(pods) < 2 else cap / 2
    return sum(min(most, gained(counts, bet, against) + beside * counts.total) for counts in pods)


def log_sum(*logarithms: float) -> float:
    """The logarithm of the sum of what these are logarithms of."""
    top = max(logarithms)
    return top + math.log(sum(math.exp(each - top) for each in logarithms))


def bounds(counts: Counts, sigmas: float) -> tuple[float, float]:
    """Wilson's confidence limits of a share, `sigmas` standard errors wide: (0, 1) where nothing was seen."""
    if counts.total <= 0:
        return 0.0, 1.0
    share, square = counts.bad / counts.total, sigmas * sigmas
    middle = counts.bad + square / 2
    width = sigmas * math.sqrt(counts.bad * (1 - share) + square / 4)
    return max(0.0, (middle - width) / (counts.total + square)), min(1.0, (middle + width) / (counts.total + square))
