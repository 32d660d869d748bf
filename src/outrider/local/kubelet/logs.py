"""Reading containers' output: tail, follow, previous, across the files into which the shim has cut it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from outrider.kube.api import BadRequest, NotFound
from outrider.kube.clock import Clock, SystemClock
from outrider.local.kubelet.layout import PodFolder, PodRecord, pod_folders
from outrider.local.kubelet.logfiles import LogFollower, LogPosition, end_position, tail_position
from outrider.local.kubelet.runtime import RunExit, is_locked, read_exit
from outrider.local.store.log_source import LogOptions

FOLLOW_SECONDS = 0.1
"""How often a file that is followed is looked at again."""
MESSAGE_BYTES = 2048
MESSAGE_LINES = 80
"""How much of the log becomes the termination message, with terminationMessagePolicy FallbackToLogsOnError."""


class PodLogs:
    """The logs of the pods of all nodes whose kubelets keep their state in `folder`: a `LogSource`."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()

    async def __call__(self, namespace: str, pod: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """The output of one container."""
        folder, record = await asyncio.to_thread(self._find, namespace, pod)
        run = chosen_run(folder, record, container, previous=options.previous)
        async for chunk in read_log(run, options, self._clock):
            yield chunk

    def _find(self, namespace: str, name: str) -> tuple[PodFolder, PodRecord]:
        """The folder of the pod; of several with that name (one made anew while the last one ends) the newest."""
        nodes = [entry for entry in self._folder.iterdir() if entry.is_dir()] if self._folder.is_dir() else []
        found: list[tuple[float, PodFolder, PodRecord]] = []
        for folder in (folder for node in nodes for folder in pod_folders(node)):
            record = folder.read()
            if record is not None and (record.namespace, record.name) == (namespace, name):
                found.append((record.begun, folder, record))
        if not found:
            raise NotFound(f'pod "{name}" has no logs on any node of this machine (namespace {namespace})')
        _, folder, record = max(found, key=lambda entry: entry[0])
        return folder, record


def chosen_run(folder: PodFolder, record: PodRecord, container: str, *, previous: bool) -> Path:
    """The folder of the run whose output is asked for.

    Raises:
        BadRequest: there is no such container or run.
    """
    name, pod = container or (record.containers[0] if len(record.containers) == 1 else ""), record.name
    if not name:
        choice = " ".join(record.containers)
        raise BadRequest(f"a container name must be specified for pod {pod}, choose one of: [{choice}]")
    if name not in record.containers:
        raise BadRequest(f"container {name} is not valid for pod {pod}")
    attempts = folder.attempts(name)
    if previous:
        return _previous_run(folder, record, name, attempts)
    if not attempts:
        raise BadRequest(f'container "{name}" in pod "{pod}" is waiting to start')
    return folder.run(name, attempts[-1])


def _previous_run(folder: PodFolder, record: PodRecord, name: str, attempts: list[int]) -> Path:
    """The last run that is over and has a successor, or will have one."""
    if attempts:
        latest = folder.run(name, attempts[-1])
        ending = read_exit(latest)
        restarts = record.restart_policy == "Always" or (
            record.restart_policy == "OnFailure" and ending is not None and ending.exit_code != 0
        )
        if ending is not None and restarts:
            return latest
    if len(attempts) < 2:
        raise BadRequest(f'previous terminated container "{name}" in pod "{record.name}" not found')
    return folder.run(name, attempts[-2])


async def read_log(run: Path, options: LogOptions, clock: Clock) -> AsyncIterator[bytes]:
    """The output of one run up to this moment. With `follow` also what comes, until the run has ended."""
    left = options.limit_bytes
    async for chunk in _read_log(run, options, clock):
        if left is None:
            yield chunk
            continue
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


async def _read_log(run: Path, options: LogOptions, clock: Clock) -> AsyncIterator[bytes]:
    since = _since(options, clock)
    end = await asyncio.to_thread(end_position, run)
    position = LogPosition(0, 0)
    if options.tail_lines is not None:
        position = await asyncio.to_thread(tail_position, run, options.tail_lines, end)
    # A container that prints without a pause would else be read for ever, and its last line be followed by others.
    with LogFollower(run, position, None if options.follow else end) as follower:
        while True:
            # Asked before reading: what the run wrote before its end is then surely read.
            ended = not options.follow or not is_locked(run)
            lines = await asyncio.to_thread(follower.read)
            if lines:
                if chunk := _render(lines, since, timestamps=options.timestamps):
                    yield chunk
            elif ended:
                return
            else:
                await clock.sleep(FOLLOW_SECONDS)


def _since(options: LogOptions, clock: Clock) -> bytes:
    """The first timestamp that counts, in the log's own format, in which order of time is order of bytes."""
    instant = options.since_time
    if options.since_seconds is not None:
        instant = clock.now() - options.since_seconds
    if instant is None:
        return b""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode()


def _render(lines: list[bytes], since: bytes, *, timestamps: bool) -> bytes:
    """The lines as they were printed. A long line's parts (tag P) are put together again."""
    out = bytearray()
    continued = False
    for line in lines:
        fields = line.split(b" ", 3)
        if len(fields) < 4:
            continue  # torn by a full disk
        time, _, tag, text = fields
        if time < since:
            continue
        if timestamps and not continued:
            out += time + b" "
        out += text
        continued = tag == b"P"
        if not continued:
            out += b"\n"
    return bytes(out)


async def termination_message(run: Path, ending: RunExit) -> RunExit:
    """The ending with the end of the log as its message, if it has none of its own."""
    if ending.message:
        return ending
    text = b""
    async for chunk in read_log(run, LogOptions(tail_lines=MESSAGE_LINES), SystemClock()):
        text += chunk
    return msgspec.structs.replace(ending, message=text[-MESSAGE_BYTES:].decode(errors="replace"))
