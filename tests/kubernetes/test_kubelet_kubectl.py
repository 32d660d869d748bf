"""What kubectl shows of pods that are processes, through the real API server."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from control_plane import RunningPlane

from .kubelet_world import KubeletWorld, kubelet_world

SLEEPER = (sys.executable, "-c", "import time\nprint('begun', flush=True)\ntime.sleep(600)")


def story(plane: RunningPlane, folder: Path, name: str, scenario: Callable[[KubeletWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        async with kubelet_world(plane, folder / "pods", name) as world:
            await scenario(world)

    asyncio.run(run())


def test_exec_and_logs(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("web", *SLEEPER, container={"env": [{"name": "COLOUR", "value": "blue"}]})
        await world.ready("web")
        kubectl = world.kubectl
        assert (await kubectl("exec", "web", "--", "sh", "-c", "echo $COLOUR")).stdout == "blue\n"
        failed = await kubectl("exec", "web", "--", "sh", "-c", "echo no >&2; exit 7", check=False)
        assert (failed.returncode, failed.stderr) == (7, "no\ncommand terminated with exit code 7\n")
        missing = await kubectl("exec", "web", "--", "no-such-program", check=False)
        assert missing.returncode == 127
        assert 'exec: "no-such-program": executable file not found in $PATH' in missing.stderr
        counted = await kubectl("exec", "-i", "web", "--", "wc", "-l", stdin="a\nb\nc\n")
        assert counted.stdout.strip() == "3"
        assert (await kubectl("logs", "web")).stdout == "begun\n"
        assert (await kubectl("logs", "web", "--tail=1", "--timestamps")).stdout.endswith("Z begun\n")
        nothing = await kubectl("logs", "web", "--previous", check=False)
        assert 'previous terminated container "main" in pod "web" not found' in nothing.stderr

    story(control_plane, tmp_path, "exec-and-logs", scenario)
