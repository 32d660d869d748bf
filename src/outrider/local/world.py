"""The local world: store, actors, process kubelets, gateway and REST door in one process, and what runs beside them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import structlog

from outrider.kube.api import Api
from outrider.kube.clock import Clock, SystemClock
from outrider.kube.kubeconfig import write_kubeconfig
from outrider.local.actors import run_actors
from outrider.local.folder import WorldFolder, WorldInfo
from outrider.local.furniture import describe, furnish, node_configs, remove_surplus_nodes
from outrider.local.gateway import Gateway
from outrider.local.gateway import make_app as make_gateway_app
from outrider.local.kubelet import AddressPool, Kubelet, PodLogs, make_image_resolver
from outrider.local.parts import Tasks, bind, running_tasks, served, url_of
from outrider.local.remains import start_empty
from outrider.local.rest import make_app as make_rest_app
from outrider.local.settings import Companion, Running, WorldSettings
from outrider.local.store import Store, StoreApi

log = structlog.get_logger(__name__)


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
                api_listener = bind(self._settings.api_port, 7070, "--api-port")
                gateway_listener = bind(self._settings.gateway_port, 8080, "--gateway-port")
                if self._settings.fresh:
                    await asyncio.to_thread(start_empty, self._folder)
                store = await stack.enter_async_context(Store.opened(self._clock, path=self._folder.database))
                api = StoreApi(store, user="system:outrider-world")
                await self._furnish(api)
                mark("store")
                logs = PodLogs(self._folder.pods)
                rest = make_rest_app(store, token=self._folder.token(), logs=logs)
                await stack.enter_async_context(served(rest, api_listener, shutdown_seconds=1.0))
                mark("api")
                group = await stack.enter_async_context(running_tasks())
                group.start("actors", run_actors(api, self._clock))
                gateway = Gateway(api, self._clock, addresses=("127.0.0.1",))
                group.start("gateway", gateway.run())
                door = served(make_gateway_app(gateway), gateway_listener, shutdown_seconds=5.0)
                await stack.enter_async_context(door)
                await group.wait_for(gateway.synced.wait())
                mark("gateway")
                for companion in self._companions:
                    group.start("operator", companion(api, url_of(gateway_listener)))
                self._start_kubelets(api, group)
                stack.push_async_callback(self._stop_kubelets)
                mark("ready")
                warnings = [store.missing] if store.missing else []
                info = self._announce(url_of(api_listener), url_of(gateway_listener), seconds, warnings)
                stack.callback(self._folder.forget_info)
                on_ready(Running(info=info, api=api, seconds=seconds))
                await group.wait_for(stop.wait())

    async def _furnish(self, api: Api) -> None:
        await furnish(api)
        await remove_surplus_nodes(api, self._settings)

    def _start_kubelets(self, api: Api, group: Tasks) -> None:
        addresses = AddressPool()
        images = make_image_resolver(api, engine=self._settings.engine)
        for node in node_configs(self._settings):
            kubelet = Kubelet(api, self._clock, node, self._folder.pods, images, addresses)
            self._kubelets.append(kubelet)
            group.start(f"kubelet {node.name}", kubelet.run())

    async def _stop_kubelets(self) -> None:
        await asyncio.gather(*(kubelet.stop(end_pods=True) for kubelet in self._kubelets))

    def _announce(
        self, api_url: str, gateway_url: str, seconds: Mapping[str, float], warnings: Sequence[str]
    ) -> WorldInfo:
        folder, settings = self._folder, self._settings
        write_kubeconfig(folder.kubeconfig, server=api_url, token=folder.token(), context=f"outrider-{folder.name}")
        for warning in warnings:
            log.warning("not all is as it was", what=warning)
        now = self._clock.now()
        info = describe(folder, settings, api_url, gateway_url, now=now, seconds=seconds, warnings=warnings)
        folder.write_info(info)
        return info
