"""Counts how a new version fares beside the one before it, tick by tick, while the status says that it is watched."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus
from outrider.api.meta import Instant
from outrider.controllers.deployment.at_gateway import AtGateway
from outrider.controllers.deployment.gather import parse_deployment
from outrider.kube.clock import Clock
from outrider.kube.objects import Pod
from outrider.plan import evidence
from outrider.plan.deployment.release import TICK, kept
from outrider.plan.deployment.snapshot import Watch
from outrider.plan.evidence.outcomes import GATEWAY_FAILURES
from outrider.plan.evidence.verdict import NODE_FAULT, ONE_POD_ONLY
from outrider.signals.gateway_reader import GatewayReader
from outrider.signals.histogram import Histogram
from outrider.signals.outcome_reader import OutcomeReader
from outrider.signals.outcomes import Counts, Edges, Outcomes
from outrider.signals.prober import Prober
from outrider.signals.scrape import Scraper

HURRIED_SECONDS = 300.0
"""For how long a version without company is probed every second: the time in which most faults show."""
USUAL_SHARE = 0.95
"""Where no trigger says what is slow, it is what the stable version exceeds in one of twenty answers."""


@dataclass
class _Entry:
    """What is remembered of one release; another process would go on from what its status says."""

    revision: str
    started_time: str
    reader: OutcomeReader
    at_gateway: AtGateway
    state: evidence.State
    edges: dict[evidence.Indicator, float]
    looked_at: Instant
    alone_since: Instant | None = None
    readable: bool = False
    """Some server of this release has shown its counters."""
    on_faulty: set[str] = field(default_factory=set)
    """The candidate's pods that were on faulty nodes or GPUs at the last look, by uid."""
    silent: set[str] = field(default_factory=set)
    """Its pods that did not answer their last request at the last look, by uid."""
    read_at: Instant | None = None
    """When those of the candidate were last read, or its first pod became ready; None while none is ready."""


class Watcher:
    """One per operator. `watch` never waits: it takes what prober and scraper have read."""

    def __init__(self, clock: Clock, prober: Prober, scraper: Scraper, gateway: GatewayReader | None = None) -> None:
        self._clock = clock
        self._prober = prober
        self._scraper = scraper
        self._gateway = gateway
        self._entries: dict[str, _Entry] = {}

    def watch(self, deployment: LLMDeployment, pods: Sequence[Pod], faulty: Collection[str] = ()) -> Watch | None:
        """What was counted of the release that the status tells of; None where none is watched.

        `faulty` are the pods, by uid, beneath which something is wrong: what goes wrong there is no version's fault.
        """
        key, release = deployment.metadata.key, deployment.status.release
        if release is None or release.phase != "Watching":
            self.forget(key)
            return None
        spec = parse_deployment(deployment).spec
        settings = evidence.settings_of(spec.rollback.auto_rollback) if spec is not None else evidence.Settings()
        candidate, stable = _of(pods, release.revision), _compared(deployment, pods)
        ready = [pod.metadata.uid for pod in pods if pod.ready and pod.metadata.uid in candidate]
        entry, now = self._entry(key, release, stable, settings), self._clock.now()
        acts = spec is not None and spec.rollback.auto_rollback.enabled
        self._prober.hurry(key, *(() if acts and self._is_pressing(entry, candidate, stable, now) else (None,)))
        if release.reason in (NODE_FAULT, ONE_POD_ONLY):
            _forgive(entry, _known(entry) - {pod.metadata.uid for pod in pods})
        # Also those that have crashed by now: what they did while they answered is remembered. Not those that are told
        # to end, which may take for ever where the node is gone: nobody looks at them any more.
        on_faulty = {uid for uid in _alive(pods, release.revision) if uid in faulty}
        if recovered := entry.on_faulty - on_faulty:
            _forgive(entry, recovered, at_gateway=True)
        entry.on_faulty = on_faulty
        silent, unreached = self._silent([*candidate, *stable])
        # Who is gone without having been seen to end may have been gone for as long as the cache was behind.
        if vanished := entry.silent - {pod.metadata.uid for pod in pods}:
            _forgive(entry, vanished, at_gateway=True)
        entry.silent = silent.intersection(candidate)
        entry.at_gateway.look(deployment.status, pods, now, silent, unreached)
        if now - entry.looked_at >= TICK or now < entry.looked_at:
            self._count(entry, candidate, stable, settings, now)
        return Watch(
            revision=release.revision,
            state=entry.state,
            data_age=entry.reader.age(candidate),
            unread=self._unread(entry, ready, stable, now),
            why_unread=entry.reader.why_unread(ready),
            edges=entry.edges,
            gateway_read=entry.at_gateway.read,
        )

    def doubt(self, key: str, gone: Collection[str]) -> None:
        """Pods, by uid, turned out to be gone for a while: what was counted of them may have been counted since."""
        if entry := self._entries.get(key):
            _forgive(entry, gone, at_gateway=True)

    def forget(self, key: str) -> None:
        """Nobody watches a release of it any more."""
        if self._entries.pop(key, None) is not None:
            self._prober.hurry(key, None)

    def _entry(self, key: str, release: ReleaseStatus, stable: Sequence[str], settings: evidence.Settings) -> _Entry:
        found = self._entries.get(key)
        if found is None or (found.revision, found.started_time) != (release.revision, release.started_time):
            found = self._begin(key, release, stable, settings)
            self._entries[key] = found
        return found

    def _begin(self, key: str, release: ReleaseStatus, stable: Sequence[str], settings: evidence.Settings) -> _Entry:
        """From here on, or from where another process stopped."""
        before, reader = kept(release), OutcomeReader(self._clock, self._scraper, self._prober)
        entry = _Entry(
            revision=release.revision,
            started_time=release.started_time,
            reader=reader,
            at_gateway=AtGateway(self._gateway, key, release),
            state=before.state,
            edges=before.edges,
            looked_at=self._clock.now(),
        )
        if entry.state == evidence.State():
            reader.read(stable, self._edges(entry, stable, settings))
            past = _counts(reader.so_far(stable))
            at_gateway = entry.at_gateway.stable_so_far()
            if at_gateway is not None:
                past[GATEWAY_FAILURES] = _converted(at_gateway)
            entry.edges = _edges_of(reader.edges)
            entry.state = evidence.begun(past)
        return entry

    def _unread(self, entry: _Entry, ready: Sequence[str], stable: Sequence[str], now: Instant) -> float:
        """For how long the candidate's ready pods have not been read. Where no server of either version shows any
        counters, there are none to wait for.
        """
        if not ready:
            entry.read_at = None
            return 0.0
        age = entry.reader.reading_age(ready)
        entry.readable = entry.readable or age is not None or entry.reader.reading_age(stable) is not None
        if age is not None:
            entry.read_at = now - age
        elif entry.read_at is None:
            entry.read_at = now
        return now - entry.read_at if entry.readable else 0.0

    def _silent(self, pods: Sequence[str]) -> tuple[set[str], set[str]]:
        """Those that did not answer the last request to themselves, and those of them that could not be reached."""
        results = {uid: self._prober.latest(uid) for uid in pods}
        silent = {uid for uid, result in results.items() if result is not None and result.ok is False}
        return silent, {uid for uid, result in results.items() if result is not None and not result.reached}

    def _is_pressing(self, entry: _Entry, candidate: Sequence[str], stable: Sequence[str], now: Instant) -> bool:
        """Whether every second counts: both versions answer side by side, or the new one has been alone for minutes."""
        if not candidate:
            return False
        if stable:
            entry.alone_since = None
            return True
        entry.alone_since = entry.alone_since if entry.alone_since is not None else now
        return now - entry.alone_since < HURRIED_SECONDS

    def _count(
        self,
        entry: _Entry,
        candidate: Sequence[str],
        stable: Sequence[str],
        settings: evidence.Settings,
        now: Instant,
    ) -> None:
        edges = self._edges(entry, stable, settings)
        outcomes = entry.reader.read([*candidate, *stable], edges)
        self._use(entry, _edges_of(entry.reader.edges))
        at_gateway = entry.at_gateway.take(now)
        tick = evidence.Tick(
            at=now,
            seconds=now - entry.looked_at,
            stable={uid: _counts(outcomes.get(uid, {})) for uid in stable},
            candidate={uid: _counts(outcomes.get(uid, {})) for uid in candidate},
            stable_at_gateway=_converted(at_gateway.stable) if at_gateway.stable is not None and stable else None,
            candidate_at_gateway=_converted(at_gateway.candidate) if at_gateway.candidate is not None else None,
        )
        entry.looked_at = now
        entry.state = evidence.advance(entry.state, tick, settings)

    def _use(self, entry: _Entry, edges: dict[evidence.Indicator, float]) -> None:
        """What was counted above another edge cannot be added to: pods with other buckets have joined."""
        moved = {name for name, edge in edges.items() if entry.edges.get(name, edge) != edge}
        if moved:
            kept_evidence = {name: found for name, found in entry.state.evidence.items() if name not in moved}
            entry.state = msgspec.structs.replace(entry.state, evidence=kept_evidence)
        entry.edges = edges

    def _edges(self, entry: _Entry, stable: Sequence[str], settings: evidence.Settings) -> Edges:
        """What is slow: what the triggers say, else what is slow for the stable version, chosen once in a release."""
        measured = self._scraper.total(stable) if stable else None
        usual: Mapping[evidence.Indicator, float | None] = {}
        if measured is not None:
            usual = {
                "firstToken": _usual(measured.time_to_first_token),
                "interToken": _usual(measured.inter_token_latency),
                "endToEnd": _usual(measured.end_to_end),
            }

        def edge(name: evidence.Indicator) -> float | None:
            return settings.edges.get(name) or entry.edges.get(name) or usual.get(name)

        return Edges(edge("firstToken"), edge("interToken"), edge("endToEnd"))


def _known(entry: _Entry) -> set[str]:
    """The pods of which something was counted, by uid."""
    return {uid for found in entry.state.evidence.values() for uid in found.pods}


def _forgive(entry: _Entry, blamed: Collection[str], *, at_gateway: bool = False) -> None:
    """What pods did that were to blame, and are gone, says nothing about those that took their place; nor does what
    they did on a node that has recovered. `at_gateway`: nor does what the Gateway counted meanwhile, which does not say
    of which pods that was.
    """
    gone = _known(entry) & set(blamed)
    if gone or (at_gateway and GATEWAY_FAILURES in entry.state.evidence):
        entry.state = evidence.forgive(entry.state, gone)


def _edges_of(taken: Edges) -> dict[evidence.Indicator, float]:
    found: tuple[tuple[evidence.Indicator, float | None], ...] = (
        ("firstToken", taken.first_token),
        ("interToken", taken.inter_token),
        ("endToEnd", taken.end_to_end),
    )
    return {name: seconds for name, seconds in found if seconds is not None}


def _usual(histogram: Histogram | None) -> float | None:
    return histogram.quantile(USUAL_SHARE) if histogram is not None else None


def _compared(deployment: LLMDeployment, pods: Sequence[Pod]) -> list[str]:
    """The pods of the stable version, as long as requests go to it: those that only stay loaded to go back to answer
    nothing but short probes, beside which real traffic looks slow.
    """
    release, traffic = deployment.status.release, deployment.status.traffic
    if release is None or (traffic is not None and traffic.revision == release.revision):
        return []
    return _of(pods, release.stable_revision)


def _of(pods: Sequence[Pod], revision: str) -> list[str]:
    """The pods of a revision that may answer, by uid."""
    return [pod.metadata.uid for pod in _alive(pods, revision).values() if pod.containers_ready]


def _alive(pods: Sequence[Pod], revision: str) -> dict[str, Pod]:
    """The pods of a revision that are not told to end, by uid."""
    return {
        pod.metadata.uid: pod
        for pod in pods
        if pod.metadata.labels.get(labels.REVISION) == revision and pod.metadata.deletion_timestamp is None
    }


def _counts(outcomes: Outcomes) -> dict[evidence.Indicator, evidence.Counts]:
    return {name: _converted(found) for name, found in outcomes.items()}


def _converted(counts: Counts) -> evidence.Counts:
    return evidence.Counts(float(counts.bad), float(counts.total))
