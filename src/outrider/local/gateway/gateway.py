"""The HTTP front door of the local world: watches routes and endpoints, serves what they say.

Besides what it passes on, it answers under `/-/`, so that no path of a model server is shadowed:

* `/-/metrics`: what it counts, in Prometheus' text format;
* `/-/ready`: 200 once it knows all routes and endpoints, 503 before;
* `/-/routes`: the routing table as JSON.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from aiohttp import web

from outrider.kube.api import Api, EventType, Kind
from outrider.kube.clock import Clock
from outrider.kube.informer import Informer
from outrider.kube.metadata import metadata_of
from outrider.kube.objects import ENDPOINT_SLICE, HTTP_ROUTE, POD, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.gateway.answers import refusal
from outrider.local.gateway.endpoints import PodMeta
from outrider.local.gateway.matching import Route
from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.proxy import Proxy
from outrider.local.gateway.routes import DeploymentName, RoutingTable
from outrider.local.gateway.status import GatewayStatus

T = TypeVar("T")

HEADER_BYTES = 32 * 1024
"""Of one header line of a request; a client that sends more gets 400."""
HANDLER_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "handler_cancellation": True,  # a client that goes away ends its request at the pod
    "auto_decompress": False,  # bodies pass as they are
    "max_line_size": HEADER_BYTES,
    "max_field_size": HEADER_BYTES,
}
"""How aiohttp's server treats connections, whoever runs the application."""
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Gateway:
    """Keeps the routing table up to date. `run` it for as long as `make_app`'s application is served.

    `addresses` is where it can be reached, for the status of its Gateways; it then serves what is attached to these.
    Without `addresses` it implements no Gateway: it writes nothing, and serves every HTTPRoute that there is.
    """

    def __init__(self, api: Api, clock: Clock, *, addresses: Sequence[str] = ()) -> None:
        self.clock = clock
        self.table = RoutingTable()
        self.metrics = GatewayMetrics()
        self.synced = asyncio.Event()
        """Set once all that exists is in the routing table."""
        table, endpoints = self.table, self.table.endpoints
        self._routes = _follow(api, clock, HTTP_ROUTE.into(Route), self._put_route, table.remove_route)
        services = _follow(api, clock, SERVICE, table.put_service, table.remove_service)
        self._status: GatewayStatus | None = None
        self._informers: tuple[Informer[Any], ...] = (
            self._routes,
            services,
            _follow(api, clock, ENDPOINT_SLICE, endpoints.put_slice, remove_object=endpoints.remove_slice),
            _follow(
                *(api, clock, POD.into(PodMeta), endpoints.put_pod),
                remove_object=lambda old: endpoints.remove_pod(old.metadata.uid),
            ),
            _follow(api, clock, LLM_DEPLOYMENT.into(DeploymentName), table.put_deployment, table.remove_deployment),
        )
        if addresses:
            self._status = GatewayStatus(api, clock, self._routes, services, addresses)
            self._informers += self._status.informers
            for informer in self._status.informers:
                informer.subscribe(self._attach_again)

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())
            for informer in self._informers:
                await informer.synced.wait()
            self.synced.set()
            if self._status is not None:
                group.create_task(self._status.run())

    def _put_route(self, route: Route) -> None:
        if self._status is None or self._status.serves(route):
            self.table.put_route(route)
        else:
            self.table.remove_route(route.metadata.key)

    def _attach_again(self, *_: object) -> None:
        for route in self._routes.list():
            self._put_route(route)

    def unsynced(self) -> list[str]:
        """The kinds whose objects are not known yet."""
        return [informer.kind.kind for informer in self._informers if not informer.synced.is_set()]


def make_app(gateway: Gateway) -> web.Application:
    """The gateway's HTTP application. Serve it on loopback: whoever reaches it, reaches every model."""
    proxy = Proxy(gateway.table, gateway.metrics, gateway.clock)

    async def opened(_: web.Application) -> AsyncIterator[None]:
        async with proxy:
            yield

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=gateway.metrics.text(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    async def ready(_: web.Request) -> web.Response:
        waiting = gateway.unsynced()
        return web.json_response({"ready": not waiting, "waitingFor": waiting}, status=503 if waiting else 200)

    async def routes(_: web.Request) -> web.Response:
        return web.json_response({"routes": gateway.table.describe()})

    async def everything_else(request: web.Request) -> web.StreamResponse:
        if not gateway.synced.is_set():
            kinds = ", ".join(gateway.unsynced())
            return refusal(503, "starting", f"The gateway has just started and is still reading all {kinds} objects.")
        return await proxy.handle(request)

    app = web.Application(handler_args=HANDLER_OPTIONS)
    app.cleanup_ctx.append(opened)
    app.router.add_get("/-/metrics", metrics)
    app.router.add_get("/-/ready", ready)
    app.router.add_get("/-/routes", routes)
    app.router.add_route("*", "/{path:.*}", everything_else)
    return app


def _follow(
    api: Api,
    clock: Clock,
    kind: Kind[T],
    put: Callable[[T], None],
    remove: Callable[[str], None] = lambda _: None,
    *,
    remove_object: Callable[[T], None] = lambda _: None,
) -> Informer[T]:
    """An informer that tells the routing table what is, and what is no more (by its key, or as it last was).

    Kinds may be missing from the cluster.
    """
    informer = Informer(api, kind, clock, optional=True)

    def handle(_: EventType, old: T | None, new: T | None) -> None:
        if new is not None:
            put(new)
        elif old is not None:
            remove(metadata_of(old).key)
            remove_object(old)

    informer.subscribe(handle)
    return informer
