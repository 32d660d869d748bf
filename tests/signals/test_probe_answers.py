"""What a probe says about what a model server did."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from outrider.signals.probe import ProbeResult, judge, probe


class LoopClock:
    def now(self) -> float:
        return 1000.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


JUDGED = {
    "a completion with text and tokens is good": (
        200,
        b'{"choices":[{"text":" OK","finish_reason":"length"}],"usage":{"completion_tokens":4}}',
        "",
    ),
    "an empty text is good where the model itself ended": (
        200,
        b'{"choices":[{"text":"","finish_reason":"stop"}],"usage":{"completion_tokens":1}}',
        "",
    ),
    "an empty text after generated tokens is bad": (
        200,
        b'{"choices":[{"text":"","finish_reason":"length"}],"usage":{"completion_tokens":4}}',
        "the model server answered 200 with tokens but without text",
    ),
    "a chat message is no text completion": (
        200,
        b'{"choices":[{"message":{"content":"OK"}}],"usage":{"completion_tokens":1}}',
        "the model server answered 200 with tokens but without text",
    ),
    "no usage means that nobody counted a token": (
        200,
        b'{"choices":[{"text":"OK"}]}',
        "the model server answered 200 but generated no token",
    ),
    "zero tokens": (
        200,
        b'{"choices":[{"text":"OK"}],"usage":{"completion_tokens":0}}',
        "the model server answered 200 but generated no token",
    ),
    "no choice": (200, b'{"choices":[]}', "the model server answered 200 without a choice"),
    "a page of a proxy is no completion": (
        200,
        b"<html>",
        (
            "the model server answered 200 with something that is not a completion: JSON is malformed: "
            "invalid character (byte 0)"
        ),
    ),
    "OpenAI's error form": (
        404,
        b'{"error":{"message":"The model `x` does not exist.","code":404}}',
        "the model server answered 404: The model `x` does not exist.",
    ),
    "older vLLM's error form": (400, b'{"message":"bad"}', "the model server answered 400: bad"),
    "an error that is plain text": (
        500,
        b"Internal Server Error\n",
        "the model server answered 500: Internal Server Error",
    ),
    "an error without a body": (503, b"", "the model server answered 503: no body"),
}


@pytest.mark.parametrize("case", JUDGED)
def test_an_answer_is_judged(case: str) -> None:
    status, body, error = JUDGED[case]
    assert judge(status, body)[0] == error


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def run_probe(completions: Handler, health: Handler | None = None, *, timeout: float = 5.0) -> ProbeResult:
    async def main() -> ProbeResult:
        app = web.Application()
        app.router.add_post("/v1/completions", completions)
        if health is not None:
            app.router.add_get("/health", health)
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with aiohttp.ClientSession() as session:
                return await probe(session, f"http://127.0.0.1:{port}", "m", clock=LoopClock(), timeout=timeout)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def healthy(_: web.Request) -> web.StreamResponse:
    return web.Response()


async def unhealthy(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def test_the_request_is_a_small_marked_completion() -> None:
    seen: list[tuple[dict[str, object], str | None]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((await request.json(), request.headers.get("x-outrider-probe")))
        return web.json_response({"choices": [{"text": "OK"}], "usage": {"completion_tokens": 2}})

    result = run_probe(answer)
    assert (result.ok, result.error, result.detail, result.at) == (True, "", "OK", 1000.0)
    assert result.latency_seconds >= 0
    body, header = seen[0]
    assert (body["model"], body["max_tokens"], body["stream"], header) == ("m", 4, False, "true")


def test_a_wedged_engine_is_told_from_a_dead_pod() -> None:
    assert run_probe(hang, healthy, timeout=0.05).error == "no answer within 0.05 s although /health says 200"
    assert run_probe(hang, unhealthy, timeout=0.05).error == "no answer within 0.05 s and /health says 503"


def test_a_cut_connection_is_a_result() -> None:
    result = run_probe(cut)
    assert result.ok is False
    assert "closed the connection before its answer was complete" in result.error


def test_a_refused_connection_says_that_nothing_listens() -> None:
    async def main() -> ProbeResult:
        async with aiohttp.ClientSession() as session:
            return await probe(session, "http://127.0.0.1:1", "m", clock=LoopClock())

    result = asyncio.run(main())
    assert (result.ok, result.reached) == (False, True)
    assert result.error == "connection refused at 127.0.0.1:1: the model server is still loading, or has ended"


def test_a_pod_to_which_no_connection_comes_about_was_not_reached() -> None:
    async def main() -> ProbeResult:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as waiting:
            for _ in range(4):  # nobody accepts them, and with its queue full the kernel answers nobody
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(server.getsockname())
            async with aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{server.getsockname()[1]}"
                return await probe(session, url, "m", clock=LoopClock(), timeout=0.5)

    result = asyncio.run(main())
    assert (result.ok, result.reached, result.counted_as) == (False, False, None)
    assert re.fullmatch(r"no connection to 127\.0\.0\.1:\d+ within 0\.4 s", result.error)


def test_one_that_answers_badly_or_not_at_all_was_reached() -> None:
    assert run_probe(failed).reached
    assert run_probe(hang, healthy, timeout=0.05).reached


def test_something_that_is_no_url_cannot_be_told() -> None:
    async def main() -> ProbeResult:
        async with aiohttp.ClientSession() as session:
            return await probe(session, "http://[", "m", clock=LoopClock())

    assert asyncio.run(main()).ok is None


async def refused(_: web.Request) -> web.StreamResponse:
    return web.Response(status=429)


async def failed(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def empty(_: web.Request) -> web.StreamResponse:
    return web.Response()


async def good(_: web.Request) -> web.StreamResponse:
    return web.json_response({"choices": [{"text": "OK"}], "usage": {"completion_tokens": 2}})


COUNTED: dict[str, tuple[Handler, str | None]] = {
    "a good answer": (good, "2xx"),
    "an answer that is none": (empty, "2xx"),
    "the probe's own mistake": (refused, "4xx"),
    "the server's fault": (failed, "5xx"),
    "a client that gave up got an empty 200, for all that vLLM knows": (hang, "2xx"),
    "an answer that never began": (cut, None),
}


@pytest.mark.parametrize("case", COUNTED)
def test_it_is_known_how_the_server_counted_a_probe(case: str) -> None:
    handler, counted_as = COUNTED[case]
    assert run_probe(handler, healthy, timeout=0.2).counted_as == counted_as
