"""Commands over WebSocket: binary messages whose first byte names the channel.

Protocol v5 is v4 with one more channel, by which the client says that another one is at its end:
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from collections.abc import Sequence

import msgspec
from aiohttp import WSMsgType, web

from outrider.kube.api import BadRequest
from outrider.local.kubelet.server.statuses import Status
from outrider.local.kubelet.server.streams import ClientStreams, Output, Session, StreamOptions, converse

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
COMMAND_PROTOCOLS = (V5, V4)
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_OUTPUTS: dict[Output, int] = {"stdout": STDOUT, "stderr": STDERR}
MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest message that is taken. kubectl's have 32 KiB."""


def is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def accept(request: web.Request, protocols: Sequence[str]) -> web.WebSocketResponse:
    """Open the WebSocket. Raises `BadRequest` if the client speaks none of the protocols."""
    asked = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if not set(asked) & set(protocols):
        offered, known = ", ".join(name for name in asked if name) or "none", ", ".join(protocols)
        raise BadRequest(f"the WebSocket subprotocol must be one of {known}; the client asks for {offered}")
    socket = web.WebSocketResponse(protocols=protocols, max_msg_size=MESSAGE_BYTES, compress=False)
    await socket.prepare(request)
    return socket


class WebSocketStreams(ClientStreams):
    """The streams of one client in the channels of one WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, options: StreamOptions) -> None:
        super().__init__(options)
        self._socket = socket

    async def receive(self) -> None:
        """Take in what the client sends, until it has gone."""
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    await self._take(message.data)
                elif message.type is WSMsgType.TEXT:  # as older clients send it
                    await self._take(message.data.encode())
        finally:
            self.lost()

    async def _take(self, message: bytes) -> None:
        channel, data = message[:1], message[1:]
        if channel == bytes([STDIN]):
            await self.stdin.feed(data)
        elif channel == bytes([RESIZE]):
            self.resize(data)
        elif channel == bytes([CLOSE]) and data[:1] == bytes([STDIN]) and self._socket.ws_protocol == V5:
            self.stdin.end()

    async def write(self, stream: Output, data: bytes) -> None:
        await self._socket.send_bytes(bytes([_OUTPUTS[stream]]) + data)

    async def ping(self) -> None:
        await self._socket.ping()

    async def finish(self, status: Status) -> None:
        await self._socket.send_bytes(bytes([ERROR]) + msgspec.json.encode(status))
        await self._socket.close()


async def serve_websocket(request: web.Request, options: StreamOptions, session: Session) -> web.StreamResponse:
    """Hold the session with a client that asks for a WebSocket."""
    socket = await accept(request, COMMAND_PROTOCOLS)
    streams = WebSocketStreams(socket, options)
    await converse(streams, streams.receive(), session)
    await socket.close()
    return socket
