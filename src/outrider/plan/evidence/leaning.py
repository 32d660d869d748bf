"""Whether what was counted so far looks worse, long before it proves anything: no reason to take a release back, but
one not to give it more traffic yet.
"""

import math

from outrider.plan.evidence.outcomes import Counts

DOUBT = 0.05
"""The chance below which a candidate that is no worse by more than the margin would look as bad as this one."""


def looks_worse(candidate: Counts, stable: Counts, margin: float) -> bool:
    """Whether so many bad outcomes are unlikely at the stable version's share and `margin` (0 to 1) on top of it.

    By Chernoff's bound, P(share of n >= k/n) <= exp(-n KL(k/n || p)): W. Hoeffding, "Probability inequalities for sums
    of bounded random variables", JASA 58 (1963), theorem 1. Looked at again and again this is too often true; all that
    follows from it is patience.
    """
    if not candidate.total:
        return False
    usual = (stable.bad + 0.5) / (stable.total + 1) + margin
    share = candidate.bad / candidate.total
    if share <= usual or usual >= 1:
        return False
    return candidate.total * _divergence(share, usual) > -math.log(DOUBT)


def _divergence(share: float, usual: float) -> float:
    """KL(share || usual) of two Bernoulli distributions, in nats."""
    found = share * math.log(share / usual)
    return found if share >= 1 else found + (1 - share) * math.log((1 - share) / (1 - usual))
