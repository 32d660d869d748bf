"""One operator's way to the API server, on which everything can go wrong that can go wrong on a network.

Implements `outrider.kube.api.Api` on the store. Crashes come right after a call took effect, and before its answer is
heard: whatever a process can be killed between, it is killed there.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from outrider.kube.api import (
    ApiError,
    Conflict,
    Expired,
    Kind,
    ListResult,
    Object,
    PatchType,
    Propagation,
    TooManyRequests,
    Unavailable,
    WatchEvent,
)
from outrider.kube.objects import POD
from outrider.kube.waiting import closing
from outrider.local.store import StoreApi
from outrider.sim.incidents import ApiFault, ApiTrouble, WatchTrouble
from outrider.sim.loop import LoopClock

T = TypeVar("T")

LATENCY = (0.002, 0.04)
"""Seconds that a call takes each way, as within a cluster."""
SLOW = (1.0, 30.0)
"""Seconds that a slow call takes to take effect: API servers give up after a minute."""
LAG = (0.0, 20.0)
"""Seconds that an event comes late while a watch lags."""
REPEATED = 4
"""So many of the last events come again when a watch repeats itself."""
JITTER_SHARE = 0.3
"""Share of the events that take a moment even when all is well."""
RETRY_AFTER = 1.0
"""Seconds, as API servers ask for when they throttle."""


class StoppableClock(LoopClock):
    """The clock of a process that can stand still: whoever sleeps does not wake meanwhile, and time goes on."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.running.set()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.running.wait()


class Observer(Protocol):
    """Is told of the writes of an operator."""

    def writing(self, who: str) -> None:
        """Whatever the store is told until `wrote` comes from `who`."""
        ...

    def wrote(self, who: str, call: str, kind: Kind[Any], name: str, refusal: str) -> None:
        """It is done, or was refused with this reason."""
        ...


class Line:
    """`troubles` gives what is in trouble at the moment. `crashed` is set once the process is dead. `strike` says after
    each call of one that is to be killed later whether it dies already.
    """

    def __init__(
        self,
        api: StoreApi,
        name: str,
        clock: StoppableClock,
        rng: random.Random,
        troubles: Callable[[], Iterable[ApiTrouble | WatchTrouble]],
        observer: Observer,
        strike: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.crashed = asyncio.Event()
        self._calls_left: int | None = None
        self._strike = strike
        self._api, self._clock, self._rng = api, clock, rng
        self._troubles = troubles
        self._observer = observer

    def crash_after(self, calls: int | None) -> None:
        """Kill the process right after so many more calls that change something; None to let it live."""
        self._calls_left = calls

    # What goes wrong

    async def _alive(self) -> None:
        """Hang while the process stands still, and for ever once it is dead: nothing of it goes on."""
        if self.crashed.is_set():
            await asyncio.Event().wait()
        if not self._clock.running.is_set():
            await self._clock.running.wait()

    def _fault(self) -> ApiFault | None:
        for trouble in self._troubles():
            if isinstance(trouble, ApiTrouble) and self._rng.random() < trouble.share:
                return trouble.how
        return None

    async def _travel(self) -> None:
        await asyncio.sleep(self._rng.uniform(*LATENCY))
        await self._alive()

    async def _call(self, done: Callable[[], Awaitable[T]]) -> T:
        """A call that changes nothing."""
        await self._alive()
        fault = self._fault()
        await self._travel()
        if fault in ("refused", "unknown outcome"):
            raise Unavailable("the connection was reset")
        if fault == "throttled":
            raise TooManyRequests("too many requests, please try again later", retry_after=RETRY_AFTER)
        if fault == "slow":
            await asyncio.sleep(self._rng.uniform(*SLOW))
        result = await done()
        await self._travel()
        return result

    async def _write(self, call: str, kind: Kind[Any], name: str, done: Callable[[], Awaitable[T]]) -> T:
        await self._alive()
        fault = self._fault()
        await self._travel()
        if fault == "refused":
            raise Unavailable("the connection was refused")
        if fault == "throttled":
            raise TooManyRequests("too many requests, please try again later", retry_after=RETRY_AFTER)
        if fault == "conflict" and call not in ("create", "delete"):
            raise Conflict(f"Operation cannot be fulfilled on {kind.plural} {name!r}: it has been modified")
        if fault == "slow":
            # It is on its way, whatever happens to the process that sent it.
            await asyncio.sleep(self._rng.uniform(*SLOW))
        self._observer.writing(self.name)
        refusal = ""
        try:
            result = await done()
        except ApiError as error:
            refusal = error.reason
            raise
        finally:
            self._observer.wrote(self.name, call, kind, name, refusal)
        self._count()
        await self._alive()
        if fault == "unknown outcome":
            raise Unavailable("the connection was reset before the answer came")
        await self._travel()
        return result

    def _count(self) -> None:
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left <= 0 or self._strike():
                self.crashed.set()

    # Reading

    async def served(self, api_version: str) -> frozenset[str]:
        return await self._call(lambda: self._api.served(api_version))

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        return await self._call(lambda: self._api.get(kind, name, namespace))

    async def list(self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "") -> ListResult[T]:
        return await self._call(lambda: self._api.list(kind, namespace, labels=labels, fields=fields))

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
        await self._travel()
        self._raise_if_broken(kind)
        seen: deque[WatchEvent[T]] = deque(maxlen=REPEATED)
        stream = self._api.watch(
            kind, namespace, labels=labels, fields=fields, resource_version=resource_version, timeout=timeout
        )
        async with closing(stream) as events:
            async for event in events:
                how = self._raise_if_broken(kind)
                if how == "silent":
                    await asyncio.Event().wait()
                if how == "lagging":
                    await asyncio.sleep(self._rng.uniform(*LAG))
                elif self._rng.random() < JITTER_SHARE:
                    await asyncio.sleep(self._rng.uniform(*LATENCY))
                await self._alive()
                yield event
                seen.append(event)
                if how == "repeating":
                    for old in tuple(seen):
                        yield old

    def _raise_if_broken(self, kind: Kind[Any]) -> str:
        for trouble in self._troubles():
            if isinstance(trouble, WatchTrouble) and trouble.plural in ("", kind.plural):
                if trouble.how == "broken":
                    raise Unavailable("the watch was cut off")
                if trouble.how == "expired":
                    raise Expired("too old resource version")
                return trouble.how
        return ""

    # Writing

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        return await self._write("create", kind, _name(body), lambda: self._api.create(kind, body, dry_run=dry_run))

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
        def done() -> Awaitable[T]:
            return self._api.apply(
                kind, body, owner=owner, force=force, subresource=subresource, dry_run=dry_run
            )  # fmt: skip

        return await self._write("apply", kind, _name(body), done)

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
        def done() -> Awaitable[T]:
            return self._api.patch(
                kind, name, patch, namespace,
                patch_type=patch_type, owner=owner, subresource=subresource, dry_run=dry_run,
            )  # fmt: skip

        return await self._write("patch", kind, name, done)

    async def patch_status(
        self, kind: Kind[T], name: str, status: Mapping[str, Any], namespace: str = "", *, resource_version: str = ""
    ) -> T:
        def done() -> Awaitable[T]:
            return self._api.patch_status(kind, name, status, namespace, resource_version=resource_version)

        return await self._write("patch_status", kind, name, done)

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
        def done() -> Awaitable[None]:
            return self._api.delete(
                kind, name, namespace,
                uid=uid, grace_seconds=grace_seconds, propagation=propagation, dry_run=dry_run,
            )  # fmt: skip

        await self._write("delete", kind, name, done)

    async def evict(
        self, name: str, namespace: str, *, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
    ) -> None:
        def done() -> Awaitable[None]:
            return self._api.evict(name, namespace, uid=uid, grace_seconds=grace_seconds, dry_run=dry_run)

        await self._write("evict", POD, name, done)

    def logs(self, *_arguments: Any, **_options: Any) -> AsyncIterator[bytes]:
        raise NotImplementedError("the operator reads no logs")


def _name(body: Object | Mapping[str, Any]) -> str:
    metadata: Mapping[str, Any] = body["metadata"]
    return str(metadata.get("name") or metadata.get("generateName", ""))
