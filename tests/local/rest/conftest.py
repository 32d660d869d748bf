"""A REST door over a store in memory, on a free port of 127.0.0.1."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from outrider.kube.clock import SystemClock
from outrider.local.rest import make_app
from outrider.local.store import LogSource, Store, StoreApi

TOKEN = "correct-horse"


class Door:
    """A running door and a client that holds its token."""

    def __init__(self, store: Store, runner: web.AppRunner, url: str, session: aiohttp.ClientSession) -> None:
        self.store = store
        self.api = StoreApi(store)
        self.runner = runner
        self.url = url
        self.token = TOKEN
        self.session = session

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """The status and the decoded JSON, or the text, of an answer."""
        async with self.session.request(method, self.url + path, json=body, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, (await response.json() if is_json else await response.text())


@asynccontextmanager
async def opened(logs: LogSource | None = None) -> AsyncIterator[Door]:
    async with Store.opened(SystemClock()) as store:
        runner = web.AppRunner(make_app(store, token=TOKEN, logs=logs), shutdown_timeout=2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        try:
            async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(20)) as session:
                yield Door(store, runner, f"http://{host}:{port}", session)
        finally:
            await runner.cleanup()


Story = Callable[[Door], Coroutine[Any, Any, None]]


@pytest.fixture
def at_door() -> Callable[..., None]:
    """Runs a story at an open door."""

    def run(story: Story, logs: LogSource | None = None) -> None:
        async def whole() -> None:
            async with opened(logs) as door:
                await story(door)

        asyncio.run(whole())

    return run
