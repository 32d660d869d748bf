"""What a request says beside its path: query parameters, bodies, and how a body is to be understood."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from outrider.kube.api import ApiError, BadRequest, PatchType, Propagation
from outrider.local.store.deletion import Deletion
from outrider.local.store.errors import unsupported_media_type
from outrider.local.store.ownership import Manager
from outrider.local.store.records import decode
from outrider.local.store.writes import Write

LARGEST_BODY = 3 * 1024 * 1024
"""Bytes of a request's body: what an API server takes (MaxRequestBodyBytes)."""
APPLY = "application/apply-patch+yaml"
_PATCH_TYPES: Mapping[str, PatchType] = {
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/json-patch+json": "json",
}
_TRUE, _FALSE = ("true", "1", "t", "True", "TRUE"), ("", "false", "0", "f", "False", "FALSE")


def flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "")
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise BadRequest(f"{name}={value!r} must be true or false")


def integer(query: Mapping[str, str], name: str) -> int | None:
    """A number, 0 or more; None where there is none."""
    value = query.get(name)
    if value is None or value == "":
        return None
    if not (value.isascii() and value.isdecimal()):
        raise BadRequest(f"{name}={value!r} must be a whole number, 0 or more")
    return int(value)


def dry_run(values: list[str]) -> bool:
    if any(value != "All" for value in values):
        raise BadRequest(f"dryRun={','.join(values)!r}: the only kind of dry run there is is All")
    return bool(values)


def write_of(request: web.Request, operation: str, subresource: str = "") -> Write:
    """Who writes: `fieldManager`, else, as an API server has it, the name of the client's program."""
    name = request.query.get("fieldManager", "")
    if len(name) > 128:
        raise BadRequest("fieldManager may have at most 128 characters")
    if operation == "Apply":
        return Write(Manager(name, "Apply", subresource), dry_run(request.query.getall("dryRun", [])))
    program = request.headers.get("User-Agent", "").partition("/")[0][:128]
    return Write(
        Manager(name or program or "unknown", "Update", subresource), dry_run(request.query.getall("dryRun", []))
    )


async def read_json(request: web.Request, *accepted: str) -> Any:
    """The body, decoded. JSON is YAML, so that what says it is YAML is taken if it is JSON too."""
    if request.content_type not in (*accepted, "application/octet-stream") and request.can_read_body:
        raise unsupported_media_type(
            f"the body of this request must be {' or '.join(accepted)}, not {request.content_type}; "
            "the local world speaks JSON alone"
        )
    try:
        return decode(await request.read())
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body of the request is not JSON: {error}") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise ApiError(
            f"the request is too large: the limit is {LARGEST_BODY} bytes", status=413, reason="RequestEntityTooLarge"
        ) from error


async def read_object(request: web.Request) -> dict[str, Any]:
    body = await read_json(request, "application/json", "application/yaml")
    if not isinstance(body, dict):
        raise BadRequest("the body of the request must be an object")
    return body


def patch_type(request: web.Request) -> PatchType:
    """Raises 415 for what is no patch."""
    try:
        return _PATCH_TYPES[request.content_type]
    except KeyError:
        raise unsupported_media_type(
            f"a PATCH must be of type {', '.join((*_PATCH_TYPES, APPLY))}, not {request.content_type}"
        ) from None


def deletion_of(request: web.Request, options: Mapping[str, Any]) -> Deletion:
    """What a delete asks for, in its body (DeleteOptions) or its query. Raises `BadRequest`."""
    query = request.query
    preconditions = options.get("preconditions") or {}
    grace = options.get("gracePeriodSeconds", integer(query, "gracePeriodSeconds"))
    policy: Propagation | None = options.get("propagationPolicy") or query.get("propagationPolicy") or None  # type: ignore[assignment]
    if policy not in (None, "Background", "Foreground", "Orphan"):
        raise BadRequest(f"propagationPolicy {policy!r} must be Background, Foreground or Orphan")
    if policy is None and "orphanDependents" in options:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    try:
        return msgspec.convert(
            {
                "uid": preconditions.get("uid") or "",
                "resource_version": preconditions.get("resourceVersion") or "",
                "grace_seconds": grace,
                "propagation": policy,
                "dry_run": dry_run([*(options.get("dryRun") or []), *query.getall("dryRun", [])]),
            },
            Deletion,
        )
    except (msgspec.ValidationError, AttributeError, TypeError) as error:
        raise BadRequest(f"the options of the delete are malformed: {error}") from error
