"""Kubernetes' REST conventions: paths, query parameters, bodies, and what comes back, decoded straight into structs."""

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, Generic, Literal, TypeVar, cast
from urllib.parse import quote

import msgspec

from outrider.kube.api import (
    ApiError,
    BadRequest,
    EventType,
    Kind,
    Object,
    Unavailable,
    Undecodable,
    WatchEvent,
    error_from_status,
)

T = TypeVar("T")

_LONGEST_TEXT = 300
"""Characters of an answer that is no Kubernetes object, as it is quoted in a message."""


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T] | None = None  # Go writes null for an empty list
    metadata: _ListMeta = _ListMeta()


class _Resource(msgspec.Struct, frozen=True):
    name: str = ""
    kind: str = ""


class _ResourceList(msgspec.Struct, frozen=True):
    resources: tuple[_Resource, ...] = ()


class _Event(msgspec.Struct, frozen=True):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Versioned(msgspec.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()


# Paths and parameters


def collection_path(kind: Kind[Any], namespace: str = "") -> str:
    return kind.path(quote(namespace, safe=""))


def object_path(kind: Kind[Any], namespace: str, name: str, subresource: str = "") -> str:
    """The path of one object. Raises `BadRequest` without a name or a needed namespace: that is all of them."""
    if not name:
        raise BadRequest(f"which {kind.kind}? a name is needed")
    require_namespace(kind, namespace)
    return kind.path(quote(namespace, safe=""), quote(name, safe=""), subresource)


def require_namespace(kind: Kind[Any], namespace: str) -> None:
    """Raises `BadRequest` when the kind is namespaced and no namespace is given."""
    if kind.namespaced and not namespace:
        raise BadRequest(f"in which namespace? a {kind.kind} is in one")


def selection(labels: str, fields: str) -> dict[str, str]:
    given = {"labelSelector": labels, "fieldSelector": fields}
    return {name: selector for name, selector in given.items() if selector}


def dry_run_parameter(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


# Bodies


def typed(kind: Kind[Any], body: Mapping[str, Any]) -> Object:
    """The body with the `apiVersion` and `kind` that the server wants to see in it."""
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body}


def delete_options(uid: str, grace_seconds: int | None, *, dry_run: bool) -> Object:
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if uid:
        options["preconditions"] = {"uid": uid}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    if dry_run:
        options["dryRun"] = ["All"]
    return options


# Answers


@cache
def _decoder(wanted: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("Any", wanted))


def decode(kind: Kind[T], content: bytes | msgspec.Raw) -> T:
    """The object that a request answered. Raises `Undecodable`."""
    try:
        return cast("T", _decoder(cast("Hashable", kind.struct)).decode(content))
    except msgspec.MsgspecError as error:
        raise Undecodable(f"cannot read a {kind.kind}: {error}") from error


def decode_list(kind: Kind[T], content: bytes) -> tuple[list[T], str, str]:
    """Objects, resource version and continue token of one page of a list. Raises `Undecodable`."""
    page_type: Any = _Page[kind.struct]  # type: ignore[name-defined]
    try:
        page: _Page[T] = _decoder(page_type).decode(content)
    except msgspec.MsgspecError as error:
        raise Undecodable(f"cannot read a list of {kind.plural}: {error}") from error
    items = page.items or []
    if kind.struct is dict:  # servers leave this out of the objects in a list
        identity = {"apiVersion": kind.api_version, "kind": kind.kind}
        items = [cast("T", identity | cast("Object", item)) for item in items]
    return items, page.metadata.resource_version, page.metadata.continue_


def decode_resources(content: bytes) -> frozenset[str]:
    """The kinds of an APIResourceList. Raises `Undecodable` when it is none."""
    try:
        found = msgspec.json.decode(content, type=_ResourceList)
    except msgspec.MsgspecError as error:
        raise Undecodable(f"cannot read the list of resources: {error}") from error
    return frozenset(one.kind for one in found.resources if "/" not in one.name)


def decode_event(kind: Kind[T], line: bytes) -> WatchEvent[T]:
    """One line of a watch. Raises the `ApiError` that an ERROR event means, and `Undecodable`."""
    try:
        event = _decoder(_Event).decode(line)
        version = _decoder(_Versioned).decode(event.object).metadata.resource_version
    except msgspec.MsgspecError as error:
        raise Unavailable(f"the watch of {kind.plural} broke: it brought what is no event: {error}") from error
    if event.type == "ERROR":
        raise error_from_status(_decoder(dict).decode(event.object))
    content: bytes | msgspec.Raw = event.object
    if event.type == "BOOKMARK":
        # Nothing else in it means anything, and servers write what no real object has: a Pod whose containers are null.
        content = msgspec.json.encode({"metadata": {"resourceVersion": version}})
    return WatchEvent(cast("EventType", event.type), decode(kind, content), version)


def decode_error(code: int, content: bytes, retry_after: str | None) -> ApiError:
    """The exception that a bad answer means, be it a Kubernetes Status or the page of a proxy in between."""
    seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    try:
        status = _decoder(Object).decode(content)
    except msgspec.MsgspecError:
        status = {}
    if status.get("kind") == "Status":
        return error_from_status(status, code, seconds)
    text = content.decode(errors="replace").strip()[:_LONGEST_TEXT]
    message = f"HTTP {code}: {text}" if text else f"HTTP {code}"
    if code in (502, 503, 504):  # a proxy speaks, and the server behind it did not
        return Unavailable(message, status=code, retry_after=seconds)
    return error_from_status({"message": message}, code, seconds)
