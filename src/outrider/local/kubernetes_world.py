"""The local world on a real control plane: the same kubelets, gateway and operator, in a network of their own.

Everything runs inside the world's network namespace, this process too. Only the listening sockets that were made before
it was entered belong to the host: the gateway's, and the relay to the API server.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from socket import create_server, socket

import structlog

from outrider.kube.api import Api, ApiError, TooManyRequests
from outrider.kube.clock import Clock, SystemClock
from outrider.kube.files import write_private
from outrider.kube.http import HttpApi
from outrider.kube.objects import SERVICE
from outrider.local.controlplane import access, dns
from outrider.local.controlplane.definitions import FIELD_OWNER, define, definitions_in, own_definitions
from outrider.local.controlplane.flags import SERVICE_NETWORK, PlaneSettings
from outrider.local.controlplane.namespace import (
    NODE_NETWORK,
    POD_NETWORK,
    WORLD_ADDRESS,
    Anchor,
    enter,
    node_address,
    show_files,
)
from outrider.local.controlplane.node_apis import served_node_apis
from outrider.local.controlplane.pki import KeyPair
from outrider.local.controlplane.plane import ControlPlane
from outrider.local.controlplane.programs import Programs, ProgramsMissing
from outrider.local.controlplane.relay import proxied, proxy_url, relayed
from outrider.local.controlplane.services import PROXY_USER, ServiceNetwork
from outrider.local.folder import WorldFolder, WorldInfo
from outrider.local.furniture import describe, furnish, node_configs, remove_surplus_nodes
from outrider.local.gateway import Gateway
from outrider.local.gateway import make_app as make_gateway_app
from outrider.local.kubelet import AddressPool, ImageResolver, Kubelet, NodeConfig, make_image_resolver
from outrider.local.kubelet.usage import UsageMonitor
from outrider.local.parts import Tasks, bind, running_tasks, served, url_of
from outrider.local.remains import start_empty
from outrider.local.settings import GATEWAY_PORT, SYSTEM_NAMESPACE, Companion, Running, WorldSettings

log = structlog.get_logger(__name__)

KUBELET_PORT = 10250
FURNISHING_SECONDS = 60.0
NETWORKS = (POD_NETWORK, SERVICE_NETWORK, NODE_NETWORK)
INSIDE_URL = f"http://{WORLD_ADDRESS}:{GATEWAY_PORT}"
"""Where the gateway is reached within the world's network."""


@dataclass(frozen=True)
class _Listeners:
    api: socket
    gateway: socket
    proxy: socket


class KubernetesWorld:
    """One local world on a real control plane. `entered` prepares this process for it, `run` brings it up."""

    def __init__(
        self,
        folder: WorldFolder,
        settings: WorldSettings,
        programs: Programs,
        *,
        companions: Sequence[Companion] = (),
        clock: Clock | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._programs = programs
        self._companions = tuple(companions)
        self._clock = clock or SystemClock()
        self._started = self._clock.monotonic()
        self._seconds: dict[str, float] = {}
        self._kubelets: list[Kubelet] = []
        self._listeners: _Listeners | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Take the world's lock and its ports on the host, then move this process into the world's network.

        There is no way back: afterwards the process only ends. To be called before any thread is started.

        Raises:
            WorldInUse: another process runs this world.
            PortTaken: a port that was asked for is in use.
            NamespaceUnavailable: the system or the user can have no network namespace.
            ProgramsMissing: the definitions of the Gateway API are not there.
        """
        if not self._programs.gateway_api:
            raise ProgramsMissing(
                f"{self._programs.folder} lacks the definitions of the Gateway API (crds/gateway-api)"
            )
        anchor = Anchor(self._folder.control_plane)
        with self._folder.locked():
            api = bind(self._settings.api_port, 6443, "--api-port")
            gateway = bind(self._settings.gateway_port, 8080, "--gateway-port")
            self._listeners = _Listeners(api, gateway, bind(0, 0, ""))
            if self._settings.fresh:
                start_empty(self._folder)
            if not enter(anchor, NETWORKS):
                with contextlib.suppress(OSError):  # then names are not resolved, and `run` says so
                    show_files(dns.resolver_files(self._folder.control_plane / "etc"))
            self._mark("network")
            try:
                yield
            finally:
                anchor.end()

    async def run(self, stop: asyncio.Event, on_ready: Callable[[Running], None] = lambda _: None) -> None:
        """Run until `stop` is set, then end every pod and close everything. Within `entered` only.

        Raises:
            ControlPlaneFailed: a program of the control plane does not come up.
        """
        assert self._listeners is not None
        listeners = self._listeners
        plane_settings = PlaneSettings(address=WORLD_ADDRESS)
        plane = ControlPlane(self._programs, self._folder.control_plane, self._clock, plane_settings)
        async with AsyncExitStack() as stack:

            async def speak_as(client: KeyPair) -> HttpApi:
                return await stack.enter_async_context(HttpApi(plane.cluster_config(client), clock=self._clock))

            api = await speak_as(plane.pki.admin)
            operator = await speak_as(plane.pki.service_account(SYSTEM_NAMESPACE, access.OPERATOR))
            front_door = await speak_as(plane.pki.client(access.GATEWAY_USER))
            proxy = await speak_as(plane.pki.client(PROXY_USER))
            nodes = {node.name: await speak_as(plane.pki.node(node.name)) for node in self._nodes()}
            group = await stack.enter_async_context(running_tasks())
            group.start("control plane", plane.run(self._mark))
            await group.wait_for(plane.ready.wait())
            await stack.enter_async_context(relayed(listeners.api, "127.0.0.1", plane.settings.ports.api))
            await stack.enter_async_context(proxied(listeners.proxy, self._folder.token()))
            await group.wait_for(self._until_furnished(api))
            self._mark("definitions")
            await self._serve_services(proxy, group)
            self._mark("services")
            self._start_kubelets(api, nodes, group)
            stack.push_async_callback(self._stop_kubelets)
            usage = UsageMonitor(self._folder.pods, self._clock)
            group.start("usage", usage.run())
            node_apis = served_node_apis(plane.pki, self._kubelets, usage, api, address=WORLD_ADDRESS)
            await stack.enter_async_context(node_apis)
            gateway = Gateway(front_door, self._clock, addresses=(WORLD_ADDRESS,))
            group.start("gateway", gateway.run())
            inside = create_server((WORLD_ADDRESS, GATEWAY_PORT))
            door = served(make_gateway_app(gateway), listeners.gateway, inside, shutdown_seconds=5.0)
            await stack.enter_async_context(door)
            await group.wait_for(gateway.synced.wait())
            self._mark("gateway")
            for companion in self._companions:
                group.start("operator", companion(operator, url_of(listeners.gateway)))
            for kubelet in self._kubelets:
                await group.wait_for(kubelet.registered.wait())
            self._mark("nodes")
            info = await self._announce(plane, api)
            stack.callback(self._folder.forget_info)
            on_ready(Running(info=info, api=api, seconds=self._seconds))
            await group.wait_for(stop.wait())

    def _mark(self, what: str) -> None:
        self._seconds[what] = self._clock.monotonic() - self._started

    async def _until_furnished(self, api: Api) -> None:
        """A slow machine's API server, only just started, may take too long to answer: then it is asked once more."""
        deadline = self._clock.monotonic() + FURNISHING_SECONDS
        while True:
            try:
                await self._furnish(api)
            except (ApiError, ExceptionGroup) as error:
                if not _passes(error) or self._clock.monotonic() > deadline:
                    raise
                log.warning("the API server is not up to it yet", error=str(error))
                await self._clock.sleep(1.0)
            else:
                return

    async def _furnish(self, api: Api) -> None:
        await define(api, self._clock, [*own_definitions(), *definitions_in(self._programs.gateway_api)])
        await furnish(api)
        await api.apply(SERVICE, dns.service_body(), owner=FIELD_OWNER)
        await access.grant(api, SYSTEM_NAMESPACE)
        await remove_surplus_nodes(api, self._settings)

    async def _serve_services(self, api: Api, group: Tasks) -> None:
        services = ServiceNetwork(api, self._clock, elsewhere=frozenset({dns.DNS_ADDRESS}))
        names = dns.DnsServer(services.addresses)
        group.start("services", services.run())
        group.start("dns", names.run())
        await group.wait_for(services.synced.wait())
        await group.wait_for(names.serving.wait())
        if not dns.names_are_resolved():
            log.warning("pods do not resolve the names of Services: /etc/resolv.conf cannot be replaced for them")

    def _nodes(self) -> list[NodeConfig]:
        configs = node_configs(self._settings)
        return [
            replace(node, address=node_address(number), kubelet_port=KUBELET_PORT)
            for number, node in enumerate(configs, start=1)
        ]

    def _start_kubelets(self, api: Api, nodes: dict[str, HttpApi], group: Tasks) -> None:
        addresses = AddressPool("own", network=POD_NETWORK, seed=self._folder.name)
        images: ImageResolver = make_image_resolver(api, engine=self._settings.engine)
        for node in self._nodes():
            own = nodes[node.name]
            self._kubelets.append(Kubelet(own, self._clock, node, self._folder.pods, images, addresses))
        for kubelet in self._kubelets:
            group.start(f"kubelet {kubelet.node.name}", kubelet.run())

    async def _stop_kubelets(self) -> None:
        await asyncio.gather(*(kubelet.stop(end_pods=True) for kubelet in self._kubelets))

    async def _announce(self, plane: ControlPlane, api: HttpApi) -> WorldInfo:
        assert self._listeners is not None
        folder = self._folder
        api_url = url_of(self._listeners.api).replace("http:", "https:")
        context = f"outrider-{folder.name}"
        plane.write_kubeconfig(folder.kubeconfig, plane.pki.admin, server=api_url, context=context)
        version = json.loads(await api.raw("GET", "/version"))["gitVersion"].removeprefix("v")
        self._mark("ready")
        now, gateway_url = self._clock.now(), url_of(self._listeners.gateway)
        write_private(folder.proxy, f"{proxy_url(self._listeners.proxy, folder.token())}\n".encode())
        info = describe(
            folder, self._settings, api_url, gateway_url, now=now, kubernetes=version, seconds=self._seconds
        )
        folder.write_info(info)
        return info


def _passes(error: Exception) -> bool:
    """Whether it says that the server was too slow or too busy, and nothing else."""
    if isinstance(error, ExceptionGroup):
        return all(_passes(each) for each in error.exceptions)
    return isinstance(error, ApiError) and (error.status >= 500 or isinstance(error, TooManyRequests))
