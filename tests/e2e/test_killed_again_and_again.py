"""Through releases and rollbacks everything is killed, again and again, at moments that a seed decides.

To search for an hour:
`OUTRIDER_CRASH_SEED=7 OUTRIDER_CRASH_ROUNDS=400 pytest -s tests/e2e/test_killed_again_and_again.py -k local`. A seed
tells the same story again, as far as processes repeat themselves.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import crash_story
import pytest
from client_traffic import raw_traffic
from crash_story import CRASHES, Crash, Service
from story_world import LocalWorld, wait_for

from outrider.cli.demo.traffic import Tally

pytestmark = pytest.mark.e2e

ROUNDS = 4
"""Of the six ways to die. A round takes some eight seconds; on Kubernetes, whose control plane dies too, fifteen."""
SEED = 2
"""The story that is told when nobody asks for another."""
KEPT = {"kubeconfig", "lock", "outrider.log", "state.sqlite", "state.sqlite-mark", "token", "up.out"}
"""Files of a world that has ended, as the page on the local world lists them; besides those of its pods."""


def test_killed_again_and_again(world: LocalWorld, base: str) -> None:
    asked = os.environ.get("OUTRIDER_CRASH_ROUNDS")
    if base == "kubernetes" and not asked:
        pytest.skip("takes minutes: set OUTRIDER_CRASH_ROUNDS; test_crash.py kills this world too")
    rounds = int(asked or ROUNDS)
    seed = int(os.environ.get("OUTRIDER_CRASH_SEED") or SEED)
    print(f"OUTRIDER_CRASH_SEED={seed}")
    rng = random.Random(seed)
    world.gateway_port = crash_story.free_port()
    world.up()
    service = Service(world, rng)
    service.release()
    crash_story.settle(world, service)
    url = world.get(crash_story.NAME)["status"]["url"]
    outages: list[crash_story.Outage] = []
    crashes: list[str] = []
    with raw_traffic(url, crash_story.MODEL, per_second=10) as tally, ThreadPoolExecutor(1) as beside:
        for number in range(rounds):
            _some_traffic(tally)
            crashes = crashes or rng.sample(list(CRASHES), len(CRASHES))
            who = crashes.pop()
            command = service.roll_back if number % 2 else service.release
            given = beside.submit(command)
            moment = crash_story.random_moment(world, rng)
            print(f"{number}: {command.__name__}, {moment} kill {who}", end="", flush=True)
            outages.append(Crash(world, rng, who).happen())
            given.result()
            crash_story.settle(world, service)
            print(f"; {service.wanted} serves, {tally.failed_requests} of {tally.requests} requests failed", flush=True)
            assert crash_story.unexplained(tally, outages) == []
        _some_traffic(tally)
    assert crash_story.unexplained(tally, outages) == []
    world.outrider("down")
    assert world.processes() == []
    if base == "local":
        assert crash_story.files_left(world) == KEPT


def _some_traffic(tally: Tally) -> None:
    """While all is well: what fails then has no explanation."""
    sent = tally.requests
    wait_for(lambda: tally.requests > sent + 10, "traffic")
