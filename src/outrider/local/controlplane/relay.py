"""Lets the host reach into the world's network: listening sockets of the host, served from within."""

import asyncio
import base64
import contextlib
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

CHUNK = 64 * 1024
HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10.0
USER = REALM = "outrider"

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def relayed(listener: socket.socket, host: str, port: int) -> AsyncIterator[None]:
    """Whoever connects to `listener` speaks to `host:port` inside."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _bridge(reader, writer, host, port)

    async with _serving(listener, connected):
        yield


@asynccontextmanager
async def proxied(listener: socket.socket, token: str) -> AsyncIterator[None]:
    """An HTTP CONNECT proxy to every address inside, for those who know the token (user `outrider`)."""
    expected = b"Basic " + base64.b64encode(f"{USER}:{token}".encode())

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            writer.close()
            return
        answer, target = _judge(head, expected)
        if target is None:
            await _refuse(writer, answer)
            return
        await _bridge(reader, writer, *target, greeting=b"HTTP/1.1 200 Connection established\r\n\r\n")

    async with _serving(listener, connected):
        yield


def proxy_url(listener: socket.socket, token: str) -> str:
    """What clients are told to use as their proxy, password included."""
    return f"http://{USER}:{token}@127.0.0.1:{listener.getsockname()[1]}"


def _judge(head: bytes, expected: bytes) -> tuple[str, tuple[str, int] | None]:
    """What to answer to a request's head, and where it may go."""
    request, *lines = head.split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if not hmac.compare_digest(headers.get(b"proxy-authorization", b""), expected):
        return f'407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="{REALM}"', None
    method, _, rest = request.partition(b" ")
    host, _, port = rest.split(b" ")[0].rpartition(b":")
    if method != b"CONNECT" or not port.isdigit():
        return "405 Only CONNECT is served here (curl: --proxytunnel)", None
    return "", (host.decode("ascii", "replace").strip("[]"), int(port))


async def _refuse(writer: asyncio.StreamWriter, answer: str) -> None:
    with contextlib.suppress(OSError):
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
    writer.close()


@asynccontextmanager
async def _serving(listener: socket.socket, connected: Connected) -> AsyncIterator[None]:
    open_connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(connected(reader, writer))
        open_connections.add(task)
        task.add_done_callback(open_connections.discard)

    server = await asyncio.start_server(accept, sock=listener, limit=HEADER_BYTES)
    try:
        yield
    finally:
        server.close()
        for task in open_connections:
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)


async def _bridge(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, *, greeting: bytes = b""
) -> None:
    """Pass bytes both ways until both ends have said all. That nobody listens inside ends the connection."""
    try:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(host, port)
        except OSError as error:
            if greeting:
                await _refuse(writer, f"502 {error.strerror or 'Bad Gateway'}")
            return
        writer.write(greeting)
        await joined(reader, writer, inner_reader, inner_writer)
    finally:
        writer.close()


async def joined(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> None:
    """Pass bytes both ways until both ends have said all, or one is gone; the inner connection is then closed."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, inner_writer))
            group.create_task(_pump(inner_reader, writer))
    except* OSError:
        pass  # one end is gone, and so is the other now
    finally:
        inner_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
