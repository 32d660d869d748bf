"""`GET /containerLogs/NAMESPACE/POD/CONTAINER`: what `kubectl logs` gets."""

from collections.abc import Mapping

from aiohttp import web

from outrider.api.meta import parse_time
from outrider.kube.api import BadRequest
from outrider.kube.clock import SystemClock
from outrider.local.kubelet.logs import chosen_run, read_log
from outrider.local.kubelet.server.lookup import find_pod, known_containers
from outrider.local.store.log_source import LogOptions


async def container_logs(request: web.Request) -> web.StreamResponse:
    """The container's output, as it is and, with `follow`, as it comes."""
    worker = find_pod(request)
    options = log_options(request.query)
    run = chosen_run(
        worker.context.folder,
        known_containers(worker),
        request.match_info["container"],
        previous=options.previous,
    )
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    async for chunk in read_log(run, options, SystemClock()):
        await response.write(chunk)
    await response.write_eof()
    return response


def log_options(query: Mapping[str, str]) -> LogOptions:
    """What of the output the request wants.

    Raises:
        BadRequest: an option is not what it must be.
    """
    if "sinceSeconds" in query and "sinceTime" in query:
        raise BadRequest("at most one of `sinceTime` or `sinceSeconds` may be specified")
    since_time = parse_time(query.get("sinceTime"))
    if query.get("sinceTime") and since_time is None:
        raise BadRequest(f"sinceTime must be a time such as 2026-11-23T12:00:00Z, not {query['sinceTime']!r}")
    return LogOptions(
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        timestamps=_flag(query, "timestamps"),
        since_seconds=_number(query, "sinceSeconds", least=1),
        tail_lines=_number(query, "tailLines", least=0),
        since_time=since_time,
        limit_bytes=_number(query, "limitBytes", least=1),
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "")
    if text not in ("", "true", "false", "1", "0"):
        raise BadRequest(f"{name} must be true or false, not {text!r}")
    return text in ("true", "1")


def _number(query: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise BadRequest(f"{name} must be a whole number, not {text!r}") from None
    if number < least:
        raise BadRequest(f"{name} must be at least {least}, not {number}")
    return number
