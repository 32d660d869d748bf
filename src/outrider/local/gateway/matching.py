"""Which rule of which HTTPRoute a request meets: hosts, paths, methods and headers, by Gateway API's precedence.

Most specific first: an exact path before the longest prefix, then a method, then more headers; ties go to the older
route, then to the alphabet, then to the order of the rules
(https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule, field `matches`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from outrider.api.meta import ObjectMeta
from outrider.kube.objects import BackendRef

T = TypeVar("T")

ANY_HOST = "*"


class RouteRule(msgspec.Struct, frozen=True, rename="camel"):
    """A rule of an HTTPRoute, with the fields whose presence matters though the gateway does not have them."""

    matches: tuple[dict[str, Any], ...] = ()
    filters: tuple[dict[str, Any], ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()
    timeouts: dict[str, Any] | None = None


class RouteSpec(msgspec.Struct, frozen=True, rename="camel"):
    parent_refs: tuple[dict[str, Any], ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = ()


class Route(msgspec.Struct, frozen=True, rename="camel"):
    """An HTTPRoute as the gateway reads it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: RouteSpec = RouteSpec()
    status: dict[str, Any] = {}


class Match(msgspec.Struct, frozen=True):
    """One compiled entry of `rules[].matches`."""

    path: str = "/"
    exact: bool = False
    method: str = ""
    """Empty for any."""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def precedence(self) -> tuple[bool, int]:
        """Sorts the matches of one path: methods first, then more headers first."""
        return (not self.method, -len(self.headers))

    def accepts(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether method and headers are as demanded. `headers` must look names up without regard to case."""
        return (not self.method or self.method == method) and all(
            headers.get(name) == value for name, value in self.headers
        )


class UnsupportedMatchError(Exception):
    """The match uses a feature that this gateway does not have; the message says which."""


def compile_match(match: Mapping[str, Any]) -> Match:
    """Read one entry of `matches`. Raises `UnsupportedMatchError` for what this gateway cannot honour."""
    path = match.get("path") or {}
    kind = path.get("type", "PathPrefix")
    if kind not in ("PathPrefix", "Exact"):
        raise UnsupportedMatchError(f"path match of type {kind}: use PathPrefix or Exact")
    if match.get("queryParams"):
        raise UnsupportedMatchError("queryParams match")
    headers = match.get("headers") or ()
    for header in headers:
        if header.get("type", "Exact") != "Exact":
            raise UnsupportedMatchError(f"header match of type {header['type']}: use Exact")
    value = str(path.get("value", "/"))
    return Match(
        path=value if kind == "Exact" else value.rstrip("/"),
        exact=kind == "Exact",
        method=str(match.get("method") or ""),
        headers=tuple((str(header.get("name", "")), str(header.get("value", ""))) for header in headers),
    )


class PathTable(Generic[T]):
    """Finds what belongs to a path in as many look-ups as the path has segments, however many routes there are."""

    def __init__(self, entries: Iterable[tuple[Match, T]]) -> None:
        """`entries` are in order of preference where their matches are equally specific."""
        self._exact: dict[str, list[tuple[Match, T]]] = {}
        self._prefix: dict[str, list[tuple[Match, T]]] = {}
        for match, value in entries:
            (self._exact if match.exact else self._prefix).setdefault(match.path, []).append((match, value))
        for table in (self._exact, self._prefix):
            for candidates in table.values():
                candidates.sort(key=lambda entry: entry[0].precedence)

    def find(self, path: str, method: str, headers: Mapping[str, str]) -> T | None:
        """The most specific match; None when there is none. `path` begins with `/` and has no query."""
        for candidates in self._candidates(path):
            for match, value in candidates:
                if match.accepts(method, headers):
                    return value
        return None

    def _candidates(self, path: str) -> Iterator[list[tuple[Match, T]]]:
        if path in self._exact:
            yield self._exact[path]
        prefix = path
        while True:
            if prefix in self._prefix:
                yield self._prefix[prefix]
            if not prefix:
                return
            prefix = prefix[: prefix.rindex("/")] if "/" in prefix else ""


def host_of(header: str) -> str:
    """The host name in a `Host` header: lower case, without port, brackets and a trailing dot."""
    host = header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def host_candidates(host: str) -> Iterator[str]:
    """The host names of routes that `host` meets, the most specific first: itself, then wildcards.

    `*.example.com` takes any number of labels in front, but not `example.com` itself.
    """
    yield host
    _, dot, rest = host.partition(".")
    while dot:
        yield f"*.{rest}"
        _, dot, rest = rest.partition(".")
