"""What goes on: watches and logs over the REST door."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from outrider.kube.api import NotFound
from outrider.kube.objects import CONFIG_MAP
from outrider.local.rest import LogOptions

AtDoor = Callable[..., None]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
LLMS = "/apis/inference.llm-d.io/v1alpha1/namespaces/default/llmdeployments"


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str = "p", node: str = "n", **containers: str) -> dict[str, Any]:
    made = [{"name": each, "image": image} for each, image in (containers or {"server": "i:1"}).items()]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": made},
    }


async def events(response: Any, count: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            event = json.loads(await response.content.readline())
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
    return found


def test_a_watch_is_a_line_for_each_change(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        _, listed = await door.ask("GET", CONFIG_MAPS)
        version = listed["metadata"]["resourceVersion"]
        async with door.session.get(f"{door.url}{CONFIG_MAPS}?watch=true&resourceVersion={version}") as response:
            assert response.status == 200
            await door.ask("POST", CONFIG_MAPS, config_map("a"))
            assert await events(response, 1) == [("ADDED", "a")]
            await door.ask("DELETE", f"{CONFIG_MAPS}/a")
            assert await events(response, 1) == [("DELETED", "a")]

    at_door(story)


def test_a_watch_ends_in_time_and_bookmarks_only_who_asked(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        async def types(query: str) -> list[str]:
            async with door.session.get(f"{door.url}{CONFIG_MAPS}?watch=1&timeoutSeconds=1{query}") as response:
                return [json.loads(line)["type"] for line in (await response.text()).splitlines()]

        plain, asked = await asyncio.gather(types(""), types("&allowWatchBookmarks=true"))
        assert (plain, asked) == ([], ["BOOKMARK"])

    at_door(story)


def test_streams_end_cleanly_when_the_door_closes(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        async with door.session.get(f"{door.url}{CONFIG_MAPS}?watch=1") as response:
            closing = asyncio.create_task(door.runner.cleanup())
            assert await asyncio.wait_for(response.text(), 10) == ""
            await closing

    at_door(story)


def test_a_client_that_goes_leaves_no_watch_behind(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        history = door.store.table(CONFIG_MAP).history
        response = await door.session.get(f"{door.url}{CONFIG_MAPS}?watch=1")
        async with asyncio.timeout(10):
            while history.watchers == 0:  # noqa: ASYNC110  (the door tells nobody)
                await asyncio.sleep(0.01)
            response.close()
            while history.watchers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    at_door(story)


class Kubelet:
    """Says what it is asked for, then what comes, until it is told to end."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, LogOptions]] = []
        self.more: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def __call__(self, namespace: str, pod: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        self.asked.append((namespace, pod, container, options))
        if options.previous:
            raise NotFound(f"previous terminated container {container!r} in pod {pod!r} not found")
        try:
            yield b"hello\n"
            while options.follow and (line := await self.more.get()):
                yield line
        finally:
            self.closed.set()


def test_logs(at_door: AtDoor) -> None:
    kubelet = Kubelet()

    async def story(door: Any) -> None:
        await door.ask("POST", PODS, pod())
        await door.ask("POST", PODS, pod("two", a="i", b="i"))
        query = "?tailLines=5&sinceSeconds=60&timestamps=true&limitBytes=99"
        assert await door.ask("GET", f"{PODS}/p/log{query}") == (200, "hello\n")
        expected = LogOptions(timestamps=True, since_seconds=60, tail_lines=5, limit_bytes=99)
        assert kubelet.asked[-1] == ("default", "p", "server", expected)
        status, refused = await door.ask("GET", f"{PODS}/p/log?previous=true")
        assert (status, refused["reason"]) == (404, "NotFound")
        status, refused = await door.ask("GET", f"{PODS}/two/log")
        assert (status, "choose one of: [a b]" in refused["message"]) == (400, True)
        assert (await door.ask("GET", f"{PODS}/two/log?container=b"))[0] == 200
        assert (await door.ask("GET", f"{PODS}/two/log?container=c"))[0] == 400
        assert (await door.ask("GET", f"{PODS}/p/log?tailLines=many"))[0] == 400

    at_door(story, kubelet)


def test_a_log_is_followed(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        kubelet: Kubelet = door.kubelet
        await door.ask("POST", PODS, pod())
        async with door.session.get(f"{door.url}{PODS}/p/log?follow=true") as response:
            assert response.content_type == "text/plain"
            assert await response.content.readline() == b"hello\n"
            kubelet.more.put_nowait(b"world\n")
            assert await response.content.readline() == b"world\n"
            kubelet.more.put_nowait(b"")
            assert await response.content.read() == b""
        kubelet.closed.clear()
        response = await door.session.get(f"{door.url}{PODS}/p/log?follow=true")
        assert await response.content.readline() == b"hello\n"
        response.close()
        await asyncio.wait_for(kubelet.closed.wait(), 10)

    kubelet = Kubelet()

    async def with_kubelet(door: Any) -> None:
        door.kubelet = kubelet
        await story(door)

    at_door(with_kubelet, kubelet)
