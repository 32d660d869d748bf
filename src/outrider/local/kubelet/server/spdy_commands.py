"""Commands over SPDY/3.1, as clients and API servers use it that know no WebSocket: a stream for each direction.

Protocol v4 of https://github.com/kubernetes/kubernetes/blob/v1.36.3/staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand/httpstream.go
"""

import asyncio
import contextlib

import msgspec
from aiohttp import web

from outrider.kube.api import Forbidden
from outrider.local.kubelet.server.hijack import Upgraded, take_over
from outrider.local.kubelet.server.spdy import SpdyConnection, SpdyStream
from outrider.local.kubelet.server.statuses import Status
from outrider.local.kubelet.server.streams import ClientStreams, Output, Session, StreamOptions, converse

UPGRADE = "SPDY/3.1"
VERSION_HEADER = "X-Stream-Protocol-Version"
COMMAND_PROTOCOL = "v4.channel.k8s.io"
STREAM_TYPE = "streamtype"
OPEN_SECONDS = 30.0
"""How long a client may take to open its streams: a kubelet's time."""


def is_spdy(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == UPGRADE.lower()


def switch_headers(request: web.Request, protocol: str) -> dict[str, str]:
    """The headers of the answer. Raises `Forbidden` if the client does not speak the protocol."""
    asked = [
        name.strip() for line in request.headers.getall(VERSION_HEADER, []) for name in line.split(",") if name.strip()
    ]
    if protocol not in asked:
        raise Forbidden(
            f"unable to upgrade: unable to negotiate protocol: client supports {asked}, server accepts [{protocol}]"
        )
    return {"Connection": "Upgrade", "Upgrade": UPGRADE, VERSION_HEADER: protocol}


class SpdyStreams(ClientStreams):
    """The streams of one client, each a SPDY stream."""

    def __init__(self, connection: SpdyConnection, options: StreamOptions) -> None:
        super().__init__(options)
        self._connection = connection
        self._streams: dict[str, SpdyStream] = {}

    @property
    def _expected(self) -> set[str]:
        options = self.options
        wanted = {
            "error": True,
            "stdin": options.stdin,
            "stdout": options.stdout,
            "stderr": options.stderr,
            "resize": options.tty,
        }
        return {name for name, on in wanted.items() if on}

    async def open(self) -> None:
        """Wait for the client to open its streams. Raises `TimeoutError`, and `ConnectionError` if it goes instead."""
        async with asyncio.timeout(OPEN_SECONDS):
            while self._expected - self._streams.keys():
                stream = await self._connection.opened.get()
                if stream is None:
                    raise ConnectionResetError("the client has gone")
                self._streams[stream.headers.get(STREAM_TYPE, "")] = stream
        if self.options.stdin:
            self.stdin = self._streams["stdin"].incoming

    async def receive(self) -> None:
        """Take in what the client sends, until it has gone."""
        resize = self._streams.get("resize")
        resizing = asyncio.create_task(self._resizes(resize)) if resize is not None else None
        try:
            await self._connection.gone.wait()
        finally:
            if resizing is not None:
                resizing.cancel()
            self.lost()

    async def _resizes(self, stream: SpdyStream) -> None:
        """Each size is a JSON object; they come one after the other, not necessarily one at a time."""
        rest = b""
        while data := await stream.incoming.read():
            *sizes, rest = (rest + data).replace(b"}", b"}\n").split(b"\n")
            for size in sizes:
                if size.strip():
                    self.resize(size)

    async def write(self, stream: Output, data: bytes) -> None:
        await self._streams[stream].write(data)

    async def ping(self) -> None:
        await self._connection.ping()

    async def finish(self, status: Status) -> None:
        for name, stream in self._streams.items():
            if name in ("stdout", "stderr"):
                await stream.close()
        await self._streams["error"].write(msgspec.json.encode(status))
        await self._streams["error"].close()


async def serve_spdy(request: web.Request, options: StreamOptions, session: Session) -> web.StreamResponse:
    """Hold the session with a client that asks for SPDY."""
    carrier = take_over(request, switch_headers(request, COMMAND_PROTOCOL))
    connection = SpdyConnection(carrier)
    reading = asyncio.create_task(connection.run())
    streams = SpdyStreams(connection, options)
    try:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await streams.open()
            await converse(streams, streams.receive(), session)
            await connection.finish()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await carrier.close()
    return Upgraded()
