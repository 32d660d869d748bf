"""`outrider logs`: what the pods of a service wrote."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated

from cyclopts import Parameter

from outrider.api.labels import DEPLOYMENT
from outrider.api.names import label_value
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit, as_cli_error
from outrider.cli.objects import one_object
from outrider.cli.waiting import seconds
from outrider.cli.whole_numbers import WHOLE_NUMBER
from outrider.kube.api import ApiError
from outrider.kube.objects import POD
from outrider.kube.resources import LLM_DEPLOYMENT


def logs(
    name: str | None = None,
    /,
    *,
    selector: Annotated[str, Parameter(alias="-l")] = "",
    follow: Annotated[bool, Parameter(alias="-f", negative="")] = False,
    previous: Annotated[bool, Parameter(alias="-p", negative="")] = False,
    timestamps: Annotated[bool, Parameter(negative="")] = False,
    since: str | None = None,
    tail: Annotated[int | None, WHOLE_NUMBER] = None,
    container: Annotated[str, Parameter(alias="-c")] = "",
    cluster: Cluster | None = None,
) -> int:
    """Print what the pods of a service wrote: all of it, unless --tail or --since say less.

    Parameters
    ----------
    name
        Name of an LLMDeployment (all its pods), or pod/NAME.
    selector
        Pods that match this label selector, instead of a name.
    follow
        Go on as more is written.
    previous
        What the container wrote before it was last restarted.
    timestamps
        The time of each line.
    since
        Only what is newer than this, such as 1h or 30s.
    tail
        Only the last lines of each pod.
    container
        Name of the container, where a pod has several.
    """
    if (name is None) == (not selector):
        raise CliError(
            "say whose logs: outrider logs NAME, outrider logs pod/NAME, or --selector", exit_code=Exit.USAGE
        )
    if tail is not None and tail < 0:
        raise CliError(f"--tail {tail}: must be 0 or more", exit_code=Exit.USAGE)
    since_seconds = None if since is None else max(1, round(seconds(since, "--since")))
    return asyncio.run(_logs(name, selector, follow, previous, timestamps, since_seconds, tail, container, cluster))


async def _logs(
    name: str | None,
    selector: str,
    follow: bool,
    previous: bool,
    timestamps: bool,
    since: int | None,
    tail: int | None,
    container: str,
    cluster: Cluster | None,
) -> int:
    async with connect(cluster) as connection:
        pods = await _pods(connection, name, selector)
        prefix = len(pods) > 1
        streams = [
            connection.api.logs(
                pod,
                connection.namespace,
                container=container,
                follow=follow,
                previous=previous,
                timestamps=timestamps,
                since_seconds=since,
                tail_lines=tail,
            )
            for pod in pods
        ]
        named = [(f"[{pod}] " if prefix else "", stream) for pod, stream in zip(pods, streams, strict=True)]
        if follow:
            outcomes = await _at_once(named)
        else:
            outcomes = [await _outcome(stream, head) for head, stream in named]
    return _report(dict(zip(pods, outcomes, strict=True)))


async def _at_once(named: Sequence[tuple[str, AsyncIterator[bytes]]]) -> list[ApiError | None]:
    """Copy all streams at the same time. When nothing can be written any more, all of them end."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_outcome(stream, head)) for head, stream in named]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


async def _outcome(stream: AsyncIterator[bytes], head: str) -> ApiError | None:
    try:
        async with contextlib.aclosing(stream):  # type: ignore[type-var]
            await _copy(stream, head)
    except ApiError as error:
        return error
    return None


def _report(outcomes: Mapping[str, ApiError | None]) -> int:
    """Say which pods had no logs to give, and why; the exit code is that of the first."""
    code = Exit.OK
    for pod, error in outcomes.items():
        if error is not None:
            code = code or as_cli_error(error).exit_code
            print(f"error: {pod}: {error.message}", file=sys.stderr)
    return code


async def _pods(connection: Connection, name: str | None, selector: str) -> list[str]:
    if name is not None:
        kind, chosen = one_object(name, None)
        if kind == POD:
            await connection.find(POD, chosen)
            return [chosen]
        if kind != LLM_DEPLOYMENT:
            raise CliError(f"{kind.singular} has no logs: name an LLMDeployment or a pod", exit_code=Exit.USAGE)
        await connection.find(LLM_DEPLOYMENT, chosen)
        selector = f"{DEPLOYMENT}={label_value(chosen)}"
    listed = await connection.api.list(POD, connection.namespace, labels=selector)
    pods = sorted(pod.metadata.name for pod in listed.items)
    if not pods:
        raise CliError(f"no pods in namespace {connection.namespace} match {selector}", exit_code=Exit.NOT_FOUND)
    return pods


async def _copy(stream: AsyncIterator[bytes], prefix: str) -> None:
    """Write whole lines, so that the lines of several pods do not run into each other."""
    rest = b""
    head = prefix.encode()
    out = sys.stdout.buffer
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            out.write(b"".join(head + line + b"\n" for line in lines))
            out.flush()
    if rest:
        out.write(head + rest + b"\n")
        out.flush()
