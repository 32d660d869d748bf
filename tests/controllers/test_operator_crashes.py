"""The operator dies right after any of its writes; the next one must bring everything to the same end, and be quiet."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from operator_world import CrashingApi, OperatorWorld, until
from plan_world import LLAMA, merged
from virtual_kube import run_virtually

LIMIT = 80
"""More writes than any story here has."""

Life = Callable[[OperatorWorld], Awaitable[str]]
"""Something that people do with a deployment; gives the version that serves in the end."""


async def _release_and_roll_back(world: OperatorWorld) -> str:
    await world.apply(merged(LLAMA, {"spec": {"replicas": 1}}))
    await world.until_ready("v1.0.0")
    await world.version("v1.1.0")
    await world.until_ready("v1.1.0")
    await world.version("previous-stable")
    await world.until_ready("v1.0.0")
    return "v1.0.0"


async def _release_pin_and_unpin(world: OperatorWorld) -> str:
    await world.apply(LLAMA)
    await world.until_ready("v1.0.0")
    await world.version("v1.1.0")
    await world.until_ready("v1.1.0")
    await world.pin(version="previous-stable")
    await world.until_ready("v1.0.0")
    await world.unpin()
    await world.until_ready("v1.1.0")
    return "v1.1.0"


async def _restart_on_crash(world: OperatorWorld, api: CrashingApi) -> None:
    await api.crashed.wait()
    await world.stop_operator()
    world.start_operator()


def _live_with_a_crash(life: Life, crash_after: int) -> bool:
    """Whether the story had so many writes."""

    async def story() -> bool:
        async with OperatorWorld() as world:
            world.load_seconds = 1.0
            api = world.start_operator(crash_after=crash_after)
            doctor = asyncio.create_task(_restart_on_crash(world, api))
            version = await life(world)
            crashed = api.crashed.is_set()
            if crashed:
                await doctor
            doctor.cancel()
            await world.until_quiet()
            assert world.is_ready(version)
            found = {version: one.spec.sequence for version, one in world.revisions().items()}
            assert found == {"v1.0.0": 1, "v1.1.0": 2}
            assert len(world.pods()) == world.deployment().status.replicas
            return crashed

    return run_virtually(story)


def _crash_after_every_write(life: Life) -> None:
    for crash_after in range(1, LIMIT):
        if not _live_with_a_crash(life, crash_after):
            assert crash_after > 15, "the story is long enough to mean something"
            return
    raise AssertionError("the story never ended")


def test_a_crash_after_any_write_of_install_release_and_rollback_changes_nothing_about_the_end() -> None:
    _crash_after_every_write(_release_and_roll_back)


@pytest.mark.e2e
def test_a_crash_after_any_write_of_release_pin_and_unpin_changes_nothing_about_the_end() -> None:
    _crash_after_every_write(_release_pin_and_unpin)


def test_waiting_is_not_writing() -> None:
    async def story() -> None:
        async with OperatorWorld(nodes=0) as world:
            api = world.start_operator()
            await world.apply(LLAMA)
            await until(lambda: world.condition("Ready").reason == "NoGPUNodes")
            await world.until_quiet()
            before = len(api.writes)
            await world.clock.sleep(1800)
            assert len(api.writes) == before

    run_virtually(story)
