"""Sends real requests through the Gateway, while a candidate has a path of its own there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from outrider.api.meta import Instant
from outrider.plan.deployment import gateway
from outrider.plan.deployment.effective import find_revision
from outrider.plan.deployment.front_door import ROUTE_SECONDS
from outrider.plan.deployment.observed import FrontDoorView
from outrider.plan.deployment.snapshot import Snapshot
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import ProbeCounts, ProbeTarget


class Paths(Protocol):
    """What asks at paths of the Gateway: a `Prober`."""

    def watch(self, owner: str, targets: Sequence[ProbeTarget]) -> Mapping[str, ProbeResult | None]: ...

    def counts(self, key: str) -> ProbeCounts | None: ...


@dataclass
class _Path:
    """What is remembered of the candidate's path; another process makes its own."""

    service: str
    """The candidate's Service, by which the path is named."""
    there_since: Instant | None = None
    """Since when the Gateway was seen to have taken the route, and a pod of the candidate to be ready."""
    answered: bool = False
    good: int = 0
    bad: int = 0
    failures: int = 0
    failing_since: Instant | None = None
    service_answered: Instant | None = None


class FrontDoor:
    """One per operator. `look` never waits: it takes what its prober, which is nobody else's, has seen."""

    def __init__(self, prober: Paths, inside_url: str = "") -> None:
        """`inside_url` is where the Gateway is reached from here, where that is not its address for people."""
        self._prober = prober
        self._inside_url = inside_url.rstrip("/")
        self._paths: dict[str, _Path] = {}

    def forget(self, key: str) -> None:
        """Ask no more for this LLMDeployment."""
        if self._paths.pop(key, None) is not None:
            self._prober.watch(key, ())

    def look(self, snapshot: Snapshot, now: Instant) -> FrontDoorView | None:
        """What is known now; None where no candidate has a path of its own that the Gateway has taken."""
        key, status = snapshot.deployment.metadata.key, snapshot.deployment.status
        release, traffic, base = status.release, status.traffic, gateway.base_url(snapshot)
        shared = traffic is not None and release is not None and traffic.candidate == release.revision
        if traffic is None or release is None or not (shared and release.phase == "Watching" and traffic.service):
            self.forget(key)
            return None
        path = self._path(key, traffic.service)
        if not base or not self._is_taken(snapshot, path):
            self.forget(key)
            return None
        service, candidate = (
            self._target(snapshot, base, name, revision)
            for name, revision in ((status.service_name, release.stable_revision), (traffic.service, release.revision))
        )
        is_ready = any(pod.ready and pod.revision == release.revision for pod in snapshot.pods)
        if not is_ready:  # what a path without pods answers says nothing, also later
            self._paths[key] = path = _Path(path.service, service_answered=path.service_answered)
        elif path.there_since is None:
            path.there_since = now
        results = self._prober.watch(key, [service, candidate] if is_ready else [service])
        own, its = results[service.key], results.get(candidate.key)
        if own is not None and own.ok:
            path.service_answered = own.at
        counts = self._prober.counts(candidate.key)
        if its is not None and its.ok is not None and counts is not None:
            _note(path, counts, its.at, now, failed=not its.ok)
        return FrontDoorView(
            revision=release.revision,
            url=f"{base}/{snapshot.namespace}/{traffic.service}",
            service_answered=path.service_answered,
            service_error=own.error if own is not None else "",
            asked=its is not None and its.ok is not None,
            answered=path.answered,
            failures=path.failures,
            failing_since=path.failing_since,
            error=its.error if its is not None else "",
        )

    def _path(self, key: str, service: str) -> _Path:
        found = self._paths.get(key)
        if found is None or found.service != service:
            found = self._paths[key] = _Path(service)
        return found

    def _is_taken(self, snapshot: Snapshot, path: _Path) -> bool:
        """Whether the Gateway has taken the routes, now or, where it is about to say so of a change of them, before."""
        service = snapshot.deployment.status.service_name
        if gateway.refusals(snapshot, service):
            return False
        return path.there_since is not None or bool(gateway.reported(snapshot, service))

    def _target(self, snapshot: Snapshot, base: str, service: str, revision: str) -> ProbeTarget:
        found = find_revision(snapshot.revisions, revision)
        key = f"{snapshot.deployment.metadata.key}/{service}"
        model = found.spec.model_name if found is not None else ""
        path = f"{snapshot.namespace}/{service}"
        if not self._inside_url:
            return ProbeTarget(key, f"{base}/{path}", model)
        outside = urlsplit(base)
        return ProbeTarget(key, f"{self._inside_url}{outside.path}/{path}", model, host=outside.netloc)


def _note(path: _Path, counts: ProbeCounts, at: Instant, now: Instant, *, failed: bool) -> None:
    """Take note of what came since the last look; the latest of it ended at `at`."""
    good, bad = counts.good > path.good, max(0, counts.bad - path.bad)
    path.good, path.bad = counts.good, counts.bad
    path.answered = path.answered or good or not failed
    if not failed:
        path.failures, path.failing_since = 0, None
        return
    settles = path.there_since is None or now - path.there_since < ROUTE_SECONDS
    if not bad or (settles and not path.answered):
        return
    if good or path.failing_since is None:  # in which order they came is not known: the last one failed
        path.failures, path.failing_since = 1, at
    else:
        path.failures += bad
