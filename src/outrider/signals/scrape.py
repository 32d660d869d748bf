"""Reads every server's `/metrics` every few seconds, directly: decisions must not wait for Prometheus."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import aiohttp
import msgspec

from outrider.api.clock import Clock
from outrider.api.meta import Instant
from outrider.signals.measurements import Measurements, measure, together
from outrider.signals.page import fetch_page
from outrider.signals.polling import OnChange, Poller
from outrider.signals.prometheus_text import PrometheusTextError
from outrider.signals.vllm_metrics import ServerSample, read_server

STALE_INTERVALS = 3
"""A reading older than so many intervals is unknown."""


class ScrapeTarget(msgspec.Struct, frozen=True):
    """One server to read."""

    key: str
    """The pod's uid."""
    url: str
    """`http://HOST:PORT`; `/metrics` is added."""


class ScrapeResult(msgspec.Struct, frozen=True):
    """What is known of one server after the latest attempt to read it."""

    at: Instant
    """When the latest attempt ended."""
    error: str
    """Why it failed, in a sentence; empty when it did not."""
    samples: tuple[ServerSample, ...]
    """The good readings, oldest first, as far back as the longest window needs."""


FetchFunction = Callable[[ScrapeTarget], Awaitable[str]]
"""Gives a server's page. Raises `aiohttp.ClientError`, `OSError` or `TimeoutError` when it cannot be had."""


class Scraper:
    """Reads the servers that its owners watch, each every `interval` seconds, and keeps the last `window` seconds.

    Works as `Prober` does: `watch` in the gather step, never wait; `on_change(owner)` when a server becomes readable
    or stops being so. `fetch` replaces HTTP in tests and simulation.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        interval: float = 5.0,
        timeout: float = 3.0,
        window: float = 60.0,
        concurrency: int = 32,
        on_change: OnChange | None = None,
        fetch: FetchFunction | None = None,
    ) -> None:
        self._clock = clock
        self._interval = interval
        self._timeout = timeout
        self._window = window
        self._keep = math.ceil(window / interval) + 2
        self._fetch = fetch or self._get
        self._session: aiohttp.ClientSession | None = None
        self._poller: Poller[ScrapeTarget, ScrapeResult] = Poller(
            clock,
            self._look,
            pause=lambda _: interval,
            changed=lambda before, after: before is None or bool(before.error) != bool(after.error),
            stale_after=STALE_INTERVALS * interval,
            concurrency=concurrency,
            on_change=on_change,
        )

    async def run(self) -> None:
        """Read until cancelled."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=1.0)) as session:
            self._session = session
            await self._poller.run()

    def watch(self, owner: str, targets: Sequence[ScrapeTarget]) -> Mapping[str, ScrapeResult | None]:
        """`owner` cares about exactly these servers. Returns what is known of each now; None for unknown."""
        return self._poller.watch(owner, targets)

    def latest(self, key: str) -> ScrapeResult | None:
        """The latest attempt to read the pod with this uid; None when there is none that is fresh."""
        return self._poller.latest(key)

    def pod(self, key: str, window: float | None = None) -> Measurements | None:
        """What one pod did in the last `window` seconds (at most those that are kept); None when unknown or stale."""
        result = self._poller.latest(key)
        if result is None or not result.samples:
            return None
        if self._clock.monotonic() - result.samples[-1].at > STALE_INTERVALS * self._interval:
            return None
        return measure(result.samples, self._window if window is None else window)

    def total(self, keys: Collection[str], window: float | None = None) -> Measurements | None:
        """The sum over pods (of a revision, say); `missing` says how many of them are unknown. None when all are."""
        return together(self.pod(key, window) for key in keys)

    async def _look(self, target: ScrapeTarget, before: ScrapeResult | None) -> ScrapeResult:
        samples = before.samples if before is not None else ()
        error = ""
        try:
            async with asyncio.timeout(self._timeout):
                page = await self._fetch(target)
            samples = (*samples, read_server(page, self._clock.monotonic()))[-self._keep :]
        except TimeoutError:
            error = f"no answer from {target.url}/metrics within {self._timeout:g} s"
        except PrometheusTextError as problem:
            error = f"{target.url}/metrics cannot be read: {problem}"
        except (aiohttp.ClientError, OSError) as problem:
            error = f"{target.url}/metrics cannot be fetched: {str(problem) or type(problem).__name__}"
        return ScrapeResult(at=self._clock.now(), error=error, samples=samples)

    async def _get(self, target: ScrapeTarget) -> str:
        assert self._session is not None, "servers are read inside run()"
        return await fetch_page(self._session, f"{target.url.rstrip('/')}/metrics")
