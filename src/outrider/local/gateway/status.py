"""Says in their status what became of GatewayClasses, Gateways and HTTPRoutes, as Gateway API asks of implementations.

Nothing is written while nothing changes, and of a route's parents only those that are our Gateways.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from outrider.api.meta import format_time
from outrider.kube.api import Api, Kind, NotFound
from outrider.kube.clock import Clock
from outrider.kube.controller import Controller
from outrider.kube.informer import Informer
from outrider.kube.objects import GATEWAY, GATEWAY_CLASS, HTTP_ROUTE, NAMESPACE, Namespace, Service
from outrider.kube.predicates import any_of, content_changed, generation_changed, labels_changed
from outrider.local.gateway.attachment import (
    CONTROLLER,
    GatewayClassView,
    GatewayView,
    Object,
    attach,
    class_status,
    gateway_status,
    parents,
    route_parents,
)
from outrider.local.gateway.matching import Route


class GatewayStatus:
    """Which Gateways are ours, which routes they take, and the controllers that write so.

    `run` it beside the informers. `addresses` are where the Gateways can be reached.
    """

    def __init__(
        self, api: Api, clock: Clock, routes: Informer[Route], services: Informer[Service], addresses: Sequence[str]
    ) -> None:
        self._api = api
        self._clock = clock
        self._routes = routes
        self._services = services
        self._addresses = tuple(addresses)
        self._classes = Informer(api, GATEWAY_CLASS.into(GatewayClassView), clock, optional=True)
        self._gateways = Informer(api, GATEWAY.into(GatewayView), clock, optional=True)
        self._namespaces: Informer[Namespace] = Informer(api, NAMESPACE, clock)
        self.informers: tuple[Informer[Any], ...] = (self._classes, self._gateways, self._namespaces)
        """Those that decide which routes are served."""
        self._controllers = (
            Controller("gatewayclass", self._write_class, clock=clock).for_(self._classes, content_changed),
            Controller("gateway", self._write_gateway, clock=clock)
            .for_(self._gateways, content_changed)
            .maps(self._classes, self._gateways_of_class, generation_changed)
            .maps(self._namespaces, lambda _: self._keys(self._gateways), labels_changed)
            .maps(routes, lambda route: {key for _, key in parents(route)}, generation_changed),
            Controller("httproute", self._write_route, clock=clock)
            .for_(routes, content_changed)
            .maps(self._gateways, lambda _: self._keys(routes), generation_changed)
            .maps(self._classes, lambda _: self._keys(routes), generation_changed)
            .maps(self._namespaces, lambda _: self._keys(routes), labels_changed)
            .maps(services, self._routes_to_service, any_of(content_changed)),
        )

    async def run(self) -> None:
        """Write until cancelled. To be started once all informers are synced."""
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(controller.run())

    def serves(self, route: Route) -> bool:
        """Whether one of our Gateways takes the route."""
        ours, labels = self._ours(), self._labels(route.metadata.namespace)
        return any(attach(route, each, ours[key], labels).accepted for each, key in parents(route) if key in ours)

    def _ours(self) -> Mapping[str, GatewayView]:
        classes = {each.metadata.name for each in self._classes.list() if each.spec.controller_name == CONTROLLER}
        return {each.metadata.key: each for each in self._gateways.list() if each.spec.gateway_class_name in classes}

    def _labels(self, namespace: str) -> Mapping[str, str]:
        found = self._namespaces.get(namespace)
        return found.metadata.labels if found is not None else {}

    def _keys(self, informer: Informer[Any]) -> Iterator[str]:
        return (each.metadata.key for each in informer.list())

    def _gateways_of_class(self, view: GatewayClassView) -> Iterator[str]:
        name = view.metadata.name
        return (each.metadata.key for each in self._gateways.list() if each.spec.gateway_class_name == name)

    def _routes_to_service(self, service: Service) -> Iterable[str]:
        meta = service.metadata
        return (
            route.metadata.key
            for route in self._routes.list()
            if route.metadata.namespace == meta.namespace
            and any(each.name == meta.name for rule in route.spec.rules for each in rule.backend_refs)
        )

    def _service_exists(self, namespace: str, name: str, port: int | None) -> bool:
        service = self._services.get(f"{namespace}/{name}")
        return service is not None and (port is None or any(each.port == port for each in service.spec.ports))

    async def _write_class(self, key: str) -> None:
        view = self._classes.get(key)
        if view is not None and view.spec.controller_name == CONTROLLER:
            await self._write(
                GATEWAY_CLASS.into(GatewayClassView), view, class_status(view, self._now()), self._classes
            )

    async def _write_gateway(self, key: str) -> None:
        view = self._ours().get(key)
        if view is None:
            return
        attached: Counter[str] = Counter()
        for route in self._routes.list():
            labels = self._labels(route.metadata.namespace)
            named = (attach(route, each, view, labels).listeners for each, parent in parents(route) if parent == key)
            attached.update({listener for listeners in named for listener in listeners})
        status = gateway_status(view, attached, self._addresses, self._now())
        await self._write(GATEWAY.into(GatewayView), view, status, self._gateways)

    async def _write_route(self, key: str) -> None:
        route = self._routes.get(key)
        if route is None:
            return
        labels = self._labels(route.metadata.namespace)
        wanted = route_parents(route, self._ours(), labels, self._service_exists, self._now())
        if wanted or route.status.get("parents"):
            await self._write(HTTP_ROUTE.into(Route), route, {"parents": wanted}, self._routes)

    async def _write(self, kind: Kind[Any], view: Any, status: Object, informer: Informer[Any]) -> None:
        """Unless it is so already, and nobody has written in between."""
        if all(view.status.get(key) == value for key, value in status.items()):
            return
        meta = view.metadata
        try:
            written = await self._api.patch_status(
                kind, meta.name, status, meta.namespace, resource_version=meta.resource_version
            )
        except NotFound:
            return  # it has gone
        informer.written(written)

    def _now(self) -> str:
        return format_time(self._clock.now())
