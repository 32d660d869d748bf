"""An operator that waits for something does nothing."""

from operator_world import OperatorWorld, until
from plan_world import LLAMA
from virtual_kube import run_virtually


def test_waiting_is_not_writing() -> None:
    async def story() -> None:
        async with OperatorWorld(nodes=0) as world:
            api = world.start_operator()
            await world.install(LLAMA)
            await until(lambda: world.condition("Ready").reason == "NoGPUNodes")
            await world.until_quiet()
            before = len(api.writes)
            await world.clock.sleep(1800)
            assert len(api.writes) == before

    run_virtually(story)
