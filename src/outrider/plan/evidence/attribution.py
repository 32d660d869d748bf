"""Whose fault it is: the version's, one pod's, its node's, or that of something that both versions share."""

import math

from outrider.plan.evidence.eprocess import bounds
from outrider.plan.evidence.outcomes import Counts, Indicator, total
from outrider.plan.evidence.situation import PodFacts, Situation
from outrider.plan.evidence.state import Evidence, State

UNLIKELY = 0.01
SIGMAS = 1.64
"""One-sided 95 %."""


def one_pod(evidence: Evidence) -> str | None:
    """The uid of the pod from which all the trouble comes: the others have shown that they fare better than it, and
    no worse than the stable version. None where the version may be at fault.
    """
    if len(evidence.pods) < 2:
        return None
    worst = max(evidence.pods, key=lambda uid: (evidence.pods[uid].bad, uid))
    pod, others = evidence.pods[worst], total(counts for uid, counts in evidence.pods.items() if uid != worst)
    share = pod.share
    if not share or at_most(others, share) > UNLIKELY:
        return None
    usual = bounds(evidence.stable.recent, SIGMAS)[1]
    return worst if bounds(others, SIGMAS)[0] <= usual else None


def pods_differ(evidence: Evidence) -> bool:
    """Whether pods of one version differ so much, and for so long, that the versions differ no more than that.

    The bets take outcomes of different ticks for independent. Where pods have shares of their own, more ticks do not
    make the versions more comparable, only more pods do; so it is asked how far apart two versions of so many such
    pods may be, in one of 200 cases (Student's t, for the spread is estimated from few pods).
    """
    arms = [list(pods.values()) for pods in (evidence.stable_pods, evidence.pods)]
    surplus, freedom = 0.0, 0
    for pods in arms:
        share = total(pods).share
        if len(pods) > 1 and share and share < 1:
            chance = share * (1 - share)
            surplus += sum((pod.bad - pod.total * share) ** 2 / (pod.total * chance) for pod in pods)
            freedom += len(pods) - 1
    if freedom == 0 or surplus <= _chi_square(freedom):
        return False
    stable, candidate = (total(pods) for pods in arms)
    both = stable.plus(candidate)
    if not stable.total or not candidate.total or not both.share:
        return False
    usual = both.total / sum(len(pods) for pods in arms)
    correlation = min(1.0, (surplus / freedom - 1) / max(usual - 1, 1.0))
    spread = sum(correlation / len(pods) + 1 / total(pods).total for pods in arms)
    apart = candidate.bad / candidate.total - stable.bad / stable.total
    return apart < _student(freedom) * math.sqrt(both.share * (1 - both.share) * spread)


def _chi_square(freedom: int) -> float:
    """Its 95 % quantile. Wilson, Hilferty, PNAS 17 (1931)."""
    part = 2 / (9 * freedom)
    return freedom * (1 - part + 1.645 * math.sqrt(part)) ** 3


def _student(freedom: int) -> float:
    """Its one-sided 99.5 % quantile."""
    table = (63.66, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17)
    return table[freedom - 1] if freedom <= len(table) else 2.58 + 5.9 / freedom


def at_most(counts: Counts, share: float) -> float:
    """The chance of no more bad outcomes than these if each is bad with the chance `share`."""
    n, most = round(counts.total), round(counts.bad)
    if share >= 1:
        return 0.0 if most < n else 1.0
    if most >= n * share:
        return 1.0  # as many as expected: unlikely is something else
    odds = math.log(share) - math.log1p(-share)
    logarithm, chance = n * math.log1p(-share), 0.0
    for k in range(most + 1):
        chance += math.exp(logarithm)
        logarithm += math.log((n - k) / (k + 1)) + odds if k < n else 0.0
    return min(chance, 1.0)


def faulty(situation: Situation, state: State, indicator: Indicator) -> tuple[PodFacts, ...]:
    """Pods on faulty nodes or GPUs, if all bad outcomes are theirs."""
    faults = {pod.uid: pod for pod in situation.pods if pod.fault}
    pods = state.of(indicator).pods
    # What has faded to less than half an outcome is no news.
    bad = {uid for uid, counts in pods.items() if counts.bad >= 0.5}
    return tuple(faults.values()) if bad and bad <= faults.keys() else ()
