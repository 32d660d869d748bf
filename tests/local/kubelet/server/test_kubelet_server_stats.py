"""What pods use of the machine, as the kubelet tells it and as the metrics API does."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from certificates import Authority
from prometheus_client.parser import text_string_to_metric_families

from outrider.api.quantity import Quantity
from outrider.local.controlplane.metrics_api import FRONT_PROXY, MetricsApi

from ..conftest import PYTHON, until  # noqa: TID252  (absolute, it would be another module)
from .served import Node, story

MEBIBYTE = 2**20
BUSY = "held = bytearray(64 * 2**20)\nwhile True: pass"


async def busy(node: Node) -> None:
    """A pod whose one process takes all it can get, and 64 MiB; measured after it has run for a while."""
    await node.world.create("busy", PYTHON, "-c", BUSY, metadata={"labels": {"app": "busy"}})
    await node.world.ready("busy")

    async def measured() -> bool:
        await node.usage.measure()
        used = {key.container: usage for key, usage in node.usage.containers.items() if usage.memory > 64 * MEBIBYTE}
        return "main" in used and used["main"].cpu_seconds > 0.2

    await until(measured, "the busy pod was measured")


async def get(node: Node, path: str) -> Any:
    async with node.session.get(node.url(path)) as response:
        assert response.status == 200
        return await response.json(content_type=None) if "summary" in path else await response.text()


def test_the_kubelet_tells_what_its_pods_use(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        await busy(node)
        summary = await get(node, "/stats/summary")
        pods = {pod["podRef"]["name"]: pod for pod in summary["pods"]}
        assert set(pods) == {"busy", "web"}
        assert pods["busy"]["cpu"]["usageNanoCores"] > pods["web"]["cpu"]["usageNanoCores"]
        assert pods["busy"]["memory"]["workingSetBytes"] > pods["web"]["memory"]["workingSetBytes"] + 50 * MEBIBYTE
        together = sum(pod["memory"]["workingSetBytes"] for pod in pods.values())
        assert summary["node"]["memory"]["workingSetBytes"] == together
        metrics = {
            family.name: family for family in text_string_to_metric_families(await get(node, "/metrics/resource"))
        }
        seconds = {sample.labels["pod"]: sample.value for sample in metrics["container_cpu_usage_seconds"].samples}
        assert seconds["busy"] > 0.2 > seconds["web"]
        assert {sample.labels["container"] for sample in metrics["container_start_time_seconds"].samples} == {"main"}

    story(folder, authority, scenario)


def test_processor_time_is_counted_on_through_commands_and_restarts(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        await node.usage.measure()
        (before,) = node.usage.containers.values()
        script = "import time\nwhile time.process_time() < 0.3: pass\nprint('spent', flush=True)\ntime.sleep(600)"
        async with node.open("/exec/default/web/main", PYTHON, "-c", script) as session:
            await session.until(b"spent")
            await node.usage.measure()
            (during,) = node.usage.containers.values()
            assert during.cpu_seconds > before.cpu_seconds + 0.25, "a command counts as its container's"

        async def has_ended() -> bool:
            """The command is killed when its session is closed, and gone a moment later."""
            await node.usage.measure()
            (now,) = node.usage.containers.values()
            return now.memory < during.memory

        await until(has_ended)
        (after,) = node.usage.containers.values()
        assert after.cpu_seconds >= during.cpu_seconds, "what has ended was spent all the same"
        await node.world.delete("web", grace_seconds=0)
        await node.world.removed("web")
        await node.usage.measure()
        assert not node.usage.containers

    story(folder, authority, scenario)


BASE = "/apis/metrics.k8s.io/v1beta1"


@asynccontextmanager
async def metrics_api(node: Node, authority: Authority) -> AsyncIterator[tuple[MetricsApi, aiohttp.ClientSession]]:
    tls = authority.client_tls(FRONT_PROXY)
    server = authority.server_tls(clients=authority)
    async with (
        MetricsApi([node.world.kubelet], node.usage, server, address="127.0.0.1") as api,
        aiohttp.ClientSession(f"https://127.0.0.1:{api.port}", connector=aiohttp.TCPConnector(ssl=tls)) as session,
    ):
        yield api, session


SELECTIONS: dict[str, list[str]] = {
    f"{BASE}/pods": ["busy", "web"],
    f"{BASE}/namespaces/default/pods": ["busy", "web"],
    f"{BASE}/namespaces/other/pods": [],
    f"{BASE}/pods?labelSelector=app%3Dbusy": ["busy"],
    f"{BASE}/namespaces/default/pods?labelSelector=app%21%3Dbusy": ["web"],
    f"{BASE}/namespaces/default/pods?fieldSelector=metadata.name%3Dweb": ["web"],
    f"{BASE}/nodes": ["node-1"],
    f"{BASE}/nodes?labelSelector=kubernetes.io/hostname%3Dnode-1": ["node-1"],
    f"{BASE}/nodes?labelSelector=node-type%3Dgpu": [],
}


def test_the_metrics_api_answers_as_kubectl_top_asks(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        await busy(node)
        async with metrics_api(node, authority) as (_, session):

            async def ask(path: str, status: int = 200) -> Any:
                async with session.get(path) as response:
                    assert response.status == status, path
                    return await response.json()

            for path, names in SELECTIONS.items():
                found = await ask(path)
                assert sorted(item["metadata"]["name"] for item in found["items"]) == names, path
            pod = await ask(f"{BASE}/namespaces/default/pods/busy")
            assert (pod["kind"], pod["apiVersion"]) == ("PodMetrics", "metrics.k8s.io/v1beta1")
            (container,) = pod["containers"]
            assert container["name"] == "main"
            assert Quantity.parse(container["usage"]["cpu"]).value > 0
            assert Quantity.parse(container["usage"]["memory"]).value > 64 * MEBIBYTE
            whole = await ask(f"{BASE}/nodes/node-1")
            assert Quantity.parse(whole["usage"]["memory"]).value > 64 * MEBIBYTE
            assert {resource["name"] for resource in (await ask(BASE))["resources"]} == {"nodes", "pods"}
            assert (await ask("/apis/metrics.k8s.io"))["kind"] == "APIGroup"
            absent = await ask(f"{BASE}/namespaces/default/pods/nobody", 404)
            assert absent["message"] == 'pods.metrics.k8s.io "default/nobody" not found'
            assert (await ask(f"{BASE}/nodes/node-9", 404))["reason"] == "NotFound"
            assert (await ask("/openapi/v3", 404))["reason"] == "NotFound"
            assert (await ask(f"{BASE}/pods?labelSelector=%3D%3D", 400))["reason"] == "BadRequest"

    story(folder, authority, scenario)


def test_only_the_front_proxy_may_ask_for_metrics(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        async with metrics_api(node, authority) as (api, _):
            for name, status in (("ann", 403), (FRONT_PROXY, 200)):
                connector = aiohttp.TCPConnector(ssl=authority.client_tls(name))
                async with aiohttp.ClientSession(connector=connector) as session:
                    headers = {"X-Remote-User": "system:admin", "X-Remote-Group": "system:masters"}
                    url = f"https://127.0.0.1:{api.port}{BASE}/pods"
                    async with session.get(url, headers=headers) as response:
                        assert response.status == status, name
        open_to_all = authority.server_tls()
        assert open_to_all.verify_mode is ssl.CERT_NONE
        with pytest.raises(ValueError, match="demands client certificates"):
            MetricsApi([], node.usage, open_to_all, address="127.0.0.1")

    story(folder, authority, scenario)


def test_measuring_goes_on_by_itself(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        task = asyncio.create_task(node.usage.run())
        await until(lambda: bool(node.usage.containers), "measured")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    story(folder, authority, scenario)
