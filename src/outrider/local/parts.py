"""What worlds are put together with: listening sockets, HTTP servers, and long-running parts."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class PortTaken(Exception):
    """The port that was asked for cannot be had."""

    def __init__(self, port: int, option: str, why: str = "is in use") -> None:
        self.port = port
        self.option = option
        super().__init__(f"port {port} on 127.0.0.1 {why}")


def bind(port: int | None, preferred: int, option: str) -> socket.socket:
    """A listening socket on loopback, on the port asked for, else on the preferred one, else on any.

    It listens at once. A port that is only bound can be bound by another world, too, that starts in the same instant.

    Raises:
        PortTaken: a port was asked for and cannot be had.
    """
    why = ""
    for candidate in [preferred, 0] if port is None else [port]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
            listener.listen()
        except OSError as error:
            listener.close()
            if error.errno not in _REFUSALS:
                raise
            why = _REFUSALS[error.errno]
            continue
        return listener
    raise PortTaken(port or preferred, option, why)


_REFUSALS = {errno.EADDRINUSE: "is in use", errno.EACCES: "is not for this user: ports below 1024 are the system's"}


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def served(app: web.Application, *listeners: socket.socket, shutdown_seconds: float) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    for listener in listeners:
        await web.SockSite(runner, listener).start()
    try:
        yield
    finally:
        await runner.cleanup()


class Tasks:
    """The long-running parts of the world: when one of them ends, the world ends, with its error."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, name: str, work: Awaitable[Any]) -> None:
        self._tasks.append(asyncio.ensure_future(work))
        self._tasks[-1].set_name(name)

    async def wait_for(self, work: Awaitable[Any]) -> None:
        """Wait for something, unless a part of the world ends first."""
        waiting = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if waiting in done:
            waiting.result()
            return
        waiting.cancel()
        ended = next(iter(done))
        ended.result()
        raise RuntimeError(f"{ended.get_name()} ended unexpectedly")

    async def cancel(self) -> None:
        # The last started leans on those before it: the operator and the kubelets go first, the actors last.
        for task in reversed(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def running_tasks() -> AsyncIterator[Tasks]:
    group = Tasks()
    try:
        yield group
    finally:
        await group.cancel()
