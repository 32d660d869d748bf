"""Simulated releases: what two versions answer, tick by tick, and the four rules that look at it."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from outrider.plan.evidence import Counts, Indicator, PodCounts, PodFacts, Tick

TICK = 5.0
HISTORY_TICKS = 12
"""The stable version was watched for a minute before the candidate came."""
USUAL_ERRORS, USUAL_SLOW = 0.001, 0.04
PROBE_TIMEOUT = 10.0
STABLE_PODS = 3
MANY = 30.0
"""From here on a normal distribution stands for a binomial or Poisson one."""


@dataclass(frozen=True)
class Traffic:
    rate: float
    """Requests per second to both versions together."""
    share: float
    """The candidate's part of them."""
    probes: float = 1.0
    """Per second, to each of the two versions."""

    @property
    def pods(self) -> int:
        """The candidate's: one as a canary, else as many as the stable version has."""
        return 1 if self.share < 0.5 else STABLE_PODS

    def __str__(self) -> str:
        return f"{self.rate:g} rps, {self.share:.0%}"


@dataclass(frozen=True)
class Story:
    """What is wrong, with whom, from when on."""

    name: str
    errors: float = USUAL_ERRORS
    slow: float = USUAL_SLOW
    hung: bool = False
    begins: float = 0.0
    """Seconds after the candidate's first request."""
    ends: float = math.inf
    both: bool = False
    """The stable version has the same."""
    one_pod: bool = False
    """Only the candidate's first pod has it."""
    clustering: float = 0.0
    """The intra-class correlation of the outcomes of a pod in a tick, with both versions."""
    lasting: float = 0.0
    """The same correlation of the errors of a pod for as long as it lives: every pod has a share of its own."""
    usual_errors: float = USUAL_ERRORS
    stable_until: float = math.inf
    """When the last stable pod goes."""
    seconds: float = 600.0
    """How long it is watched."""

    @property
    def identical(self) -> bool:
        """Whether a rollback would be a false one."""
        return (
            self.both or self.one_pod or not (self.hung or (self.errors, self.slow) != (self.usual_errors, USUAL_SLOW))
        )


def poisson(chance: random.Random, mean: float) -> int:
    if mean > MANY:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def binomial(chance: random.Random, n: int, share: float) -> int:
    if n == 0 or share <= 0:
        return 0
    if share >= 1:
        return n
    if n * min(share, 1 - share) > MANY:
        return min(n, max(0, round(chance.gauss(n * share, math.sqrt(n * share * (1 - share))))))
    count, at, scale = 0, 0, math.log1p(-share)
    while True:  # from one bad outcome to the next
        gap = math.log(1 - chance.random()) / scale
        if at + gap >= n:  # of the least shares it is infinite
            return count
        at += int(gap) + 1
        count += 1


class Release:
    """One release, by chance: iterate over (seconds since its beginning, tick)."""

    def __init__(self, traffic: Traffic, story: Story, seed: str) -> None:
        self._traffic, self._story, self._chance = traffic, story, random.Random(seed)
        self._own: dict[str, float] = {}
        self.compared = True
        """Whether anybody still looks at the stable version's answers."""
        self.first_bad: float | None = None
        """Seconds since the beginning: when the candidate gave the first bad answer that the fault explains."""

    def __iter__(self) -> Iterator[tuple[float, Tick]]:
        for number in range(-HISTORY_TICKS, int(self._story.seconds / TICK)):
            began = number * TICK
            beside = began < self._story.stable_until and self.compared
            stable = self._arm("old", began, STABLE_PODS) if beside else {}
            candidate = self._arm("new", began, self._traffic.pods) if number >= 0 else {}
            yield began + TICK, Tick(at=began + TICK, seconds=TICK, stable=stable, candidate=candidate)

    def _arm(self, arm: str, began: float, pods: int) -> PodCounts:
        traffic, alone = self._traffic, began < 0 or began >= self._story.stable_until
        share = 1.0 if alone else traffic.share if arm == "new" else 1 - traffic.share
        mean = traffic.rate * share * TICK / pods
        probes = [0] * pods
        for number in range(round(traffic.probes * TICK)):
            probes[(number + int(began)) % pods] += 1
        return {
            f"{arm}-{pod}": self._pod(arm, pod, began, poisson(self._chance, mean), probes[pod]) for pod in range(pods)
        }

    def _pod(self, arm: str, pod: int, began: float, requests: int, probes: int) -> dict[Indicator, Counts]:
        story = self._story
        faulty = story.begins <= began < story.ends and (arm == "new" or story.both) and (pod == 0 or not story.one_pod)
        if faulty and story.hung:
            return self._hanging(arm, began, probes)
        ended = requests + probes
        errors = binomial(
            self._chance, ended, self._errors(f"{arm}-{pod}", story.errors if faulty else story.usual_errors)
        )
        slow = binomial(self._chance, ended, self._share(story.slow if faulty else USUAL_SLOW))
        if arm == "new" and faulty:
            self._note(began, slow if story.slow != USUAL_SLOW else errors)
        return {"errors": Counts(errors, ended), "endToEnd": Counts(slow, ended)} if ended else {}

    def _hanging(self, arm: str, began: float, probes: int) -> dict[Indicator, Counts]:
        """Requests never end: that alone would look like silence. Probes end when their patience does."""
        late = began - self._story.begins >= PROBE_TIMEOUT
        if arm == "new" and self.first_bad is None:
            self.first_bad = began
        found: dict[Indicator, Counts] = {"stalled": Counts(1, 1)}
        return found | ({"errors": Counts(probes, probes)} if late and probes else {})

    def _errors(self, pod: str, mean: float) -> float:
        if self._story.lasting <= 0:
            return self._share(mean)
        if pod not in self._own:
            self._own[pod] = self._drawn(mean, self._story.lasting)
        return self._own[pod]

    def _share(self, mean: float) -> float:
        """The chance of a bad outcome with one pod in one tick."""
        return self._drawn(mean, self._story.clustering)

    def _drawn(self, mean: float, correlation: float) -> float:
        if correlation <= 0 or not 0 < mean < 1:
            return mean
        size = 1 / correlation - 1
        return self._chance.betavariate(mean * size, (1 - mean) * size)

    def _note(self, began: float, bad: int) -> None:
        if bad and self.first_bad is None:
            self.first_bad = began + TICK * (1 - self._chance.random() ** (1 / bad))


def facts(traffic: Traffic) -> tuple[PodFacts, ...]:
    return tuple(PodFacts(f"new-{pod}", f"new-{pod}", ever_ready=True, ready=True) for pod in range(traffic.pods))


def clustered(story: Story, clustering: float) -> Story:
    return replace(story, name=f"{story.name}, clustered", clustering=clustering)
