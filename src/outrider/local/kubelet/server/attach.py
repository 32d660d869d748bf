"""Attaching to a container: its output from now on, until it ends or the client goes.

The output comes from the log that the container's shim writes: so it goes on through restarts of the kubelet. Nothing
keeps the input of a container: its standard input is empty.
"""

import asyncio
from pathlib import Path

from outrider.local.kubelet.logfiles import LogFollower, end_position
from outrider.local.kubelet.runtime import is_locked
from outrider.local.kubelet.server.statuses import SUCCESS, Status
from outrider.local.kubelet.server.streams import ClientStreams, Output

FOLLOW_SECONDS = 0.05
"""How often new output is looked for."""
NO_INPUT = (
    'container "{}" has no standard input: containers are local processes here, and nothing keeps their input open. '
    "Attach without -i to see the output, or run a command beside it with kubectl exec -i"
)


async def attach(run: Path, streams: ClientStreams) -> Status:
    """Send what the run prints, until it ends or the client goes."""
    following = asyncio.create_task(_follow(run, streams))
    gone = asyncio.create_task(streams.gone.wait())
    tasks = [following, gone]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return SUCCESS


async def _follow(run: Path, streams: ClientStreams) -> None:
    position = await asyncio.to_thread(end_position, run)
    with LogFollower(run, position) as follower:
        while True:
            # Asked before reading: what the run wrote before its end is then surely read.
            ended = not is_locked(run)
            lines = await asyncio.to_thread(follower.read)
            if lines:
                await _send(lines, streams)
            elif ended:
                return
            else:
                await asyncio.sleep(FOLLOW_SECONDS)


async def _send(lines: list[bytes], streams: ClientStreams) -> None:
    """Each stream's lines of it, together. With a terminal all is one stream."""
    for name, text in joined(lines):
        stream: Output = "stdout" if streams.options.tty else name
        if streams.options.stdout if stream == "stdout" else streams.options.stderr:
            await streams.write(stream, text)


def joined(lines: list[bytes]) -> list[tuple[Output, bytes]]:
    """What the lines of a log say, neighbours of the same stream put together."""
    parts: list[tuple[Output, bytearray]] = []
    for line in lines:
        fields = line.split(b" ", 3)
        if len(fields) < 4:
            continue  # torn by a full disk
        stream: Output = "stderr" if fields[1] == b"stderr" else "stdout"
        if not parts or parts[-1][0] != stream:
            parts.append((stream, bytearray()))
        parts[-1][1].extend(fields[3] + (b"" if fields[2] == b"P" else b"\n"))
    return [(stream, bytes(text)) for stream, text in parts]
