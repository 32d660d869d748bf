"""Gives each outcome of the pods that are watched exactly once: what users' requests showed, and what probes did.

The server counts Outrider's probes as it counts users' requests, in the same series, and nothing on its page tells
them apart. But how many there were is known, and how the server counted each (`ProbeCounts`). They are taken out class
by class: a probe that was answered with 500 is not a second error, and good probes, which come as often however few
users there are, do not hide the errors of an arm with little traffic. Then they are put back as what they are.

* The page may be older or newer than the probes' counts by one reading. What cannot be taken out yet is taken out of
  the next reading; what is not there then was never counted by the server, and is forgotten.
* A good probe is a short request that mostly is fast: it is taken out of `firstToken` and `endToEnd`, from the slow
  ones where it took longer than the edge, for its client can only see it later than the server does. `interToken` is
  left as it is: a probe's tokens come from the same steps of the engine as everybody's, and are few.
"""

from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Protocol

import msgspec

from outrider.api.clock import Clock
from outrider.signals.outcomes import Counts, Edges, Indicator, Outcomes, between, snap_all, so_far, together
from outrider.signals.prober import ProbeCounts
from outrider.signals.scrape import STALE_INTERVALS, ScrapeResult
from outrider.signals.vllm_metrics import ServerSample, restarted

WARM_UP_SECONDS = 60.0
WARM_UP_REQUESTS = 20
"""The latency of a process is compared after both: kernels are compiled for the first requests, and caches are cold."""
LATENCIES: frozenset[Indicator] = frozenset({"firstToken", "interToken", "endToEnd"})


class Readings(Protocol):
    """What was read of servers: a `Scraper`."""

    def latest(self, key: str) -> ScrapeResult | None: ...


class Probes(Protocol):
    """What was probed: a `Prober`."""

    def counts(self, key: str) -> ProbeCounts | None: ...

    def age(self, key: str) -> float | None: ...


class _NewProbes(msgspec.Struct, frozen=True):
    """How the probes ended that came after an earlier look at their counts."""

    good: int = 0
    bad: int = 0
    counted_2xx: int = 0
    counted_4xx: int = 0
    counted_5xx: int = 0
    latencies: tuple[float, ...] = ()
    """Of the good ones, as far as they are kept."""

    def slower_than(self, edge: float | None) -> int:
        return sum(1 for latency in self.latencies if edge is not None and latency > edge)


def _new_probes(before: ProbeCounts | None, now: ProbeCounts | None) -> _NewProbes:
    if now is None:
        return _NewProbes()
    if before is None or before.since != now.since:
        before = ProbeCounts(now.since, 0, 0, 0, 0, 0, ())
    good = now.good - before.good
    return _NewProbes(
        good=good,
        bad=now.bad - before.bad,
        counted_2xx=now.counted_2xx - before.counted_2xx,
        counted_4xx=now.counted_4xx - before.counted_4xx,
        counted_5xx=now.counted_5xx - before.counted_5xx,
        latencies=now.latencies[-good:] if good else (),
    )


class _Owed:
    """Probes of one class that are still to be taken out of what the server counted."""

    def __init__(self) -> None:
        self._left = 0

    def take_out(self, counted: int, probes: int) -> int:
        """What is left of `counted` without the new `probes` and those that were owed."""
        owed = self._left + probes
        self._left = min(max(0, owed - counted), probes)
        return max(0, counted - owed)


class _Pod:
    """What was consumed of one pod."""

    def __init__(self) -> None:
        self.last: ServerSample | None = None
        """The newest reading that was consumed."""
        self.process_since = 0.0
        """When the process of that reading was first read, in the reader's monotonic seconds."""
        self.probes: ProbeCounts | None = None
        self.probes_at_last: ProbeCounts | None = None
        """As they were when `last` was consumed: what came after them is in the readings after it."""
        self._start_paying()

    def _start_paying(self) -> None:
        self._good, self._refused, self._failed = _Owed(), _Owed(), _Owed()
        self._fast_and_slow: dict[Indicator, tuple[_Owed, _Owed]] = {
            "firstToken": (_Owed(), _Owed()),
            "endToEnd": (_Owed(), _Owed()),
        }

    def begin(self, samples: Iterable[ServerSample], probes: ProbeCounts | None) -> None:
        """From here on: what was before is not known to be nobody else's."""
        self.probes = self.probes_at_last = probes
        for sample in samples:
            self._note(sample)

    def served(self, samples: Iterable[ServerSample], edges: Edges, probes: ProbeCounts | None) -> Outcomes:
        """What users' requests showed in the readings that are new; empty where there is none."""
        if self.last is None:
            for sample in samples:
                self._note(sample)
            self.probes_at_last = probes
            return {}
        fresh = [sample for sample in samples if sample.at > self.last.at]
        if not fresh:
            return {}
        steps: list[Outcomes] = []
        for before, after in pairwise([self.last, *fresh]):
            if restarted(before, after):
                self._start_paying()  # the old process can no longer show what it owes
            step = between(before, after, edges)
            steps.append(step if self._is_warm(before, after) else _without_latencies(step))
            self._note(after)
        new = _new_probes(self.probes_at_last, probes)
        self.probes_at_last = probes
        return self._without_probes(together(steps), new, edges)

    def probed(self, probes: ProbeCounts | None) -> Outcomes:
        """What the probes showed that are new; empty where there is none."""
        new = _new_probes(self.probes, probes)
        self.probes = probes
        return {"errors": Counts(new.bad, new.good + new.bad)} if new.good + new.bad else {}

    def _note(self, sample: ServerSample) -> None:
        if self.last is None or restarted(self.last, sample):
            self.process_since = sample.at
        self.last = sample

    def _is_warm(self, before: ServerSample, after: ServerSample) -> bool:
        ended = before.requests
        if ended is None and before.end_to_end is not None:
            ended = before.end_to_end.count
        return (
            not restarted(before, after)
            and before.at - self.process_since >= WARM_UP_SECONDS
            and ended is not None
            and ended >= WARM_UP_REQUESTS
        )

    def _without_probes(self, outcomes: dict[Indicator, Counts], new: _NewProbes, edges: Edges) -> Outcomes:
        users = dict(outcomes)
        if "errors" in outcomes and "rejections" in outcomes:
            errors, rejections = outcomes["errors"], outcomes["rejections"]
            good = self._good.take_out(errors.total - errors.bad, new.counted_2xx)
            refused = self._refused.take_out(rejections.bad, new.counted_4xx)
            failed = self._failed.take_out(errors.bad, new.counted_5xx)
            users["errors"] = Counts(failed, good + failed)
            users["rejections"] = Counts(refused, good + refused + failed)
        of: dict[Indicator, float | None] = {"firstToken": edges.first_token, "endToEnd": edges.end_to_end}
        for indicator, edge in of.items():
            if indicator in outcomes:
                counts, (fast, slow) = outcomes[indicator], self._fast_and_slow[indicator]
                slow_probes = new.slower_than(edge)
                quick = fast.take_out(counts.total - counts.bad, new.good - slow_probes)
                late = slow.take_out(counts.bad, slow_probes)
                users[indicator] = Counts(late, quick + late)
        return users


class OutcomeReader:
    """Reads the outcomes of one owner's pods (an LLMDeployment's, of all revisions). It does no I/O and never waits."""

    def __init__(self, clock: Clock, readings: Readings, probes: Probes, *, interval: float = 5.0) -> None:
        """`interval`: the seconds between two readings of a server."""
        self._clock = clock
        self._readings = readings
        self._probes = probes
        self._oldest = STALE_INTERVALS * interval
        self._pods: dict[str, _Pod] = {}
        self.edges = Edges()
        """Those that the last `read` took; None where no pod showed its buckets."""

    def read(self, pods: Collection[str], wanted: Edges) -> dict[str, Outcomes]:
        """What has ended at each of these pods (by uid) since the last call; those of which nothing is new are left
        out. Of a pod that is new here, what ends from now on. Pods that are no longer asked for are forgotten.

        A server whose newest reading is older than three intervals gives nothing, until there is a new one: then all
        that it counted meanwhile. For each of the `wanted` edges the one that `snap` says is taken, the same for all.
        """
        known = {uid: self._pods.get(uid) or _Pod() for uid in pods}
        samples = {uid: self._fresh(uid) for uid in pods}
        self.edges = snap_all(wanted, (listed[-1] for listed in samples.values() if listed))
        given: dict[str, Outcomes] = {}
        for uid, pod in known.items():
            probes = self._probes.counts(uid)
            if uid not in self._pods:
                pod.begin(samples[uid], probes)
                continue
            outcomes = together((pod.served(samples[uid], self.edges, probes), pod.probed(probes)))
            if outcomes:
                given[uid] = outcomes
        self._pods = known
        return given

    def so_far(self, pods: Collection[str]) -> dict[Indicator, Counts]:
        """All that these pods have counted since their processes began, at the edges of the last `read`."""
        samples = [listed[-1] for listed in map(self._fresh, pods) if listed]
        return together(so_far(sample, self.edges) for sample in samples)

    def age(self, pods: Collection[str]) -> float | None:
        """Seconds since anything was learnt of any of these pods, by a good reading or a probe; None where nothing was.

        Of an arm all of whose pods are silent for long nobody can tell how it is.
        """
        ages = [age for uid in pods for age in (self._reading_age(uid), self._probes.age(uid)) if age is not None]
        return min(ages, default=None)

    def reading_age(self, pods: Collection[str]) -> float | None:
        """Seconds since the counters of any of these pods were last read; None where that is not known."""
        ages = [age for uid in pods if (age := self._reading_age(uid)) is not None]
        return min(ages, default=None)

    def why_unread(self, pods: Collection[str]) -> str:
        """Why the last attempt to read one of these pods failed; empty where none did."""
        results = (self._readings.latest(uid) for uid in sorted(pods))
        return next((result.error for result in results if result is not None and result.error), "")

    def _fresh(self, uid: str) -> tuple[ServerSample, ...]:
        age = self._reading_age(uid)
        result = self._readings.latest(uid)
        return result.samples if result is not None and age is not None and age <= self._oldest else ()

    def _reading_age(self, uid: str) -> float | None:
        result = self._readings.latest(uid)
        return self._clock.monotonic() - result.samples[-1].at if result is not None and result.samples else None


def _without_latencies(outcomes: Outcomes) -> Outcomes:
    return {indicator: counts for indicator, counts in outcomes.items() if indicator not in LATENCIES}
