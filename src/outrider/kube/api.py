"""How Outrider speaks Kubernetes: the `Api` protocol, the kinds it is spoken about, and what can go wrong.

Reading is typed: a `Kind[T]` says where objects of a kind live and which struct they decode into, which need not hold
more than the fields its reader uses. Writing is untyped: bodies and patches are the JSON that goes over the wire, so
that no write can drop a field that a projection does not know.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

T = TypeVar("T")
U = TypeVar("U")

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""
Propagation = Literal["Background", "Foreground", "Orphan"]
PatchType = Literal["merge", "strategic", "json"]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A resource type: its REST coordinates and the type that its objects decode into."""

    group: str
    """API group; empty for the core group."""
    version: str
    kind: str
    plural: str
    namespaced: bool
    struct: type[T] = field(compare=False)
    """What objects of this kind decode into; `dict` for all of it."""
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    def into(self, other: type[U]) -> "Kind[U]":
        """The same resource, decoded into another type (`dict` for all of it)."""
        return replace(self, struct=other)  # type: ignore[arg-type,return-value]

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, of one object, or of an object's subresource."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


@dataclass(frozen=True)
class ListResult(Generic[T]):
    items: tuple[T, ...]
    resource_version: str
    """Where a watch that follows this list begins."""


@dataclass(frozen=True)
class WatchEvent(Generic[T]):
    """One change. A BOOKMARK carries an object of which only `metadata.resourceVersion` means anything."""

    type: EventType
    object: T
    resource_version: str


class ApiError(Exception):
    """The API server refused, or could not be reached. `reason` is Kubernetes' own word for it."""

    status = 500
    reason = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status if status is not None else type(self).status
        self.reason = reason if reason is not None else type(self).reason
        self.details = dict(details or {})
        self.retry_after = retry_after
        """Seconds to wait before the same request may succeed, where the server said so."""


class BadRequest(ApiError):
    status, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    status, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    status, reason = 403, "Forbidden"


class NotFound(ApiError):
    status, reason = 404, "NotFound"


class AlreadyExists(ApiError):
    status, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """Somebody else changed the object, or owns the field. `details.causes` names the fields of an apply conflict."""

    status, reason = 409, "Conflict"


class Expired(ApiError):
    """The resource version is no longer known (410): list again."""

    status, reason = 410, "Expired"


class Invalid(ApiError):
    """The object breaks the rules of its kind. `details.causes` lists every field: {field, message, reason}."""

    status, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    """Throttled, or an eviction that a disruption budget holds back (cause DisruptionBudget): try again later."""

    status, reason = 429, "TooManyRequests"

    @property
    def held_back_by_budget(self) -> bool:
        """Whether it is a disruption budget's answer, and nobody is overloaded."""
        return any(cause.get("reason") == "DisruptionBudget" for cause in self.details.get("causes") or ())


class Unavailable(ApiError):
    """The server could not be reached or did not answer: whether a write took effect is unknown."""

    status, reason = 503, "ServiceUnavailable"


class Undecodable(ApiError):
    """The server answered well, but an object does not fit the type that it is read into."""

    status, reason = 500, "Undecodable"


_BY_REASON: dict[str, type[ApiError]] = {
    error.reason: error
    for error in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        AlreadyExists,
        Conflict,
        Expired,
        Invalid,
        TooManyRequests,
        Unavailable,
    )
}
_BY_STATUS: dict[int, type[ApiError]] = {error.status: error for error in reversed(tuple(_BY_REASON.values()))} | {
    409: Conflict
}


def error_from_status(status: Mapping[str, Any], http_status: int = 500, retry_after: float | None = None) -> ApiError:
    """The exception that a Kubernetes `Status` object means."""
    code = int(status.get("code") or http_status)
    reason = str(status.get("reason") or "")
    kind = _BY_REASON.get(reason) or (Expired if reason == "Gone" else _BY_STATUS.get(code, ApiError))
    details = status.get("details") or {}
    after = retry_after if retry_after is not None else details.get("retryAfterSeconds")
    message = str(status.get("message") or reason or f"HTTP {code}")
    return kind(message, status=code, reason=reason or kind.reason, details=details, retry_after=after)


class Api(Protocol):
    """The calls that Outrider makes on a cluster. Namespace "" means all namespaces, or a cluster-scoped kind.

    Every method raises `ApiError`s. Any call may be repeated after a crash; `Unavailable` leaves the outcome unknown.
    """

    async def served(self, api_version: str) -> frozenset[str]:
        """The kinds that the server has in a group and version; empty for a group that it does not have."""
        ...

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T: ...

    async def list(self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "") -> ListResult[T]:
        """All objects that match the label and field selectors (Kubernetes' selector syntax)."""
        ...

    def watch(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent[T]]:
        """Changes after `resource_version`, with bookmarks. Ends when the server ends it or after `timeout` seconds.

        Raises `Expired` when the version is too old: list again.
        """
        ...

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """Create the object. `metadata.namespace` says where."""
        ...

    async def apply(
        self,
        kind: Kind[T],
        body: Mapping[str, Any],
        *,
        owner: str,
        force: bool = True,
        subresource: str = "",
        dry_run: bool = False,
    ) -> T:
        """Server-side apply: `owner` wants these fields to be so, and no longer wants those it left out."""
        ...

    async def patch(
        self,
        kind: Kind[T],
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        owner: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> T:
        """Patch the object or a subresource. `metadata.resourceVersion` in a merge patch makes it conditional."""
        ...

    async def patch_status(
        self, kind: Kind[T], name: str, status: Mapping[str, Any], namespace: str = "", *, resource_version: str = ""
    ) -> T:
        """Merge `{"status": status}` into the status subresource."""
        ...

    async def delete(
        self,
        kind: Kind[Any],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> None:
        """Delete the object; with `uid` only if it is still that very object (else `Conflict`)."""
        ...

    async def evict(
        self, name: str, namespace: str, *, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
    ) -> None:
        """Ask for a pod to be evicted; `TooManyRequests` when a disruption budget holds it back.

        With `uid` only that very pod: `Conflict` where another one has its name by now.
        """
        ...

    def logs(
        self,
        name: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        timestamps: bool = False,
        since_seconds: int | None = None,
        tail_lines: int | None = None,
    ) -> AsyncIterator[bytes]:
        """A container's output, in chunks of whole or part lines."""
        ...
