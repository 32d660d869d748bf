"""Reads the gateways' metrics pages every few seconds, once for all services."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import aiohttp
import msgspec
import structlog

from outrider.api.clock import Clock
from outrider.signals.gateway_metrics import GatewayPage, UnknownGatewayError, between, read_gateway
from outrider.signals.outcomes import Counts
from outrider.signals.page import fetch_page
from outrider.signals.polling import Poller
from outrider.signals.prometheus_text import PrometheusTextError
from outrider.signals.scrape import STALE_INTERVALS

log = structlog.get_logger(__name__)

NOTHING = Counts(0, 0)


class PageTarget(msgspec.Struct, frozen=True):
    """One page: each replica of a gateway has its own."""

    key: str
    """Its URL."""


class PageResult(msgspec.Struct, frozen=True):
    """What is known of one page after the latest attempt to read it."""

    error: str
    """Why the attempt failed, in a sentence; empty when it did not."""
    page: GatewayPage | None
    """The newest good reading."""


FetchPage = Callable[[str], Awaitable[str]]
"""Gives the text at a URL. Raises `aiohttp.ClientError`, `OSError` or `TimeoutError` when it cannot be had."""


class GatewayReader:
    """Reads each of `urls` every `interval` seconds, and adds up what they counted: a look at a service costs a look
    into a table, however many pages and services there are.

    `run` it; `total` never waits. A page whose newest reading is older than three intervals says nothing, and what was
    counted while nobody read it is left out: nobody knows any more to which pods it belongs. `fetch` replaces HTTP in
    tests and simulation.
    """

    def __init__(
        self,
        clock: Clock,
        urls: Sequence[str],
        *,
        interval: float = 5.0,
        timeout: float = 3.0,
        fetch: FetchPage | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._oldest = STALE_INTERVALS * interval
        self._fetch = fetch or self._get
        self._session: aiohttp.ClientSession | None = None
        self._grown: dict[str, Counts] = {}
        self._urls = tuple(dict.fromkeys(urls))
        self._poller: Poller[PageTarget, PageResult] = Poller(
            clock,
            self._look,
            pause=lambda _: interval,
            changed=lambda _before, _after: False,
            stale_after=self._oldest,
            concurrency=max(1, len(self._urls)),
        )
        self._poller.watch("", [PageTarget(url) for url in self._urls])

    async def run(self) -> None:
        """Read until cancelled."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=1.0)) as session:
            self._session = session
            await self._poller.run()

    def total(self, keys: Collection[str]) -> Counts | None:
        """Attempts, and how many of them failed, that all pages together counted under these keys since this reader
        began: whoever remembers an earlier total knows what came after it. None while no page can be read.
        """
        if not self._fresh():
            return None
        return sum((self._grown.get(key, NOTHING) for key in keys), NOTHING)

    def so_far(self, keys: Collection[str]) -> Counts | None:
        """The same since the gateways started, as far as their pages can be read. None while none can."""
        pages = self._fresh()
        if not pages:
            return None
        samples = (page.versions[key] for page in pages for key in keys if key in page.versions)
        return sum((between(None, sample) for sample in samples), NOTHING)

    def _fresh(self) -> list[GatewayPage]:
        results = (self._poller.latest(url) for url in self._urls)
        pages = (result.page for result in results if result is not None)
        now = self._clock.monotonic()
        return [page for page in pages if page is not None and now - page.at <= self._oldest]

    async def _look(self, target: PageTarget, before: PageResult | None) -> PageResult:
        known = before.page if before is not None else None
        error = ""
        try:
            async with asyncio.timeout(self._timeout):
                text = await self._fetch(target.key)
            page = read_gateway(text, self._clock.monotonic())
            self._count(known, page)
            known = page
        except TimeoutError:
            error = f"no answer within {self._timeout:g} s"
        except (PrometheusTextError, UnknownGatewayError) as problem:
            error = str(problem)
        except (aiohttp.ClientError, OSError) as problem:
            error = str(problem) or type(problem).__name__
        self._tell(target.key, before, error)
        return PageResult(error, known)

    def _tell(self, url: str, before: PageResult | None, error: str) -> None:
        """Once when it begins, and once when it is over: nothing else depends on it."""
        failed = before is not None and bool(before.error)
        if error and not failed:
            log.warning("a gateway's metrics cannot be read: what only it knows is unknown", url=url, error=error)
        elif failed and not error:
            log.info("a gateway's metrics can be read again", url=url)

    def _count(self, before: GatewayPage | None, page: GatewayPage) -> None:
        if before is None or page.at - before.at > self._oldest:
            return
        for key, sample in page.versions.items():
            counts = between(before.versions.get(key), sample)
            self._grown[key] = self._grown.get(key, NOTHING) + counts

    async def _get(self, url: str) -> str:
        assert self._session is not None, "pages are read inside run()"
        return await fetch_page(self._session, url)
