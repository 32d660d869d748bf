"""How the corpus says what is asked of both servers: requests, and values that come from earlier answers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from outrider.kube.api import Kind

NAMESPACE = "{ns}"
"""Stands for the namespace of the case, which both servers are given anew."""

_PATCHES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class From(msgspec.Struct, frozen=True):
    """A value of an earlier answer of the same server: `From(0, "metadata.uid")`, step and path."""

    step: int
    path: str


class Step(msgspec.Struct, frozen=True):
    """One request."""

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    query: dict[str, Any] = {}
    events: int = 0
    """Of a watch: how many events are read before it is closed. 0 for what is no watch."""
    kind: str = ""
    """What it is about, for the list of known differences."""

    def told(self) -> str:
        """For reports: `PATCH /api/v1/.../configmaps/a?force=true (apply)`."""
        query = "&".join(f"{name}={value}" for name, value in self.query.items() if not isinstance(value, From))
        return f"{self.method} {self.path}{'?' + query if query else ''}"


Case = list[Step]
Corpus = dict[str, Case]
"""By a sentence that says what the case is about."""


def _step(kind: Kind[Any], method: str, name: str = "", sub: str = "", **more: Any) -> Step:
    return Step(method, kind.path(NAMESPACE if kind.namespaced else "", name, sub), kind=kind.kind, **more)


def obj(kind: Kind[Any], name: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A whole object of the kind."""
    return {
        "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **(metadata or {})}, **fields,
    }  # fmt: skip


def refused(body: dict[str, Any]) -> dict[str, Any]:
    """The object under a name of its own: where it is taken after all, it is in nobody's way."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "name"}
    return body | {"metadata": metadata | {"generateName": f"{body['metadata']['name']}-"}}


def create(kind: Kind[Any], body: Any, sub: str = "", *, of: str = "", **query: Any) -> Step:
    """POST to the collection; with `sub` and `of`, to a subresource of the object `of`."""
    return _step(kind, "POST", of, sub, body=body, query=query)


def get(kind: Kind[Any], name: str, sub: str = "") -> Step:
    return _step(kind, "GET", name, sub)


def listing(kind: Kind[Any], **query: Any) -> Step:
    return _step(kind, "GET", query=query)


def watch(kind: Kind[Any], events: int, **query: Any) -> Step:
    return _step(kind, "GET", query={"watch": "true", "timeoutSeconds": "8", **query}, events=events)


def put(kind: Kind[Any], body: dict[str, Any], sub: str = "", *, of: str = "", **query: Any) -> Step:
    return _step(kind, "PUT", of or body["metadata"]["name"], sub, body=body, query=query)


def patch(kind: Kind[Any], sort: str, name: str, body: Any, sub: str = "", **query: Any) -> Step:
    """`sort` is merge, strategic, json or apply."""
    return _step(kind, "PATCH", name, sub, body=body, query=query, content_type=_PATCHES[sort])


def apply(kind: Kind[Any], body: dict[str, Any], owner: str, sub: str = "", **query: Any) -> Step:
    """Server-side apply in the name of `owner`."""
    return patch(kind, "apply", body["metadata"]["name"], body, sub, fieldManager=owner, **query)


def delete(kind: Kind[Any], name: str, options: Mapping[str, Any] | None = None, **query: Any) -> Step:
    return _step(kind, "DELETE", name, body=options, query=query)
