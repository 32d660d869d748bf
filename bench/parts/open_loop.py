"""Requests at a fixed rate, whatever becomes of those before them, as many independent clients send them.

Latency counts from when a request was to be sent, not from when it was: a server that stalls is charged for everybody
whom it keeps waiting (G. Tene, "How NOT to Measure Latency").
"""

import asyncio
import re
import time

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END_OF_CHUNKS = b"0\r\n\r\n"
_WAKE_EARLY_SECONDS = 0.0012
"""An event loop's timers are a millisecond coarse; the rest is waited for actively."""
_PATIENCE_SECONDS = 10.0


class Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._done: asyncio.Future[float] | None = None
        self._first = 0.0
        self._needed = -1
        """Bytes of the whole answer; -1 while its headers have not come, 0 where it comes in chunks."""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> float:
        """When the answer was here: the first event of a stream, the end of any other."""
        assert self._transport is not None
        self._received.clear()
        self._first, self._needed = 0.0, -1
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._done

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if self._done is None or self._done.done():
            return
        if self._needed < 0 and not self._read_head():
            return
        if self._needed:
            if len(received) >= self._needed:
                self._done.set_result(time.perf_counter())
            return
        if not self._first and b"data:" in received:
            self._first = time.perf_counter()
        if received.endswith(_END_OF_CHUNKS):
            self._done.set_result(self._first or time.perf_counter())

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end])
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(bytes(self._received))
            return False
        length = _LENGTH.search(head)
        self._needed = end + 4 + int(length[1]) if length else 0
        return True

    def _fail(self, why: object) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError(f"{why!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._fail(exc or "the connection was closed")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def open_loop(
    port: int, request: bytes, *, rate: float, requests: int, warm: int = 0
) -> tuple[list[float], list[str]]:
    """Seconds that each request took, in no order, and why some failed. `warm` more go before them and do not count."""
    idle: list[Connection] = []
    latencies: list[float] = []
    failures: list[str] = []

    async def one(intended: float, *, counts: bool) -> None:
        connection = None
        try:
            while idle and (connection is None or connection.closed):
                connection = idle.pop()  # the last that was used: idle ones are closed by the other side in time
            if connection is None or connection.closed:
                _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
            answered = await connection.ask(request)
            if counts:
                latencies.append(answered - intended)
            idle.append(connection)
        except (OSError, TimeoutError) as error:
            failures.append(f"{type(error).__name__}: {error}")

    begin = time.perf_counter() + 0.05
    async with asyncio.TaskGroup() as group:
        for number in range(warm + requests):
            intended = begin + number / rate
            await wait_until(intended)
            group.create_task(one(intended, counts=number >= warm))
    for each in idle:
        each.close()
    return latencies, failures


async def wait_until(moment: float) -> None:
    if (left := moment - time.perf_counter()) > _WAKE_EARLY_SECONDS:
        await asyncio.sleep(left - _WAKE_EARLY_SECONDS)
    while time.perf_counter() < moment:  # noqa: ASYNC110 - nothing but the clock tells when it is
        await asyncio.sleep(0)
