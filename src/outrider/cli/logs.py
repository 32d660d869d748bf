"""`outrider logs`: what the pods of a service wrote."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Annotated

from cyclopts import Parameter

from outrider.api.labels import DEPLOYMENT
from outrider.api.names import label_value
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.objects import one_object
from outrider.cli.waiting import seconds
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
    tail: int | None = None,
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
        writers = [_copy(stream, f"[{pod}] " if prefix else "") for pod, stream in zip(pods, streams, strict=True)]
        if follow:
            results = await asyncio.gather(*writers, return_exceptions=True)
        else:
            results = [await _outcome(writer) for writer in writers]
        errors = [(pod, result) for pod, result in zip(pods, results, strict=True) if isinstance(result, BaseException)]
    for pod, error in errors:
        if not isinstance(error, ApiError):
            raise error
        print(f"{pod}: {error.message}", file=sys.stderr)
    return Exit.FAILED if errors else Exit.OK


async def _outcome(writer: "asyncio.Future[None] | object") -> BaseException | None:
    try:
        await writer  # type: ignore[misc]
    except ApiError as error:
        return error
    return None


async def _pods(connection: Connection, name: str | None, selector: str) -> list[str]:
    if name is not None:
        kind, chosen = one_object(name, None)
        if kind == POD:
            return [chosen]
        if kind != LLM_DEPLOYMENT:
            raise CliError(f"{kind.singular} has no logs: name an LLMDeployment or a pod", exit_code=Exit.USAGE)
        await connection.api.get(LLM_DEPLOYMENT, chosen, connection.namespace)
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
