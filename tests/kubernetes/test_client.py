"""Our client and informers against a real API server: pages, versions that expire, restarts, refusals."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from control_plane import RunningPlane, running_plane

from outrider.kube.api import Conflict, Expired, Forbidden, Invalid, NotFound, Unauthorized, WatchEvent
from outrider.kube.clock import SystemClock
from outrider.kube.fence import FencedApi
from outrider.kube.http import PAGE_SIZE, WATCH_INACTIVITY, HttpApi
from outrider.kube.informer import Informer
from outrider.kube.lease import LeaderElection, LeaseLost, LeaseTimings
from outrider.kube.objects import CONFIG_MAP, NAMESPACE, NODE, POD, Pod

CONFIG_MAPS = CONFIG_MAP.into(dict)
DEADLINE = 120.0


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  (in real time there is no event for just any condition)
            await asyncio.sleep(0.05)


def talk(
    plane: RunningPlane, story: Callable[[HttpApi], Awaitable[None]], watch_inactivity: float = WATCH_INACTIVITY
) -> None:
    async def run() -> None:
        async with HttpApi(plane.config, watch_inactivity=watch_inactivity) as api:
            await story(api)

    asyncio.run(run())


async def make_namespace(api: HttpApi, name: str) -> str:
    await api.create(NAMESPACE, {"metadata": {"name": name}})
    return name


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def test_long_lists_come_in_pages_and_are_whole(control_plane: RunningPlane) -> None:
    async def story(api: HttpApi) -> None:
        namespace = await make_namespace(api, "client-pages")
        number = PAGE_SIZE + 50
        limit = asyncio.Semaphore(20)

        async def create(one: int) -> None:
            async with limit:
                await api.create(CONFIG_MAP, config_map(namespace, f"one-{one:04}"))

        await asyncio.gather(*(create(one) for one in range(number)))
        listed = await api.list(CONFIG_MAP, namespace)
        names = [item.metadata.name for item in listed.items if item.metadata.name.startswith("one-")]
        assert names == [f"one-{one:04}" for one in range(number)]

    talk(control_plane, story)


async def _first_event(api: HttpApi, namespace: str, version: str) -> WatchEvent[Pod]:
    """What comes first: servers send a bookmark about once a minute (60 to 75 s), and not surely one before a watch
    ends.
    """
    async for event in api.watch(POD, namespace, resource_version=version, timeout=140):
        return event
    pytest.fail("the watch ended without a bookmark")


def test_a_quiet_watch_brings_a_bookmark(control_plane: RunningPlane) -> None:
    async def story(api: HttpApi) -> None:
        namespace = await make_namespace(api, "client-bookmarks")
        listed = await api.list(POD, namespace)
        async with asyncio.timeout(150):
            bookmark = await _first_event(api, namespace, listed.resource_version)
        assert bookmark.type == "BOOKMARK"
        assert int(bookmark.resource_version) >= int(listed.resource_version)

    talk(control_plane, story, watch_inactivity=140)  # on a busy machine it may come later than a watch lives


def test_refusals_are_told_apart(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def story(api: HttpApi) -> None:
        namespace = await make_namespace(api, "client-refusals")
        with pytest.raises(NotFound, match="not found"):
            await api.get(POD, "nobody", namespace)
        with pytest.raises(Invalid) as invalid:
            await api.create(CONFIG_MAP, config_map(namespace, "No_Name"))
        assert invalid.value.details["causes"][0]["field"] == "metadata.name"
        made = await api.create(CONFIG_MAPS, config_map(namespace, "a", x="1"))
        stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"x": "2"}}
        await api.patch(CONFIG_MAP, "a", stale, namespace)
        with pytest.raises(Conflict):
            await api.patch(CONFIG_MAP, "a", stale, namespace)
        with pytest.raises(Conflict):
            await api.delete(CONFIG_MAP, "a", namespace, uid="another")

    talk(control_plane, story)
    document = control_plane.kubeconfig.read_text()
    somebody = tmp_path / "kubeconfig"

    def as_user(lines: str) -> RunningPlane:
        head, _, _ = document.partition("users:")
        somebody.write_text(f"{head}users:\n- name: outrider\n  user: {lines}\n{_contexts(document)}")
        return RunningPlane(tmp_path, control_plane.programs, control_plane.supervisor)

    async def forbidden(api: HttpApi) -> None:
        with pytest.raises(Forbidden, match='cannot list resource "nodes"'):
            await api.list(NODE)

    async def unknown(api: HttpApi) -> None:
        with pytest.raises(Unauthorized, match="refused the credentials"):
            await api.list(NODE)

    talk(as_user("{}"), forbidden)
    talk(as_user("{token: nonsense}"), unknown)


def _contexts(document: str) -> str:
    return document[document.index("contexts:") :]


def test_an_informer_misses_nothing_while_the_api_server_is_killed(tmp_path: Path) -> None:
    async def story(plane: RunningPlane) -> None:
        async with HttpApi(plane.config) as api:
            namespace = await make_namespace(api, "client-restart")
            for name in ("stays", "goes"):
                await api.create(CONFIG_MAP, config_map(namespace, name))
            informer = Informer(api, CONFIG_MAP, SystemClock(), namespace=namespace)
            gone: list[str] = []
            informer.subscribe(lambda kind, old, _new: gone.append(old.metadata.name) if kind == "DELETED" else None)  # type: ignore[union-attr]
            running = asyncio.create_task(informer.run())
            await asyncio.wait_for(informer.synced.wait(), DEADLINE)
            for round_ in range(2):
                _kill_api_server(plane)
                await eventually(lambda: "cannot reach the API server" in informer.last_error)
                await eventually(lambda: plane.kubectl("get", "ns", check=False).returncode == 0)
                if round_ == 0:
                    plane.kubectl("delete", "configmap", "goes", "-n", namespace)
                plane.kubectl("create", "configmap", f"new-{round_}", "-n", namespace)
                await eventually(lambda key=f"{namespace}/new-{round_}": informer.get(key) is not None)  # type: ignore[misc]
            assert gone == ["goes"]
            with pytest.raises(Expired):  # a server that has just started knows nothing of what was before
                async for _ in api.watch(CONFIG_MAP, namespace, resource_version="1", timeout=5):
                    pass
            assert informer.get(f"{namespace}/stays") is not None
            assert informer.last_error == ""
            informer.stop()
            await running

    with running_plane(tmp_path / "plane", "--no-controllers") as plane:
        asyncio.run(story(plane))


def _kill_api_server(plane: RunningPlane) -> None:
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if (
            words
            and words[0].endswith(b"/kube-apiserver")
            and any(str(plane.folder).encode() in word for word in words)
        ):
            os.kill(int(entry.name), signal.SIGKILL)
            return
    raise AssertionError("no API server is running")


def test_a_lease_is_taken_kept_handed_over_and_fences_writes(control_plane: RunningPlane) -> None:
    timings = LeaseTimings(duration=6.0, renew_deadline=4.0, retry_period=0.5)

    async def story(api: HttpApi) -> None:
        namespace = await make_namespace(api, "client-lease")
        clock = SystemClock()
        first, second = (
            LeaderElection(api, clock, name="it", namespace=namespace, identity=name, timings=timings)
            for name in ("first", "second")
        )
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        fenced = FencedApi(api.guarded(second.check), second, clock)
        taking = asyncio.create_task(second.acquire())
        await eventually(lambda: second.holder == "first")
        with pytest.raises(LeaseLost):
            await fenced.create(CONFIG_MAP, config_map(namespace, "early"))
        keeping.cancel()
        await first.release()
        await asyncio.wait_for(taking, DEADLINE)
        await fenced.create(CONFIG_MAP, config_map(namespace, "now"))
        with pytest.raises(NotFound):
            await api.get(CONFIG_MAP, "early", namespace)
        with pytest.raises(LeaseLost):
            await first.keep()

    talk(control_plane, story)
