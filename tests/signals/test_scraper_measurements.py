"""From pages to measurements: restarts, staleness, sums; and unknown is never zero."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from manual_clock import ManualClock, running, settle
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from vllm_page import VLLM_PAGE, value_of

from outrider.signals.measurements import measure, together
from outrider.signals.scrape import Scraper, ScrapeTarget
from outrider.signals.vllm_metrics import ServerSample, read_server


def test_a_real_vllm_page_is_read_whole() -> None:
    sample = read_server(VLLM_PAGE, at=7.0)
    assert (sample.at, sample.process_start) == (7.0, value_of("process_start_time_seconds"))
    assert (sample.requests, sample.errors_4xx, sample.errors_5xx) == (value_of("http_requests_total{"), 0, 0)
    assert (sample.running, sample.waiting, sample.kv_cache_usage) == (
        value_of("vllm:num_requests_running{"),
        value_of("vllm:num_requests_waiting{"),
        value_of("vllm:kv_cache_usage_perc{"),
    )
    assert sample.prompt_tokens == value_of("vllm:prompt_tokens_total{")
    assert sample.generation_tokens == value_of("vllm:generation_tokens_total{")
    histograms = {
        "vllm:time_to_first_token_seconds": sample.time_to_first_token,
        "vllm:inter_token_latency_seconds": sample.inter_token_latency,
        "vllm:e2e_request_latency_seconds": sample.end_to_end,
    }
    for name, histogram in histograms.items():
        assert histogram is not None
        assert histogram.sum == value_of(f"{name}_sum{{")
        assert histogram.count == value_of(f'{name}_bucket{{engine="0",le="+Inf"')
        assert len(histogram.bounds) > 19


def test_a_page_without_our_families_is_unknown_and_not_zero() -> None:
    assert read_server("python_info 1\n", at=1.0) == ServerSample(at=1.0)


REQUESTS: dict[str, tuple[str, tuple[float | None, float | None, float | None]]] = {
    "announced, and nothing counted yet": ("# TYPE http_requests_total counter\n", (0, 0, 0)),
    "not there": ("", (None, None, None)),
    "by class of status": (
        (
            'http_requests_total{handler="/v1/completions",status="2xx"} 7\n'
            'http_requests_total{handler="/v1/chat/completions",status="4xx"} 2\n'
            'http_requests_total{handler="/v1/chat/completions",status="5xx"} 1\n'
        ),
        (10, 2, 1),
    ),
    "by status": ('http_requests_total{handler="/v1/completions",status="503"} 3\n', (3, 0, 3)),
    "looking around is not inference": (
        (
            'http_requests_total{handler="/v1/models",status="2xx"} 9\n'
            'http_requests_total{handler="/health",status="5xx"} 9\n'
            'http_requests_total{handler="none",status="4xx"} 9\n'
        ),
        (0, 0, 0),
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests_are_counted(case: str) -> None:
    page, expected = REQUESTS[case]
    sample = read_server(page, at=0)
    assert (sample.requests, sample.errors_4xx, sample.errors_5xx) == expected


def readings(*counters: float | None, starts: list[float] | None = None) -> list[ServerSample]:
    return [
        ServerSample(at=5.0 * number, generation_tokens=value, process_start=starts[number] if starts else 1.0)
        for number, value in enumerate(counters)
    ]


INCREASES: dict[str, tuple[list[ServerSample], float, float | None, float]] = {
    "growth over the window": (readings(10, 20, 40), 10, 30, 10),
    "only the window": (readings(10, 20, 40), 5, 20, 5),
    "a window longer than what is known": (readings(10, 20, 40), 60, 30, 10),
    "a window between two readings begins at the older one": (readings(10, 20, 40), 7, 30, 10),
    "a restart begins anew at zero": (readings(100, 110, 3, 5), 60, 10 + 3 + 2, 15),
    "a restart that has already counted more": (readings(10, 50, starts=[1.0, 2.0]), 60, 50, 5),
    "one reading is no growth": (readings(10), 60, None, 0),
    "never read": (readings(None, None), 60, None, 5),
    "a reading that lacks the family": (readings(10, None, 30, 35), 60, 5, 15),
}


@pytest.mark.parametrize("case", INCREASES)
def test_increase(case: str) -> None:
    samples, window, expected, seconds = INCREASES[case]
    measured = measure(samples, window)
    assert (measured.generation_tokens, measured.window_seconds) == (expected, seconds)
    assert measured.tokens_per_second == (expected / seconds if expected is not None and seconds else None)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=2, max_size=20))
def test_restarts_never_give_negative_growth(steps: list[tuple[float, bool]]) -> None:
    samples = [
        ServerSample(at=float(number), requests=value, process_start=float(restarted))
        for number, (value, restarted) in enumerate(steps)
    ]
    for window in (1, 5, 100):
        grown = measure(samples, window).requests
        assert grown is not None
        assert grown >= 0


def test_together_sums_what_is_known_and_says_what_is_missing() -> None:
    one = measure(
        [
            ServerSample(at=0, requests=0, errors_5xx=0, generation_tokens=0),
            ServerSample(at=10, requests=8, errors_5xx=1, generation_tokens=100, running=2, kv_cache_usage=0.25),
        ],
        60,
    )
    other = measure([ServerSample(at=0, requests=0), ServerSample(at=5, requests=2, running=1, kv_cache_usage=0.5)], 60)
    total = together([one, None, other])
    assert total is not None
    assert (total.pods, total.missing, total.window_seconds) == (2, 1, 10)
    assert (total.requests, total.errors_5xx, total.errors_4xx) == (10, 1, None)
    assert total.error_rate == 0.1
    assert (total.tokens_per_second, total.running, total.waiting, total.kv_cache_usage) == (10, 3, None, 0.5)
    assert together([None, None]) is None
    assert together([]) is None


def test_rates_of_nothing_are_unknown() -> None:
    idle = measure([ServerSample(at=0, requests=5, errors_5xx=0), ServerSample(at=5, requests=5, errors_5xx=0)], 60)
    assert idle.requests == 0
    assert idle.error_rate is None
    assert idle.tokens_per_second_per_stream is None


class Server:
    """A model server's metrics, in the official client, as text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("http_requests", "", ["handler", "status"], registry=self.registry)
        self.latency = Histogram("vllm:inter_token_latency_seconds", "", buckets=(0.1, 1), registry=self.registry)
        self.running = Gauge("vllm:num_requests_running", "", registry=self.registry)
        self.failure: Exception | None = None
        self.hangs = False

    async def page(self, _: ScrapeTarget) -> str:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return generate_latest(self.registry).decode()

    def serve(self, requests: int) -> None:
        self.requests.labels("/v1/completions", "2xx").inc(requests)
        for _ in range(requests):
            self.latency.observe(0.05)


TARGET = ScrapeTarget(key="p", url="http://p:8080")


def test_a_pod_is_measured_from_two_readings_and_unknown_when_stale() -> None:
    async def main() -> None:
        clock, server, woken = ManualClock(), Server(), list[str]()
        scraper = Scraper(clock, fetch=server.page, on_change=woken.append)
        async with running(scraper.run()):
            assert scraper.watch("ns/a", [TARGET]) == {"p": None}
            assert scraper.pod("p") is None
            await settle()
            first = scraper.pod("p")
            assert first is not None
            assert (first.requests, first.running) == (None, 0)
            server.serve(10)
            server.running.set(3)
            await clock.advance(5)
            second = scraper.pod("p")
            assert second is not None
            assert (second.requests, second.running, second.window_seconds) == (10, 3, 5)
            assert second.tokens_per_second_per_stream == pytest.approx(20)
            assert woken == ["ns/a"]
            server.failure = aiohttp.ClientConnectionError("refused")
            for _ in range(3):
                await clock.advance(5)
            assert scraper.pod("p") is not None, "three intervals old is still fresh"
            latest = scraper.latest("p")
            assert latest is not None
            assert latest.error == "http://p:8080/metrics cannot be fetched: refused"
            await clock.advance(5)
            assert scraper.pod("p") is None
            assert scraper.total(["p", "q"]) is None
            assert woken == ["ns/a", "ns/a"]

    asyncio.run(main())


def test_only_the_window_is_kept() -> None:
    async def main() -> None:
        clock, server = ManualClock(), Server()
        scraper = Scraper(clock, fetch=server.page, interval=5, window=20)
        async with running(scraper.run()):
            scraper.watch("ns/a", [TARGET])
            await settle()
            for _ in range(50):
                server.serve(1)
                await clock.advance(5)
            latest = scraper.latest("p")
            assert latest is not None
            assert len(latest.samples) == 6
            measured = scraper.pod("p")
            assert measured is not None
            assert (measured.requests, measured.window_seconds) == (4, 20)
            tick = scraper.pod("p", window=5)
            assert tick is not None
            assert (tick.requests, tick.window_seconds) == (1, 5)

    asyncio.run(main())


def test_a_page_that_cannot_be_read_is_an_error_and_no_reading() -> None:
    async def main() -> None:
        async def page(_: ScrapeTarget) -> str:
            return "http_requests_total{ oops"

        scraper = Scraper(ManualClock(), fetch=page)
        async with running(scraper.run()):
            scraper.watch("ns/a", [TARGET])
            await settle()
            latest = scraper.latest("p")
            assert latest is not None
            assert latest.samples == ()
            assert "cannot be read: line 1: not a name, labels and a number" in latest.error
            assert scraper.pod("p") is None

    asyncio.run(main())


def test_pages_come_over_http() -> None:
    async def main() -> None:
        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=VLLM_PAGE)

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        read = asyncio.Event()
        scraper = Scraper(ManualClock(), on_change=lambda _: read.set())
        try:
            async with asyncio.timeout(10), running(scraper.run()):
                scraper.watch("ns/a", [ScrapeTarget(key="p", url=f"http://127.0.0.1:{runner.addresses[0][1]}/")])
                await read.wait()
                measured = scraper.pod("p")
                assert measured is not None
                assert measured.running == value_of("vllm:num_requests_running{")
        finally:
            await runner.cleanup()

    asyncio.run(main())


def test_a_page_that_does_not_come_is_an_error() -> None:
    async def main() -> None:
        server = Server()
        server.hangs = True
        changed = asyncio.Event()
        scraper = Scraper(ManualClock(), fetch=server.page, timeout=0.01, on_change=lambda _: changed.set())
        async with running(scraper.run()):
            scraper.watch("ns/a", [TARGET])
            await changed.wait()
            latest = scraper.latest("p")
            assert latest is not None
            assert latest.error == "no answer from http://p:8080/metrics within 0.01 s"

    asyncio.run(main())
