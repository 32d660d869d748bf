"""GPUs that are lost in a cluster without time: what wakes the operator, and what becomes of the service."""

from typing import Any

from operator_world import OperatorWorld, until
from virtual_kube import run_virtually

from outrider.kube.objects import NODE

GPU = "nvidia.com/gpu"


async def gives(world: OperatorWorld, node: str, healthy: int, *, has: int = 8) -> None:
    """The node's kubelet says how many of its GPUs pods may ask for."""
    status: dict[str, Any] = {"capacity": {GPU: str(has)}, "allocatable": {GPU: str(healthy)}}
    await world.api.patch_status(NODE, node, status)


def test_a_node_that_loses_its_gpus_is_news_for_the_services_on_it_at_once() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            world.start_operator()
            await world.install()
            await world.until_ready("v1.0.0")
            await gives(world, "node-0", 8)
            await world.clock.sleep(60)
            await gives(world, "node-0", 0)
            await world.clock.sleep(1)
            assert "none of the 8 GPUs of node-0 is healthy" in world.condition("Ready").message

    run_virtually(story)


def test_after_a_total_loss_a_service_comes_back_as_soon_as_any_node_has_gpus_again() -> None:
    async def story() -> None:
        async with OperatorWorld(nodes=2, gpus=1) as world:
            world.start_operator()
            await world.install()
            await world.until_ready("v1.0.0")
            lost = {pod["metadata"]["uid"] for pod in world.pods()}
            for uid in lost:
                world.kubelet.lose_gpu(uid)
            await until(lambda: world.ready_addresses() == [])
            await world.clock.sleep(900)
            there = {pod["metadata"]["uid"] for pod in world.pods()}
            assert there == lost, "there is nothing to move to, and nothing is made and removed for ever"
            await gives(world, "node-1", 2, has=3)
            await world.clock.sleep(120)
            await world.until_ready("v1.0.0")

    run_virtually(story)
