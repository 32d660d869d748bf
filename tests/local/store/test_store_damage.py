"""Damage to the store's files: it is found out and told, or nothing is lost. Never other objects without a word."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.kube.clock import SystemClock
from outrider.kube.objects import CONFIG_MAP
from outrider.local.store import Store, StoreApi, StoreError

FIRST, LAST = 12, 8
"""ConfigMaps that are in the file itself, and those that came later and are only in the write-ahead log."""


class Copy:
    """A store's files as a killed process leaves them, put back as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.sqlite"
        store = Store(SystemClock(), path=self.path)
        asyncio.run(_fill(store, [f"first-{number}" for number in range(FIRST)]))
        asyncio.run(store.close())
        self.first = self.read()[0]
        store = Store(SystemClock(), path=self.path)
        asyncio.run(_fill(store, [f"last-{number}" for number in range(LAST)]))
        # Nothing is closed before the files are copied.
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
        asyncio.run(store.close())
        self.all = self.read()[0]

    def put_back(self, damaged: str = "", content: bytes | None = None) -> None:
        """The whole files, but for one: with that content, or missing."""
        for path in self.path.parent.iterdir():
            path.unlink()
        for name, whole in self.files.items():
            if name != damaged:
                (self.path.parent / name).write_bytes(whole)
            elif content is not None:
                (self.path.parent / name).write_bytes(content)

    def read(self) -> tuple[list[Any], str]:
        """The ConfigMaps, and what the store says is missing. Raises `StoreError`."""

        async def story() -> tuple[list[Any], str]:
            async with Store.opened(SystemClock(), path=self.path) as store:
                listed = await StoreApi(store).list(CONFIG_MAP.into(dict))
                return list(listed.items), store.missing

        return asyncio.run(story())

    def opens(self, damaged: str, content: bytes | None) -> bool:
        """Whether it can be opened with that damage. What is lost must be told, and what is refused left alone."""
        self.put_back(damaged, content)
        before = self._contents()
        try:
            objects, missing = self.read()
        except StoreError as error:
            refusal = str(error)
        else:
            if missing:
                assert str(self.path) in missing
                assert objects == [each for each in self.all if each in objects], "an earlier state, and no other"
            else:
                assert objects == self.all
            return True
        assert str(self.path) in refusal
        assert "outrider up --fresh" in refusal
        assert self._contents() == before
        return False

    def _contents(self) -> dict[str, bytes]:
        found = self.path.parent.iterdir()
        return {path.name: path.read_bytes() for path in found if not path.name.endswith(("-shm", "-mark"))}


async def _fill(store: Store, names: list[str]) -> None:
    for name in names:
        await StoreApi(store).create(CONFIG_MAP, _config_map(name))


def _config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": {"text": f"{name} " * 100}}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("store"))


MAIN, LOG, MARK = "state.sqlite", "state.sqlite-wal", "state.sqlite-mark"


def test_whole_files_of_a_killed_process_lack_nothing(copy: Copy) -> None:
    copy.put_back()
    assert copy.read() == (copy.all, "")
    assert len(copy.all) == FIRST + LAST
    assert {path.name for path in copy.path.parent.iterdir()} == {MAIN, MARK}, "what is left after a clean end"


@pytest.mark.parametrize(("name", "step"), [(MAIN, 1024), (LOG, 2060)])
def test_a_file_that_is_cut_off_anywhere_is_refused_or_told_or_complete(copy: Copy, name: str, step: int) -> None:
    whole = copy.files[name]
    # Every edge of a page, or of a frame (4120 bytes, after a header of 32), the bytes beside it, and some between.
    edges = {0, 1, *range(32 if name == LOG else 0, len(whole), step)}
    lengths = {edge + near for edge in edges for near in (-1, 0, 1)} & set(range(len(whole)))
    opened = [length for length in sorted(lengths) if copy.opens(name, whole[:length])]
    refused = len(lengths) - len(opened)
    assert (refused > len(lengths) / 2) if name == MAIN else (refused == 0)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_byte_that_has_changed_is_refused_or_told_or_means_nothing(copy: Copy, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([MAIN, LOG]))
    damaged = bytearray(copy.files[name])
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    copy.opens(name, bytes(damaged))


def test_a_write_ahead_log_that_is_gone_is_told_with_what_is_missing(copy: Copy) -> None:
    copy.put_back(LOG)
    objects, missing = copy.read()
    assert objects == copy.first
    assert "lacks the last changes" in missing
    assert "apply again" in missing
    assert copy.read()[1], "told again for as long as nothing new was written"
    store = Store(SystemClock(), path=copy.path)
    asyncio.run(_fill(store, ["new"]))
    asyncio.run(store.close())
    assert copy.read()[1] == ""


def test_a_file_that_is_gone_while_its_write_ahead_log_is_there_is_refused(copy: Copy) -> None:
    assert not copy.opens(MAIN, None)


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\xff" * 40])
def test_a_mark_that_is_gone_or_damaged_is_no_reason_not_to_start(copy: Copy, content: bytes | None) -> None:
    assert copy.opens(MARK, content)


def test_an_object_that_somebody_has_taken_out_of_the_file_is_noticed(copy: Copy) -> None:
    copy.put_back()
    copy.read()
    with closing(sqlite3.connect(copy.path)) as connection, connection:
        connection.execute("DELETE FROM objects WHERE name = 'first-3'")
    with pytest.raises(StoreError, match="its contents are not what was written"):
        copy.read()


def test_a_file_of_the_format_without_a_digest_is_brought_up_to_date(copy: Copy) -> None:
    copy.put_back()
    copy.read()
    with closing(sqlite3.connect(copy.path)) as connection, connection:
        connection.execute("ALTER TABLE counter DROP COLUMN digest")
        connection.execute("UPDATE format SET version = 1")
    assert copy.read() == (copy.all, "")
    assert copy.read() == (copy.all, ""), "and once it is, it is as any other"
