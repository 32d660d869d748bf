"""The side of the gateway that speaks to pods: one pool of connections, and what can go wrong, in three kinds."""

import contextlib
import socket
import struct
from asyncio import BaseTransport
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

CONNECT_SECONDS = 2.0
"""Pods are on the same machine: a connection that takes longer will not come."""
KEEP_ALIVE_SECONDS = 3.0
"""Idle connections are kept less long than servers keep them (vLLM's uvicorn: 5 s), so that no request is sent into a
connection that the pod is just closing."""
HEADER_BYTES = 64 * 1024


class NotSentError(Exception):
    """No connection to the pod, so nothing was sent: the request can go elsewhere."""


class NoAnswerError(Exception):
    """The request was sent, at least in part, and no answer came. It may have been acted on."""


class BrokenError(Exception):
    """The answer began and was cut off."""


class UpstreamResponse:
    """A pod's answer, of which the headers have come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.url = str(response.url)
        self.status = response.status
        self.reason = response.reason
        self.headers: CIMultiDictProxy[str] = response.headers
        self.is_event_stream = response.content_type == "text/event-stream"

    def whole_body(self) -> bytes | None:
        """The body where all of it has come and none was read; None where more may come."""
        content = self._response.content
        if self.is_event_stream or not content.is_eof() or content.exception() is not None:
            return None
        return content.read_nowait(-1)

    async def next_chunk(self) -> bytes:
        """What has come since the last time, as soon as there is something; empty at the end. Raises `BrokenError`."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as failure:
            raise BrokenError(f"{type(failure).__name__}: {failure}") from failure


class Upstream:
    """Sends requests over kept connections, with nothing added and nothing taken away."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, happy_eyeballs_delay=None),
            cookie_jar=aiohttp.DummyCookieJar(),  # cookies are the clients' own
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),  # clients decide how long to wait
            auto_decompress=False,
            skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE),
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @contextlib.asynccontextmanager
    async def ask(
        self, request: web.BaseRequest, url: str, headers: CIMultiDict[str], body: bytes | None
    ) -> AsyncIterator[UpstreamResponse]:
        """Send the request to `url`, with `body` or, where that is None, with what is still coming from the client.

        Raises `NotSentError` or `NoAnswerError`. Leaving the block before the end of the answer ends it at the pod.
        """
        assert self._session is not None, "the gateway's application has been started"
        data = body if body is not None or not request.body_exists else _rest_of_body(request)
        try:
            response = await self._session.request(
                request.method, URL(url, encoded=True), headers=headers, data=data, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failure:
            raise NotSentError(str(failure)) from failure
        except (aiohttp.ClientError, OSError) as failure:
            raise NoAnswerError(_sentence(failure)) from failure
        try:
            yield UpstreamResponse(response)
        finally:
            response.close()  # at the end of an answer its connection is in the pool again already, and stays there


async def _rest_of_body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The client's body as it comes. It begins to be read only once there is a connection to the pod."""
    async for chunk in request.content.iter_any():
        yield chunk


def _sentence(failure: Exception) -> str:
    if isinstance(failure, (aiohttp.ServerDisconnectedError, ConnectionResetError)):
        return "it closed the connection without an answer"
    return f"{type(failure).__name__}: {failure}"


def reset_on_close(transport: BaseTransport) -> None:
    """Make the connection end with a reset instead of an orderly end."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
