"""`Api` over HTTP: the same client for the local world and for a cluster."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from copy import copy
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from outrider.kube import wire
from outrider.kube.api import (
    Expired,
    Kind,
    ListResult,
    NotFound,
    PatchType,
    Propagation,
    Unavailable,
    WatchEvent,
)
from outrider.kube.clock import Clock, SystemClock
from outrider.kube.kubeconfig import ClusterConfig
from outrider.kube.objects import POD
from outrider.kube.transport import ATTEMPTS, SILENCE_SECONDS, Guard, Transport

if TYPE_CHECKING:  # see kube/transport.py
    from outrider.kube.metrics import ClientMetrics

T = TypeVar("T")

PAGE_SIZE = 500
"""Objects a page of a list: client-go's default."""
WATCH_INACTIVITY = 75.0
"""Seconds of silence after which a watch is taken for broken: bookmarks come about once a minute."""
WATCH_OVERTIME = 5.0
"""Seconds that a server may take to end a watch by itself, beyond the time that it was given."""

_PATCH_TYPES: dict[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"


class HttpApi:
    """Implements `outrider.kube.api.Api`. Close it with `close`, or use it as an async context manager."""

    def __init__(
        self,
        config: ClusterConfig,
        *,
        clock: Clock | None = None,
        watch_inactivity: float = WATCH_INACTIVITY,
        watch_overtime: float = WATCH_OVERTIME,
        metrics: "ClientMetrics | None" = None,
    ) -> None:
        self.config = config
        self._transport = Transport(config, clock or SystemClock(), metrics)
        self._watch_overtime = watch_overtime
        self._watch_inactivity = watch_inactivity
        self._guard: Guard | None = None

    def guarded(self, guard: Guard) -> "HttpApi":
        """The same connection, whose writes `guard` may stop at the last moment, also when they are sent again.

        It is called once a connection is there, just before the request's first byte is written. Close the original.
        """
        view = copy(self)
        view._guard = guard  # noqa: SLF001  (it is one of us)
        return view

    async def close(self) -> None:
        """Close all connections; watches that are open end."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Reading

    async def served(self, api_version: str) -> frozenset[str]:
        try:
            return wire.decode_resources(await self._send("GET", f"/apis/{api_version}"))
        except NotFound:
            return frozenset()

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        return wire.decode(kind, await self._send("GET", wire.object_path(kind, namespace, name)))

    async def list(self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "") -> ListResult[T]:
        params = wire.selection(labels, fields)
        try:
            return await self._list_pages(kind, namespace, {**params, "limit": str(PAGE_SIZE)})
        except Expired:  # the pages took longer than the server keeps the state they are of
            return await self._list_pages(kind, namespace, params)

    async def _list_pages(self, kind: Kind[T], namespace: str, params: dict[str, str]) -> ListResult[T]:
        items: list[T] = []
        while True:
            content = await self._send("GET", wire.collection_path(kind, namespace), params=params)
            page, version, token = wire.decode_list(kind, content)
            items += page
            if not token:
                return ListResult(tuple(items), version)
            params = {**params, "continue": token}

    async def watch(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent[T]]:
        params = wire.selection(labels, fields) | {"watch": "true", "allowWatchBookmarks": "true"}
        if resource_version:
            params["resourceVersion"] = resource_version
        if timeout is not None:
            params["timeoutSeconds"] = str(max(1, round(timeout)))
        ends_at = None if timeout is None else asyncio.get_running_loop().time() + timeout + self._watch_overtime
        rest = b""
        path = wire.collection_path(kind, namespace)
        chunks = self._transport.stream(path, params, silence=self._watch_inactivity)
        try:
            while (chunk := await _next_chunk(chunks, ends_at)) is not None:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield wire.decode_event(kind, line)
        finally:
            await chunks.aclose()
        if rest.strip():
            raise Unavailable(f"the watch of {kind.plural} at {self.config.server} broke off in the middle of an event")

    async def logs(
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
        params = {"container": container} if container else {}
        flags = {"follow": follow, "previous": previous, "timestamps": timestamps}
        params |= {flag: "true" for flag, on in flags.items() if on}
        numbers = {"sinceSeconds": since_seconds, "tailLines": tail_lines}
        params |= {option: str(number) for option, number in numbers.items() if number is not None}
        path = wire.object_path(POD, namespace, name, "log")
        silence = None if follow else SILENCE_SECONDS  # a program may well say nothing for hours
        chunks = self._transport.stream(path, params, silence=silence)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    # Writing

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        namespace = (body.get("metadata") or {}).get("namespace") or ""
        path = wire.collection_path(kind, namespace)
        wire.require_namespace(kind, namespace)
        return wire.decode(
            kind, await self._send("POST", path, params=wire.dry_run_parameter(dry_run), body=wire.typed(kind, body))
        )

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
        metadata = body.get("metadata") or {}
        path = wire.object_path(kind, metadata.get("namespace") or "", metadata.get("name") or "", subresource)
        params = {"fieldManager": owner, "force": "true" if force else "false", **wire.dry_run_parameter(dry_run)}
        content = await self._send(
            "PATCH", path, params=params, body=wire.typed(kind, body), content_type=_APPLY, repeatable=True
        )
        return wire.decode(kind, content)

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
        params = {"fieldManager": owner} if owner else {}
        path = wire.object_path(kind, namespace, name, subresource)
        content = await self._send(
            "PATCH",
            path,
            params=params | wire.dry_run_parameter(dry_run),
            body=patch,
            content_type=_PATCH_TYPES[patch_type],
        )
        return wire.decode(kind, content)

    async def patch_status(
        self, kind: Kind[T], name: str, status: Mapping[str, Any], namespace: str = "", *, resource_version: str = ""
    ) -> T:
        patch: dict[str, Any] = {"status": status}
        if resource_version:
            patch["metadata"] = {"resourceVersion": resource_version}
        return await self.patch(kind, name, patch, namespace, subresource="status")

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
        options = wire.delete_options(uid, grace_seconds, dry_run=dry_run) | {"propagationPolicy": propagation}
        await self._send("DELETE", wire.object_path(kind, namespace, name), body=options)

    async def evict(
        self, name: str, namespace: str, *, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
    ) -> None:
        path = wire.object_path(POD, namespace, name, "eviction")
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": wire.delete_options(uid, grace_seconds, dry_run=dry_run),
        }
        # A budget's refusal is an answer, not an overload: it is the caller's to judge.
        await self._send("POST", path, params=wire.dry_run_parameter(dry_run), body=body, attempts=1)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
    ) -> bytes:
        """The body that the server answers to any request, such as `GET /version`. Raises `ApiError`s."""
        return await self._send(method, path, params=params, body=body, content_type=content_type)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        repeatable: bool = False,
        attempts: int = ATTEMPTS,
    ) -> bytes:
        return await self._transport.send(
            method,
            path,
            params=params,
            body=body,
            content_type=content_type,
            repeatable=repeatable,
            attempts=attempts,
            guard=None if method == "GET" else self._guard,
        )


async def _next_chunk(chunks: AsyncGenerator[bytes, None], ends_at: float | None) -> bytes | None:
    """The next chunk; None at the end of the stream, or of the time that the server should have kept to itself."""
    try:
        async with asyncio.timeout_at(ends_at):
            return await anext(chunks, None)
    except TimeoutError:
        return None
