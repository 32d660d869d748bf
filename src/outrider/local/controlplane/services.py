"""Services of the world's network: what kube-proxy and the cluster's DNS are to a cluster, in this process.

Every TCP port of a Service's cluster address is listened on for as long as an endpoint is ready (else the kernel
refuses connections, as kube-proxy's rules do). A connection goes to the ready endpoint with the fewest of them and
stays there until one end closes it, whatever becomes of the endpoint.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import TypeVar

import structlog

from outrider.api.labels import DEPLOYMENT
from outrider.kube.api import Api, Kind
from outrider.kube.clock import Clock
from outrider.kube.informer import Informer
from outrider.kube.objects import ENDPOINT_SLICE, SERVICE, EndpointSlice, Service
from outrider.local.controlplane.relay import joined
from outrider.local.gateway.endpoints import EndpointTable, service_of
from outrider.local.gateway.pool import Endpoint, Pool
from outrider.local.gateway.upstream import reset_on_close

PROXY_USER = "system:kube-proxy"
"""Kubernetes binds this user to the role that reads Services and EndpointSlices."""
CONNECT_SECONDS = 2.0
"""Pods are on the same machine: a connection that takes longer will not come."""
ATTEMPTS = 3
BACKLOG = 1024
ACCEPT_PAUSE_SECONDS = 0.5
"""Before the next attempt where the system has no more descriptors."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ServiceNetwork:
    """Balances connections to cluster addresses, and knows the names of Services. `run` it within the network.

    `elsewhere` are cluster addresses that something else listens on.
    """

    def __init__(self, api: Api, clock: Clock, *, elsewhere: frozenset[str] = frozenset()) -> None:
        self.synced = asyncio.Event()
        """Set once all that exists is served."""
        self._elsewhere = elsewhere
        self._endpoints = EndpointTable()
        self._services: dict[str, Service] = {}
        self._by_deployment: dict[str, set[str]] = {}
        """The Services of an LLMDeployment (`namespace/name`), by their keys."""
        self._listeners: dict[tuple[str, int], _Listener] = {}
        self._wanted: dict[str, set[tuple[str, int]]] = {}
        self._changed: asyncio.Queue[str] = asyncio.Queue()
        self._connections: set[asyncio.Task[None]] = set()
        self._services_informer = self._follow(api, clock, SERVICE, self._on_service)
        self._slices_informer = self._follow(api, clock, ENDPOINT_SLICE, self._on_slice)

    async def run(self) -> None:
        """Follow Services and EndpointSlices until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for informer in (self._services_informer, self._slices_informer):
                    group.create_task(informer.run())
                    await informer.synced.wait()
                while not self._changed.empty():
                    self._serve(self._changed.get_nowait())
                self.synced.set()
                while True:
                    self._serve(await self._changed.get())
        finally:
            await self._close()

    def addresses(self, namespace: str, name: str) -> tuple[str, ...] | None:
        """The addresses that the name of a Service stands for; None when there is no such Service.

        An LLMDeployment's own name, which may hold dots, stands for its Service.
        """
        service = self._services.get(f"{namespace}/{name}") or self._of_deployment(f"{namespace}/{name}")
        if service is None:
            return None
        if _is_address(service.spec.cluster_ip):
            return (service.spec.cluster_ip,)
        pools = (self._endpoints.pool(service.metadata.key, port.port) for port in service.spec.ports)
        return tuple(dict.fromkeys(each.address for pool in pools if pool is not None for each in pool.members()))

    def _of_deployment(self, deployment: str) -> Service | None:
        # Revisions' own Services are named after the main one, so that it has the shortest name.
        keys = sorted(self._by_deployment.get(deployment, ()), key=lambda key: (len(key), key))
        return self._services[keys[0]] if keys else None

    def _follow(
        self, api: Api, clock: Clock, kind: Kind[T], handle: Callable[[T | None, T | None], str]
    ) -> Informer[T]:
        informer = Informer(api, kind, clock)
        informer.subscribe(lambda _, old, new: self._changed.put_nowait(handle(old, new)))
        return informer

    def _on_service(self, old: Service | None, new: Service | None) -> str:
        for service in (old, new):
            if service is not None and (deployment := service.metadata.labels.get(DEPLOYMENT)):
                owned = self._by_deployment.setdefault(f"{service.metadata.namespace}/{deployment}", set())
                (owned.add if service is new else owned.discard)(service.metadata.key)
        if new is not None:
            self._services[new.metadata.key] = new
            self._endpoints.put_service(new)
            return new.metadata.key
        assert old is not None
        self._services.pop(old.metadata.key, None)
        self._endpoints.remove_service(old.metadata.key)
        return old.metadata.key

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> str:
        if new is not None:
            self._endpoints.put_slice(new)
            return service_of(new)
        assert old is not None
        self._endpoints.remove_slice(old)
        return service_of(old)

    def _serve(self, key: str) -> None:
        """Listen where the Service can be reached now, and nowhere else."""
        wanted = self._places(key)
        for place in self._wanted.get(key, set()) - wanted:
            if (listener := self._listeners.pop(place, None)) is not None:
                listener.close()
        self._wanted[key] = wanted
        for place in wanted - self._listeners.keys():
            try:
                self._listeners[place] = _Listener(place, self._accepting(key, place[1]))
            except OSError as error:
                log.warning("a Service's port cannot be served", service=key, place=place, error=str(error))
        if not wanted:
            del self._wanted[key]

    def _places(self, key: str) -> set[tuple[str, int]]:
        service = self._services.get(key)
        if service is None or not _is_address(service.spec.cluster_ip) or service.spec.cluster_ip in self._elsewhere:
            return set()
        ports = (port.port for port in service.spec.ports if port.protocol in ("", "TCP"))
        return {(service.spec.cluster_ip, port) for port in ports if self._endpoints.pool(key, port)}

    def _accepting(self, key: str, port: int) -> Callable[[socket.socket], None]:
        def accept(connection: socket.socket) -> None:
            task = asyncio.ensure_future(_connect(self._endpoints.pool(key, port) or Pool(), connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        return accept

    async def _close(self) -> None:
        for listener in self._listeners.values():
            listener.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


class _Listener:
    """Accepts connections at one place, until it is closed.

    Not an `asyncio.Server`: that loses connections, open for ever, which it is accepting while it is closed.
    """

    def __init__(self, place: tuple[str, int], accept: Callable[[socket.socket], None]) -> None:
        """Raises `OSError` where the place cannot be listened on."""
        self._loop = asyncio.get_running_loop()
        self._accept = accept
        self._socket = socket.create_server(place, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._resume()

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # its client has gone already
        except OSError as error:
            log.warning("a connection cannot be accepted", error=str(error))
            self._loop.remove_reader(self._socket)
            self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume)
            return
        self._accept(connection)

    def close(self) -> None:
        """From now on the kernel refuses connections; those that nobody has accepted yet are reset."""
        self._loop.remove_reader(self._socket)
        self._socket.close()


async def _connect(pool: Pool, connection: socket.socket) -> None:
    connection.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=connection)
    tried: list[Endpoint] = []
    try:
        while len(tried) < ATTEMPTS and (endpoint := pool.pick(tried)) is not None:
            tried.append(endpoint)
            endpoint.begin()
            try:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(CONNECT_SECONDS):
                        inner = await asyncio.open_connection(endpoint.address, endpoint.port)
                    await joined(reader, writer, *inner)
                    return
            finally:
                endpoint.end()
        reset_on_close(writer.transport)  # nobody is there: a proper end would look like an answer
        writer.transport.abort()
    finally:
        writer.close()


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
