"""Probes every pod of interest with a real request, and remembers which of them answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
import msgspec

from outrider.api.clock import Clock
from outrider.signals.polling import OnChange, Poller
from outrider.signals.probe import ProbeResult, probe

STALE_INTERVALS = 3
"""A result is unknown when it is older than this many intervals: the same rule as for scraped metrics."""


class ProbeTarget(msgspec.Struct, frozen=True):
    """One pod to probe."""

    key: str
    """The pod's uid."""
    url: str
    """`http://HOST:PORT` of its model server."""
    model: str
    """The name that requests use for the model (`--served-model-name`)."""


ProbeFunction = Callable[[ProbeTarget], Awaitable[ProbeResult]]


class Prober:
    """Probes the targets that its owners watch, each every `interval` seconds, sooner after a failure.

    A controller calls `watch` in its gather step, which never waits, and `on_change(owner)` wakes it when a target's
    answer became good, bad, or bad for another reason. `probe_one` replaces the HTTP probe in tests and simulation.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        interval: float = 10.0,
        retry_interval: float = 2.0,
        timeout: float = 5.0,
        concurrency: int = 32,
        headers: Mapping[str, str] | None = None,
        on_change: OnChange | None = None,
        probe_one: ProbeFunction | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._headers = dict(headers or {})
        self._probe_one = probe_one or self._probe
        self._session: aiohttp.ClientSession | None = None
        self._poller: Poller[ProbeTarget, ProbeResult] = Poller(
            clock,
            self._look,
            pause=lambda result: interval if result.ok else min(retry_interval, interval),
            changed=_changed,
            stale_after=STALE_INTERVALS * interval + timeout,
            concurrency=concurrency,
            on_change=on_change,
        )

    async def run(self) -> None:
        """Probe until cancelled."""
        # A fresh connection for every probe: a server that closes an idle one must not look like a sick server.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0)) as session:
            self._session = session
            await self._poller.run()

    def watch(self, owner: str, targets: Sequence[ProbeTarget]) -> Mapping[str, ProbeResult | None]:
        """`owner` (a queue key) cares about exactly these pods; returns what is known of each now, None for unknown.

        `watch(owner, ())` forgets them.
        """
        return self._poller.watch(owner, targets)

    def latest(self, target: ProbeTarget | str) -> ProbeResult | None:
        """The latest result of a watched target (or of the pod with that uid); None when unknown or stale."""
        return self._poller.latest(target if isinstance(target, str) else target.key)

    def age(self, key: str) -> float | None:
        """Seconds since the pod with this uid was last probed; None when it never was."""
        return self._poller.age(key)

    async def _look(self, target: ProbeTarget, _: ProbeResult | None) -> ProbeResult:
        return await self._probe_one(target)

    async def _probe(self, target: ProbeTarget) -> ProbeResult:
        assert self._session is not None, "probes run inside run()"
        return await probe(
            self._session, target.url, target.model, clock=self._clock, timeout=self._timeout, headers=self._headers
        )


def _changed(before: ProbeResult | None, after: ProbeResult) -> bool:
    return before is None or before.ok != after.ok or before.error != after.error
