"""`/portForward/NAMESPACE/POD`: connections to a pod's ports, as SPDY streams, plain or inside a WebSocket.

Each connection is a pair of streams with the same request id: one for the data, in both directions, one for an error.
Protocol: https://github.com/kubernetes/kubernetes/blob/v1.36.3/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/httpstream.go
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from outrider.kube.api import ApiError, BadRequest
from outrider.local.kubelet.addresses import Lease
from outrider.local.kubelet.server.hijack import Upgraded, take_over
from outrider.local.kubelet.server.lookup import find_pod
from outrider.local.kubelet.server.spdy import Carrier, SpdyConnection, SpdyStream
from outrider.local.kubelet.server.spdy_commands import STREAM_TYPE, is_spdy, switch_headers
from outrider.local.kubelet.server.spdy_frames import PROTOCOL_ERROR, Reset
from outrider.local.kubelet.server.websocket import accept, is_websocket

PROTOCOL = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
"""The WebSocket subprotocol in whose binary messages SPDY runs."""
READ_BYTES = 32 * 1024
KEEPALIVE_SECONDS = 15.0


async def port_forward(request: web.Request) -> web.StreamResponse:
    """Serve the client's connections to the pod until it goes or the pod does."""
    worker = find_pod(request)
    if not worker.context.lease.address or worker.context.ending:
        raise ApiError(f"unable to do port forwarding: pod {worker.context.name} is not running")
    if is_websocket(request):
        socket = await accept(request, [TUNNEL])
        await _serve(_WebSocketCarrier(socket), worker.context.lease)
        return socket
    if is_spdy(request):
        carrier = take_over(request, switch_headers(request, PROTOCOL))
        await _serve(carrier, worker.context.lease)
        return Upgraded()
    raise BadRequest("this is for connections that are upgraded, to a WebSocket or to SPDY/3.1")


class _WebSocketCarrier:
    """The binary messages of a WebSocket, as one stream of bytes."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        await self._socket.close()


async def _serve(carrier: Carrier, lease: Lease) -> None:
    connection = SpdyConnection(carrier)
    forwarder = _Forwarder(connection, lease)
    tasks = [asyncio.create_task(work) for work in (connection.run(), _keep_alive(connection))]
    try:
        await forwarder.run()
    finally:
        await forwarder.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await carrier.close()


async def _keep_alive(connection: SpdyConnection) -> None:
    """Notice that the client has gone, also while a pod takes no data."""
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(KEEPALIVE_SECONDS)
            await connection.ping()
    connection.opened.put_nowait(None)


class _Forwarder:
    """Makes connections of pairs of streams."""

    def __init__(self, connection: SpdyConnection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease
        self._waiting: dict[str, SpdyStream] = {}
        """The first stream of each pair, by request id."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client has gone."""
        while (stream := await self._connection.opened.get()) is not None:
            self._take(stream)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, stream: SpdyStream) -> None:
        number = stream.headers.get("requestid", "")
        other = self._waiting.pop(number, None)
        if other is None:
            self._waiting[number] = stream
            return
        by_type = {each.headers.get(STREAM_TYPE): each for each in (stream, other)}
        if by_type.keys() == {"data", "error"}:
            self._spawn(self._forward(by_type["data"], by_type["error"]))
        else:
            self._spawn(self._refuse(stream, other))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refuse(self, *streams: SpdyStream) -> None:
        with contextlib.suppress(ConnectionError):
            for stream in streams:
                await self._connection.send(Reset(stream.number, PROTOCOL_ERROR))
        for stream in streams:
            self._connection.forget(stream)

    async def _forward(self, data: SpdyStream, error: SpdyStream) -> None:
        with contextlib.suppress(ConnectionError):
            problem = await self._connect(data)
            if problem:
                await error.write(problem.encode())
            await data.close()
            await error.close()
        for stream in (data, error):
            self._connection.forget(stream)

    async def _connect(self, data: SpdyStream) -> str:
        """Carry data to the pod and back until both sides have ended; what went wrong, if anything."""
        port = data.headers.get("port", "")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            return f"unable to forward to port {port!r}: it is not a port number"
        address, real = self._lease.address, self._lease.port(int(port))
        try:
            reader, writer = await asyncio.open_connection(address, real)
        except OSError as error:
            return f"failed to connect to {address}:{real} of the pod: {error.strerror or error}"
        copies = [asyncio.create_task(_upward(data, writer)), asyncio.create_task(_downward(reader, data))]
        reset = asyncio.create_task(data.reset_by_client.wait())
        try:
            # What the pod has said to the end is sent, even if the client still could say more.
            await asyncio.wait([copies[1], reset], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*copies, reset):
                task.cancel()
            await asyncio.gather(*copies, reset, return_exceptions=True)
            writer.close()
        return ""


async def _upward(data: SpdyStream, writer: asyncio.StreamWriter) -> None:
    """From the client to the pod."""
    with contextlib.suppress(OSError):
        while chunk := await data.incoming.read():
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def _downward(reader: asyncio.StreamReader, data: SpdyStream) -> None:
    """From the pod to the client."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(READ_BYTES):
            await data.write(chunk)
