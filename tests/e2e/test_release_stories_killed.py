"""Releases whose operator is killed at every step of any of them: with `outrider up`, of which it is a part."""

import os
import signal
import time
from collections.abc import Mapping

import pytest
from crash_story import Outage, free_port
from release_stories import Incident, Story, Told, has_all_traffic, is_tried, taken_back, tell
from release_story_table import WRONG
from story_world import LocalWorld, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(minutes=2),
    pytest.mark.only("local", reason="outrider sim --crash-everywhere kills after every call; this kills the process"),
]
STRATEGIES = {"RollingUpdate": 2, "Canary": 1, "BlueGreen": 1}
"""With the number of replicas: of one a rolling update has no trial."""
STORIES = {
    f"{kind} in {strategy}": Story(
        name=f"{kind}-{strategy.lower()}",
        strategy=strategy,
        replicas=replicas,
        ends=has_all_traffic if kind == "good" else taken_back,
        reasons=() if kind == "good" else WRONG,
        lossless=kind == "good",
        incidents=() if kind == "good" else (Incident(is_tried, {"error-rate": 1}),),
    )
    for kind in ("good", "bad")
    for strategy, replicas in STRATEGIES.items()
}


class Killer:
    """Kills the process of the world as soon as a release is where none of its looks has seen it before."""

    def __init__(self, world: LocalWorld) -> None:
        self._world = world
        self.seen: set[tuple[object, ...]] = set()
        self.outages: list[Outage] = []

    def __call__(self, told: Mapping[str, Told]) -> None:
        found = {
            (name, look.stage, look.release.get("step"), look.verdict[0] == "RollBack", look.release.get("phase"))
            for name, one in told.items()
            for look in one.looks[-1:]
        }
        for one in told.values():
            one.outages = self.outages
        if found <= self.seen:
            return
        self.seen |= found
        began, pid = time.monotonic(), self._world.info.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in {each for each, _ in self._world.processes()}, "the killed to be dead")
        self._world.up()
        self.outages.append(Outage(began, time.monotonic()))


def test_killed_at_every_step_each_release_comes_to_its_end(world: LocalWorld) -> None:
    world.gateway_port = free_port()
    world.up()
    killer = Killer(world)
    told = tell(world, "", STORIES, meanwhile=killer, may_be_away=True)
    print(f"killed {len(killer.outages)} times at {len(killer.seen)} steps")
    for one in told.values():
        one.check()
    assert len(killer.outages) >= len(STORIES), "every release was killed at least once"
