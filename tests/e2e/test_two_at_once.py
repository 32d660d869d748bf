"""Several `up` of the same world, or for the same port, started in the same instant: one wins, and no harm is done."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crash_story import free_port
from story_world import Finished, LocalWorld, ended

pytestmark = pytest.mark.e2e

OPTIONS = ("--detach", "--gateway-port", "0", "--api-port", "0")
TOGETHER = 4


def _at_once(world: LocalWorld, *more: str) -> list[Finished]:
    on = ("--kubernetes",) if world.base == "kubernetes" else ()
    return _together([world] * TOGETHER, *OPTIONS, *on, *more)


def _together(worlds: Sequence[LocalWorld], *options: str) -> list[Finished]:
    with ThreadPoolExecutor(len(worlds)) as pool:
        started = [pool.submit(world.outrider, "up", *options, code=None) for world in worlds]
        return [each.result() for each in started]


def test_of_several_up_at_once_one_wins_and_the_others_say_so(world: LocalWorld) -> None:
    _one_wins(world, _at_once(world))


@pytest.mark.only("local", reason="the folder is deleted in the same way on both")
def test_of_several_up_at_once_that_start_empty_one_wins_and_the_others_say_so(world: LocalWorld) -> None:
    _one_wins(world, _at_once(world, "--fresh"))
    _one_wins(world, _at_once(world, "--fresh"))


def _one_wins(world: LocalWorld, ends: Sequence[Finished]) -> None:
    assert sorted(end.code for end in ends) == [0, *[7] * (TOGETHER - 1)], ends
    assert all("already running" in end.err for end in ends if end.code), ends
    serving = [pid for pid, command in world.processes() if " up --world " in command]
    assert serving == [world.info.pid]
    world.outrider("status")
    world.outrider("down")
    assert world.processes() == []


@pytest.mark.only("local", reason="a port is bound in the same way on both")
def test_of_two_worlds_that_want_one_port_the_one_that_gets_none_is_told_what_to_give_instead(
    world: LocalWorld, tmp_path: Path
) -> None:
    port = str(free_port())
    other = LocalWorld(tmp_path / "other home")
    with ended(other):
        ends = _together([world, other], "--detach", "--gateway-port", port, "--api-port", "0")
        assert sorted(end.code for end in ends) == [0, 7], ends
        refused = next(end.err for end in ends if end.code)
        assert f"port {port} on 127.0.0.1 is in use" in refused
        assert "choose another:           outrider up --gateway-port PORT" in refused
        assert "or take any that is free:  outrider up --gateway-port 0" in refused
