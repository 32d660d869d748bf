"""Taking a connection over from the HTTP server after it has been upgraded to something that is no WebSocket."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

READ_BYTES = 64 * 1024


class RawCarrier:
    """The connection of a request, after `101 Switching Protocols`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(READ_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the client has gone")
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()


class Upgraded(web.StreamResponse):
    """What the handler of such a connection returns. All has been sent: there is nothing to prepare or to end."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, _: web.BaseRequest) -> None:
        return None

    async def write_eof(self, _: bytes = b"") -> None:
        return None


class _Protocol(asyncio.StreamReaderProtocol):
    """Reads into a stream, and lets the HTTP server know when the connection is lost: it keeps a list of them."""

    def __init__(self, reader: asyncio.StreamReader, server: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._server = server

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.connection_lost(exc)


def take_over(request: web.Request, headers: Mapping[str, str]) -> RawCarrier:
    """Answer that the protocol is switched, with these headers, and hand out the connection.

    Raises:
        ConnectionResetError: the client has gone already.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    reader = asyncio.StreamReader()
    protocol = _Protocol(reader, transport.get_protocol())
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    transport.resume_reading()
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    transport.write("\r\n".join(lines).encode())
    return RawCarrier(reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop()))
