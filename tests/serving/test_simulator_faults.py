"""Faults: each does what its name says, shows in metrics as it would on a real vLLM, and can be undone."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, UnixConnector, web
from prometheus_client import CollectorRegistry

from outrider.kube.clock import SystemClock
from outrider.serving.simulator.faults import MEGABYTE, Faults, MemoryLeak
from outrider.serving.simulator.middleware import ADMIN_PATH, InFlight, is_loopback
from outrider.serving.simulator.server import make_app
from outrider.serving.simulator.service import Service
from outrider.serving.simulator.settings import Settings

COMPLETIONS = "/v1/completions"
BODY = {"prompt": "What is 2+2?", "max_tokens": 20}


def counted(server: Any, status: str) -> float:
    value: float = server.metric("http_requests_total", handler=COMPLETIONS, method="POST", status=status)
    return value


def configure(server: Any, **settings: Any) -> None:
    changes = {key.replace("_", "-"): value for key, value in settings.items()}
    assert server.post(ADMIN_PATH, changes)[0] == 200


ERRORS = {
    "the default is an internal error": ({}, 500, "InternalServerError", "5xx"),
    "overloaded": ({"error-code": 503}, 503, "ServiceUnavailableError", "5xx"),
    "a rate limit": ({"error-code": 429}, 429, "RateLimitError", "4xx"),
    "a bad request": ({"error-code": 400}, 400, "BadRequestError", "4xx"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_injected_errors_are_counted_by_http_and_not_by_the_engine(case: str, start_server: Callable[..., Any]) -> None:
    settings, status, kind, counted_as = ERRORS[case]
    server = start_server(settings={"error-rate": 1, **settings})
    found, answer = server.post(COMPLETIONS, BODY)
    assert (found, answer["error"]["type"], answer["error"]["code"]) == (status, kind, status)
    assert counted(server, counted_as) == 1
    assert server.metric("vllm:prompt_tokens_total") == 0
    configure(server, error_rate=0)
    assert server.post(COMPLETIONS, BODY)[0] == 200


def test_only_prompts_above_the_limit_fail(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"error-code": 503})
    short, long = BODY, BODY | {"prompt": "What is 2+2? " * 20}
    tokens = server.post("/tokenize", long)[1]["count"]
    configure(server, error_above_prompt_tokens=tokens - 1)
    assert server.post(COMPLETIONS, short)[0] == 200
    status, answer = server.post(COMPLETIONS, long)
    assert (status, answer["error"]["message"]) == (
        503,
        "The server is overloaded or not ready yet. (injected by error-above-prompt-tokens)",
    )
    assert server.post(COMPLETIONS, BODY | {"prompt": [BODY["prompt"], long["prompt"]]})[0] == 503, "one is enough"
    assert (counted(server, "2xx"), counted(server, "5xx")) == (1, 2)
    configure(server, error_above_prompt_tokens=tokens)
    assert server.post(COMPLETIONS, long)[0] == 200, "the limit itself is allowed"
    configure(server, error_above_prompt_tokens=0)
    assert server.post(COMPLETIONS, short)[0] == 503, "zero is a limit"


def test_a_wrong_request_stays_a_wrong_request(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"error-rate": 1})
    assert server.post(COMPLETIONS, {"prompt": "x", "model": "n"})[0] == 404
    assert server.post(COMPLETIONS, {})[0] == 400


def test_probes_do_not_see_injected_errors(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"error-rate": 1, "hang-rate": 1})
    assert [server.get(path)[0] for path in ("/health", "/v1/models", "/metrics")] == [200] * 3


def test_a_rate_is_a_share_of_the_requests_and_the_same_each_time() -> None:
    def fates(**settings: Any) -> list[bool]:
        faults = Faults(Settings(**settings), seed=7, crash=lambda _: None)
        return [faults.next_fate(prompt_tokens=8).error is not None for _ in range(1000)]

    assert 220 < sum(fates(error_rate=0.25)) < 280
    assert fates(error_rate=0.25) == fates(error_rate=0.25)
    assert fates(error_rate=0.25) != fates(error_rate=0.25, seed=8)
    assert fates(error_rate=0.25) == fates(error_rate=0.25, truncate_rate=0.5), "rates do not disturb each other"


@pytest.mark.parametrize("settings", [{"hang-rate": 1}, {"wedge": True}], ids=["hang", "wedge"])
def test_a_hanging_request_gets_nothing_while_health_is_fine(
    settings: dict[str, Any], start_server: Callable[..., Any]
) -> None:
    server = start_server(settings=settings)

    async def story() -> tuple[bool, int, int]:
        hanging = asyncio.create_task(server.session.post(COMPLETIONS, json=BODY))
        await server.until(lambda: len(server.in_flight.tasks) == 1)
        async with server.session.get("/health") as health:
            status = health.status
        # Time passes on the server: a whole request is answered after the fault ends.
        unanswered = not hanging.done()
        async with server.session.post(ADMIN_PATH, json={"hang-rate": 0, "wedge": False}):
            pass
        async with server.session.post(COMPLETIONS, json=BODY) as answered:
            after = answered.status
        hanging.cancel()
        await server.until(lambda: not server.in_flight.tasks)
        return unanswered, status, after

    assert server.run(story()) == (True, 200, 200)


def test_a_wedge_freezes_the_gauges_and_ends_with_the_answers(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"inter-token-latency-ms": 2})

    async def story() -> tuple[float, float, int]:
        body = {"prompt": "x", "max_tokens": 100, "ignore_eos": True}
        asked = asyncio.create_task(server.session.post(COMPLETIONS, json=body))
        await server.until(lambda: server.metric("vllm:generation_tokens_total") > 3)
        async with server.session.post(ADMIN_PATH, json={"wedge": True}):
            pass
        tokens = server.metric("vllm:generation_tokens_total")
        late = asyncio.create_task(server.session.post(COMPLETIONS, json=BODY))
        await server.until(lambda: len(server.in_flight.tasks) == 2)
        frozen = server.metric("vllm:num_requests_running") + server.metric("vllm:num_requests_waiting")
        stuck = server.metric("vllm:generation_tokens_total") - tokens
        async with server.session.post(ADMIN_PATH, json={"wedge": False}):
            pass
        statuses = [(await request).status for request in (asked, late)]
        return frozen, stuck, sum(statuses)

    assert server.run(story()) == (1, 0, 400)


def test_a_truncated_stream_breaks_off_after_some_tokens_without_done(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"truncate-rate": 1})

    async def story() -> tuple[bytes, bool]:
        received = b""
        async with server.session.post(COMPLETIONS, json=BODY | {"stream": True, "ignore_eos": True}) as response:
            try:
                async for part in response.content.iter_any():
                    received += part
            except ClientError:
                return received, True
        return received, False

    received, broken = server.run(story())
    assert broken
    assert 0 < received.count(b"data: ") < 20
    assert b"[DONE]" not in received
    assert server.post(COMPLETIONS, BODY)[0] == 200, "an answer in one piece is not touched"
    assert counted(server, "2xx") == 2, "its status had been sent before it broke"


def test_an_answer_that_the_engine_gives_up_is_a_500_or_a_stream_that_ends_in_an_error(
    start_server: Callable[..., Any],
) -> None:
    server = start_server(settings={"engine-error-rate": 1})
    status, answer = server.post(COMPLETIONS, BODY)
    assert (status, answer["error"]["code"]) == (500, 500)
    status, streamed = server.post(COMPLETIONS, BODY | {"stream": True})
    *tokens, error, done = streamed.strip().split("\n\n")
    assert (status, done) == (200, "data: [DONE]")
    assert tokens
    assert '"code":500' in error
    assert (counted(server, "2xx"), counted(server, "5xx")) == (1, 1)
    assert server.metric("vllm:request_success_total", finished_reason="error") == 2


ANSWERS = {
    "wrong": ({"wrong-answer-rate": 1}, lambda text: "4" not in text and text.isascii()),
    "foreign": ({"foreign-language-rate": 1}, lambda text: "is" not in text.split()),
    "right": ({}, lambda text: text == "2 + 2 is 4."),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers(case: str, start_server: Callable[..., Any]) -> None:
    settings, fits = ANSWERS[case]
    server = start_server(settings=settings)
    status, answer = server.post(COMPLETIONS, BODY)
    assert status == 200
    assert fits(answer["choices"][0]["text"]), answer


def test_slow_tokens_and_extra_latency_reach_the_engine_and_the_request(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"slow-token-factor": 20, "extra-latency-ms": 30, "inter-token-latency-ms": 1})
    server.post(COMPLETIONS, BODY | {"ignore_eos": True})
    assert server.metric("vllm:inter_token_latency_seconds_sum") >= 19 * 0.02 * 0.9
    duration = server.metric("http_request_duration_seconds_sum", handler=COMPLETIONS, method="POST")
    assert duration >= server.metric("vllm:e2e_request_latency_seconds_sum") + 0.03 * 0.9


def test_failing_health_is_a_503_and_answers_go_on(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"health-failure": True})
    assert server.get("/health") == (503, "")
    assert server.post(COMPLETIONS, BODY)[0] == 200
    configure(server, health_failure=False)
    assert server.get("/health") == (200, "")


def test_failing_metrics_are_a_503_and_answers_go_on(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"metrics-failure": True})
    assert server.get("/metrics")[0] == 503
    assert server.post(COMPLETIONS, BODY)[0] == 200
    configure(server, metrics_failure=False)
    assert server.get("/metrics")[0] == 200


def test_a_crash_after_requests_counts_from_when_it_was_asked_for(start_server: Callable[..., Any]) -> None:
    server = start_server()
    server.post(COMPLETIONS, BODY)
    configure(server, crash_after_requests=2)
    server.post(COMPLETIONS, BODY)
    configure(server, error_rate=0)  # another change does not start the count again
    assert server.crashes == []
    server.post(COMPLETIONS, BODY)
    assert server.crashes == ["crash-after-requests"]


def test_a_crash_after_seconds_can_be_called_off(start_server: Callable[..., Any]) -> None:
    server = start_server()
    configure(server, crash_after_seconds=3600)
    configure(server, crash_after_seconds=None)
    configure(server, crash_after_seconds=0)
    server.run(server.until(lambda: server.crashes == ["crash-after-seconds"]))


def test_a_leak_takes_memory_at_its_rate_and_gives_it_back() -> None:
    leak = MemoryLeak()
    for _ in range(60):
        leak.grow(megabytes_per_minute=30, seconds=1)
    assert leak.held_bytes == pytest.approx(30 * MEGABYTE, rel=0.05)
    leak.grow(megabytes_per_minute=0, seconds=1)
    assert leak.held_bytes == 0


def test_speed_and_batch_size_can_be_changed_while_running(start_server: Callable[..., Any]) -> None:
    server = start_server()
    configure(server, max_num_seqs=1, inter_token_latency_ms=30)
    assert server.service.engine.profile.max_num_seqs == 1
    assert server.service.engine.profile.decode_seconds == pytest.approx(0.03)


def test_the_configuration_is_shown_and_changed_as_a_whole(start_server: Callable[..., Any]) -> None:
    server = start_server(settings={"error-rate": 0.5})
    status, shown = server.get(ADMIN_PATH)
    assert (status, shown["error-rate"], shown["wedge"]) == (200, 0.5, False)
    status, answer = server.post(ADMIN_PATH, {"wedge": True, "eror-rate": 1})
    assert (status, answer["error"]["message"]) == (400, "unknown key 'eror-rate': did you mean 'error-rate'?")
    assert server.get(ADMIN_PATH)[1] == shown, "nothing of a refused change is made"
    assert server.post(ADMIN_PATH, {"crash-on-start": True})[0] == 400


PEERS = {
    "127.0.0.1": True,
    "127.64.3.2": True,
    "::1": True,
    "::ffff:127.0.0.1": True,
    "10.0.0.1": False,
    "::ffff:10.0.0.1": False,
    "": False,
}


@pytest.mark.parametrize("address", PEERS)
def test_only_this_machine_may_configure(address: str) -> None:
    assert is_loopback(address) is PEERS[address]


def test_a_peer_from_elsewhere_is_refused(start_server: Callable[..., Any], tmp_path: Path) -> None:
    """A Unix socket has no peer address, so it counts as elsewhere."""
    server = start_server()
    path = str(tmp_path / "socket")

    async def ask() -> list[int]:
        runner = web.AppRunner(
            make_app(
                Service(
                    server.service.flags, Settings(), SystemClock(), CollectorRegistry(), crash=server.crashes.append
                ),
                InFlight(),
            )
        )
        await runner.setup()
        await web.UnixSite(runner, path).start()
        statuses = []
        async with ClientSession("http://localhost", connector=UnixConnector(path)) as session:
            for asked in (ADMIN_PATH, "/health"):
                async with session.get(asked) as response:
                    statuses.append(response.status)
        await runner.cleanup()
        return statuses

    assert server.run(ask()) == [403, 200]
