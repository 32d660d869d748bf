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
"""How long the rest of the output is waited for after the command has ended and its group was killed."""


async def execute(
    words: Sequence[str], target: Target, streams: ClientStreams, container_ends: Awaitable[Any]
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
        return exit_status(await _accompany(command, streams, ending))
    finally:
        ending.cancel()
        await command.close()


async def _accompany(command: Command, streams: ClientStreams, container_ends: asyncio.Future[Any]) -> int:
    """The exit code, when the command has ended and its output was sent."""
    pumps = [asyncio.create_task(_pump(reader, name, streams)) for name, reader in command.outputs]
    feeding = asyncio.create_task(_feed(streams.stdin, command))
    exited = asyncio.create_task(command.wait())
    gone = asyncio.create_task(streams.gone.wait())
    tasks = [*pumps, feeding, exited, gone]
    try:
        await asyncio.wait([exited, gone, container_ends], return_when=asyncio.FIRST_COMPLETED)
        command.kill()
        code = await exited
        await asyncio.wait(pumps, timeout=DRAIN_SECONDS)
        return code
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, name: Output, streams: ClientStreams) -> None:
    wanted = streams.options.stdout if name == "stdout" else streams.options.stderr
    try:
        while data := await reader.read(READ_BYTES):
            if wanted:
                await streams.write(name, data)
    except ConnectionError:
        streams.lost()
    except OSError:
        return  # a terminal that nobody has open any more says so with an error


async def _feed(source: Pipe, command: Command) -> None:
    """Bring the client's input to the command. When the command takes none, what comes is thrown away."""
    try:
        while data := await source.read():
            await command.write(data)
        await command.end_input()
    except OSError:
        source.discard()
