"""A world of a store and a kubelet, and the promise that no test leaves a process behind."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.api import Api, NotFound
from outrider.kube.clock import SystemClock
from outrider.kube.objects import NAMESPACE, POD
from outrider.local.kubelet import AddressPool, Kubelet, NodeConfig, PodLogs, Settings, make_image_resolver
from outrider.local.kubelet.leftovers import kill_leftovers, marked
from outrider.local.store import LogOptions, Store, StoreApi

POD_JSON = POD.into(dict)
QUICK = Settings(
    backoff_first=0.1,
    backoff_max=0.3,
    backoff_reset=600.0,
    config_retry=0.1,
    probe_until_ready=0.05,
    gpu_interval=0.1,
    lease_interval=0.2,
    stop_grace=1.0,
)
DEADLINE = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where kubelets keep their state. Whatever was started for it must be gone when the test is over."""
    path = tmp_path / "pods"
    yield path
    left = marked(path)
    kill_leftovers(path)
    assert left == [], f"processes left behind: {left}"


async def until(
    condition: Callable[[], Any] | Callable[[], Awaitable[Any]], what: str = "", seconds: float = DEADLINE
) -> Any:
    """Wait for a condition to be true, and give its value."""
    value: Any = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                value = condition()
                if asyncio.iscoroutine(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not in time: {what or condition}") from None


class World:
    """A store and one kubelet."""

    def __init__(
        self,
        api: Api,
        folder: Path,
        *,
        gpus: int = 0,
        addresses: AddressPool | None = None,
        node: NodeConfig | None = None,
        clock: SystemClock | None = None,
    ) -> None:
        self.api = api
        self.clock = clock or SystemClock()
        self.folder = folder
        self.addresses = addresses or AddressPool("own", seed=str(folder))
        self.node = node or NodeConfig(name="node-1", gpus=gpus)
        self.settings = QUICK
        self.kubelet: Kubelet
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        images = make_image_resolver(self.api)
        self.kubelet = Kubelet(
            self.api, self.clock, self.node, self.folder, images, self.addresses, settings=self.settings
        )
        self._task = asyncio.create_task(self.kubelet.run())

    async def stop(self, *, end_pods: bool = True) -> None:
        await self.kubelet.stop(end_pods=end_pods)
        assert self._task is not None
        await self._task

    async def create(self, name: str, *command: str, **spec: Any) -> dict[str, Any]:
        """A bound pod with one container `main` running the command."""
        container = spec.pop("container", {})
        metadata = {"name": name, "namespace": "default"} | spec.pop("metadata", {})
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {
                "nodeName": self.node.name,
                "terminationGracePeriodSeconds": 2,
                "containers": [{"name": "main", "image": "program", "command": list(command), **container}],
                **spec,
            },
        }
        return await self.api.create(POD_JSON, body)

    async def pod(self, name: str) -> dict[str, Any]:
        return await self.api.get(POD_JSON, name, "default")

    async def status(self, name: str) -> dict[str, Any]:
        return (await self.pod(name)).get("status") or {}

    async def container(self, name: str, index: int = 0) -> dict[str, Any]:
        statuses = (await self.status(name)).get("containerStatuses") or []
        return statuses[index] if len(statuses) > index else {}

    async def phase(self, name: str, phase: str) -> dict[str, Any]:
        """Wait until the pod is in the phase; its status."""

        async def reached() -> dict[str, Any] | None:
            status = await self.status(name)
            return status if status.get("phase") == phase else None

        return await until(reached, f"{name} {phase}")

    async def ready(self, name: str) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            status = await self.status(name)
            return status if condition(status, "Ready").get("status") == "True" else None

        return await until(reached, f"{name} ready")

    async def waiting(self, name: str, reason: str) -> dict[str, Any]:
        """Wait until the first container waits for that reason; its waiting state."""

        async def reached() -> dict[str, Any] | None:
            state = (await self.container(name)).get("state") or {}
            found = state.get("waiting") or {}
            return found if found.get("reason") == reason else None

        return await until(reached, f"{name} waiting: {reason}")

    async def delete(self, name: str, grace_seconds: int | None = None) -> None:
        await self.api.delete(POD, name, "default", grace_seconds=grace_seconds)

    async def removed(self, name: str) -> None:
        async def absent() -> bool:
            try:
                await self.pod(name)
            except NotFound:
                return True
            return False

        uid = next((worker.context.uid for worker in self.kubelet._workers.values() if worker.context.name == name), "")
        await until(absent, f"{name} removed")
        await until(lambda: not uid or not list(self.folder.glob(f"*/{uid}")), f"{name} cleaned up")

    async def output(self, name: str, container: str = "main", **options: Any) -> str:
        chunks = PodLogs(self.folder)("default", name, container, LogOptions(**options))
        return b"".join([chunk async for chunk in chunks]).decode()

    async def prints(self, name: str, text: str, container: str = "main") -> str:
        """Wait until the container has printed the text; all its output."""

        async def printed() -> str | None:
            try:
                output = await self.output(name, container)
            except Exception:  # noqa: BLE001  (it may not have begun yet)
                return None
            return output if text in output else None

        return await until(printed, f"{name} prints {text!r}")


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((entry for entry in status.get("conditions") or () if entry["type"] == kind), {})


@asynccontextmanager
async def world(folder: Path, *, end_pods: bool = True, **options: Any) -> AsyncIterator[World]:
    """A store and a running kubelet, which is stopped with its pods at the end."""
    async with Store.opened(SystemClock()) as store:
        created = World(StoreApi(store), folder, **options)
        created.start()
        try:
            yield created
        finally:
            await created.stop(end_pods=end_pods)


PYTHON = sys.executable
__all__ = ["DEADLINE", "NAMESPACE", "PYTHON", "QUICK", "World", "condition", "until", "world"]
