"""A node with one pod whose kubelet's API is served, and a client of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from certificates import Authority
from kubelet_client import Ended, WebSocketSession, query

from outrider.kube.clock import SystemClock
from outrider.local.kubelet.server import KubeletServer
from outrider.local.kubelet.usage import UsageMonitor

from ..conftest import PYTHON, World, world  # noqa: TID252  (absolute, it would be another module)

PATIENCE = 120.0
API_SERVER = "kube-apiserver-kubelet-client"


class Node:
    """A node whose kubelet is served, and a client of it."""

    def __init__(
        self, world: World, usage: UsageMonitor, server: KubeletServer, session: aiohttp.ClientSession
    ) -> None:
        self.world = world
        self.usage = usage
        self.server = server
        self.session = session

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.server.port}{path}"

    @asynccontextmanager
    async def open(
        self, path: str, *command: str, protocol: str = "v5.channel.k8s.io", **wanted: bool
    ) -> AsyncIterator[WebSocketSession]:
        async with self.session.ws_connect(
            self.url(path), params=query(*command, **wanted), protocols=[protocol]
        ) as socket:
            assert socket.protocol == protocol
            yield WebSocketSession(socket)

    async def run(self, *command: str, stdin: bytes | None = None, pod: str = "web", **wanted: bool) -> Ended:
        wanted = {"stdin": stdin is not None} | wanted
        async with self.open(f"/exec/default/{pod}/main", *command, protocol="v5.channel.k8s.io", **wanted) as session:
            if stdin is not None:
                await session.send(stdin)
                await session.end_input()
            return await session.end()


@asynccontextmanager
async def served(folder: Path, authority: Authority, **options: Any) -> AsyncIterator[Node]:
    """A node with the pod `web`, whose kubelet is served."""
    async with world(folder, **options) as created:
        await created.create(
            "web",
            PYTHON,
            "-c",
            "import time\nprint('begun', flush=True)\ntime.sleep(600)",
            container={"env": [{"name": "COLOUR", "value": "blue"}], "workingDir": "/tmp"},
        )
        await created.ready("web")
        tls = authority.client_tls(API_SERVER)
        usage = UsageMonitor(folder, SystemClock())
        async with (
            KubeletServer(created.kubelet, usage, authority.server_tls(clients=authority), port=0) as server,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        ):
            yield Node(created, usage, server, session)


def story(folder: Path, authority: Authority, scenario: Callable[[Node], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(PATIENCE), served(folder, authority, **options) as node:
            await scenario(node)

    asyncio.run(run())
