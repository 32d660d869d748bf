"""A disk that is full, read-only, or has damaged the state: what serves goes on, and messages say what to do."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_traffic import raw_traffic
from crash_story import MANIFEST, MODEL, NAME
from small_disk import SmallDisk, small_disk
from story_world import LocalWorld, ended, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.only("local", reason="etcd keeps the objects of the other, and has its own answers"),
]

NEXT = MANIFEST.replace("v1.2.0", "v1.3.0")
AGAIN = MANIFEST.replace("v1.2.0", "v1.4.0")


@pytest.fixture
def disk(tmp_path: Path, base: str) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small disk", megabytes=48) as made:
        yield made


@pytest.fixture
def on_disk(disk: SmallDisk) -> Iterator[LocalWorld]:
    world = disk.world()
    with ended(world):
        yield world


def test_on_a_full_disk_what_serves_goes_on_and_with_room_again_everything_does(
    on_disk: LocalWorld, disk: SmallDisk
) -> None:
    on_disk.up()
    on_disk.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    url = on_disk.get(NAME)["status"]["url"]
    with raw_traffic(url, MODEL, per_second=10) as tally:
        disk.fill()
        wait_for(lambda: tally.requests > 20, "traffic on a full disk")
        refused = wait_for(lambda: _refused(on_disk), "a change to be refused")
        assert f"cannot write to {on_disk.home}/worlds/local/state.sqlite" in refused
        assert "Look whether the disk is full or read-only, then run `outrider down` and `outrider up`" in refused
        on_disk.outrider("status", code=None)
        sent = tally.requests
        wait_for(lambda: tally.requests > sent + 20, "traffic after a refused change")
        assert tally.failures == {}
    os.kill(on_disk.info.pid, signal.SIGKILL)
    wait_for(lambda: not on_disk.folder.running, "the world to be dead")
    full = on_disk.outrider("up", "--detach", "--gateway-port", "0", "--api-port", "0", code=1)
    assert f"there is no room in {on_disk.home}/worlds/local: No space left on device" in full.err
    assert "make room and run it again: what was applied before is kept" in full.err
    disk.make_room()
    on_disk.up()
    on_disk.outrider("apply", "--filename", "-", "--wait", stdin=AGAIN)
    versions = {each["version"] for each in on_disk.json("rollout", "history", NAME, "--namespace", "production")}
    assert {"v1.2.0", "v1.4.0"} <= versions <= {"v1.2.0", "v1.3.0", "v1.4.0"}


def _refused(world: LocalWorld) -> str:
    """What is said to a change that finds no room; small ones may still find some."""
    finished = world.outrider("apply", "--filename", "-", stdin=NEXT, code=None)
    return finished.err if finished.code else ""


def test_a_data_folder_that_is_read_only_is_told_by_name_and_nothing_is_lost(
    on_disk: LocalWorld, disk: SmallDisk
) -> None:
    on_disk.up()
    on_disk.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    on_disk.outrider("down")
    disk.mount_again("ro")
    refused = on_disk.outrider("up", "--detach", code=1)
    assert "Read-only file system" in refused.err
    assert str(on_disk.home) in refused.err
    assert "Traceback" not in refused.err
    assert on_disk.outrider("up", code=1).err.count("\n") <= 2
    disk.mount_again("rw")
    on_disk.up()
    on_disk.outrider("rollout", "status", NAME, "--namespace", "production")


def test_a_damaged_state_is_refused_by_name_and_left_alone_until_somebody_decides(world: LocalWorld) -> None:
    world.up()
    world.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    world.outrider("down")
    whole = world.folder.database.read_bytes()
    position = whole.index(b"v1.2.0")
    damaged = whole[: position + 1] + b"9" + whole[position + 2 :]
    world.folder.database.write_bytes(damaged)
    refused = world.outrider("up", "--detach", code=1)
    assert f"{world.folder.database} cannot be read (its contents are not what was written). It is left as it is" in (
        refused.err
    )
    assert "outrider up --fresh" in refused.err
    assert world.folder.database.read_bytes() == damaged
    world.folder.database.write_bytes(whole)
    world.up()
    world.outrider("rollout", "status", NAME, "--namespace", "production")


def test_changes_that_were_lost_with_the_write_ahead_log_are_told_and_applying_again_heals(world: LocalWorld) -> None:
    world.up()
    world.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
    world.outrider("down")
    world.up()
    world.outrider("apply", "--filename", "-", "--wait", stdin=NEXT)
    os.kill(world.info.pid, signal.SIGKILL)
    wait_for(lambda: not world.folder.running, "the world to be dead")
    log = world.folder.database.with_name("state.sqlite-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 3])
    up = world.outrider("up", "--detach", "--gateway-port", "0", "--api-port", "0")
    assert f"warning: {world.folder.database} lacks the last changes" in up.err
    world.outrider("apply", "--filename", "-", "--wait", stdin=NEXT)
    assert world.get(NAME)["status"]["servingVersion"] == "v1.3.0"
    world.outrider("down")
    again = world.outrider("up", "--detach", "--gateway-port", "0", "--api-port", "0")
    assert "warning" not in again.err
