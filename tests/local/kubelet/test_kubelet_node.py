"""The node's registration, lease and healing, against a store and an API that fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from outrider.kube.api import Unavailable
from outrider.kube.clock import SystemClock
from outrider.kube.objects import LEASE, NODE
from outrider.local.kubelet.gpus import GpuPool
from outrider.local.kubelet.node import NodeAgent, NodeConfig, node_conditions
from outrider.local.kubelet.settings import Settings
from outrider.local.store import Store, StoreApi

from .conftest import until

NODE_JSON, LEASE_JSON = NODE.into(dict), LEASE.into(dict)
SETTINGS = Settings(lease_interval=0.02)
CONFIG = NodeConfig(
    name="node-1",
    gpus=4,
    labels={"zone": "a"},
    taints=({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},),
)


class FlakyApi(StoreApi):
    """Calls fail again and again, at ever other steps of what the agent does."""

    calls = 0

    def _fail(self) -> None:
        self.calls += 1
        if self.calls in (1, 3, 6, 10, 15):
            raise Unavailable("no answer")

    async def get(self, *args: Any, **options: Any) -> Any:
        self._fail()
        return await super().get(*args, **options)

    async def patch(self, *args: Any, **options: Any) -> Any:
        self._fail()
        return await super().patch(*args, **options)


async def node(api: StoreApi) -> dict[str, Any]:
    return await StoreApi.get(api, NODE_JSON, "node-1")


def story(
    scenario: Callable[[StoreApi, NodeAgent], Awaitable[None]],
    *,
    prepare: Callable[[StoreApi], Awaitable[None]] | None = None,
    api_type: type[StoreApi] = StoreApi,
    config: NodeConfig = CONFIG,
) -> None:
    async def run() -> None:
        async with Store.opened(SystemClock()) as store:
            api = api_type(store)
            if prepare is not None:
                await prepare(api)
            agent = NodeAgent(api, SystemClock(), config, SETTINGS, GpuPool(config.gpus))
            task = asyncio.create_task(agent.run())
            try:
                await asyncio.wait_for(agent.registered.wait(), 10)
                await scenario(api, agent)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_node_says_where_its_kubelet_is_served_and_what_it_understands() -> None:
    async def scenario(api: StoreApi, agent: NodeAgent) -> None:
        status = (await node(api))["status"]
        assert status["addresses"][0] == {"type": "InternalIP", "address": "192.168.77.1"}
        assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
        assert status["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]

    story(scenario, config=NodeConfig(name="node-1", address="192.168.77.1", kubelet_port=10250))


def test_a_node_whose_kubelet_is_not_served_declares_nothing() -> None:
    async def scenario(api: StoreApi, agent: NodeAgent) -> None:
        status = (await node(api))["status"]
        assert not {"daemonEndpoints", "declaredFeatures"} & status.keys()

    story(scenario)


def test_a_node_registers_with_its_size_labels_taints_and_lease() -> None:
    async def scenario(api: StoreApi, agent: NodeAgent) -> None:
        found = await node(api)
        assert found["status"]["capacity"]["nvidia.com/gpu"] == "4"
        assert found["status"]["allocatable"] == found["status"]["capacity"]
        labels = found["metadata"]["labels"]
        assert labels["kubernetes.io/hostname"] == "node-1"
        assert labels["node-type"] == "gpu"
        assert labels["nvidia.com/gpu.product"] == CONFIG.gpu_product
        assert labels["zone"] == "a"
        taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
        assert taint in found["spec"]["taints"]
        assert {"type": "InternalIP", "address": "127.0.0.1"} in found["status"]["addresses"]
        lease = await api.get(LEASE_JSON, "node-1", "kube-node-lease")
        assert lease["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]

        async def renewed() -> bool:
            again = await api.get(LEASE_JSON, "node-1", "kube-node-lease")
            return bool(again["spec"]["renewTime"] > lease["spec"]["renewTime"])

        await until(renewed)

    story(scenario)


def test_a_node_that_was_declared_dead_is_healed_and_others_conditions_are_kept() -> None:
    async def scenario(api: StoreApi, agent: NodeAgent) -> None:
        conditions = (await node(api))["status"]["conditions"]
        unknown = [entry | {"status": "Unknown"} if entry["type"] == "Ready" else entry for entry in conditions]
        gpu = {"type": "GpuHealthy", "status": "False", "reason": "XID79"}
        await api.patch_status(NODE_JSON, "node-1", {"conditions": [*unknown, gpu]})

        async def healed() -> bool:
            found = {entry["type"]: entry["status"] for entry in (await node(api))["status"]["conditions"]}
            assert found["GpuHealthy"] == "False"
            return found["Ready"] == "True"

        await until(healed)

    story(scenario)


def test_a_deleted_node_registers_again() -> None:
    async def scenario(api: StoreApi, agent: NodeAgent) -> None:
        first = (await node(api))["metadata"]["uid"]
        await api.delete(NODE, "node-1")

        async def back() -> bool:
            nodes = await api.list(NODE_JSON)
            return any(found["metadata"]["uid"] != first for found in nodes.items)

        await until(back)

    story(scenario)


def test_a_node_that_exists_already_gets_its_new_size() -> None:
    async def prepare(api: StoreApi) -> None:
        old = {"cpu": "1", "nvidia.com/gpu": "8", "example.com/old": "1"}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
        await api.create(NODE_JSON, body)
        await api.patch_status(NODE_JSON, "node-1", {"capacity": old, "allocatable": old})

    async def scenario(api: StoreApi, agent: NodeAgent) -> None:
        found = await node(api)
        assert found["status"]["capacity"] == CONFIG.resources
        assert found["status"]["allocatable"] == CONFIG.resources
        assert found["metadata"]["labels"]["zone"] == "a"

    story(scenario, prepare=prepare)


def test_errors_of_the_api_end_nothing() -> None:
    async def scenario(api: StoreApi, agent: NodeAgent) -> None:
        assert isinstance(api, FlakyApi)
        await until(lambda: api.calls > 20)
        assert (await node(api))["status"]["capacity"]["nvidia.com/gpu"] == "4"

    story(scenario, api_type=FlakyApi)


def test_conditions_keep_their_transition_times() -> None:
    first = node_conditions([], "2026-01-01T00:00:00Z")
    second = node_conditions(first, "2026-01-02T00:00:00Z")
    assert {entry["lastTransitionTime"] for entry in second} == {"2026-01-01T00:00:00Z"}
    assert {entry["lastHeartbeatTime"] for entry in second} == {"2026-01-02T00:00:00Z"}


def test_a_node_without_gpus_claims_none() -> None:
    plain = NodeConfig(name="cpu-1")
    assert "nvidia.com/gpu" not in plain.resources
    assert "node-type" not in plain.all_labels
