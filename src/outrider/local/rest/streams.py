"""Answers that go on: watches and logs. They end when their source does, or the client goes, or the world ends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from aiohttp import web

STOPPING = web.AppKey("stopping", asyncio.Event)
"""Set when the application shuts down: every stream then ends as if it were complete."""
_DISCONNECT_SECONDS = 1.0
"""How often a silent stream looks whether its client is still there; writing tells it at once."""


async def stream(request: web.Request, chunks: AsyncGenerator[bytes, None], *, content_type: str) -> web.StreamResponse:
    """Send the chunks as they come."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-cache, private"})
    await response.prepare(request)
    sending = asyncio.create_task(_send(response, chunks))
    others = [asyncio.create_task(request.app[STOPPING].wait()), asyncio.create_task(_disconnected(request))]
    try:
        await asyncio.wait([sending, *others], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, *others):
            task.cancel()
        await asyncio.gather(sending, *others, return_exceptions=True)
        await chunks.aclose()
    with contextlib.suppress(ConnectionError):
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error
        await response.write_eof()
    return response


async def _send(response: web.StreamResponse, chunks: AsyncGenerator[bytes, None]) -> None:
    async for chunk in chunks:
        await response.write(chunk)


async def _disconnected(request: web.Request) -> None:
    # aiohttp tells a handler of a lost connection only by cancelling it, if the server was set up to do so.
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_DISCONNECT_SECONDS)
