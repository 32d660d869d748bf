"""No write without a live lease: an `Api` that reads at any time and writes only while its process surely leads.

A write is refused when the lease is not held, and cut off when it ends meanwhile. `HttpApi.guarded` looks once more,
just before the first byte leaves: together they cover a process that is stopped at any point and goes on later. What
remains is a request that has left (see `kube.lease`).
"""

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from outrider.kube.api import Api, Kind, ListResult, PatchType, Propagation, WatchEvent
from outrider.kube.clock import Clock
from outrider.kube.lease import LeaseLost
from outrider.kube.waiting import first_to_end

T = TypeVar("T")


class Permit(Protocol):
    """What allows to write; `kube.lease.LeaderElection` is one."""

    def check(self) -> None:
        """Raises `LeaseLost` when nothing may be written now."""
        ...

    def seconds_left(self) -> float:
        """For how long writing is allowed, as far as is known now; 0 for not at all."""
        ...


class FencedApi:
    """Implements `outrider.kube.api.Api` on another one. Writes raise `LeaseLost` where the permit does not hold."""

    def __init__(self, api: Api, permit: Permit, clock: Clock) -> None:
        self._api = api
        self._permit = permit
        self._clock = clock

    # Reading

    async def served(self, api_version: str) -> frozenset[str]:
        return await self._api.served(api_version)

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        return await self._api.get(kind, name, namespace)

    async def list(self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "") -> ListResult[T]:
        return await self._api.list(kind, namespace, labels=labels, fields=fields)

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
        return self._api.watch(
            kind, namespace, labels=labels, fields=fields, resource_version=resource_version, timeout=timeout
        )

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
        return self._api.logs(
            name, namespace, container=container, follow=follow, previous=previous, timestamps=timestamps,
            since_seconds=since_seconds, tail_lines=tail_lines,
        )  # fmt: skip

    # Writing

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        return await self._write(self._api.create(kind, body, dry_run=dry_run))

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
        return await self._write(
            self._api.apply(kind, body, owner=owner, force=force, subresource=subresource, dry_run=dry_run)
        )

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
        return await self._write(
            self._api.patch(
                kind, name, patch, namespace, patch_type=patch_type, owner=owner, subresource=subresource,
                dry_run=dry_run,
            )
        )  # fmt: skip

    async def patch_status(
        self, kind: Kind[T], name: str, status: Mapping[str, Any], namespace: str = "", *, resource_version: str = ""
    ) -> T:
        return await self._write(
            self._api.patch_status(kind, name, status, namespace, resource_version=resource_version)
        )

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
        await self._write(
            self._api.delete(
                kind, name, namespace, uid=uid, grace_seconds=grace_seconds, propagation=propagation, dry_run=dry_run
            )
        )

    async def evict(
        self, name: str, namespace: str, *, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
    ) -> None:
        await self._write(self._api.evict(name, namespace, uid=uid, grace_seconds=grace_seconds, dry_run=dry_run))

    async def _write(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a write, which begins and goes on only while the permit holds."""
        try:
            self._permit.check()
        except LeaseLost:
            work.close()
            raise
        result: T | _Expired = (await first_to_end(work, self._until_not_permitted())).result()
        if isinstance(result, _Expired):
            raise LeaseLost("the lease ended while a write was under way: whether it took effect is unknown")
        return result

    async def _until_not_permitted(self) -> "_Expired":
        while (left := self._permit.seconds_left()) > 0:
            await self._clock.sleep(left)
        return _Expired()


class _Expired:
    """The permit ended first."""
