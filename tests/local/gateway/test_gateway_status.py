"""The gateway as an implementation of the Gateway API, over the store: what it serves, writes, and leaves alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from outrider.kube.api import Api
from outrider.kube.clock import SystemClock
from outrider.kube.objects import GATEWAY, GATEWAY_CLASS, HTTP_ROUTE, NAMESPACE, SERVICE
from outrider.local.furniture import furnish
from outrider.local.gateway import Gateway
from outrider.local.store import Store, StoreApi

DEADLINE = 20.0
API_VERSION = GATEWAY.api_version


def route(name: str, gateway: str = "outrider") -> dict[str, Any]:
    parent = {"name": gateway, "namespace": "outrider-system"}
    rules = [{"backendRefs": [{"name": "chat", "port": 8080}]}]
    return {
        "apiVersion": API_VERSION,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "production"},
        "spec": {"parentRefs": [parent], "rules": rules},
    }


async def conditions(api: Api, name: str) -> dict[str, str]:
    """What our gateway says about a route: condition type to reason."""
    status = (await api.get(HTTP_ROUTE.into(dict), name, "production")).get("status", {})
    return {each["type"]: each["reason"] for parent in status.get("parents", []) for each in parent["conditions"]}


async def until(api: Api, name: str, wanted: dict[str, str]) -> None:
    """Until it says so; the store tells no event for it."""
    while True:
        if await conditions(api, name) == wanted:
            return
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[tuple[StoreApi, Gateway]]:
    clock = SystemClock()
    async with asyncio.timeout(DEADLINE), Store.opened(clock) as store:
        api = StoreApi(store)
        await furnish(api)
        gateway = Gateway(api, clock, addresses=("127.0.0.1",))
        task = asyncio.create_task(gateway.run())
        try:
            await gateway.synced.wait()
            yield api, gateway
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_routes_are_accepted_counted_and_served_and_others_are_left_alone() -> None:
    async def main() -> None:
        async with running() as (api, gateway):
            await api.create(HTTP_ROUTE, route("ours"))
            await api.create(HTTP_ROUTE, route("theirs", gateway="traefik"))
            await until(api, "ours", {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"})
            ports = [{"name": "http", "port": 8080}]
            metadata = {"name": "chat", "namespace": "production"}
            await api.create(
                SERVICE, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}
            )
            await until(api, "ours", {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs"})
            assert "status" not in await api.get(HTTP_ROUTE.into(dict), "theirs", "production")
            assert [each["name"] for each in gateway.table.describe()] == ["production/chat", "production/ours"]
            view = await api.get(GATEWAY.into(dict), "outrider", "outrider-system")
            assert view["status"]["addresses"] == [{"type": "IPAddress", "value": "127.0.0.1"}]
            assert {each["type"]: each["status"] for each in view["status"]["conditions"]} == {
                "Accepted": "True",
                "Programmed": "True",
            }
            while view["status"]["listeners"][0]["attachedRoutes"] != 1:
                view = await api.get(GATEWAY.into(dict), "outrider", "outrider-system")
            accepted = (await api.get(GATEWAY_CLASS.into(dict), "outrider-local"))["status"]["conditions"]
            assert [each["type"] for each in accepted] == ["Accepted"]

    asyncio.run(main())


def test_a_listener_that_closes_takes_its_routes_out_of_service() -> None:
    async def main() -> None:
        async with running() as (api, gateway):
            await api.create(HTTP_ROUTE, route("ours"))
            await until(api, "ours", {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"})
            closed = [
                {"name": "http", "port": 8080, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
            ]
            await api.patch(GATEWAY, "outrider", {"spec": {"listeners": closed}}, "outrider-system")
            await until(api, "ours", {"Accepted": "NotAllowedByListeners", "ResolvedRefs": "BackendNotFound"})
            assert gateway.table.describe() == []

    asyncio.run(main())


def test_nothing_is_written_while_nothing_changes() -> None:
    async def main() -> None:
        async with running() as (api, _):
            await api.create(HTTP_ROUTE, route("ours"))
            await until(api, "ours", {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"})
            before = (await api.list(HTTP_ROUTE)).resource_version
            await api.patch(NAMESPACE, "production", {"metadata": {"labels": {"team": "search"}}})
            await api.create(HTTP_ROUTE, route("last"))
            await until(api, "last", {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"})
            view = await api.get(GATEWAY.into(dict), "outrider", "outrider-system")
            while view["status"]["listeners"][0]["attachedRoutes"] != 2:
                view = await api.get(GATEWAY.into(dict), "outrider", "outrider-system")
            after = (await api.list(HTTP_ROUTE)).resource_version
            # The label, the new route, its status, and the Gateway's count: nothing was said again.
            assert int(after) - int(before) == 4

    asyncio.run(main())
