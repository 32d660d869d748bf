"""Cluster addresses served by this process: real sockets on loopback, objects in the store."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from outrider.kube.api import Api, Object
from outrider.kube.clock import SystemClock
from outrider.kube.objects import ENDPOINT_SLICE, NAMESPACE, SERVICE, EndpointSlice
from outrider.local.controlplane.services import ServiceNetwork
from outrider.local.store import Store, StoreApi

CLUSTER_ADDRESS = "127.96.0.7"
DEADLINE = 20.0


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def endpoint(address: str, *, ready: bool = True) -> Object:
    return {"addresses": [address], "conditions": {"ready": ready}}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await condition():
            return
        await asyncio.sleep(0.01)


class Network:
    """A Service of the store, its endpoints on 127.0.1.x, and the process that serves it."""

    def __init__(self, api: Api, network: ServiceNetwork) -> None:
        self.api = api
        self.network = network
        self.port = free_port(CLUSTER_ADDRESS)
        self.target = free_port("127.0.1.1")

    async def add_service(self, cluster_ip: str = CLUSTER_ADDRESS, name: str = "chat", labels: Object | None = None):
        metadata = {"name": name, "namespace": "production", "labels": labels or {}}
        spec = {"clusterIP": cluster_ip, "ports": [{"name": "http", "port": self.port, "targetPort": self.target}]}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        await self.api.create(SERVICE, body)

    async def set_endpoints(self, *endpoints: Object, name: str = "chat") -> None:
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-1",
                "namespace": "production",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": self.target, "protocol": "TCP"}],
            "endpoints": list(endpoints),
        }
        await self.api.apply(ENDPOINT_SLICE, body, owner="test")

    async def ask(self) -> str:
        """What a new connection to the cluster address is answered; empty when it is refused or reset."""
        try:
            reader, writer = await asyncio.open_connection(CLUSTER_ADDRESS, self.port)
            with contextlib.closing(writer):
                return (await reader.readline()).decode().strip()
        except OSError:
            return ""

    async def until(self, wanted: set[str]) -> None:
        """Until eight connections in a row are answered by exactly these."""

        async def seen() -> bool:
            return {await self.ask() for _ in range(8)} == wanted

        await until(seen)

    @contextlib.asynccontextmanager
    async def server(self, address: str) -> AsyncIterator[None]:
        """Says its address, then repeats what it is told."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                writer.write(f"{address}\n".encode())
                while line := await reader.readline():
                    writer.write(line)
            writer.close()

        server = await asyncio.start_server(connected, address, self.target)
        try:
            yield
        finally:
            server.close()


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Network]:
    clock = SystemClock()
    async with asyncio.timeout(DEADLINE), Store.opened(clock) as store:
        api = StoreApi(store)
        await api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "production"}})
        network = ServiceNetwork(api, clock)
        task = asyncio.create_task(network.run())
        try:
            await network.synced.wait()
            yield Network(api, network)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_connections_are_spread_over_ready_endpoints_and_follow_their_changes() -> None:
    async def main() -> None:
        async with running() as net, net.server("127.0.1.1"), net.server("127.0.1.2"):
            await net.add_service()
            await net.set_endpoints(endpoint("127.0.1.1"), endpoint("127.0.1.2"), endpoint("127.0.1.3", ready=False))
            await net.until({"127.0.1.1", "127.0.1.2"})
            await net.set_endpoints(endpoint("127.0.1.2"))
            await net.until({"127.0.1.2"})

    asyncio.run(main())


def test_an_open_connection_stays_where_it_is_when_its_endpoint_leaves() -> None:
    async def main() -> None:
        async with running() as net, net.server("127.0.1.1"), net.server("127.0.1.2"):
            await net.add_service()
            await net.set_endpoints(endpoint("127.0.1.1"))
            await net.until({"127.0.1.1"})
            reader, writer = await asyncio.open_connection(CLUSTER_ADDRESS, net.port)
            assert await reader.readline() == b"127.0.1.1\n"
            await net.set_endpoints(endpoint("127.0.1.2"))
            await net.until({"127.0.1.2"})
            writer.write(b"still there?\n")
            assert await reader.readline() == b"still there?\n"
            writer.close()

    asyncio.run(main())


def test_without_a_ready_endpoint_connections_are_refused_by_the_kernel_and_served_again_later() -> None:
    async def main() -> None:
        async with running() as net, net.server("127.0.1.1"):
            await net.add_service()
            await net.set_endpoints(endpoint("127.0.1.1"))
            await net.until({"127.0.1.1"})
            await net.set_endpoints(endpoint("127.0.1.1", ready=False))
            await net.until({""})
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(CLUSTER_ADDRESS, net.port)
            await net.set_endpoints(endpoint("127.0.1.1"))
            await net.until({"127.0.1.1"})
            await net.api.delete(SERVICE, "chat", "production")
            await net.until({""})

    asyncio.run(main())


def test_an_endpoint_that_takes_no_connection_is_passed_over() -> None:
    async def main() -> None:
        async with running() as net, net.server("127.0.1.1"):
            await net.add_service()
            await net.set_endpoints(endpoint("127.0.1.1"), endpoint("127.0.1.9"))
            await net.until({"127.0.1.1"})

    asyncio.run(main())


def test_names_stand_for_cluster_addresses_pods_and_the_services_of_deployments() -> None:
    async def main() -> None:
        async with running() as net, net.server("127.0.1.1"):
            await net.add_service(labels={"inference.llm-d.io/deployment": "chat-3.1"})
            await net.add_service(
                "127.96.0.8", name="chat-canary", labels={"inference.llm-d.io/deployment": "chat-3.1"}
            )
            await net.add_service("None", name="headless")
            await net.set_endpoints(endpoint("127.0.1.4"), endpoint("127.0.1.5"), name="headless")

            async def pods_known() -> bool:
                return net.network.addresses("production", "headless") == ("127.0.1.4", "127.0.1.5")

            await until(pods_known)
            assert net.network.addresses("production", "chat") == (CLUSTER_ADDRESS,)
            assert net.network.addresses("production", "chat-3.1") == (CLUSTER_ADDRESS,)
            assert net.network.addresses("production", "nobody") is None
            assert net.network.addresses("staging", "chat") is None

    asyncio.run(main())


def test_a_slice_of_a_real_cluster_without_endpoints_is_empty_and_not_unreadable() -> None:
    piece = msgspec.json.decode(b'{"metadata": {"name": "a"}, "endpoints": null, "ports": null}', type=EndpointSlice)
    assert (piece.endpoints, piece.ports) == ((), ())
