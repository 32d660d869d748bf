"""Watches and logs over connections that break, stall, lie and restart."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from http_server import Server, answers, serving

from outrider.kube.api import ApiError, EventType, Expired, NotFound, Unavailable, Undecodable, WatchEvent
from outrider.kube.http import HttpApi
from outrider.kube.informer import Informer
from outrider.kube.kubeconfig import ClusterConfig
from outrider.kube.objects import POD, Pod

DEADLINE = 10.0
"""Seconds of real time in which anything here must have happened; far more than it needs."""


class Hasty:
    """Real time, with sleeps a fiftieth as long."""

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 50)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  (in real time there is no event for just any condition)
            await asyncio.sleep(0.005)


def line(event_type: str, name: str, version: int, **fields: Any) -> bytes:
    obj = {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}, **fields}
    return json.dumps({"type": event_type, "object": obj}).encode() + b"\n"


def streams(*parts: bytes | Callable[[web.Request], Awaitable[None]]) -> Callable[[web.Request], Awaitable[Any]]:
    """Answer with a stream of these parts; a part may also be something to do."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
            else:
                await part(request)
        return response

    return answer


async def cut(request: web.Request) -> None:
    """Break the connection without a word, in the middle of whatever was being said."""
    assert request.transport is not None
    request.transport.abort()


async def stall(_request: web.Request) -> None:
    await asyncio.Event().wait()


def talk(
    answer: Callable[[web.Request], Awaitable[Any]],
    story: Callable[[HttpApi, Server], Awaitable[Any]],
    **options: Any,
) -> Server:
    async def run() -> Server:
        async with asyncio.timeout(DEADLINE * 2), serving(answer) as server:
            config = ClusterConfig(server=server.url, token="secret")
            async with HttpApi(config, clock=Hasty(), **options) as api:
                await story(api, server)
        return server

    return asyncio.run(run())


async def collect(api: HttpApi, into: list[WatchEvent[Pod]], **options: Any) -> None:
    async for event in api.watch(POD, "ns", **options):
        into.append(event)  # noqa: PERF401  (what came before an error counts)


def test_a_watch_asks_for_bookmarks_and_yields_typed_events() -> None:
    async def story(api: HttpApi, _server: Server) -> None:
        events: list[WatchEvent[Pod]] = []
        await collect(api, events, resource_version="5", timeout=300, labels="a=b", fields="metadata.name=a")
        seen = [(event.type, event.object.metadata.name, event.resource_version) for event in events]
        assert seen == [("ADDED", "a", "6"), ("BOOKMARK", "", "9"), ("DELETED", "a", "10")]
        assert events[0].object.status.phase == "Running"

    first = line("ADDED", "a", 6, status={"phase": "Running"})
    bookmark = (
        b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"9",'
        b'"creationTimestamp":null},"spec":{"containers":null},"status":{}}}\n'  # as kube-apiserver 1.36 writes it
    )
    server = talk(streams(first, bookmark + line("DELETED", "a", 10)), story)
    assert server.seen[0].path == "/api/v1/namespaces/ns/pods"
    assert server.seen[0].query == {
        "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5", "timeoutSeconds": "300",
        "labelSelector": "a=b", "fieldSelector": "metadata.name=a",
    }  # fmt: skip


def test_events_may_be_split_and_joined_anywhere() -> None:
    text = b"".join(line("ADDED", f"pod-{number}", number) for number in range(1, 40))

    async def story(api: HttpApi, _server: Server) -> None:
        events: list[WatchEvent[Pod]] = []
        await collect(api, events)
        assert [event.object.metadata.name for event in events] == [f"pod-{number}" for number in range(1, 40)]

    talk(streams(*(text[start : start + 37] for start in range(0, len(text), 37))), story)


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
BREAKS: dict[str, tuple[Callable[[web.Request], Awaitable[Any]], type[ApiError], str]] = {
    "the connection is cut between events": (streams(line("ADDED", "a", 1), cut), Unavailable, "cannot reach"),
    "the connection is cut in the middle of a line": (
        streams(line("ADDED", "a", 1), line("ADDED", "b", 2)[:20], cut), Unavailable, "cannot reach",
    ),
    "the stream ends in the middle of a line": (
        streams(line("ADDED", "a", 1), line("ADDED", "b", 2)[:20]), Unavailable, "in the middle of an event",
    ),
    "a line is no JSON": (streams(line("ADDED", "a", 1), b"<html>\n"), Unavailable, "no event"),
    "a line is no event": (streams(line("ADDED", "a", 1), b'{"type":"NEWS","object":{}}\n'), Unavailable, "no event"),
    "the version expires on the way": (
        streams(line("ADDED", "a", 1), json.dumps(GONE).encode() + b"\n"), Expired, "too old",
    ),
    "an object does not fit its type": (
        streams(line("ADDED", "a", 1), line("ADDED", "b", 2, spec={"nodeName": 7})), Undecodable, "nodeName",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_broken_watches(name: str) -> None:
    answer, error, message = BREAKS[name]

    async def story(api: HttpApi, _server: Server) -> None:
        events: list[WatchEvent[Pod]] = []
        with pytest.raises(ApiError) as caught:
            await collect(api, events)
        assert type(caught.value) is error
        assert message in str(caught.value)
        assert [event.object.metadata.name for event in events] == ["a"], "what came before counts"

    talk(answer, story)


def test_a_watch_that_is_refused() -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}

    async def story(api: HttpApi, _server: Server) -> None:
        with pytest.raises(Expired, match="too old"):
            await collect(api, [], resource_version="1")

    talk(answers(gone, status=410), story)


def test_silence_is_noticed() -> None:
    async def story(api: HttpApi, _server: Server) -> None:
        events: list[WatchEvent[Pod]] = []
        with pytest.raises(Unavailable, match="no answer in time"):
            await collect(api, events)
        assert len(events) == 1

    talk(streams(line("ADDED", "a", 1), stall), story, watch_inactivity=0.2)


def test_a_server_that_does_not_answer_at_all_is_noticed() -> None:
    async def story(api: HttpApi, _server: Server) -> None:
        with pytest.raises(Unavailable, match="no answer in time"):
            await collect(api, [])

    talk(stall, story, watch_inactivity=0.2)


def test_cancelling_a_watch_closes_its_connection() -> None:
    left = []

    async def notice(request: web.Request) -> None:
        try:
            await stall(request)
        finally:
            left.append("gone")

    async def story(api: HttpApi, _server: Server) -> None:
        events: list[WatchEvent[Pod]] = []
        task = asyncio.ensure_future(collect(api, events))
        await eventually(lambda: len(events) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: left == ["gone"])

    talk(streams(line("ADDED", "a", 1), notice), story)


def test_leaving_a_watch_closes_its_connection() -> None:
    left = []

    async def notice(request: web.Request) -> None:
        try:
            await stall(request)
        finally:
            left.append("gone")

    async def story(api: HttpApi, _server: Server) -> None:
        watch = api.watch(POD)
        assert (await anext(watch)).type == "ADDED"
        await watch.aclose()  # type: ignore[attr-defined]
        await eventually(lambda: left == ["gone"])

    talk(streams(line("ADDED", "a", 1), notice), story)


def test_a_server_that_does_not_end_a_watch_in_time_is_left() -> None:
    async def story(api: HttpApi, _server: Server) -> None:
        events: list[WatchEvent[Pod]] = []
        await collect(api, events, timeout=0.1)
        assert len(events) == 1

    talk(streams(line("ADDED", "a", 1), stall), story, watch_overtime=0.1)


def test_logs_come_as_they_are_written() -> None:
    async def story(api: HttpApi, _server: Server) -> None:
        options: dict[str, Any] = {"follow": True, "previous": True, "timestamps": True}
        chunks = api.logs("a", "ns", container="c", since_seconds=60, tail_lines=10, **options)
        assert b"".join([chunk async for chunk in chunks]) == b"one\ntwo\nthr"

    server = talk(streams(b"one\n", b"two\nthr"), story)
    assert server.seen[0].path == "/api/v1/namespaces/ns/pods/a/log"
    assert server.seen[0].query == {
        "container": "c", "follow": "true", "previous": "true", "timestamps": "true", "sinceSeconds": "60",
        "tailLines": "10",
    }  # fmt: skip


def test_logs_of_a_pod_that_there_is_not() -> None:
    async def story(api: HttpApi, _server: Server) -> None:
        with pytest.raises(NotFound, match="no such pod"):
            [chunk async for chunk in api.logs("a", "ns")]

    talk(answers({"kind": "Status", "code": 404, "reason": "NotFound", "message": "no such pod"}, status=404), story)


def test_nobody_listens() -> None:
    async def run() -> None:
        async with serving(answers({})) as server:
            url = server.url
        async with HttpApi(ClusterConfig(server=url, source="my kubeconfig"), clock=Hasty()) as api:
            for call in (api.get(POD, "a", "ns"), api.create(POD, {"metadata": {"namespace": "ns"}}), collect(api, [])):
                with pytest.raises(Unavailable) as caught:
                    await call
                assert url in str(caught.value)
                assert "my kubeconfig" in str(caught.value)
                assert "outrider up" in str(caught.value)

    asyncio.run(run())


def test_a_connection_that_the_server_closed_while_it_rested_is_replaced_for_reads_only() -> None:
    """Every connection answers once; the next request on it meets a closed door."""
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"metadata":{"name":"a"}}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, HttpApi(ClusterConfig(server=f"http://127.0.0.1:{port}"), clock=Hasty()) as api:
            await api.get(POD, "a", "ns")
            await api.get(POD, "a", "ns")
            assert connections == 2
            with pytest.raises(Unavailable):
                await api.create(POD, {"metadata": {"namespace": "ns"}})
            assert connections == 2

    asyncio.run(run())


class Cluster:
    """A server of pods that can be stopped and started on the same port."""

    def __init__(self) -> None:
        self.pods: dict[str, int] = {}
        self.version = 10

    def set(self, *names: str) -> None:
        self.version += 1
        self.pods = {name: self.pods.get(name, self.version) for name in names}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            since = int(request.query["resourceVersion"])
            if since < self.version:
                return web.json_response({"kind": "Status", "code": 410, "reason": "Expired"}, status=410)
            response: web.StreamResponse = await streams(stall)(request)
            return response
        items = [
            {"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": str(version)}}
            for name, version in self.pods.items()
        ]
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})


def test_an_informer_survives_a_restart_of_the_server() -> None:
    async def run() -> None:
        cluster = Cluster()
        cluster.set("a", "b")
        async with serving(cluster.answer) as server:
            port = server.port
            api = HttpApi(ClusterConfig(server=server.url), clock=Hasty())
            informer = Informer(api, POD, Hasty())
            deleted: list[str] = []

            def note(_type: EventType, old: Pod | None, new: Pod | None) -> None:
                if old is not None and new is None:
                    deleted.append(old.metadata.name)

            informer.subscribe(note)
            running = asyncio.ensure_future(informer.run())
            await eventually(lambda: len(informer.list()) == 2)
        await eventually(lambda: "cannot reach the API server" in informer.last_error)
        assert len(informer.list()) == 2, "what was known stays known"
        cluster.set("b", "c")
        async with serving(cluster.answer, port=port):
            await eventually(lambda: [pod.metadata.name for pod in informer.list()] == ["b", "c"])
            assert deleted == ["a"]
            assert informer.last_error == ""
            informer.stop()
            await running
        await api.close()

    asyncio.run(run())
