"""A small world in virtual time: the in-memory store, all actors, and a kubelet that only pretends.

Time is the event loop's own, and it jumps ahead whenever nothing is left to do, so that hours pass in milliseconds and
every run of a seed is the same.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from virtual_kube import LoopClock, run_virtually

from outrider.api.meta import format_time
from outrider.kube.api import ApiError, NotFound
from outrider.kube.objects import DEPLOYMENT, LEASE, NODE, POD, REPLICA_SET
from outrider.local.actors import ActorSettings, run_actors
from outrider.local.store import Store, StoreApi

GPU = "nvidia.com/gpu"


class World:
    """Everything a test does to the cluster, and asks of it."""

    def __init__(self, settings: ActorSettings, seed: int) -> None:
        self.clock = LoopClock()
        self.random = random.Random(seed)
        self.store = Store(self.clock, rng=random.Random(seed + 1))
        self.api = StoreApi(self.store, user="test")
        self.settings = settings
        self.start_seconds: Callable[[dict[str, Any]], float | None] = lambda _pod: self.random.uniform(0.5, 5)
        """Seconds until a pod is ready; None for never."""
        self.stop_seconds: Callable[[dict[str, Any]], float] = lambda _pod: self.random.uniform(0.1, 3)
        self.silent_nodes: set[str] = set()
        """Nodes whose kubelet has stopped."""
        self.checks: list[Callable[[], None]] = []
        """Called after each change of a pod or ReplicaSet; they raise AssertionError."""
        self.broken: list[str] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._actors: asyncio.Task[None] | None = None
        self._addresses = 0

    # Running

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def start_actors(self, api: Any = None) -> None:
        self._actors = asyncio.create_task(run_actors(api or self.api, self.clock, self.settings))

    async def stop_actors(self) -> None:
        if self._actors is not None:
            self._actors.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._actors

    async def close(self) -> None:
        await self.stop_actors()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    async def until(self, condition: Callable[[], Any], within: float = 300.0) -> None:
        deadline = self.clock.monotonic() + within
        while not condition():
            assert not self.broken, self.broken[0]
            assert self.clock.monotonic() < deadline, f"not within {within} s\n{self.describe()}"
            await asyncio.sleep(0.1)
        assert not self.broken, self.broken[0]

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        assert not self.broken, self.broken[0]

    def describe(self) -> str:
        lines = [f"{pod['metadata']['name']} {pod['spec'].get('nodeName')} {pod.get('status')}" for pod in self.pods()]
        return "\n".join(lines)

    # Reading, straight from the store

    def all(self, kind: Any, namespace: str = "") -> list[dict[str, Any]]:
        return [record.object() for record in self.store.table(kind).all(namespace)]

    def get(self, kind: Any, name: str, namespace: str = "default") -> dict[str, Any] | None:
        record = self.store.table(kind).get(namespace if kind.namespaced else "", name)
        return record.object() if record else None

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        found = self.all(POD)
        return [pod for pod in found if labels.items() <= (pod["metadata"].get("labels") or {}).items()]

    def ready(self, **labels: str) -> list[dict[str, Any]]:
        return [pod for pod in self.pods(**labels) if is_ready(pod)]

    def sets(self, deployment: str = "web") -> list[dict[str, Any]]:
        return [each for each in self.all(REPLICA_SET) if each["metadata"]["name"].startswith(f"{deployment}-")]

    def rolled_out(self, name: str = "web") -> bool:
        """What `kubectl rollout status` asks."""
        found = self.get(DEPLOYMENT, name)
        assert found is not None
        spec, status = found["spec"], found.get("status") or {}
        wanted = spec["replicas"]
        return (
            status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            and status.get("updatedReplicas", 0) == wanted
            and status.get("replicas", 0) == wanted
            and status.get("availableReplicas", 0) == wanted
        )

    # Writing

    async def add_node(self, name: str, *, gpus: int = 8, cpu: str = "64", **extra: Any) -> None:
        now = format_time(self.clock.now())
        resources = {"cpu": cpu, "memory": "512Gi", "pods": "110", GPU: str(gpus)}
        labels = {"kubernetes.io/hostname": name, **extra.pop("labels", {})}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": now}
        body = {
            "metadata": {"name": name, "labels": labels},
            "spec": extra,
            "status": {"capacity": resources, "allocatable": resources, "conditions": [ready]},
        }
        await self.api.create(NODE.into(dict), body)
        await self.api.patch_status(NODE.into(dict), name, body["status"])
        lease = {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": now_micro(self)}}
        await self.api.create(LEASE.into(dict), lease)
        self.spawn(self._beat(name))

    async def deploy(self, name: str = "web", *, replicas: int = 4, version: str = "v1", **spec: Any) -> None:
        body = deployment_body(name, replicas=replicas, version=version, **spec)
        await self.api.apply(DEPLOYMENT.into(dict), body, owner="test")

    async def scale(self, replicas: int, name: str = "web") -> None:
        await self.api.patch(DEPLOYMENT.into(dict), name, {"spec": {"replicas": replicas}}, "default")

    # The kubelets

    async def _beat(self, name: str) -> None:
        """Renew the lease, and heal the node's own condition, as the kubelet does on each heartbeat."""
        while True:
            await asyncio.sleep(10)
            if name in self.silent_nodes:
                continue
            try:
                patch = {"spec": {"renewTime": now_micro(self)}}
                await self.api.patch(LEASE.into(dict), name, patch, "kube-node-lease")
                node = await self.api.get(NODE.into(dict), name)
                if not is_ready(node):
                    now = format_time(self.clock.now())
                    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": now}
                    await self.api.patch_status(NODE.into(dict), name, {"conditions": [ready]})
            except NotFound:
                return

    async def kubelet(self) -> None:
        """Make bound pods ready after a while, make them ready again when others said otherwise, finish deletions."""
        listed = await self.api.list(POD.into(dict))
        for pod in listed.items:
            self.spawn(self._serve(pod))
        version = listed.resource_version
        async for event in self.api.watch(POD.into(dict), resource_version=version):
            self._check()
            if event.type in ("ADDED", "MODIFIED"):
                self.spawn(self._serve(event.object))

    async def watch_sets(self) -> None:
        async for _event in self.api.watch(REPLICA_SET.into(dict)):
            self._check()

    def _check(self) -> None:
        for check in self.checks:
            try:
                check()
            except AssertionError as error:
                self.broken.append(f"{error}\n{self.describe()}")

    async def _serve(self, pod: dict[str, Any]) -> None:
        metadata, node = pod["metadata"], pod["spec"].get("nodeName")
        if not node or node in self.silent_nodes:
            return
        seconds = self.stop_seconds(pod) if metadata.get("deletionTimestamp") else 0.0
        if not metadata.get("deletionTimestamp"):
            started = (pod.get("status") or {}).get("podIP")
            wait = 0.0 if started else self.start_seconds(pod)
            if wait is None or is_ready(pod):
                return
            seconds = wait
        await asyncio.sleep(seconds)
        if node in self.silent_nodes:
            return
        with contextlib.suppress(ApiError):
            await self._finish(metadata)

    async def _finish(self, metadata: dict[str, Any]) -> None:
        name, namespace = metadata["name"], metadata["namespace"]
        pod = await self.api.get(POD.into(dict), name, namespace)
        if pod["metadata"]["uid"] != metadata["uid"]:
            return
        if pod["metadata"].get("deletionTimestamp"):
            if metadata.get("deletionTimestamp"):
                await self.api.delete(POD, name, namespace, uid=metadata["uid"], grace_seconds=0)
            return
        if is_ready(pod):
            return
        self._addresses += 1
        status = pod.get("status") or {}
        others = [each for each in status.get("conditions") or [] if each["type"] != "Ready"]
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(self.clock.now())}
        address = status.get("podIP") or f"127.64.{self._addresses // 250}.{self._addresses % 250 + 1}"
        body = {"phase": "Running", "podIP": address, "conditions": [*others, ready]}
        version = pod["metadata"]["resourceVersion"]
        await self.api.patch_status(POD.into(dict), name, body, namespace, resource_version=version)


def now_micro(world: World) -> str:
    return format_time(world.clock.now(), micro=True)


def is_ready(obj: dict[str, Any]) -> bool:
    if obj["kind"] == "Pod" and obj["metadata"].get("deletionTimestamp"):
        return False
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def deployment_body(name: str, *, replicas: int, version: str, gpus: int = 1, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "server",
        "image": f"server:{version}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "1"}, "limits": {GPU: str(gpus)} if gpus else {}},
    }
    pod_spec = {"containers": [container], **spec.pop("pod_spec", {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": {**labels, "version": version}}, "spec": pod_spec},
            **spec,
        },
    }


@pytest.fixture
def in_world() -> Callable[..., Any]:
    """Run a coroutine function `(world) -> None` in a world with actors and kubelets."""

    def run(
        story: Callable[[World], Coroutine[Any, Any, Any]],
        *,
        settings: ActorSettings | None = None,
        seed: int = 1,
        actors: bool = True,
    ) -> Any:
        async def whole() -> Any:
            world = World(settings or ActorSettings(seed=seed), seed)
            try:
                world.spawn(world.kubelet())
                world.spawn(world.watch_sets())
                if actors:
                    world.start_actors()
                return await story(world)
            finally:
                await world.close()

        return run_virtually(whole)

    return run
