"""What the Gateway counted of the two versions of one release, look by look, where that says something about them."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from outrider.api.labels import REVISION
from outrider.api.llmdeployment import LLMDeploymentStatus, ReleaseStatus
from outrider.api.meta import Instant
from outrider.kube.objects import Pod
from outrider.signals.gateway_metrics import revision_key, service_key
from outrider.signals.outcomes import Counts

SETTLING = 15.0
"""Seconds after a pod went, or traffic moved, in which requests are still counted that failed for that reason: a
gateway learns of the change (Traefik within 2 s), its page is read (5 s), and what was read is looked at (5 s)."""


class Pages(Protocol):
    """What was read of the Gateway's pages: a `GatewayReader`."""

    def total(self, keys: Collection[str]) -> Counts | None: ...

    def so_far(self, keys: Collection[str]) -> Counts | None: ...


class Taken(msgspec.Struct, frozen=True):
    """What came since the last look: attempts, and those that failed. None where it is not known, or says nothing."""

    candidate: Counts | None = None
    stable: Counts | None = None


class _Version:
    """One of the two."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.keys: tuple[str, ...] = ()
        self.ready: frozenset[str] = frozenset()
        """The pods that were ready at the last look, by uid."""
        self.moved_at: Instant | None = None
        """When a pod of it was last seen to go, or its requests came to be counted elsewhere."""
        self.total: Counts | None = None
        """All that was counted until the last look."""

    def goes(self, pods: Sequence[Pod], silent: Collection[str], unreached: Collection[str]) -> bool:
        """Whether a pod of it is on its way out, is ready no more, cannot be reached, or is alone in not answering."""
        ready = frozenset(pod.metadata.uid for pod in pods if pod.ready)
        mute = {uid for uid in ready if uid in silent}
        ends = any(pod.metadata.deletion_timestamp is not None for pod in pods)
        before, self.ready = self.ready, ready
        return ends or bool(before - ready) or not ready.isdisjoint(unreached) or 0 < len(mute) < len(ready)


class AtGateway:
    """Of one release. `look` at every look at the service, `take` once in a tick.

    A pod that is ended takes connections no more a moment before the Gateway knows: that is nobody's fault. Where one
    pod of several does not answer Outrider either, it is that pod; and where one cannot be reached, it may be its node.
    What the Gateway counts of a version meanwhile is left out, good and bad.
    """

    def __init__(self, reader: Pages | None, key: str, release: ReleaseStatus) -> None:
        """`key` is the LLMDeployment's. Without a `reader` nothing is ever known."""
        self._reader = reader
        self._namespace, _, self._name = key.partition("/")
        self._candidate, self._stable = _Version(release.revision), _Version(release.stable_revision)

    @property
    def read(self) -> bool:
        """Whether any page of the Gateway could be read lately."""
        return self._reader is not None and self._reader.total(()) is not None

    def stable_so_far(self) -> Counts | None:
        """What the stable version has had since the Gateway started; None where that is not known."""
        if self._reader is None:
            return None
        return self._reader.so_far((revision_key(self._namespace, self._name, self._stable.revision),))

    def look(
        self,
        status: LLMDeploymentStatus,
        pods: Sequence[Pod],
        now: Instant,
        silent: Collection[str] = (),
        unreached: Collection[str] = (),
    ) -> None:
        """Take note of which pods go, and where requests to each version are counted.

        `silent` are the uids of pods that do not answer Outrider's own requests; `unreached` those of them that it
        cannot connect to.
        """
        versions = (self._candidate, self._stable)
        keys = {version.revision: self._keys(status, version.revision) for version in versions}
        moved = any(keys[version.revision] != version.keys for version in versions)
        for version in versions:
            own = [pod for pod in pods if pod.metadata.labels.get(REVISION) == version.revision]
            if version.goes(own, silent, unreached) or (moved and version.keys):
                version.moved_at = now
            if moved:
                version.keys, version.total = keys[version.revision], None

    def take(self, now: Instant) -> Taken:
        """What came since it was last called."""
        return Taken(candidate=self._taken(self._candidate, now), stable=self._taken(self._stable, now))

    def _taken(self, version: _Version, now: Instant) -> Counts | None:
        before, version.total = version.total, None
        if self._reader is not None and version.keys:
            version.total = self._reader.total(version.keys)
        if before is None or version.total is None:
            return None
        if version.moved_at is not None and 0 <= now - version.moved_at < SETTLING:
            return None
        return Counts(version.total.bad - before.bad, version.total.total - before.total)

    def _keys(self, status: LLMDeploymentStatus, revision: str) -> tuple[str, ...]:
        """Our own gateway counts by revision; another one by Service, which says something only where each version has
        one to itself.
        """
        own, traffic = revision_key(self._namespace, self._name, revision), status.traffic
        if traffic is None:
            return (own,)
        if revision == traffic.candidate and traffic.service:
            return own, service_key(self._namespace, traffic.service)
        if revision == traffic.revision and traffic.weight < 100 and status.service_name:
            return own, service_key(self._namespace, status.service_name)
        return (own,)
