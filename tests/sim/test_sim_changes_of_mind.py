"""What simulation found since people change their minds in the middle of releases, each as a short scenario."""

import pytest
from sim_scenarios import NOT_WATCHED, TWO_GPUS, WATCHED, blue_green, canary, edit, spec, version

from outrider.sim.crashes import NAME
from outrider.sim.draw_releases import HANGS
from outrider.sim.incidents import Apply, BadVersion, Crash, NodeLost, Pin, Retry, Scenario, SlowLoads, Unpin
from outrider.sim.run import run

WATCHED_FROM_NOW = {"autoRollback": {**WATCHED, "window": "60s"}}


def served(at: float, first: str, replicas: int, standby: str, deployment: dict[str, object]) -> Apply:
    return Apply(at=at, deployment=NAME, spec=spec(first, replicas, standby, NOT_WATCHED, deployment=deployment))


FOUND: dict[str, Scenario] = {
    "a version that was noted at zero replicas was gone back to, though it had never served": Scenario(
        seed=100583,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            served(131.4, "v1.1.0", 1, "0s", canary((34, "5s"))),
            edit(163.6, replicas=0),
            version(163.7, "v2.0.0"),
            Crash(at=163.7, calls=1, down_seconds=44.3),
            edit(166.8, replicas=1),
            SlowLoads(at=168.3, seconds=51, load_seconds=703),
            version(210.2, "v1.1.0", rollback=WATCHED_FROM_NOW),
        ),
    ),
    "a version that was suspended in its preview was gone back to from the next, though it had never served": Scenario(
        seed=100837,
        nodes=1,
        load_seconds=60.0,
        incidents=(
            served(15.3, "v1.0.0", 1, "15s", blue_green("30s")),
            version(56.9, "v2.0.0"),
            edit(103.2, replicas=0),
            version(125.3, "v1.2.0", rollback=WATCHED_FROM_NOW),
            edit(141.9, replicas=1),
            BadVersion(at=153, seconds=197.9, version="v1.2.0", how="answers errors"),
        ),
    ),
    "a pod that served was ended for one that had crashed, as the gate of another was opened": Scenario(
        seed=100599,
        nodes=1,
        load_seconds=60.0,
        incidents=(
            served(8, "v1.0.0", 3, "60s", canary((5, "5s"), (50, "20s"), (75, "20s"))),
            version(49.6, "v2.0.0"),
            version(62, "v1.1.0"),
            Pin(at=64.1, deployment=NAME, version="previous-stable"),
            version(110.2, "v2.0.0", rollback=WATCHED_FROM_NOW),
            BadVersion(at=145.5, seconds=31, version="v2.0.0", how="crashes"),
            Crash(at=160.4, calls=1, down_seconds=25.9),
            Unpin(at=175.4, deployment=NAME),
        ),
    ),
    "a standby that ends for a third version, while a node is lost, took no requests": Scenario(
        seed=5424,
        nodes=2,
        load_seconds=3.0,
        gateway=False,
        incidents=(
            Apply(
                at=8.3,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "60s", NOT_WATCHED, deployment=canary((50, "20s")), resources=TWO_GPUS),
            ),
            version(70.2, "v1.2.0"),
            NodeLost(at=105.2, seconds=102, node=1),
            version(160.5, "v2.0.0"),
        ),
    ),
    "what was taken back and is released again is an alarm about something": Scenario(
        seed=100162,
        nodes=1,
        load_seconds=3.0,
        gateway=False,
        incidents=(
            served(3.9, "v1.1.0", 1, "0s", {}),
            version(209.3, "v2.0.0", rollback={"autoRollback": WATCHED}),
            BadVersion(at=226.9, seconds=1, version="v2.0.0", how="crashes"),
            Retry(at=502.1, deployment=NAME),
        ),
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_mended(what: str) -> None:
    assert run(FOUND[what]).violation is None


def test_a_pod_that_hangs_in_loading_is_started_anew_by_its_startup_probe() -> None:
    """Where no release is watched, that is all that helps."""
    scenario = Scenario(
        seed=1,
        nodes=1,
        load_seconds=10.0,
        incidents=(
            SlowLoads(at=0, seconds=30, load_seconds=HANGS),
            Apply(at=1, deployment=NAME, spec=spec("v1.0.0", 2, "0s", NOT_WATCHED)),
        ),
    )
    assert run(scenario).violation is None
