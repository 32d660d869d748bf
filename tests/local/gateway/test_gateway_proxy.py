"""The proxy with real servers behind it: what passes, what breaks, and what is never sent twice."""

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from gateway_objects import pod, route, service, slice_of, to
from yarl import URL

from outrider.kube.clock import SystemClock
from outrider.kube.objects import EndpointSlice
from outrider.local.gateway.gateway import HANDLER_OPTIONS
from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.proxy import Proxy
from outrider.local.gateway.routes import RoutingTable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DEADLINE = 10.0


class World:
    """A gateway, its table, and servers that stand for pods."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self._stack = stack
        self.table = RoutingTable()
        self.metrics = GatewayMetrics()
        self.url = ""
        self.published: dict[str, list[EndpointSlice]] = {}
        self.client: aiohttp.ClientSession

    async def start(self) -> None:
        proxy = await self._stack.enter_async_context(Proxy(self.table, self.metrics, SystemClock()))
        app = web.Application(handler_args=HANDLER_OPTIONS)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        self.url = f"http://127.0.0.1:{await self._serve(app)}"
        self.client = await self._stack.enter_async_context(aiohttp.ClientSession())

    async def _serve(self, app: web.Application, **options: Any) -> int:
        runner = web.AppRunner(app, shutdown_timeout=0.05, **options)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    async def backend(self, handler: Handler) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        return await self._serve(app, handler_cancellation=True, auto_decompress=False)

    async def raw_backend(self, answer: Raw) -> int:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self._stack.push_async_callback(server.wait_closed)
        self._stack.callback(server.close)
        return int(server.sockets[0].getsockname()[1])

    def publish(self, name: str, **ports: int) -> None:
        """A Service whose ready pods are these, and no others."""
        self.table.put_service(service(name))
        for piece in self.published.pop(name, []):
            self.table.endpoints.remove_slice(piece)
        self.published[name] = slice_of(name, {uid: ("127.0.0.1", port) for uid, port in ports.items()})
        for uid in ports:
            self.table.endpoints.put_pod(pod(uid, f"rev-{uid}"))
        for piece in self.published[name]:
            self.table.endpoints.put_slice(piece)

    def sample(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric whose labels include these."""
        return sum(
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == f"outrider_gateway_{name}" and labels.items() <= sample.labels.items()
        )


def in_world(story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE), contextlib.AsyncExitStack() as stack:
            world = World(stack)
            await world.start()
            await story(world)

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is awaited is counted by the code under test, without an event
            await asyncio.sleep(0.001)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def echo(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[key.lower(), value] for key, value in request.headers.items()],
            "body": body.decode("latin-1"),
        },
        headers={"Set-Cookie": "a=1", "Connection": "x-secret", "X-Secret": "1", "X-Kept": "yes"},
    )


def test_a_request_passes_with_what_a_pod_needs_to_know() -> None:
    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(echo))
        async with world.client.post(
            URL(f"{world.url}/production/chat/v1/completions?a=%2Fb&c", encoded=True),
            data=b"\x00\xff body",
            headers={"X-Forwarded-For": "6.6.6.6", "X-Request-Id": "given-1", "TE": "trailers", "X-Mine": "1"},
        ) as response:
            assert response.status == 200
            assert response.headers["x-request-id"] == "given-1"
            assert response.headers["x-outrider-revision"] == "rev-p"
            assert response.headers["x-kept"] == "yes"
            assert "x-secret" not in response.headers
            seen = await response.json()
        headers = dict(seen["headers"])
        assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/v1/completions?a=%2Fb&c", "\x00\xff body")
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "http"
        assert headers["x-forwarded-host"] == headers["host"] == world.url.removeprefix("http://")
        assert headers["x-request-id"] == "given-1"
        assert headers["x-mine"] == "1"
        assert "te" not in headers

    in_world(story)


def test_a_request_id_is_made_where_the_given_one_is_missing_or_unsafe() -> None:
    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(echo))
        made = set()
        for headers in ({}, {"x-request-id": "no spaces"}, {"x-request-id": "x" * 129}, {"x-request-id": "-"}):
            async with world.client.get(f"{world.url}/production/chat/", headers=headers) as response:
                identifier = response.headers["x-request-id"]
                assert dict((await response.json())["headers"])["x-request-id"] == identifier
                made.add(identifier)
        assert len(made) == 4
        assert all(len(identifier) == 32 for identifier in made)

    in_world(story)


def test_cookies_belong_to_clients_and_not_to_the_gateway() -> None:
    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(echo))
        async with world.client.get(f"{world.url}/production/chat/") as response:
            assert response.headers["set-cookie"] == "a=1"
        async with aiohttp.ClientSession() as other, other.get(f"{world.url}/production/chat/") as response:
            assert "cookie" not in dict((await response.json())["headers"])

    in_world(story)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_passes(method: str) -> None:
    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(echo))
        async with world.client.request(method, f"{world.url}/production/chat/x") as response:
            body = await response.read()
            assert response.status == 200
            assert int(response.headers["content-length"]) > 0
            assert body == b"" if method == "HEAD" else json.loads(body)["method"] == method

    in_world(story)


def test_bodies_pass_as_they_are_even_when_they_say_that_they_are_compressed() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"not gzip: " + await request.read(), headers={"Content-Encoding": "gzip"})

    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(answer))
        async with (
            aiohttp.ClientSession(auto_decompress=False) as client,
            client.post(
                f"{world.url}/production/chat/x", data=b"nor this", headers={"Content-Encoding": "gzip"}
            ) as response,
        ):
            assert response.headers["content-encoding"] == "gzip"
            assert await response.read() == b"not gzip: nor this"

    in_world(story)


def test_an_answer_without_a_body_stays_without() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(answer))
        for _ in range(2):
            async with world.client.delete(f"{world.url}/production/chat/x") as response:
                assert (response.status, await response.read()) == (204, b"")

    in_world(story)


def test_events_of_a_stream_pass_one_by_one() -> None:
    step = asyncio.Event

    async def story(world: World) -> None:
        go = [step() for _ in range(3)]

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for number, event in enumerate(go):
                await event.wait()
                await response.write(b"data: %d\n\n" % number)
            return response

        world.publish("chat", p=await world.backend(stream))
        async with world.client.post(f"{world.url}/production/chat/v1/completions") as response:
            for number, event in enumerate(go):  # the next event is not sent before this one has been received
                event.set()
                assert await response.content.readany() == b"data: %d\n\n" % number
            assert await response.content.readany() == b""
        await until(lambda: world.sample("requests_total", code="200", revision="rev-p") == 1)
        assert world.sample("time_to_first_chunk_seconds_count", revision="rev-p") == 1
        assert world.sample("in_flight_requests") == 0

    in_world(story)


def test_a_request_body_passes_chunk_by_chunk() -> None:
    async def story(world: World) -> None:
        received: asyncio.Queue[bytes] = asyncio.Queue()

        async def take(request: web.Request) -> web.StreamResponse:
            async for chunk in request.content.iter_any():
                received.put_nowait(chunk)
            return web.Response(text="done")

        async def body() -> AsyncIterator[bytes]:
            for chunk in (b"one", b"two", b"three"):
                yield chunk
                assert await received.get() == chunk  # it has arrived before the next one is sent

        world.publish("chat", p=await world.backend(take))
        async with world.client.post(f"{world.url}/production/chat/x", data=body()) as response:
            assert await response.text() == "done"

    in_world(story)


def test_large_bodies_pass_both_ways() -> None:
    async def reverse(request: web.Request) -> web.StreamResponse:
        return web.Response(body=(await request.content.read())[::-1])

    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(reverse))
        data = bytes(range(256)) * 16384
        async with world.client.post(f"{world.url}/production/chat/x", data=data) as response:
            assert await response.read() == data[::-1]

    in_world(story)


BROKEN = {
    "a chunked answer without its end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "an answer shorter than it said": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_is_broken_off_never_looks_complete(case: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BROKEN[case])
        await writer.drain()
        writer.close()

    async def story(world: World) -> None:
        world.publish("chat", p=await world.raw_backend(answer))
        async with world.client.get(f"{world.url}/production/chat/x") as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert world.sample("broken_streams_total", revision="rev-p") == 1
        await until(lambda: world.sample("in_flight_requests") == 0)

    in_world(story)


def test_a_broken_answer_to_an_http_1_0_client_ends_with_a_reset() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BROKEN["a chunked answer without its end"])
        await writer.drain()
        writer.close()

    async def story(world: World) -> None:
        world.publish("chat", p=await world.raw_backend(answer))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
        writer.write(b"GET /production/chat/x HTTP/1.0\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

    in_world(story)


def test_a_request_that_reached_a_pod_is_never_sent_again() -> None:
    async def story(world: World) -> None:
        requests: list[bytes] = []

        async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        world.publish("chat", p=await world.raw_backend(die), q=await world.raw_backend(die))
        async with world.client.post(f"{world.url}/production/chat/x", json={"prompt": "hi"}) as response:
            assert response.status == 502
            error = (await response.json())["error"]
        assert len(requests) == 1
        assert error["type"] == "bad_gateway"
        assert "closed the connection without an answer" in error["message"]
        assert world.sample("requests_total", code="502") == 1

    in_world(story)


def test_what_could_not_be_sent_goes_to_another_pod() -> None:
    async def story(world: World) -> None:
        world.publish("chat", gone=free_port(), p=await world.backend(echo))
        for number in range(6):
            body = (part for part in [b"x" * number])
            async with world.client.post(f"{world.url}/production/chat/x", data=b"".join(body)) as response:
                assert response.headers["x-outrider-revision"] == "rev-p"
                assert (await response.json())["body"] == "x" * number
        assert world.sample("requests_total", code="200") == 6
        assert world.sample("requests_total") == 6
        assert world.sample("in_flight_requests") == 0

    in_world(story)


def test_a_streamed_body_is_not_lost_when_the_first_pod_refuses() -> None:
    async def story(world: World) -> None:
        async def body() -> AsyncIterator[bytes]:
            for chunk in (b"one", b"two"):
                yield chunk
                await asyncio.sleep(0)

        world.publish("chat", gone=free_port(), away=free_port(), p=await world.backend(echo))
        async with world.client.post(f"{world.url}/production/chat/x", data=body()) as response:
            assert (await response.json())["body"] == "onetwo"

    in_world(story)


def test_when_no_pod_takes_the_connection_the_answer_says_so_and_when_to_try_again() -> None:
    async def story(world: World) -> None:
        world.publish("chat", a=free_port(), b=free_port())
        async with world.client.get(f"{world.url}/production/chat/x") as response:
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            assert "None of 2 pods took the connection" in (await response.json())["error"]["message"]
        assert world.sample("requests_total", code="503", deployment="chat") == 1
        assert world.sample("connection_failures_total") == 2, "which no pod can know"

    in_world(story)


def test_a_service_without_ready_pods_is_503_with_the_reason() -> None:
    async def story(world: World) -> None:
        world.publish("chat")
        async with world.client.get(f"{world.url}/production/chat/x") as response:
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            error = (await response.json())["error"]
        assert (error["type"], error["code"]) == ("no_ready_endpoint", 503)
        assert "the Service production/chat has no pod" in error["message"]

    in_world(story)


def test_an_unknown_name_is_404_with_the_routes_that_there_are() -> None:
    async def story(world: World) -> None:
        async with world.client.get(f"{world.url}/production/chta/x") as response:
            assert response.status == 404
            assert "apply an LLMDeployment first" in (await response.json())["error"]["message"]
        world.publish("chat")
        world.table.put_route(route("named", hostnames=("chat.production",), rules=[to(("chat", 1))]))
        async with world.client.get(f"{world.url}/production/chta/x") as response:
            message = (await response.json())["error"]["message"]
        assert "/production/chat/" in message
        assert "/production/named/ (hosts: chat.production)" in message
        assert world.sample("requests_total", code="404", deployment="unmatched") == 2

    in_world(story)


def test_websockets_are_refused_clearly() -> None:
    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(echo))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await world.client.ws_connect(f"{world.url}/production/chat/v1/realtime")
        assert refused.value.status == 501

    in_world(story)


RAW_REQUESTS = {
    "an absolute URL is read as its host and path": (
        b"GET http://chat.production:80/x?y HTTP/1.1\r\nHost: ignored\r\n\r\n",
        b"200",
    ),
    "an HTTP/1.0 request without a host": (b"GET /production/chat/x HTTP/1.0\r\n\r\n", b"200"),
    "a header that is too long": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000 + b"\r\n\r\n", b"400"),
}


@pytest.mark.parametrize("case", RAW_REQUESTS)
def test_unusual_requests(case: str) -> None:
    raw, status = RAW_REQUESTS[case]

    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(echo))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
        writer.write(raw)
        line = await reader.readline()
        writer.close()
        assert line.split()[1] == status

    in_world(story)


def test_a_client_that_goes_away_ends_its_request_at_the_pod() -> None:
    async def story(world: World) -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def hang(_: web.Request) -> web.StreamResponse:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

        world.publish("chat", p=await world.backend(hang))
        request = asyncio.create_task(world.client.post(f"{world.url}/production/chat/x", data=b"x").__aenter__())
        await began.wait()
        assert world.sample("in_flight_requests", revision="rev-p") == 1
        request.cancel()
        await ended.wait()
        await until(lambda: world.sample("requests_total", code="499") == 1)
        assert world.sample("in_flight_requests") == 0

    in_world(story)


def test_a_client_that_goes_away_in_a_stream_ends_it_at_the_pod() -> None:
    async def story(world: World) -> None:
        ended = asyncio.Event()

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            try:
                await response.prepare(request)
                while True:
                    await response.write(b"data: x\n\n")
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

        world.publish("chat", p=await world.backend(endless))
        async with world.client.post(f"{world.url}/production/chat/x") as response:
            await response.content.readany()
            response.close()
        await ended.wait()
        await until(lambda: world.sample("requests_total", code="499") == 1)
        assert world.sample("broken_streams_total") == 0

    in_world(story)


def test_probes_are_counted_apart() -> None:
    async def story(world: World) -> None:
        world.publish("chat", p=await world.backend(echo))
        async with world.client.get(f"{world.url}/production/chat/x", headers={"x-outrider-probe": "true"}) as response:
            assert response.status == 200
            await response.read()
        assert world.sample("probe_requests_total", code="200", revision="rev-p", version="v1", deployment="chat") == 1
        assert world.sample("requests_total") == 0
        assert world.sample("request_duration_seconds_count") == 0

    in_world(story)


def test_requests_are_shared_by_weight_exactly() -> None:
    async def story(world: World) -> None:
        world.publish("stable", a=await world.backend(echo))
        world.publish("canary", b=await world.backend(echo))
        world.table.put_route(route("chat", hostnames=("chat.production",), rules=[to(("stable", 90), ("canary", 10))]))
        answered: Counter[str] = Counter()
        for _ in range(20):
            async with world.client.get(f"{world.url}/x", headers={"Host": "chat.production:8080"}) as response:
                answered[response.headers["x-outrider-revision"]] += 1
        assert answered == {"rev-a": 18, "rev-b": 2}

    in_world(story)


def test_no_request_fails_while_pods_are_swapped_under_load() -> None:
    async def story(world: World) -> None:
        async def slow(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(3):
                await response.write(b"chunk ")
                await asyncio.sleep(0.002)
            return response

        ports = {f"p{number}": await world.backend(slow) for number in range(4)}
        results: Counter[object] = Counter()
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                async with world.client.post(f"{world.url}/production/chat/x", data=b"x") as response:
                    results[response.status, await response.text()] += 1

        world.publish("chat", **ports)
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(load())
            for swap in range(20):
                before = results.total()
                keep = f"p{swap % 4}"
                world.publish("chat", **{keep: ports[keep]})
                await until(lambda before=before: results.total() >= before + 10)  # type: ignore[misc]
            stop.set()
        assert results.keys() == {(200, "chunk chunk chunk ")}
        revisions = {
            sample.labels["revision"]
            for family in world.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "outrider_gateway_requests_total" and sample.value
        }
        assert revisions == {f"rev-{uid}" for uid in ports}

    in_world(story)
