"""Containers of nodes with simulated GPUs have an `nvidia-smi` that shows theirs."""

import asyncio
import json
from pathlib import Path

from outrider.local.kubelet.node import NodeConfig
from outrider.local.kubelet.simulated_gpus import SimulatedGpus

from .conftest import until, world

TWO = {"limits": {"nvidia.com/gpu": "2"}}
QUERY = "nvidia-smi --query-gpu=index,temperature.gpu,uuid --format=csv,noheader,nounits; echo end"


def test_a_container_sees_its_own_gpus_and_their_faults(folder: Path) -> None:
    async def run() -> None:
        async with world(folder, gpus=4) as created:
            await created.create("one", "sh", "-c", f"{QUERY}; sleep 600", container={"resources": TWO})
            await created.prints("one", "end")
            state = folder / "node-1" / ".gpus" / "gpus.json"
            known = json.loads(state.read_text())["gpus"]
            assert [gpu["product"] for gpu in known] == ["NVIDIA-H100-80GB-HBM3"] * 4
            shown = (await created.output("one")).splitlines()[:-1]
            assert shown == [f"0, 36, {known[0]['uuid']}", f"1, 37, {known[1]['uuid']}"]
            known[3]["temperature.gpu"] = 99
            state.write_text(json.dumps({"gpus": known}))
            await created.create("two", "sh", "-c", f"{QUERY}; sleep 600", container={"resources": TWO})
            await created.prints("two", "end")
            shown = (await created.output("two")).splitlines()[:-1]
            assert shown == [f"0, 38, {known[2]['uuid']}", f"1, 99, {known[3]['uuid']}"]
            await created.create("none", "sh", "-c", f"{QUERY}; sleep 600")
            assert "No devices were found" in await created.prints("none", "end")

    asyncio.run(run())


def test_a_restart_keeps_the_gpus_and_what_was_done_to_them(folder: Path) -> None:
    gpus = SimulatedGpus(folder / "node-1", NodeConfig(name="node-1", gpus=2))
    gpus.prepare()
    before = json.loads(gpus.state.read_text())["gpus"]
    before[1]["lost"] = True
    gpus.state.write_text(json.dumps({"gpus": before}))
    SimulatedGpus(folder / "node-1", NodeConfig(name="node-1", gpus=3)).prepare()
    after = json.loads(gpus.state.read_text())["gpus"]
    assert after[:2] == before
    assert len({gpu["uuid"] for gpu in after}) == 3
    other = NodeConfig(name="node-1", gpus=2, gpu_product="NVIDIA-L4")
    SimulatedGpus(folder / "node-1", other).prepare()
    assert [gpu["product"] for gpu in json.loads(gpus.state.read_text())["gpus"]] == ["NVIDIA-L4"] * 2


def test_where_gpus_are_real_nothing_comes_before_their_own_nvidia_smi(folder: Path) -> None:
    async def run() -> None:
        async with world(folder, node=NodeConfig(name="node-1", gpus=1, gpus_simulated=False)) as created:
            await created.create("one", "sh", "-c", "echo path=$PATH gpus=$OUTRIDER_GPUS=; sleep 600")
            await created.prints("one", "path=")
            assert ".gpus" not in await created.output("one")
            await until(lambda: not (folder / "node-1" / ".gpus").exists(), "nothing was written")

    asyncio.run(run())
