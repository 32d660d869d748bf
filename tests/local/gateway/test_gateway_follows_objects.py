"""The gateway as the local world runs it: objects in the store, requests over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from outrider.api.labels import API_VERSION, DEPLOYMENT, MODEL_VERSION, REVISION
from outrider.kube.api import Api
from outrider.kube.clock import SystemClock
from outrider.kube.objects import ENDPOINT_SLICE, HTTP_ROUTE, NAMESPACE, POD, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.gateway import Gateway, make_app
from outrider.local.store import Store, StoreApi

DEADLINE = 10.0


@contextlib.asynccontextmanager
async def beside(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def model_server(name: str) -> AsyncIterator[int]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with served(app) as port:
        yield port


@contextlib.asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def add_pod(api: Api, service: str, name: str, port: int) -> None:
    """A pod with its own Service's slice, as actors and kubelet would write them."""
    labels = {DEPLOYMENT: "llama-3.1-8b", REVISION: f"rev-{name}", MODEL_VERSION: "v1.0.0"}
    metadata = {"name": name, "namespace": "production"}
    pod = await api.create(
        POD,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata | {"labels": labels},
            "spec": {"containers": [{"name": "model-server", "image": "vllm/vllm-openai"}], "nodeName": "node-1"},
        },
    )
    await api.create(
        ENDPOINT_SLICE,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port}],
            "endpoints": [
                {
                    "addresses": ["127.0.0.1"],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "namespace": "production", "name": name, "uid": pod.metadata.uid},
                }
            ],
        },
    )


async def add_service(api: Api, name: str) -> None:
    await api.create(
        SERVICE,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "production"},
            "spec": {"ports": [{"name": "http", "port": 8080, "targetPort": "http"}]},
        },
    )


def route(stable: int, canary: int) -> dict[str, Any]:
    refs = [{"name": "stable", "port": 8080, "weight": stable}, {"name": "canary", "port": 8080, "weight": canary}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "llama-3-1-8b", "namespace": "production"},
        "spec": {"hostnames": ["llama-3.1-8b.production"], "rules": [{"backendRefs": refs}]},
    }


@pytest.mark.filterwarnings("error")
def test_the_gateway_serves_what_the_objects_say() -> None:
    async def main() -> None:
        clock = SystemClock()
        async with asyncio.timeout(DEADLINE), contextlib.AsyncExitStack() as stack:
            store = await stack.enter_async_context(Store.opened(clock))
            api = StoreApi(store)
            await api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "production"}})
            gateway = Gateway(api, clock)
            url = f"http://127.0.0.1:{await stack.enter_async_context(served(make_app(gateway)))}"
            client = await stack.enter_async_context(aiohttp.ClientSession())

            async def ask(path: str, host: str = "llama-3.1-8b.production:8080") -> tuple[int, str, str]:
                async with client.get(f"{url}{path}", headers={"Host": host}) as response:
                    return response.status, await response.text(), response.headers.get("x-outrider-revision", "")

            async def until(path: str, condition: Callable[[tuple[int, str, str]], bool]) -> tuple[int, str, str]:
                while True:
                    answer = await ask(path)
                    if condition(answer):
                        return answer
                    await asyncio.sleep(0.005)

            assert (await ask("/-/ready"))[0] == 503
            status, text, _ = await ask("/v1/models")
            assert status == 503
            assert "still reading all HTTPRoute, Service, EndpointSlice, Pod, LLMDeployment objects" in text

            await stack.enter_async_context(beside(gateway.run()))
            await gateway.synced.wait()
            assert (await ask("/-/ready"))[0] == 200
            assert (await ask("/v1/models"))[0] == 404

            for name in ("stable", "canary"):
                await add_service(api, name)
                await add_pod(api, name, name, await stack.enter_async_context(model_server(name)))
            await api.create(HTTP_ROUTE, route(1, 0))
            assert await until("/v1/models", lambda answer: answer[0] == 200) == (200, "stable", "rev-stable")

            await api.apply(HTTP_ROUTE, route(0, 1), owner="test")
            await until("/v1/models", lambda answer: answer[1] == "canary")
            assert {(await ask("/v1/models"))[1] for _ in range(10)} == {"canary"}

            assert (await ask("/production/llama-3-1-8b/v1", host=""))[1] == "canary"
            await api.create(
                LLM_DEPLOYMENT,
                {
                    "apiVersion": API_VERSION,
                    "kind": "LLMDeployment",
                    "metadata": {"name": "llama-3.1-8b", "namespace": "production"},
                    "spec": {"model": {"name": "llama-3.1-8b", "version": "v1.0.0"}},
                },
            )
            await until("/production/llama-3.1-8b/v1", lambda answer: answer[1] == "canary")

            await api.delete(POD, "canary", "production")  # it has a node: it terminates, and serves while it does
            assert (await ask("/v1/models"))[1] == "canary"
            await api.delete(POD, "canary", "production", grace_seconds=0)  # its slice is as it was
            assert (await until("/v1/models", lambda answer: answer[0] == 503))[0] == 503

            metrics = (await ask("/-/metrics"))[1]
            assert 'deployment="llama-3.1-8b",namespace="production",revision="rev-stable",version="v1.0.0"' in metrics
            routes = (await ask("/-/routes"))[1]
            assert '"hostnames": ["llama-3.1-8b.production"]' in routes

            await api.delete(HTTP_ROUTE, "llama-3-1-8b", "production")
            await until("/v1/models", lambda answer: answer[0] == 404)

    asyncio.run(main())
