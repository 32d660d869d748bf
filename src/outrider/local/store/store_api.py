"""The store as a `kube.api.Api`, in process: what the actors, the kubelet, the gateway and the operator talk to."""

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from outrider.kube.api import (
    Kind,
    ListResult,
    Object,
    PatchType,
    Propagation,
    Unavailable,
    Undecodable,
    WatchEvent,
)
from outrider.kube.objects import NAMESPACE
from outrider.local.store import errors, scale
from outrider.local.store.container_logs import container_logs
from outrider.local.store.deletion import Deletion, delete
from outrider.local.store.eviction import evict
from outrider.local.store.log_source import LogOptions, LogSource
from outrider.local.store.ownership import Manager
from outrider.local.store.persistence import StoreError
from outrider.local.store.records import Record
from outrider.local.store.selectors import select
from outrider.local.store.store import Store
from outrider.local.store.watching import watch
from outrider.local.store.writes import Write, apply, create, patch

T = TypeVar("T")


@lru_cache(maxsize=256)
def _decoder(struct: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(struct)


def decode_as(kind: Kind[T], data: bytes) -> T:
    """An object, decoded into the kind's type. Raises `Undecodable` when it does not fit that type."""
    try:
        found: T = _decoder(cast("Hashable", kind.struct)).decode(data)
    except msgspec.ValidationError as error:
        raise Undecodable(f"cannot read a {kind.kind}: {error}") from error
    return found


class StoreApi:
    """Talks to the store as `user`, who is the field manager of writes that name no other.

    `logs` is where `logs` comes from; without it, logs are refused.
    """

    def __init__(self, store: Store, *, user: str = "system:outrider", logs: LogSource | None = None) -> None:
        self._store = store
        self._user = user
        self._logs = logs

    def _write(self, owner: str = "", subresource: str = "", *, dry_run: bool = False) -> Write:
        return Write(Manager(owner or self._user, "Update", subresource), dry_run)

    async def _written(self, kind: Kind[T], record: Record) -> T:
        """The outcome of a write, once it is on disk."""
        await self._settled()
        return decode_as(kind, record.data)

    async def _settled(self) -> None:
        try:
            await self._store.durable()
        except StoreError as error:
            raise Unavailable(str(error)) from error

    async def served(self, api_version: str) -> frozenset[str]:
        return frozenset(kind.kind for kind in self._store.kinds if kind.api_version == api_version)

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        return decode_as(kind, self._store.get(kind, name, namespace).data)

    async def list(self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "") -> ListResult[T]:
        records = self._store.list(kind, select(kind, namespace, labels, fields))
        return ListResult(tuple(decode_as(kind, record.data) for record in records), str(self._store.version))

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
        selection = select(kind, namespace, labels, fields)
        notices = watch(self._store, kind, selection, resource_version=resource_version, timeout=timeout)
        try:
            async for notice in notices:
                yield WatchEvent(notice.type, decode_as(kind, notice.data), str(notice.version))
        finally:
            await notices.aclose()

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        return await self._written(kind, create(self._store, kind, body, self._write(dry_run=dry_run)))

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
        write = Write(Manager(owner, "Apply", subresource), dry_run)
        return await self._written(kind, apply(self._store, kind, body, write, force=force))

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
        write = self._write(owner, subresource, dry_run=dry_run)
        return await self._written(kind, patch_any(self._store, kind, namespace, name, patch, patch_type, write))

    async def patch_status(
        self, kind: Kind[T], name: str, status: Mapping[str, Any], namespace: str = "", *, resource_version: str = ""
    ) -> T:
        body: Object = {"status": status}
        if resource_version:
            body["metadata"] = {"resourceVersion": resource_version}
        return await self.patch(kind, name, body, namespace, subresource="status")

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
        deletion = Deletion(uid=uid, grace_seconds=grace_seconds, propagation=propagation, dry_run=dry_run)
        delete(self._store, kind, name, namespace, deletion)
        await self._settled()

    async def evict(
        self, name: str, namespace: str, *, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
    ) -> None:
        evict(self._store, name, namespace, Deletion(uid=uid, grace_seconds=grace_seconds, dry_run=dry_run))
        await self._settled()

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
        options = LogOptions(follow, previous, timestamps, since_seconds, tail_lines)
        async for chunk in container_logs(self._store, self._logs, namespace, name, container, options):
            yield chunk


def patch_any(
    store: Store, kind: Kind[Any], namespace: str, name: str, body: Any, patch_type: PatchType, write: Write
) -> Record:
    """Patch the object or one of its subresources; of the scale, too, it is the object that is given back."""
    if write.subresource == "scale":
        return scale.patch_scale(store, kind, namespace, name, body, patch_type, write)
    check_subresource(store, kind, write.subresource)
    return patch(store, kind, namespace, name, body, patch_type, write)


def check_subresource(store: Store, kind: Kind[Any], subresource: str) -> None:
    """Raises `NotFound` for a subresource that is not written through patches and updates, or that the kind lacks."""
    rules = store.table(kind).rules
    known = not subresource or (subresource == "status" and rules.has_status)
    if not known and not (subresource == "finalize" and kind == NAMESPACE):
        raise errors.no_subresource(kind, subresource)
