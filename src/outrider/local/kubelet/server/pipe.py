"""Bytes on their way from a client to who consumes them."""

import asyncio

LIMIT_BYTES = 256 * 1024
"""How much may wait before the sender has to."""


class Pipe:
    """One sender, one reader. A slow reader slows down the sender; one that has gone does not."""

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._ended = False
        self._discarding = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    async def feed(self, data: bytes) -> None:
        """Take the data on, and wait while more is waiting than there should be."""
        if not data or self._ended or self._discarding:
            return
        self._buffer += data
        self._readable.set()
        if len(self._buffer) >= self._limit:
            self._writable.clear()
        await self._writable.wait()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._readable.set()

    def discard(self) -> None:
        """Nobody reads any more: what comes is thrown away, so that the connection's other streams go on."""
        self._discarding = True
        self._buffer.clear()
        self._writable.set()
        self._readable.set()

    async def read(self) -> bytes:
        """What is there, as soon as there is something; empty at the end."""
        while not self._buffer and not self._ended and not self._discarding:
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._writable.set()
        return data
