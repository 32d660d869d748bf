"""Probes every pod of interest with a real request, and remembers which of them answer."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
import msgspec

from outrider.api.clock import Clock
from outrider.signals.polling import OnChange, Poller
from outrider.signals.probe import ProbeResult, probe

STALE_INTERVALS = 3
"""A result is unknown when it is older than this many intervals: the same rule as for scraped metrics."""


HURRIED_BEAT = 1.0
"""Seconds between two probes of a pod whose owner is in a hurry. With 0.5 requests a second, a fifth of them for the
new version, a simulated fault in every fifth of its requests was found within 65 s nine times of ten with one probe a
second to either version, and within 540 s without."""
KEPT_LATENCIES = 64
"""Enough for a minute of hurried probes."""


class ProbeTarget(msgspec.Struct, frozen=True):
    """One pod to probe."""

    key: str
    """The pod's uid."""
    url: str
    """`http://HOST:PORT` of its model server."""
    model: str
    """The name that requests use for the model (`--served-model-name`)."""
    host: str = ""
    """The host that requests name, where that is not the one of `url`."""


class ProbeCounts(msgspec.Struct, frozen=True):
    """How the probes of one pod ended since it is a target: whoever kept an earlier reading knows what came after it.

    Probes of which nothing was sent are in none of these: that a pod cannot be reached says nothing of its server.
    """

    since: float
    """When the counting began, in seconds of the prober's monotonic clock: another one means another count."""
    good: int
    bad: int
    counted_2xx: int
    """Of all, those that the server's own `http_requests_total` has among its 2xx; all good ones are there."""
    counted_4xx: int
    counted_5xx: int
    latencies: tuple[float, ...]
    """Seconds that the latest good ones took, the latest last: at most `KEPT_LATENCIES`."""


class _Tally:
    """A pod's counts, in constant time and memory."""

    def __init__(self, since: float) -> None:
        self._since = since
        self.learnt_at: float | None = None
        """When a probe last told anything of the pod."""
        self._good = self._bad = 0
        self._counted = {"2xx": 0, "4xx": 0, "5xx": 0}
        self._latencies: deque[float] = deque(maxlen=KEPT_LATENCIES)

    def add(self, result: ProbeResult, now: float) -> None:
        if result.ok is None or not result.reached:
            return
        self.learnt_at = now
        if result.ok:
            self._good += 1
            self._latencies.append(result.latency_seconds)
        else:
            self._bad += 1
        counted_as = "2xx" if result.ok else result.counted_as
        if counted_as is not None:
            self._counted[counted_as] += 1

    def counts(self) -> ProbeCounts:
        return ProbeCounts(
            since=self._since,
            good=self._good,
            bad=self._bad,
            counted_2xx=self._counted["2xx"],
            counted_4xx=self._counted["4xx"],
            counted_5xx=self._counted["5xx"],
            latencies=tuple(self._latencies),
        )


ProbeFunction = Callable[[ProbeTarget], Awaitable[ProbeResult]]


class Prober:
    """Probes the targets that its owners watch, each every `interval` seconds, sooner after a failure.

    A controller calls `watch` in its gather step, which never waits, and `on_change(owner)` wakes it when a target's
    answer became good, bad, or bad for another reason. `whom` is what answers, in words. `probe_one` replaces the HTTP
    probe in tests and simulation.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        interval: float = 10.0,
        retry_interval: float = 2.0,
        timeout: float = 5.0,
        concurrency: int = 32,
        hurried_concurrency: int = 128,
        headers: Mapping[str, str] | None = None,
        whom: str = "the model server",
        on_change: OnChange | None = None,
        probe_one: ProbeFunction | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._headers = dict(headers or {})
        self._whom = whom
        self._probe_one = probe_one or self._probe
        self._session: aiohttp.ClientSession | None = None
        self._poller: Poller[ProbeTarget, ProbeResult] = Poller(
            clock,
            self._look,
            pause=lambda result: interval if result.ok else min(retry_interval, interval),
            changed=_changed,
            stale_after=STALE_INTERVALS * interval + timeout,
            concurrency=concurrency,
            hurried_concurrency=hurried_concurrency,
            on_change=on_change,
            on_forget=self._forgotten,
        )
        self._tallies: dict[str, _Tally] = {}

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

    def hurry(self, owner: str, beat: float | None = HURRIED_BEAT) -> None:
        """Begin a probe of each of the owner's pods every `beat` seconds, also while earlier ones hang; None: as usual
        again. It holds until it is changed, for pods that are watched later too, and costs nothing that is known.
        """
        self._poller.hurry(owner, beat)

    def counts(self, key: str) -> ProbeCounts | None:
        """How all probes of the pod with this uid ended; None where none has."""
        tally = self._tallies.get(key)
        return tally.counts() if tally is not None else None

    def latest(self, target: ProbeTarget | str) -> ProbeResult | None:
        """The latest result of a watched target (or of the pod with that uid); None when unknown or stale."""
        return self._poller.latest(target if isinstance(target, str) else target.key)

    def age(self, key: str) -> float | None:
        """Seconds since a probe last reached the pod with this uid; None when none did."""
        tally = self._tallies.get(key)
        return None if tally is None or tally.learnt_at is None else self._clock.monotonic() - tally.learnt_at

    async def _look(self, target: ProbeTarget, _: ProbeResult | None) -> ProbeResult:
        result = await self._probe_one(target)
        now = self._clock.monotonic()
        tally = self._tallies.get(target.key)
        if tally is None:
            tally = self._tallies[target.key] = _Tally(now)
        tally.add(result, now)
        return result

    def _forgotten(self, key: str) -> None:
        self._tallies.pop(key, None)

    async def _probe(self, target: ProbeTarget) -> ProbeResult:
        assert self._session is not None, "probes run inside run()"
        headers = self._headers | ({"Host": target.host} if target.host else {})
        return await probe(
            self._session,
            target.url,
            target.model,
            clock=self._clock,
            timeout=self._timeout,
            headers=headers,
            whom=self._whom,
        )


def _changed(before: ProbeResult | None, after: ProbeResult) -> bool:
    return before is None or before.ok != after.ok or before.error != after.error
