"""A kubelet that is killed with SIGKILL, and the one that comes after it."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.clock import SystemClock
from outrider.local.kubelet import end_all_containers
from outrider.local.kubelet.leftovers import marked
from outrider.local.store import Store, StoreApi

from .conftest import World, until, world

pytestmark = pytest.mark.e2e

HOST = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import World
from outrider.kube.clock import SystemClock
from outrider.local.store import Store, StoreApi

async def main():
    async with Store.opened(SystemClock(), path=Path(sys.argv[2])) as store:
        w = World(StoreApi(store), Path(sys.argv[3]), gpus=4)
        w.start()
        await w.create("worker", "sh", "-c", "echo began; exec sleep 1000",
                       container={"resources": {"limits": {"nvidia.com/gpu": 2}}})
        await w.create("ender", "sh", "-c", "echo waiting; while [ ! -e go ]; do sleep 0.02; done; exit 9",
                       restartPolicy="Never")
        await w.create("orphan", "sh", "-c", "setsid sleep 1000 & echo lonely; wait")
        await w.create("leaver", "sh", "-c", "trap '' TERM; echo stays; while :; do sleep 0.05; done",
                       terminationGracePeriodSeconds=3)
        for name in ("worker", "ender", "orphan", "leaver"):
            await w.ready(name)
        await w.prints("leaver", "stays")
        await w.delete("leaver")
        print("up", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@contextmanager
def crashed_host(database: Path, folder: Path) -> Iterator[None]:
    """A world in a process of its own that has been killed with SIGKILL, in the middle of its work."""
    argv = [sys.executable, "-c", HOST, str(Path(__file__).parent), str(database), str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as host:
        assert host.stdout is not None
        line = next((line for line in host.stdout if line == "up\n"), "")
        os.killpg(host.pid, signal.SIGKILL)
        assert line == "up\n"
    yield


def test_after_a_crash_pods_are_adopted_and_orphans_ended(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World, before: dict[str, dict[str, Any]]) -> None:
        await until(lambda: not [pid for pid in marked(folder) if pid in orphan_pids])
        status = await w.ready("worker")
        assert status["podIP"] == before["worker"]["podIP"]
        assert status["containerStatuses"] == before["worker"]["containerStatuses"]
        assert status["conditions"] == before["worker"]["conditions"]
        assert await w.output("worker") == "began\n"
        uid = (await w.pod("worker"))["metadata"]["uid"]
        assert w.kubelet._services.gpus.free == [2, 3]
        home(folder, (await w.pod("ender"))["metadata"]["uid"]).joinpath("go").touch()
        ended = (await w.phase("ender", "Failed"))["containerStatuses"][0]["state"]["terminated"]
        assert ended["exitCode"] == 9
        await w.removed("leaver")
        kept = {uid, (await w.pod("ender"))["metadata"]["uid"]}
        await until(lambda: {path.name for path in folder.glob("node-1/[!.]*")} == kept)

    async def run() -> None:
        async with Store.opened(SystemClock(), path=database) as store:
            w = World(StoreApi(store), folder, gpus=4)
            before = {name: await w.status(name) for name in ("worker", "ender")}
            orphan = await w.pod("orphan")
            orphan_pids.extend(marked(folder / "node-1" / orphan["metadata"]["uid"]))
            assert len(orphan_pids) >= 3
            await w.delete("orphan", grace_seconds=0)
            w.start()
            try:
                await scenario(w, before)
            finally:
                await w.stop()

    database = tmp_path / "state.sqlite"
    orphan_pids: list[int] = []
    with crashed_host(database, folder):
        assert sqlite3.connect(database).execute("select 1").fetchone()
        asyncio.run(run())


def home(folder: Path, uid: str) -> Path:
    return folder / "node-1" / uid / "home"


def test_what_a_crash_left_can_be_ended_without_a_kubelet(folder: Path, tmp_path: Path) -> None:
    with crashed_host(tmp_path / "state.sqlite", folder):
        assert len(marked(folder)) >= 8
        assert end_all_containers(folder) == 4
        assert marked(folder) == []
        assert end_all_containers(folder) == 0


def test_stopping_without_the_pods_leaves_them_running_for_the_next(folder: Path) -> None:
    async def scenario() -> None:
        async with world(folder) as w:
            await w.create("a", "sh", "-c", "echo began; exec sleep 1000")
            before = await w.ready("a")
            await w.stop(end_pods=False)
            running = marked(folder)
            assert running
            w.start()
            await w.kubelet.registered.wait()
            await until(lambda: _adopted(w))
            assert marked(folder) == running
            assert await w.status("a") == before

    async def _adopted(w: World) -> bool:
        uid = (await w.pod("a"))["metadata"]["uid"]
        worker = w.kubelet._workers.get(uid)
        return worker is not None and worker.main[0].running

    asyncio.run(scenario())


def test_a_container_whose_shim_is_killed_is_run_again(folder: Path) -> None:
    async def scenario() -> None:
        async with world(folder) as w:
            await w.create("a", "sh", "-c", "setsid sleep 1000 & echo up; wait")
            await w.prints("a", "up")
            uid = (await w.pod("a"))["metadata"]["uid"]
            run = w.kubelet._workers[uid].main[0].run
            assert run is not None
            first = marked(folder)
            os.kill(run.info.shim, signal.SIGKILL)

            async def restarted() -> bool:
                return bool((await w.container("a"))["restartCount"] == 1)

            await until(restarted)
            last = (await w.container("a"))["lastState"]["terminated"]
            assert (last["exitCode"], last["reason"]) == (137, "ContainerStatusUnknown")
            await w.prints("a", "up")
            assert not set(first) & set(marked(folder))

    asyncio.run(scenario())
