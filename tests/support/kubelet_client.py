"""What an API server is to a kubelet: a client over TLS, by WebSocket and by SPDY."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from outrider.local.kubelet.server.spdy_frames import Data, FrameReader, FrameWriter, GoAway, Reset, SynReply, SynStream

PATIENCE = 20.0
FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


@dataclass
class Ended:
    """All that a session brought."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit code, as kubectl reads it from the Status."""
        if self.status["status"] == "Success":
            return 0
        assert self.status["reason"] == "NonZeroExitCode", self.status
        return int(self.status["details"]["causes"][0]["message"])


def query(*command: str, **wanted: bool) -> list[tuple[str, str]]:
    flags = {"stdout": True, "stderr": True} | wanted
    return [("command", word) for word in command] + [(FLAGS[name], "1") for name, on in flags.items() if on]


class WebSocketSession:
    """A session over a WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.ended = Ended()

    async def send(self, data: bytes) -> None:
        await self.socket.send_bytes(b"\x00" + data)

    async def end_input(self) -> None:
        await self.socket.send_bytes(b"\xff\x00")

    async def resize(self, width: int, height: int) -> None:
        await self.socket.send_bytes(b"\x04" + json.dumps({"Width": width, "Height": height}).encode())

    async def until(self, text: bytes) -> None:
        """Read until the output holds the text."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.ended.stdout:
                assert await self._receive(), f"ended before {text!r}: {self.ended}"

    async def end(self) -> Ended:
        """Read until it is over."""
        async with asyncio.timeout(PATIENCE):
            while await self._receive():
                pass
        return self.ended

    async def _receive(self) -> bool:
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        channel, data = message.data[0], message.data[1:]
        if channel == 1:
            self.ended.stdout += data
        elif channel == 2:
            self.ended.stderr += data
        elif channel == 3:
            self.ended.status = json.loads(data)
        return True


class SpdySession:
    """A SPDY connection as a client has it, on a socket that has been upgraded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames, self.decoder = FrameWriter(), FrameReader()
        self.received: dict[int, bytes] = {}
        self.closed: set[int] = set()
        self.replied: set[int] = set()
        self.reset: set[int] = set()
        self.away = False
        self._next = 1

    def open(self, fin: bool = False, **headers: str) -> int:
        number, self._next = self._next, self._next + 2
        self.received[number] = b""
        self.writer.write(self.frames.encode(SynStream(number, headers, fin)))
        return number

    def send(self, number: int, data: bytes, *, fin: bool = False) -> None:
        self.writer.write(self.frames.encode(Data(number, data, fin)))

    async def until(self, condition: Any) -> None:
        """Read until the condition is true, or the connection is at its end."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                if not await self._receive():
                    return

    async def _receive(self) -> bool:
        data = await self.reader.read(65536)
        for frame in self.decoder.feed(data):
            match frame:
                case Data(number, content, fin):
                    self.received[number] += content
                    if fin:
                        self.closed.add(number)
                case SynReply(number, _, _):
                    self.replied.add(number)
                case Reset(number, _):
                    self.reset.add(number)
                case GoAway():
                    self.away = True
        return bool(data)


async def open_spdy(
    port: int, tls: ssl.SSLContext, path: str, protocol: str, method: str = "POST"
) -> tuple[str, SpdySession]:
    """Ask for an upgrade; the head of the answer, and the session."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        f"X-Stream-Protocol-Version: {protocol}",
        "Content-Length: 0",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode())
    async with asyncio.timeout(PATIENCE):
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    return answer, SpdySession(reader, writer)
