"""What the host may reach inside the world's network, and how."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from outrider.local.controlplane.relay import proxied, proxy_url, relayed


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


@asynccontextmanager
async def _echo() -> AsyncIterator[int]:
    """A server that sends back what it gets, and `bye` once the client has said all."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1024):
            writer.write(chunk)
        writer.write(b"bye")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _talk(port: int, said: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_bytes_pass_both_ways_and_each_end_is_told_when_the_other_has_said_all() -> None:
    async def story() -> None:
        listener = _listener()
        async with _echo() as port, relayed(listener, "127.0.0.1", port):
            assert await _talk(listener.getsockname()[1], b"x" * 200_000) == b"x" * 200_000 + b"bye"

    asyncio.run(story())


def test_where_nobody_listens_inside_the_connection_ends() -> None:
    async def story() -> None:
        closed = _listener()
        port = closed.getsockname()[1]
        closed.close()
        listener = _listener()
        async with relayed(listener, "127.0.0.1", port):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
            assert await reader.read() == b""
            writer.close()

    asyncio.run(story())


def _authorization(password: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"outrider:{password}".encode()).decode()


REQUESTS = {
    "without a password": ("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n", "407 "),
    "with a wrong password": (f"CONNECT 127.0.0.1:{{port}} HTTP/1.1\r\n{_authorization('guess')}\r\n\r\n", "407 "),
    "with another method": (f"GET http://127.0.0.1:{{port}}/ HTTP/1.1\r\n{_authorization('secret')}\r\n\r\n", "405 "),
    "to no port": (f"CONNECT 127.0.0.1 HTTP/1.1\r\n{_authorization('secret')}\r\n\r\n", "405 "),
    "to where nobody listens": (f"CONNECT 127.0.0.1:1 HTTP/1.1\r\n{_authorization('secret')}\r\n\r\n", "502 "),
    "with the password": (f"CONNECT 127.0.0.1:{{port}} HTTP/1.1\r\n{_authorization('secret')}\r\n\r\nhello", "200 "),
}


@pytest.mark.parametrize(("request_", "status"), REQUESTS.values(), ids=REQUESTS.keys())
def test_the_proxy_serves_those_who_know_the_password(request_: str, status: str) -> None:
    async def story() -> bytes:
        listener = _listener()
        async with _echo() as port, proxied(listener, "secret"):
            assert proxy_url(listener, "secret") == f"http://outrider:secret@127.0.0.1:{listener.getsockname()[1]}"
            return await _talk(listener.getsockname()[1], request_.format(port=port).encode())

    answer = asyncio.run(story()).decode()
    assert answer.startswith(f"HTTP/1.1 {status}")
    assert answer.endswith("hellobye") is (status == "200 ")
