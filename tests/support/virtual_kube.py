"""Virtual time, and a small API server in memory with switches for what goes wrong."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from outrider.kube.api import AlreadyExists, ApiError, EventType, Expired, Kind, ListResult, NotFound, WatchEvent
from outrider.sim.loop import EPOCH, LoopClock, VirtualLoop, run_virtually

T = TypeVar("T")

__all__ = ["EPOCH", "LoopClock", "MemoryApi", "VirtualLoop", "run_virtually", "running", "until"]


@contextlib.asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run things beside the block, and cancel them at its end. If one failed, that is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def until(condition: Callable[[], bool], deadline: float = 1_500.0) -> None:
    """Let virtual time pass until the condition holds."""
    end = asyncio.get_running_loop().time() + deadline
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError("it never came true")
        await asyncio.sleep(0.01)


class MemoryApi:
    """Objects of any kind with one resource version counter, watches with a history, and faults."""

    def __init__(self) -> None:
        self.version = 100
        self.lists = 0
        self.watches = 0
        self.creates: list[dict[str, Any]] = []
        self.patches: list[tuple[str, Any]] = []
        self.failures: list[Exception] = []
        """Raised by the next lists and watches, one each."""
        self.write_failures: list[Exception] = []
        self.silent = False
        """Open watches bring nothing more."""
        self.stale_list: tuple[list[dict[str, Any]], int] | None = None
        """What lists answer instead of the truth, with their version."""
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._history: list[tuple[int, str, EventType, dict[str, Any]]] = []
        self._compacted = 0
        self._news = asyncio.Condition()
        self._break: Exception | None = None
        self.open_watches = 0

    # The world changes

    def put(self, kind: Kind[Any], name: str, namespace: str = "ns", **fields: Any) -> dict[str, Any]:
        """Create or change an object."""
        key = f"{namespace}/{name}" if namespace else name
        old = self._objects.get((kind.plural, key))
        self.version += 1
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{self.version}", "generation": 1}
        if old is not None:
            metadata |= {"uid": old["metadata"]["uid"]}
        metadata |= fields.pop("metadata", {})
        metadata["resourceVersion"] = str(self.version)
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}
        self._objects[(kind.plural, key)] = obj
        self._record(kind, "ADDED" if old is None else "MODIFIED", obj)
        return obj

    def remove(self, kind: Kind[Any], name: str, namespace: str = "ns") -> None:
        old = self._objects.pop((kind.plural, f"{namespace}/{name}" if namespace else name))
        self.version += 1
        gone = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
        self._record(kind, "DELETED", gone)

    def compact(self) -> None:
        """Forget the history: watches that start before now are told 410."""
        self._compacted = self.version

    def reset_history(self) -> None:
        """The store is lost and starts anew."""
        self._objects.clear()
        self._history.clear()
        self.version = 1
        self._compacted = 0

    async def break_watches(self, error: Exception) -> None:
        async with self._news:
            self._break = error
            self._news.notify_all()
        await until(lambda: not self.open_watches)
        self._break = None

    def repeat(self, kind: Kind[Any], event_type: EventType, obj: dict[str, Any]) -> None:
        """Send an event again that was sent before."""
        self._record(kind, event_type, obj)

    def bookmark(self, kind: Kind[Any]) -> None:
        self._record(kind, "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    # Api

    async def list(self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "") -> ListResult[T]:
        self.lists += 1
        await asyncio.sleep(0.01)
        if self.failures:
            raise self.failures.pop(0)
        if self.stale_list is not None:
            objects, version = self.stale_list
            return ListResult(tuple(decode(kind, obj) for obj in objects), str(version))
        objects = [obj for (plural, _), obj in self._objects.items() if plural == kind.plural]
        return ListResult(tuple(decode(kind, obj) for obj in objects), str(self.version))

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
        self.watches += 1
        await asyncio.sleep(0.01)
        if self.failures:
            raise self.failures.pop(0)
        if int(resource_version) < self._compacted:
            raise Expired("too old resource version")
        if int(resource_version) > self.version:
            cause = {"reason": "ResourceVersionTooLarge"}
            raise ApiError("Too large resource version", status=504, reason="Timeout", details={"causes": [cause]})
        position = next((i for i, e in enumerate(self._history) if e[0] > int(resource_version)), len(self._history))
        self.open_watches += 1
        try:
            while True:
                while position < len(self._history) and not self.silent:
                    _, plural, event_type, obj = self._history[position]
                    position += 1
                    if plural == kind.plural:
                        yield WatchEvent(event_type, decode(kind, obj), obj["metadata"]["resourceVersion"])
                if self._break is not None:
                    raise self._break
                async with self._news:
                    await self._news.wait()
        finally:
            self.open_watches -= 1

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        obj = self._objects.get((kind.plural, f"{namespace}/{name}"))
        if obj is None:
            raise NotFound(f"{name} not found")
        return decode(kind, obj)

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        await asyncio.sleep(0.01)
        if self.write_failures:
            raise self.write_failures.pop(0)
        metadata = body["metadata"]
        if (kind.plural, f"{metadata['namespace']}/{metadata['name']}") in self._objects:
            raise AlreadyExists(f"{metadata['name']} exists")
        self.creates.append(dict(body))
        fields = {name: value for name, value in body.items() if name not in ("apiVersion", "kind")}
        return decode(kind, self.put(kind, metadata["name"], metadata["namespace"], **fields))

    async def patch(self, kind: Kind[T], name: str, patch: Any, namespace: str = "", **_options: Any) -> T:
        await asyncio.sleep(0.01)
        if self.write_failures:
            raise self.write_failures.pop(0)
        obj = self._objects.get((kind.plural, f"{namespace}/{name}"))
        if obj is None:
            raise NotFound(f"{name} not found")
        self.patches.append((name, patch))
        fields = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
        return decode(kind, self.put(kind, name, namespace, **{**fields, **patch}))

    async def delete(self, kind: Kind[Any], name: str, namespace: str = "", **_options: Any) -> None:
        await asyncio.sleep(0.01)
        if self.write_failures:
            raise self.write_failures.pop(0)
        if (kind.plural, f"{namespace}/{name}") not in self._objects:
            raise NotFound(f"{name} not found")
        self.remove(kind, name, namespace)

    async def served(self, _api_version: str) -> frozenset[str]:
        raise AssertionError("this server does not know what it serves")

    async def apply(self, *_arguments: Any, **_options: Any) -> Any:
        raise AssertionError("this server does not know apply")

    async def patch_status(self, *_arguments: Any, **_options: Any) -> Any:
        raise AssertionError("this server does not know status")

    async def evict(self, *_arguments: Any, **_options: Any) -> None:
        raise AssertionError("this server does not know evictions")

    def logs(self, *_arguments: Any, **_options: Any) -> AsyncIterator[bytes]:
        raise AssertionError("this server does not know logs")

    def _record(self, kind: Kind[Any], event_type: EventType, obj: dict[str, Any]) -> None:
        self._history.append((self.version, kind.plural, event_type, obj))
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


def decode(kind: Kind[T], obj: dict[str, Any]) -> T:
    if kind.struct is dict:
        return obj  # type: ignore[return-value]
    return msgspec.json.decode(msgspec.json.encode(obj), type=kind.struct)
