"""Subresources with a shape of their own: scale, eviction, log."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from outrider.api.meta import parse_time
from outrider.kube.api import BadRequest
from outrider.local.rest import parameters
from outrider.local.rest.handlers import settled
from outrider.local.rest.statuses import json_response, success
from outrider.local.rest.streams import stream
from outrider.local.rest.targets import Target
from outrider.local.store import LogOptions, LogSource, Store
from outrider.local.store.container_logs import container_logs
from outrider.local.store.eviction import evict
from outrider.local.store.scale import apply_scale, patch_scale, read_scale, write_scale

_HEADERS_AFTER_SECONDS = 0.2
"""How long a log waits for its first line, or for the reason why there is none, before the answer begins."""


def get_scale(store: Store, target: Target) -> web.Response:
    return json_response(read_scale(store, target.kind, target.namespace, target.name))


async def change_scale(request: web.Request, store: Store, target: Target) -> web.Response:
    operation = "Apply" if request.method == "PATCH" and request.content_type == parameters.APPLY else "Update"
    write = parameters.write_of(request, operation, "scale")
    place = (target.kind, target.namespace, target.name)
    if request.method == "PUT":
        record = write_scale(store, *place, await parameters.read_object(request), write)
    elif request.content_type == parameters.APPLY:
        scale = await parameters.read_json(request, parameters.APPLY)
        record = apply_scale(store, *place, scale, write, force=parameters.flag(request.query, "force"))
    else:
        sort = parameters.patch_type(request)
        body = await parameters.read_json(request, request.content_type)
        record = patch_scale(store, *place, body, "json" if sort == "json" else "merge", write)
    await settled(store)
    if write.dry_run:
        scale = read_scale(store, *place)
        return json_response(scale | {"spec": {"replicas": record.object()["spec"]["replicas"]}})
    return json_response(read_scale(store, *place))


async def evict_pod(request: web.Request, store: Store, target: Target) -> web.Response:
    body = await parameters.read_object(request) if request.can_read_body else {}
    options = body.get("deleteOptions") or {}
    if not isinstance(options, dict):
        raise BadRequest("deleteOptions must be a map")
    evict(store, target.name, target.namespace, parameters.deletion_of(request, options))
    await settled(store)
    return success(status=201)


def _log_options(query: Any) -> LogOptions:
    since_time = query.get("sinceTime")
    if since_time and parse_time(since_time) is None:
        raise BadRequest(f"sinceTime={since_time!r} must be a time such as 2026-11-23T12:00:00Z")
    return LogOptions(
        follow=parameters.flag(query, "follow"),
        previous=parameters.flag(query, "previous"),
        timestamps=parameters.flag(query, "timestamps"),
        since_seconds=parameters.integer(query, "sinceSeconds"),
        tail_lines=parameters.integer(query, "tailLines"),
        since_time=parse_time(since_time),
        limit_bytes=parameters.integer(query, "limitBytes"),
    )


async def read_log(request: web.Request, store: Store, logs: LogSource | None, target: Target) -> web.StreamResponse:
    query = request.query
    options = _log_options(query)
    lines = container_logs(store, logs, target.namespace, target.name, query.get("container", ""), options)
    first = asyncio.ensure_future(anext(lines, b""))
    try:
        done, _ = await asyncio.wait([first], timeout=_HEADERS_AFTER_SECONDS)
        if done:
            first.result()
    except BaseException:
        first.cancel()
        await lines.aclose()
        raise
    return await stream(request, _continued(first, lines), content_type="text/plain")


async def _continued(first: "asyncio.Future[bytes]", rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        yield await first
        async for chunk in rest:
            yield chunk
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await rest.aclose()
