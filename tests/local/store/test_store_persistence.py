"""The file: what was written is there again, also after a violent end; and what is wrong with a file is said."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.api import Expired, Kind, NotFound, Object, Unavailable
from outrider.kube.objects import BUILT_IN, CONFIG_MAP, DEPLOYMENT, SECRET
from outrider.local.store import Store, StoreApi, StoreError
from outrider.local.store.persistence import Database, Row
from outrider.local.store.store import VERSIONS_SKIPPED

Make = Callable[..., Object]


def test_objects_and_versions_survive_a_restart(clock: Any, tmp_path: Path, deployment: Make, config_map: Make) -> None:
    async def story() -> None:
        path = tmp_path / "deep" / "store.db"
        async with Store.opened(clock, path=path) as store:
            api = StoreApi(store)
            await api.apply(DEPLOYMENT, deployment(), owner="a")
            await api.create(CONFIG_MAP, config_map())
            await api.delete(CONFIG_MAP, "c", "default")
            before = await api.list(DEPLOYMENT.into(dict))
            version = store.version
        async with Store.opened(clock, path=path) as store:
            api = StoreApi(store)
            assert (await api.list(DEPLOYMENT.into(dict))).items == before.items
            with pytest.raises(NotFound):
                await api.get(CONFIG_MAP, "c", "default")
            assert store.version >= version + VERSIONS_SKIPPED, "no version is ever given twice"
            with pytest.raises(Expired):
                await anext(api.watch(DEPLOYMENT, resource_version=str(version)))

    asyncio.run(story())


def test_the_file_is_private(clock: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with Store.opened(clock, path=tmp_path / "store.db") as store:
            await StoreApi(store).create(SECRET, {"metadata": {"name": "s", "namespace": "default"}})
            modes.update({name: (tmp_path / name).stat().st_mode & 0o777 for name in os.listdir(tmp_path)})  # noqa: PTH208

    modes: dict[str, int] = {}
    asyncio.run(story())
    assert set(modes.values()) == {0o600}, modes


def test_a_kind_that_is_not_served_stays_in_the_file(clock: Any, tmp_path: Path, config_map: Make) -> None:
    few: tuple[Kind[Any], ...] = tuple(kind for kind in BUILT_IN if kind != CONFIG_MAP)

    async def story() -> None:
        path = tmp_path / "store.db"
        async with Store.opened(clock, path=path) as store:
            await StoreApi(store).create(CONFIG_MAP, config_map(a="b"))
        async with Store.opened(clock, path=path, kinds=few) as store:
            with pytest.raises(NotFound, match="does not serve"):
                await StoreApi(store).get(CONFIG_MAP, "c", "default")
        async with Store.opened(clock, path=path) as store:
            assert (await StoreApi(store).get(CONFIG_MAP, "c", "default")).data == {"a": "b"}

    asyncio.run(story())


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x5a" * (len(data) - 4096)
    path.write_bytes(bytes(data))


def other_format(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE format SET version = 99")


def other_database(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def other_contents(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE objects SET data = 'nonsense' WHERE name = 'c3'")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file that is no database": (lambda path: path.write_bytes(b"nonsense" * 1000), "outrider up --fresh"),
    "an empty file": (lambda path: path.write_bytes(b""), "outrider up --fresh"),
    "a file that is damaged inside": (damage_middle, "outrider up --fresh"),
    "a database of something else": (other_database, "outrider up --fresh"),
    "a file with an object that is no JSON": (other_contents, "outrider up --fresh"),
    "a file of another format": (other_format, "format 99"),
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_a_bad_file_is_refused_and_left_alone(clock: Any, tmp_path: Path, config_map: Make, sentence: str) -> None:
    damage, words = DAMAGES[sentence]
    path = tmp_path / "store.db"

    async def fill() -> None:
        async with Store.opened(clock, path=path) as store:
            for number in range(20):
                await StoreApi(store).create(CONFIG_MAP, config_map(f"c{number}", a="x" * 3000))

    asyncio.run(fill())
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=words) as caught:
        Store(clock, path=path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_made_is_refused(clock: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises((StoreError, OSError), match="taken"):
        Store(clock, path=tmp_path / "taken" / "store.db")


def test_a_second_process_is_kept_out(clock: Any, tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "store.db"
        async with Store.opened(clock, path=path):
            result = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", SECOND, str(path)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert "in use by another process" in result.stderr

    asyncio.run(story())


SECOND = """
import sys, pathlib
from outrider.kube.clock import SystemClock
from outrider.local.store import Store
Store(SystemClock(), path=pathlib.Path(sys.argv[1]))
"""


def test_a_disk_that_fails_stops_all_writing_and_says_why(clock: Any, tmp_path: Path, config_map: Make) -> None:
    async def story() -> None:
        path = tmp_path / "store.db"
        async with Store.opened(clock, path=path) as store:
            api = StoreApi(store)
            database = store._database
            assert database is not None
            database._connection.execute("PRAGMA query_only = ON")
            with pytest.raises(Unavailable, match="cannot write to"):
                await api.create(CONFIG_MAP, config_map("lost"))
            with pytest.raises(Unavailable, match="disk is full or read-only"):
                await api.create(CONFIG_MAP, config_map("refused"))
        async with Store.opened(clock, path=path) as store:
            assert (await StoreApi(store).list(CONFIG_MAP)).items == ()

    asyncio.run(story())


def test_after_a_write_that_failed_no_later_one_gets_into_the_file(tmp_path: Path) -> None:
    """Not even when there is room again: a later change without the earlier one is a state that there never was."""
    path = tmp_path / "store.db"
    database = Database(path)
    database.load()

    async def story() -> None:
        database._connection.execute("PRAGMA query_only = ON")
        database.write(Row("", "configmaps", "default", "lost", b"{}"), 1)
        with pytest.raises(StoreError, match="cannot write to"):
            await database.flushed()
        database._connection.execute("PRAGMA query_only = OFF")
        database.write(Row("", "configmaps", "default", "later", b"{}"), 2)
        with pytest.raises(StoreError, match="cannot write to"):
            await database.flushed()
        await database.close()

    asyncio.run(story())
    again = Database(path)
    assert again.load() == ([], 0)
    again.stop()


def test_many_writers_share_their_commits(clock: Any, tmp_path: Path, config_map: Make) -> None:
    async def story() -> None:
        path = tmp_path / "store.db"
        async with Store.opened(clock, path=path) as store:
            api = StoreApi(store)
            await asyncio.gather(*(api.create(CONFIG_MAP, config_map(f"c{number}")) for number in range(200)))
        async with Store.opened(clock, path=path) as store:
            assert len((await StoreApi(store).list(CONFIG_MAP)).items) == 200

    asyncio.run(story())


WRITER = """
import asyncio, pathlib, sys
from outrider.kube.clock import SystemClock
from outrider.kube.objects import CONFIG_MAP
from outrider.local.store import Store, StoreApi

async def main():
    api = StoreApi(Store(SystemClock(), path=pathlib.Path(sys.argv[1])))
    for number in range(100_000):
        name = f"c{number}"
        made = await api.create(CONFIG_MAP, {"metadata": {"name": name, "namespace": "default"}})
        if number % 3 == 0:
            await api.delete(CONFIG_MAP, name, "default")
            print("gone", name, made.metadata.resource_version, flush=True)
        else:
            print("made", name, made.metadata.resource_version, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 40, 400])
def test_what_was_answered_survives_kill_9(clock: Any, tmp_path: Path, lines: int) -> None:
    path = tmp_path / "store.db"
    told: list[list[str]] = []
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while len(told) < lines:
            told.append(process.stdout.readline().split())
        os.kill(process.pid, signal.SIGKILL)
        told += [line.split() for line in process.stdout if line.endswith("\n")]

    async def story() -> None:
        async with Store.opened(clock, path=path) as store:
            listed = await StoreApi(store).list(CONFIG_MAP)
            names = {item.metadata.name for item in listed.items}
            assert {name for what, name, _ in told if what == "made"} <= names
            assert not {name for what, name, _ in told if what == "gone"} & names
            assert int(listed.resource_version) > max(int(version) for _, _, version in told)

    asyncio.run(story())
