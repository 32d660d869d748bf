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
