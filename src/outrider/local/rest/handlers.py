"""What each verb does to an object or a collection, in terms of the store."""

from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from outrider.kube.api import ApiError, BadRequest, Expired, Unavailable
from outrider.kube.objects import POD
from outrider.local.rest import parameters
from outrider.local.rest.statuses import JSON, status_of, success
from outrider.local.rest.streams import stream
from outrider.local.rest.targets import Target
from outrider.local.store import Store, StoreError
from outrider.local.store.deletion import delete, is_finished
from outrider.local.store.errors import details
from outrider.local.store.history import Notice
from outrider.local.store.records import Record, encode
from outrider.local.store.selectors import select
from outrider.local.store.watching import watch
from outrider.local.store.writes import apply, create, patch, update


async def answer(store: Store, record: Record, status: int = 200) -> web.Response:
    """The outcome of a write, once it is on disk."""
    await settled(store)
    return web.Response(body=record.data, status=status, content_type=JSON)


async def settled(store: Store) -> None:
    try:
        await store.durable()
    except StoreError as error:
        raise Unavailable(str(error)) from error


def get_object(store: Store, target: Target) -> web.Response:
    record = store.get(target.kind, target.name, target.namespace)
    return web.Response(body=record.data, content_type=JSON)


async def read_collection(request: web.Request, store: Store, target: Target) -> web.StreamResponse:
    """List, or watch with `watch=true`. A list is always whole, whatever `limit` says, as servers may have it."""
    query = request.query
    selection = select(target.kind, target.namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    if parameters.flag(query, "watch"):
        if query.get("sendInitialEvents"):
            raise ApiError("sendInitialEvents is not supported here: list, then watch", status=422, reason="Invalid")
        timeout = parameters.integer(query, "timeoutSeconds")
        notices = watch(
            store, target.kind, selection,
            resource_version=query.get("resourceVersion", ""), timeout=float(timeout) if timeout else None,
        )  # fmt: skip
        bookmarks = parameters.flag(query, "allowWatchBookmarks")
        return await stream(request, _events(notices, bookmarks=bookmarks), content_type=JSON)
    parameters.integer(query, "limit")
    if query.get("continue"):
        raise Expired("there is no such continue token: lists are given whole here; list again without it")
    head = {
        "kind": f"{target.kind.kind}List",
        "apiVersion": target.kind.api_version,
        "metadata": {"resourceVersion": str(store.version)},
    }
    items = b",".join(record.data for record in store.list(target.kind, selection))
    return web.Response(body=encode(head)[:-1] + b',"items":[' + items + b"]}", content_type=JSON)


async def _events(notices: AsyncGenerator[Notice, None], *, bookmarks: bool) -> AsyncGenerator[bytes, None]:
    try:
        async for notice in notices:
            if bookmarks or notice.type != "BOOKMARK":
                yield b'{"type":"%s","object":%s}\n' % (notice.type.encode(), notice.data)
    except ApiError as error:
        yield encode({"type": "ERROR", "object": status_of(error)}) + b"\n"
    finally:
        await notices.aclose()


def _check_place(target: Target, body: dict[str, Any]) -> None:
    """A body must not name another object than the path does; what it leaves out, the path says."""
    metadata = body.get("metadata")
    if metadata is None:
        metadata = body["metadata"] = {}
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be a map")
    for field, wanted in (("namespace", target.namespace if target.kind.namespaced else ""), ("name", target.name)):
        if wanted and metadata.setdefault(field, wanted) not in ("", wanted):
            raise BadRequest(f"the {field} of the object ({metadata[field]}) is not that of the URL ({wanted})")
        if wanted:
            metadata[field] = wanted


async def create_object(request: web.Request, store: Store, target: Target) -> web.Response:
    body = await parameters.read_object(request)
    _check_place(target, body)
    return await answer(store, create(store, target.kind, body, parameters.write_of(request, "Update")), 201)


async def update_object(request: web.Request, store: Store, target: Target) -> web.Response:
    body = await parameters.read_object(request)
    _check_place(target, body)
    write = parameters.write_of(request, "Update", target.subresource)
    return await answer(store, update(store, target.kind, body, write))


async def patch_object(request: web.Request, store: Store, target: Target) -> web.Response:
    if request.content_type == parameters.APPLY:
        return await _apply_object(request, store, target)
    sort = parameters.patch_type(request)
    body = await parameters.read_json(request, request.content_type)
    write = parameters.write_of(request, "Update", target.subresource)
    return await answer(store, patch(store, target.kind, target.namespace, target.name, body, sort, write))


async def _apply_object(request: web.Request, store: Store, target: Target) -> web.Response:
    body = await parameters.read_json(request, parameters.APPLY)
    if not isinstance(body, dict):
        raise BadRequest("an applied object is a map")
    _check_place(target, body)
    write = parameters.write_of(request, "Apply", target.subresource)
    existed = store.table(target.kind).get(target.namespace if target.kind.namespaced else "", target.name) is not None
    record = apply(store, target.kind, body, write, force=parameters.flag(request.query, "force"))
    return await answer(store, record, 200 if existed else 201)


async def delete_object(request: web.Request, store: Store, target: Target) -> web.Response:
    options = await parameters.read_object(request) if request.can_read_body else {}
    deletion = parameters.deletion_of(request, options)
    record = delete(store, target.kind, target.name, target.namespace, deletion)
    # Of a pod that goes at once an API server tells its last state, of all else only that it is gone.
    if target.kind == POD or not is_finished(record.object()):
        return await answer(store, record)
    await settled(store)
    return success(details(target.kind, target.name) | {"uid": record.uid})
