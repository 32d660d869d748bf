"""A SPDY/3.1 connection that a client opened, as streams of bytes. It may run on a socket, or inside a WebSocket."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Protocol

from outrider.local.kubelet.server.pipe import Pipe
from outrider.local.kubelet.server.spdy_frames import (
    PROTOCOL_ERROR,
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Ping,
    Reset,
    SpdyError,
    SynReply,
    SynStream,
)

PIECE_BYTES = 32 * 1024
"""Longest data frame that is sent, so that streams take turns."""
MOST_STREAMS = 1000
"""How many streams a connection may have at a time."""
FAREWELL_SECONDS = 5.0
"""How long a client is given to close the connection after it was told that all is over."""


class Carrier(Protocol):
    """What a connection runs on."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end, however it came."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, and wait if the other side is slow. Raises `ConnectionError`."""
        ...

    async def close(self) -> None: ...


class SpdyStream:
    """One stream, in both directions."""

    def __init__(self, connection: "SpdyConnection", number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self.incoming = Pipe()
        self.reset_by_client = asyncio.Event()
        self._connection = connection
        self._closed = False

    async def write(self, data: bytes) -> None:
        """Send. Raises `ConnectionError` when nobody takes it any more."""
        for begin in range(0, len(data), PIECE_BYTES):
            if self._closed:
                raise ConnectionResetError("the stream is closed")
            await self._connection.send(Data(self.number, data[begin : begin + PIECE_BYTES]))

    async def close(self) -> None:
        """Say that nothing more comes from us. Raises `ConnectionError`."""
        if not self._closed:
            self._closed = True
            await self._connection.send(Data(self.number, b"", fin=True))

    def lost(self) -> None:
        """The client gave it up, or has gone."""
        self._closed = True
        self.incoming.end()
        self.reset_by_client.set()


class SpdyConnection:
    """The server's side. `run` reads what comes; `opened` holds new streams, and None once the client has gone."""

    def __init__(self, carrier: Carrier) -> None:
        self.opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self.gone = asyncio.Event()
        """Set once the client is no longer there."""
        self._carrier = carrier
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._streams: dict[int, SpdyStream] = {}
        self._last_stream = 0

    async def run(self) -> None:
        """Take in what the client sends, until it has gone."""
        try:
            while data := await self._carrier.read():
                for frame in self._reader.feed(data):
                    await self._take(frame)
        except (SpdyError, ConnectionError):
            with contextlib.suppress(ConnectionError):
                await self.send(GoAway(self._last_stream, PROTOCOL_ERROR))
        finally:
            self.gone.set()
            self.opened.put_nowait(None)
            for stream in self._streams.values():
                stream.lost()

    async def send(self, frame: Frame) -> None:
        """Send a frame. Raises `ConnectionError`."""
        # Encoded and handed over without a pause between: headers must leave in the order in which they were packed.
        await self._carrier.write(self._writer.encode(frame))

    async def ping(self) -> None:
        """Fails with `ConnectionError` when the client has gone."""
        await self.send(Ping(2))  # a server's pings have even numbers

    async def finish(self) -> None:
        """Say that all is over, give the client a while to go, and close."""
        for stream in self._streams.values():
            stream.incoming.discard()
        with contextlib.suppress(ConnectionError, TimeoutError):
            for stream in self._streams.values():
                await stream.close()
            await self.send(GoAway(self._last_stream))
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.gone.wait()
        await self._carrier.close()

    def forget(self, stream: SpdyStream) -> None:
        """Nothing more is done with it: what still comes for it is thrown away."""
        self._streams.pop(stream.number, None)
        stream.incoming.discard()

    async def _take(self, frame: Frame) -> None:
        match frame:
            case SynStream(number, headers, fin):
                await self._open(number, headers, fin)
            case Data(number, data, fin):
                if (stream := self._streams.get(number)) is not None:
                    await stream.incoming.feed(data)
                    if fin:
                        stream.incoming.end()
            case Reset(number, _):
                if (stream := self._streams.pop(number, None)) is not None:
                    stream.lost()
            case Ping(number) if number % 2:
                await self.send(frame)
            case _:
                return

    async def _open(self, number: int, headers: Mapping[str, str], fin: bool) -> None:
        if number <= self._last_stream or not number % 2 or len(self._streams) >= MOST_STREAMS:
            await self.send(Reset(number, PROTOCOL_ERROR))
            return
        self._last_stream = number
        stream = SpdyStream(self, number, headers)
        if fin:
            stream.incoming.end()
        self._streams[number] = stream
        await self.send(SynReply(number))
        self.opened.put_nowait(stream)
