"""One reader for all gateways: restarts, replicas, and what is old is unknown and never zero."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from http_server import serving
from manual_clock import ManualClock, running

from outrider.kube.clock import SystemClock
from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.routes import Identity
from outrider.signals.gateway_metrics import revision_key
from outrider.signals.gateway_reader import GatewayReader
from outrider.signals.outcomes import Counts

KEYS = (revision_key("production", "chat", "chat-1"),)
ONE, OTHER = "http://one/metrics", "http://other/metrics"


class Replicas:
    """The pages of the replicas of a gateway, in virtual time."""

    def __init__(self, *urls: str) -> None:
        self.clock = ManualClock()
        self.gateways = {url: GatewayMetrics() for url in urls}
        self.away: set[str] = set()
        self.fetched = 0
        self.reader = GatewayReader(self.clock, urls, fetch=self._fetch)

    async def _fetch(self, url: str) -> str:
        self.fetched += 1
        if url in self.away:
            raise OSError("connection refused")
        return self.gateways[url].text().decode()

    def serve(self, url: str, good: int, cut: int = 0) -> None:
        series = self.gateways[url].series(Identity("production", "chat", "chat-1", "v1"))
        for number in range(good + cut):
            series.begin()
            if number < cut:
                series.broken()
            series.end("200", 0.1)

    async def tick(self, times: int = 1) -> None:
        for _ in range(times):
            await self.clock.advance(5)

    def told(self, story: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            async with running(self.reader.run()):
                await story()

        asyncio.run(run())


def test_what_was_before_the_first_reading_is_not_counted() -> None:
    world = Replicas(ONE)
    world.serve(ONE, 100)

    async def story() -> None:
        assert world.reader.total(KEYS) == Counts(0, 0)
        world.serve(ONE, 9, cut=1)
        await world.tick()
        assert world.reader.total(KEYS) == Counts(1, 10)
        assert world.reader.so_far(KEYS) == Counts(1, 110)
        assert world.reader.total(["somebody/else/x"]) == Counts(0, 0)

    world.told(story)


def test_nothing_is_known_before_the_first_reading_and_none_is_read_where_none_is_named() -> None:
    world = Replicas(ONE)
    world.away.add(ONE)

    async def story() -> None:
        await world.tick(2)
        assert world.reader.total(KEYS) is None
        assert world.reader.so_far(KEYS) is None

    world.told(story)
    assert GatewayReader(ManualClock(), ()).total(KEYS) is None


def test_replicas_add_up_and_the_restart_of_one_does_not_confuse_the_others() -> None:
    world = Replicas(ONE, OTHER)

    async def story() -> None:
        world.serve(ONE, 10)
        world.serve(OTHER, 20, cut=2)
        await world.tick()
        assert world.reader.total(KEYS) == Counts(2, 32)
        world.gateways[ONE] = GatewayMetrics()
        world.serve(ONE, 12, cut=1)
        world.serve(OTHER, 1)
        await world.tick()
        assert world.reader.total(KEYS) == Counts(3, 46)

    world.told(story)


def test_a_replica_that_cannot_be_read_leaves_what_the_others_say() -> None:
    world = Replicas(ONE, OTHER)

    async def story() -> None:
        world.away.add(ONE)
        world.serve(OTHER, 5)
        await world.tick(8)
        assert world.reader.total(KEYS) == Counts(0, 5)

    world.told(story)


def test_after_three_intervals_it_is_unknown_and_what_nobody_read_is_left_out() -> None:
    world = Replicas(ONE)

    async def story() -> None:
        world.serve(ONE, 10)
        await world.tick()
        world.away.add(ONE)
        world.serve(ONE, 0, cut=50)
        await world.tick(3)
        assert world.reader.total(KEYS) == Counts(0, 10), "no older than three intervals"
        await world.tick()
        assert world.reader.total(KEYS) is None
        world.away.clear()
        await world.tick()
        assert world.reader.total(KEYS) == Counts(0, 10)
        world.serve(ONE, 3, cut=1)
        await world.tick()
        assert world.reader.total(KEYS) == Counts(1, 14)

    world.told(story)


def test_a_missed_reading_loses_nothing() -> None:
    world = Replicas(ONE)

    async def story() -> None:
        world.serve(ONE, 1)
        await world.tick()
        world.away.add(ONE)
        world.serve(ONE, 7, cut=1)
        await world.tick()
        world.away.clear()
        await world.tick()
        assert world.reader.total(KEYS) == Counts(1, 9)

    world.told(story)


def test_pages_are_read_every_interval_however_many_services_ask() -> None:
    world = Replicas(ONE)

    async def story() -> None:
        for _ in range(4):
            for number in range(100):
                world.reader.total((f"production/chat-{number}/x",))
            await world.tick()
        assert world.fetched == 5

    world.told(story)


WRONG = {
    "something that is no gateway's": "python_info 1\n",
    "a line that cannot be read": "outrider_gateway_requests_total{ oops\n",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_page_that_says_nothing_is_unknown(case: str) -> None:
    async def fetch(_: str) -> str:
        return WRONG[case]

    async def story() -> None:
        clock = ManualClock()
        reader = GatewayReader(clock, [ONE], fetch=fetch)
        async with running(reader.run()):
            await clock.advance(5)
            assert reader.total(KEYS) is None

    asyncio.run(story())


def test_pages_are_fetched_over_http() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=GatewayMetrics().text(), headers={"Content-Type": "text/plain"})

    async def story() -> None:
        async with serving(page) as server:
            reader = GatewayReader(SystemClock(), [f"{server.url}/-/metrics"])
            async with running(reader.run()), asyncio.timeout(20):
                while reader.total(KEYS) is None:  # noqa: ASYNC110  (nobody is told)
                    await asyncio.sleep(0.01)
                assert reader.total(KEYS) == Counts(0, 0)
                assert {seen.path for seen in server.seen} == {"/-/metrics"}

    asyncio.run(story())
