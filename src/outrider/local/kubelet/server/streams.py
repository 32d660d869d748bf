"""What lies between a client and a command, whatever carries it: WebSocket channels or SPDY streams."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from outrider.kube.api import BadRequest
from outrider.local.kubelet.server.pipe import Pipe
from outrider.local.kubelet.server.statuses import Status

Output = Literal["stdout", "stderr"]
KEEPALIVE_SECONDS = 15.0
"""How often a client is pinged: that nobody is there any more is told by writing only."""


class TerminalSize(msgspec.Struct, frozen=True, rename="pascal"):
    """The client's terminal, as the resize stream tells it."""

    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Which streams the client wants."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


def stream_options(query: Mapping[str, str]) -> StreamOptions:
    """The streams that a request to the kubelet names: `input`, `output`, `error`, `tty`.

    Raises:
        BadRequest: it names none.
    """
    wanted = {name: query.get(name) in ("1", "true") for name in ("input", "output", "error", "tty")}
    if not (wanted["input"] or wanted["output"] or wanted["error"]):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    # With a terminal all output is one stream.
    return StreamOptions(
        stdin=wanted["input"],
        stdout=wanted["output"],
        stderr=wanted["error"] and not wanted["tty"],
        tty=wanted["tty"],
    )


class ClientStreams(ABC):
    """The streams of one client. They are open from the start, and gone when the client is."""

    def __init__(self, options: StreamOptions) -> None:
        self.options = options
        self.stdin = Pipe()
        self.resized: Callable[[TerminalSize], None] = lambda _: None
        """Told the size of the client's terminal, at first and whenever it changes."""
        self.gone = asyncio.Event()
        """Set once the client is no longer there."""
        self._size: TerminalSize | None = None
        if not options.stdin:
            self.stdin.end()

    @abstractmethod
    async def write(self, stream: Output, data: bytes) -> None:
        """Send output that the client wants. Raises `ConnectionError` when it has gone."""

    @abstractmethod
    async def finish(self, status: Status) -> None:
        """Say how it ended, and close."""

    @abstractmethod
    async def ping(self) -> None:
        """Something that fails with `ConnectionError` when the client has gone, and else does nothing."""

    def on_resize(self, resized: Callable[[TerminalSize], None]) -> None:
        """Ask to be told the terminal's size. What is known already is told at once."""
        self.resized = resized
        if self._size is not None:
            resized(self._size)

    def resize(self, message: bytes) -> None:
        """The client tells the size of its terminal, as JSON. What is no size is of no consequence."""
        with contextlib.suppress(msgspec.MsgspecError):
            self._size = msgspec.json.decode(message, type=TerminalSize)
            self.resized(self._size)

    def lost(self) -> None:
        """The client has gone."""
        self.gone.set()
        self.stdin.end()

    async def keep_alive(self) -> None:
        """Notice that the client has gone, even while nothing is written and its input waits to be read."""
        try:
            while True:
                await asyncio.sleep(KEEPALIVE_SECONDS)
                await self.ping()
        except ConnectionError:
            self.lost()


Session = Callable[[ClientStreams], Awaitable[Status]]
"""What is done with a client's streams; how it ended."""


async def converse(streams: ClientStreams, receiving: Coroutine[Any, Any, None], session: Session) -> None:
    """Hold the session while `receiving` takes in what the client sends, and tell the client how it ended."""
    tasks = [asyncio.create_task(receiving), asyncio.create_task(streams.keep_alive())]
    try:
        status = await session(streams)
        streams.stdin.discard()
        # The receiver goes on meanwhile: closing a connection with unread input would cut off the end of the output.
        with contextlib.suppress(ConnectionError):
            await streams.finish(status)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
