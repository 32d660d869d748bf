"""Running a command beside a container: in its environment and working directory, as a process of its own.

No shell is involved: the words of the command are the arguments of the process. It is killed, with all it has started,
when the client goes or the container ends.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from outrider.local.kubelet.handlers import Target
from outrider.local.kubelet.server.command import Command
from outrider.local.kubelet.server.pipe import Pipe
from outrider.local.kubelet.server.statuses import Status, exit_status, internal_error
from outrider.local.kubelet.server.streams import ClientStreams, Output

READ_BYTES = 32 * 1024
DRAIN_SECONDS = 1.0
"""How long more output is waited for when the command has ended: something that got away may still hold its pipes."""


async def execute(
    words: Sequence[str],
    target: Target,
    streams: ClientStreams,
    container_ends: Awaitable[Any],
    *,
    drain: float = DRAIN_SECONDS,
) -> Status:
    """Run the command with the client's streams until it ends, the client goes or the container ends."""
    options = streams.options
    ending = asyncio.ensure_future(container_ends)
    try:
        command = await Command.start(words, target, stdin=options.stdin, tty=options.tty)
    except OSError as error:
        ending.cancel()
        return internal_error(f"the command could not be started: {error}")
    streams.on_resize(command.resize)
    try:
        return exit_status(await _accompany(command, streams, ending, drain))
    finally:
        ending.cancel()
        await command.close()


async def _accompany(
    command: Command, streams: ClientStreams, container_ends: asyncio.Future[Any], drain: float
) -> int:
    """The exit code, when the command has ended and its output was sent."""
    pumps = [_Pump(reader, name, streams) for name, reader in command.outputs]
    feeding = asyncio.create_task(_feed(streams.stdin, command))
    exited = asyncio.create_task(command.wait())
    gone = asyncio.create_task(streams.gone.wait())
    try:
        await asyncio.wait([exited, gone, container_ends], return_when=asyncio.FIRST_COMPLETED)
        command.kill()
        code = await exited
        await _drain(pumps, gone, drain)
        return code
    finally:
        tasks = [*(pump.task for pump in pumps), feeding, exited, gone]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drain(pumps: "Sequence[_Pump]", gone: "asyncio.Task[Any]", seconds: float) -> None:
    """Let the client have the rest of the output, however slowly it takes it."""
    all_sent = asyncio.create_task(asyncio.wait([pump.task for pump in pumps]))
    try:
        while True:
            before = [pump.sent for pump in pumps]
            waiting = {all_sent, gone}
            done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            nothing_comes = before == [pump.sent for pump in pumps] and not any(pump.sending for pump in pumps)
            if done or nothing_comes:
                return
    finally:
        all_sent.cancel()


class _Pump:
    """Sends one of the command's outputs to the client, if it wants it."""

    def __init__(self, reader: asyncio.StreamReader, name: Output, streams: ClientStreams) -> None:
        self.sent = 0
        """Bytes."""
        self.sending = False
        self._reader = reader
        self._name = name
        self._streams = streams
        self._wanted = streams.options.stdout if name == "stdout" else streams.options.stderr
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while data := await self._reader.read(READ_BYTES):
                await self._send(data)
        except ConnectionError:
            self._streams.lost()
        except OSError:
            return  # a terminal that nobody has open any more says so with an error

    async def _send(self, data: bytes) -> None:
        self.sending = True
        if self._wanted:
            await self._streams.write(self._name, data)
        self.sending = False
        self.sent += len(data)


async def _feed(source: Pipe, command: Command) -> None:
    """Bring the client's input to the command. When the command takes none, what comes is thrown away."""
    try:
        while data := await source.read():
            await command.write(data)
        await command.end_input()
    except OSError:
        source.discard()
