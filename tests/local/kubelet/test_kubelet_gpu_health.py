"""A GPU that is lost: told of the pod that has it and of the node, given to nobody, and the end of its engine."""

import asyncio
import json
from pathlib import Path

from lost_gpus import gpus_of

from outrider.api.labels import GPU_RESOURCE
from outrider.kube.objects import NODE

from .conftest import World, until, world

ONE = {"limits": {GPU_RESOURCE: "1"}}
NONE_LEFT = "waiting for GPUs: 1 asked for, 0 of 0 free"
SLEEP = ("sh", "-c", "sleep 600")


def lose(folder: Path, *indexes: int) -> list[str]:
    """As whoever injects faults does it; gives the UUIDs of all GPUs."""
    state = folder / "node-1" / ".gpus" / "gpus.json"
    gpus = json.loads(state.read_text())["gpus"]
    for gpu in gpus:
        gpu["lost"] = gpu["index"] in indexes
    new = state.with_suffix(".new")
    new.write_text(json.dumps({"gpus": gpus}))
    new.replace(state)
    return [gpu["uuid"] for gpu in gpus]


async def health(created: World, name: str) -> dict[str, str]:
    """UUID -> health of the pod's GPUs, as its status tells."""
    return gpus_of(await created.pod(name))


async def allocatable(created: World) -> tuple[str, str]:
    node = await created.api.get(NODE.into(dict), "node-1")
    return node["status"]["capacity"][GPU_RESOURCE], node["status"]["allocatable"][GPU_RESOURCE]


def test_a_lost_gpu_is_told_of_and_given_to_nobody_until_it_is_back(folder: Path) -> None:
    async def run() -> None:
        async with world(folder, gpus=2) as created:
            await created.create("one", *SLEEP, container={"resources": ONE})
            await created.phase("one", "Running")
            uuids = lose(folder)

            async def is_told(expected: str) -> bool:
                return await health(created, "one") == {uuids[0]: expected}

            await until(lambda: is_told("Healthy"), "its GPU is healthy")
            assert await allocatable(created) == ("2", "2")
            lose(folder, 0, 1)
            await until(lambda: is_told("Unhealthy"), "its GPU is unhealthy")

            async def has(free: str) -> bool:
                return await allocatable(created) == ("2", free)

            await until(lambda: has("0"), "the node has none to give")
            await created.create("two", *SLEEP, container={"resources": ONE})
            assert (await created.waiting("two", "ContainerCreating"))["message"] == NONE_LEFT
            lose(folder, 0)
            await created.phase("two", "Running")
            assert await health(created, "two") == {uuids[1]: "Healthy"}
            await until(lambda: has("1"), "the node has one")
            lose(folder)
            await until(lambda: is_told("Healthy"), "it is back")

    asyncio.run(run())


def test_a_pod_without_gpus_says_nothing_of_them(folder: Path) -> None:
    async def run() -> None:
        async with world(folder, gpus=1) as created:
            await created.create("web", *SLEEP)
            await created.phase("web", "Running")
            (status,) = (await created.pod("web"))["status"]["containerStatuses"]
            assert "allocatedResourcesStatus" not in status

    asyncio.run(run())
