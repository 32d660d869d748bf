"""The local world: store, actors, process kubelets, gateway and REST door in one process, and what runs beside them."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog
from aiohttp import web

from outrider import __version__
from outrider.api.labels import GPU_NODE, MANAGED_BY, MANAGED_BY_VALUE
from outrider.api.meta import format_time
from outrider.kube.api import AlreadyExists, Api
from outrider.kube.clock import Clock, SystemClock
from outrider.kube.kubeconfig import write_kubeconfig
from outrider.kube.objects import GATEWAY, NAMESPACE, NODE
from outrider.local.actors import run_actors
from outrider.local.folder import WorldFolder, WorldInfo
from outrider.local.gateway import Gateway
from outrider.local.gateway import make_app as make_gateway_app
from outrider.local.kubelet import AddressPool, Kubelet, NodeConfig, PodLogs, make_image_resolver
from outrider.local.rest import make_app as make_rest_app
from outrider.local.store import Store, StoreApi

_log = structlog.get_logger("outrider.world")

GATEWAY_NAME = "outrider"
SYSTEM_NAMESPACE = "outrider-system"
NAMESPACES = ("default", "production", "staging", "development", "kube-system", "kube-node-lease", SYSTEM_NAMESPACE)
"""What exists from the start: those of every cluster, and those that the SRE guide's manifests name."""

Engine = Literal["simulator", "vllm"]


class PortTaken(Exception):
    """The port that was asked for is in use."""

    def __init__(self, port: int, option: str) -> None:
        self.port = port
        self.option = option
        super().__init__(f"port {port} on 127.0.0.1 is in use")


@dataclass(frozen=True)
class WorldSettings:
    """What the world is made of."""

    nodes: int = 2
    gpus_per_node: int = 8
    gpu_product: str = "NVIDIA-A100-SXM4-40GB"
    engine: Engine = "simulator"
    gateway_port: int | None = None
    """None: 8080 if it is free, else any. 0: any."""
    api_port: int | None = None
    """None: 7070 if it is free, else any. 0: any."""


@dataclass(frozen=True)
class Running:
    """A world that has come up."""

    info: WorldInfo
    api: Api
    seconds: dict[str, float] = field(default_factory=dict)
    """What came up, and when, in seconds since the start."""


Companion = Callable[[Api, str], Awaitable[None]]
"""What runs beside the world and is given its API and the gateway's URL: the operator."""


def _bind(port: int | None, preferred: int, option: str) -> socket.socket:
    """A listening socket on loopback, on the port asked for, else on the preferred one, else on any.

    Raises:
        PortTaken: a port was asked for and is in use.
    """
    candidates = [preferred, 0] if port is None else [port]
    for candidate in candidates:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        return listener
    raise PortTaken(port or preferred, option)


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def _served(app: web.Application, listener: socket.socket, *, shutdown_seconds: float) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield
    finally:
        await runner.cleanup()


class World:
    """One local world. `run` brings it up, keeps it until `stop` is set, and takes it down."""

    def __init__(
        self,
        folder: WorldFolder,
        settings: WorldSettings,
        *,
        companions: Sequence[Companion] = (),
        clock: Clock | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._companions = tuple(companions)
        self._clock = clock or SystemClock()
        self._kubelets: list[Kubelet] = []

    async def run(self, stop: asyncio.Event, on_ready: Callable[[Running], None] = lambda _: None) -> None:
        """Run until `stop` is set, then end every pod and close everything.

        Raises:
            WorldInUse: another process runs this world.
            PortTaken: a port that was asked for is in use.
            StoreError: the database cannot be read.
        """
        started = self._clock.monotonic()
        seconds: dict[str, float] = {}

        def mark(what: str) -> None:
            seconds[what] = self._clock.monotonic() - started

        with self._folder.locked():
            async with AsyncExitStack() as stack:
                api_listener = _bind(self._settings.api_port, 7070, "--api-port")
                gateway_listener = _bind(self._settings.gateway_port, 8080, "--gateway-port")
                store = await stack.enter_async_context(Store.opened(self._clock, path=self._folder.database))
                api = StoreApi(store, user="system:outrider-world")
                await self._furnish(api)
                mark("store")
                logs = PodLogs(self._folder.pods)
                rest = make_rest_app(store, token=self._folder.token(), logs=logs)
                await stack.enter_async_context(_served(rest, api_listener, shutdown_seconds=1.0))
                mark("api")
                group = await stack.enter_async_context(_tasks())
                group.start("actors", run_actors(api, self._clock))
                gateway = Gateway(api, self._clock)
                group.start("gateway", gateway.run())
                door = _served(make_gateway_app(gateway), gateway_listener, shutdown_seconds=5.0)
                await stack.enter_async_context(door)
                await group.wait_for(gateway.synced.wait())
                mark("gateway")
                for companion in self._companions:
                    group.start("operator", companion(api, _url(gateway_listener)))
                self._start_kubelets(api, group)
                stack.push_async_callback(self._stop_kubelets)
                info = self._announce(_url(api_listener), _url(gateway_listener))
                stack.callback(self._folder.forget_info)
                mark("ready")
                on_ready(Running(info=info, api=api, seconds=seconds))
                await group.wait_for(stop.wait())

    async def _furnish(self, api: Api) -> None:
        for name in NAMESPACES:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            with contextlib.suppress(AlreadyExists):
                await api.create(NAMESPACE, body)
        gateway = {
            "apiVersion": GATEWAY.api_version,
            "kind": "Gateway",
            "metadata": {"name": GATEWAY_NAME, "namespace": SYSTEM_NAMESPACE, "labels": {MANAGED_BY: MANAGED_BY_VALUE}},
            "spec": {
                "gatewayClassName": "outrider-local",
                "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
            },
        }
        with contextlib.suppress(AlreadyExists):
            await api.create(GATEWAY, gateway)
        await self._remove_surplus_nodes(api)

    def _node_names(self) -> list[str]:
        return [f"node-{number}" for number in range(1, self._settings.nodes + 1)]

    async def _remove_surplus_nodes(self, api: Api) -> None:
        """Nodes of an earlier start that had more of them are gone, not lost: nobody should wait for them."""
        wanted = set(self._node_names())
        for node in (await api.list(NODE)).items:
            if node.metadata.name not in wanted:
                await api.delete(NODE, node.metadata.name)

    def _start_kubelets(self, api: Api, group: "_Tasks") -> None:
        settings = self._settings
        addresses = AddressPool()
        images = make_image_resolver(api, engine=settings.engine)
        cores = os.cpu_count() or 1
        for name in self._node_names():
            node = NodeConfig(
                name=name,
                # Simulated servers need next to no CPU or memory, whatever their specs ask for: what is scarce is GPUs.
                cpu=str(max(256, cores)),
                memory="2Ti",
                gpus=settings.gpus_per_node,
                gpu_product=settings.gpu_product,
                labels={GPU_NODE: "gpu"} if settings.gpus_per_node else {GPU_NODE: "cpu"},
            )
            kubelet = Kubelet(api, self._clock, node, self._folder.pods, images, addresses)
            self._kubelets.append(kubelet)
            group.start(f"kubelet {name}", kubelet.run())

    async def _stop_kubelets(self) -> None:
        await asyncio.gather(*(kubelet.stop(end_pods=True) for kubelet in self._kubelets))

    def _announce(self, api_url: str, gateway_url: str) -> WorldInfo:
        folder, settings = self._folder, self._settings
        write_kubeconfig(folder.kubeconfig, server=api_url, token=folder.token(), context=f"outrider-{folder.name}")
        info = WorldInfo(
            name=folder.name,
            pid=os.getpid(),
            api_url=api_url,
            gateway_url=gateway_url,
            kubeconfig=str(folder.kubeconfig),
            version=__version__,
            engine=settings.engine,
            nodes=settings.nodes,
            gpus_per_node=settings.gpus_per_node,
            started_at=format_time(self._clock.now()),
        )
        folder.write_info(info)
        return info


class _Tasks:
    """The long-running parts of the world: when one of them ends, the world ends, with its error."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, name: str, work: Awaitable[Any]) -> None:
        self._tasks.append(asyncio.ensure_future(work))
        self._tasks[-1].set_name(name)

    async def wait_for(self, work: Awaitable[Any]) -> None:
        """Wait for something, unless a part of the world ends first."""
        waiting = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if waiting in done:
            waiting.result()
            return
        waiting.cancel()
        ended = next(iter(done))
        ended.result()
        raise RuntimeError(f"{ended.get_name()} ended unexpectedly")

    async def cancel(self) -> None:
        # The last started leans on those before it: the operator and the kubelets go first, the actors last.
        for task in reversed(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def _tasks() -> AsyncIterator[_Tasks]:
    group = _Tasks()
    try:
        yield group
    finally:
        await group.cancel()
