"""A small HTTP server on loopback for tests of clients."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    """Answers every request with `answer`, and remembers what it was asked."""

    answer: Answer
    port: int = 0
    scheme: str = "http"
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.seen.append(
            Seen(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(text) if text else None,
            )
        )
        return await self.answer(request)


@contextlib.asynccontextmanager
async def serving(answer: Answer, *, port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[Server]:
    """A server that lives as long as the block. Streams that are open at its end are cut."""
    server = Server(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, reuse_address=True)
    await site.start()
    server.port = runner.addresses[0][1]
    server.scheme = "https" if tls is not None else "http"
    try:
        yield server
    finally:
        await runner.cleanup()


def answers(*bodies: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Answer with these JSON bodies in turn, the last one for ever."""
    left = list(bodies)

    async def answer(_request: web.Request) -> web.StreamResponse:
        body = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(body, web.StreamResponse):
            return body
        return web.json_response(body, status=status, headers=headers)

    return answer
