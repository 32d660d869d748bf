"""What people found who tried to break releases, and no seed had shown, each as the scenario that showed it."""

from typing import Any

import pytest
from sim_scenarios import NOT_WATCHED, ROLLING, TWO_GPUS, WATCHED, blue_green, canary, edit, spec, version

from outrider.sim.crashes import NAME
from outrider.sim.incidents import (
    AnyIncident,
    ApiTrouble,
    Apply,
    BadVersion,
    Crash,
    DeletePod,
    Edit,
    GpuLost,
    Meddle,
    NodeLost,
    Scenario,
    SlowLoads,
    Steer,
    Stop,
    WatchTrouble,
)
from outrider.sim.run import run

RECREATE = {"rolloutStrategy": "Recreate"}
NO_SURGE = {**ROLLING, "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
QUICK = {**WATCHED, "minRequests": 5}
ANY: dict[str, Any] = {"enabled": True}
TRIED = {**WATCHED, "window": "120s"}
BY_HAND = blue_green("600s", autoPromotion=False)


def story(first: Apply, *incidents: AnyIncident, seed: int = 1, load: float = 3.0, **cluster: Any) -> Scenario:
    return Scenario(seed=seed, load_seconds=load, incidents=(first, *incidents), **{"nodes": 1, **cluster})


def served(replicas: int, deployment: dict[str, Any], *, standby: str = "60s", **more: Any) -> Apply:
    """v1.0.0 serves."""
    rollback = more.pop("rollback", NOT_WATCHED)
    return Apply(at=1, deployment=NAME, spec=spec("v1.0.0", replicas, standby, rollback, deployment=deployment, **more))


def to_zero(at: float) -> Meddle:
    return Meddle(at=at, deployment=NAME, how="scales the workload to zero")


def crashes(at: float, seconds: float, which: str) -> BadVersion:
    return BadVersion(at=at, seconds=seconds, version=which, how="crashes")


def unheard(at: float, seconds: float, plural: str) -> WatchTrouble:
    return WatchTrouble(at=at, seconds=seconds, how="silent", plural=plural)


def on_two_gpus(preview: str = "30s", standby: str = "60s", replicas: int = 2) -> Apply:
    return served(replicas, blue_green(preview), standby=standby, rollback=WATCHED, resources=TWO_GPUS)


def crowded(first: Apply, others: int = 1) -> tuple[Apply, AnyIncident, AnyIncident, AnyIncident, AnyIncident]:
    """v1.1.0 has taken the place of v1.0.0, and another service has all other GPUs by then."""
    other = Apply(at=2, deployment="mistral", spec=spec("v1.0.0", others, "60s", NOT_WATCHED))
    away, back = (Edit(at=at, deployment="mistral", spec={"replicas": count}) for at, count in ((3, 0), (200, others)))
    return first, other, away, version(60, "v1.1.0"), back


FOUND: dict[str, Scenario] = {
    "without a pod of the stable version for a moment a canary had everything until its steps were over": story(
        served(4, canary((25, "600s"))), version(60, "v1.1.0"), to_zero(66)
    ),
    "the same, while Deployments were seen late, and the candidate crashed in its preview": story(
        served(3, blue_green("600s"), standby="15s"),
        version(60, "v1.1.0"),
        crashes(61, 900, "v1.1.0"),
        unheard(115, 30, "deployments"),
        to_zero(121),
        load=20.0,
    ),
    "the same, while the operator was dead": story(
        served(3, canary((10, "600s"), (50, "600s")), standby="15s"),
        version(60, "v1.1.0"),
        Crash(at=108.5, calls=1, down_seconds=20),
        to_zero(121),
        load=20.0,
    ),
    "a canary had everything after the service was scaled to zero and back": story(
        served(3, canary((10, "300s"))), version(60, "v2.0.0"), edit(120, replicas=0), edit(180, replicas=3)
    ),
    "a preview that waits for a person served after the service was scaled to zero and back": story(
        served(3, BY_HAND),
        version(60, "v2.0.0"),
        edit(120, replicas=0),
        edit(180, replicas=3),
        Steer(at=400, deployment=NAME, how="promote"),
    ),
    "a preview that stood in for the pod that serves was called Ready": story(
        served(1, blue_green("600s"), standby="15s"),
        version(200, "v1.1.0"),
        DeletePod(at=280, deployment=NAME, place=0),
        load=100.0,
    ),
    "a canary that stood in was called Ready": story(
        served(1, canary((10, "300s"))), version(60, "v2.0.0"), DeletePod(at=120, deployment=NAME, place=0)
    ),
    "killed between the status and the Service, the traffic went to pods that had died meanwhile": story(
        served(3, blue_green("30s")),
        version(60, "v1.1.0"),
        Crash(at=110.5, calls=1, down_seconds=40),
        crashes(115, 600, "v1.1.0"),
        load=20.0,
    ),
    "the same, where the API server refused the Service": story(
        served(3, blue_green("30s")),
        version(60, "v1.1.0"),
        ApiTrouble(at=110.58, seconds=60, how="refused", share=1),
        crashes(115, 600, "v1.1.0"),
        load=20.0,
    ),
    "noted as a canary, it was released in place with the replicas of its step": story(
        served(4, canary((25, "600s"))),
        Crash(at=59.9, calls=1, down_seconds=20),
        version(60, "v1.1.0"),
        crashes(65, 30, "v1.0.0"),
        load=20.0,
    ),
    "the same, where the API server refused its objects": story(
        served(4, canary((25, "600s"))),
        version(60, "v1.1.0"),
        ApiTrouble(at=60.06, seconds=10, how="refused", share=1),
        crashes(65, 30, "v1.0.0"),
        load=20.0,
    ),
    "the same, where the strategy was changed before its Deployment was there": story(
        served(3, canary((10, "300s"))),
        Crash(at=59, calls=1, down_seconds=8),
        version(60, "v2.0.0"),
        edit(63, deployment=ROLLING),
        load=20.0,
    ),
    "a Recreate right after a blue-green release waited for GPUs for ever": story(
        served(2, blue_green("5s"), standby="0s", resources=TWO_GPUS),
        version(30, "v1.1.0"),
        edit(100, replicas=4),
        version(200, "v1.2.0", deployment=RECREATE),
    ),
    "so did an update that may take a replica away first": story(
        served(2, blue_green("5s"), standby="0s", resources=TWO_GPUS),
        version(30, "v1.1.0"),
        edit(100, replicas=4),
        version(200, "v1.2.0", deployment=NO_SURGE),
    ),
    "Recreate while a person had paused the rolling update, then fewer replicas": story(
        served(3, {}),
        version(60, "v2.0.0"),
        Steer(at=66, deployment=NAME, how="pause"),
        edit(80, deployment=RECREATE),
        edit(100, replicas=2),
        Steer(at=120, deployment=NAME, how="resume"),
        load=5.0,
    ),
    "the same in the middle of a trial": story(
        served(3, {}, rollback=TRIED),
        version(60, "v2.0.0"),
        edit(80, deployment=RECREATE),
        edit(100, replicas=2),
        load=5.0,
    ),
    "a preview that nobody promoted took requests while a third version was rolled out": story(
        served(3, BY_HAND), version(60, "v2.0.0"), version(150, "v1.2.0", deployment=ROLLING), nodes=3, load=20.0
    ),
    "at the end of a rolling update after a blue-green release the service looked not ready": story(
        served(3, blue_green("5s"), standby="15s"),
        version(100, "v2.0.0"),
        version(300, "v1.2.0", deployment=ROLLING),
        seed=10,
        gpus=16,
        load=60.0,
    ),
    "a standby was ended by an operator that had stood still while a node was lost": story(
        served(2, canary((100, "5s")), rollback={**WATCHED, "window": "60s"}, standby="15s", resources=TWO_GPUS),
        version(173.3, "v1.1.0"),
        Stop(at=186.5, seconds=125.6),
        NodeLost(at=207, seconds=151, node=0),
        seed=4815,
        nodes=3,
    ),
    "a version that answers nothing, taken back on a full cluster, kept every GPU": story(
        *crowded(served(3, {}, rollback=QUICK)), crashes(300, 3000, "v1.1.0"), gpus=4, load=10.0
    ),
    "the same, where it answers with errors": story(
        *crowded(served(3, {}, rollback=QUICK)),
        BadVersion(at=300, seconds=20000, version="v1.1.0", how="answers errors"),
        gpus=4,
        load=10.0,
    ),
    "the same after a blue-green release": story(
        *crowded(served(2, blue_green("10s"), standby="15s", rollback=QUICK), others=2),
        BadVersion(at=300, seconds=8000, version="v1.1.0", how="answers errors"),
        gpus=4,
        load=10.0,
    ),
    "a good version was taken back for its progress deadline as its pod at last got a node": story(
        served(2, {"progressDeadlineSeconds": 120}, rollback=QUICK),
        Apply(at=2, deployment="mistral", spec=spec("v1.0.0", 2, "60s", NOT_WATCHED)),
        version(60, "v1.1.0"),
        Edit(at=900, deployment="mistral", spec={"replicas": 1}),
        gpus=4,
        load=30.0,
    ),
    "a pod whose GPU was lost stayed while another one found no node": story(
        served(2, {}),
        edit(100, resources={"requests": {"nvidia.com/gpu": "4"}}),
        GpuLost(at=200, deployment=NAME, place=1),
        edit(900, resources={"requests": {"nvidia.com/gpu": "1"}}),
        nodes=2,
        gpus=3,
        load=10.0,
    ),
    "a third version while a pod of what serves was missing, and the canary before it took the GPUs": story(
        served(3, canary((25, "600s"))),
        version(60, "v2.0.0"),
        DeletePod(at=119, deployment=NAME, place=0),
        version(120, "v1.2.0", deployment=ROLLING),
        gpus=4,
    ),
    "paused by a person, then Recreate and no replicas": story(
        served(3, ROLLING),
        version(60, "v2.0.0"),
        Steer(at=66, deployment=NAME, how="pause"),
        edit(80, deployment=RECREATE),
        edit(100, replicas=0),
        load=5.0,
    ),
    "what a release is compared with, made anew later than a minute after it was asked for, is nobody's wish": story(
        served(3, canary((10, "300s"))),
        version(60, "v2.0.0"),
        Meddle(at=150, deployment=NAME, how="deletes the workload"),
        nodes=3,
    ),
    "a standby that gives way to a replica without a node counted as one that was needed": story(
        on_two_gpus(replicas=3),
        version(60, "v1.1.0"),
        NodeLost(at=110, seconds=400, node=0),
        seed=7,
        nodes=2,
        load=20.0,
    ),
    "a version all of whose pods were on a node that was silent for half a minute was taken back": story(
        served(2, ROLLING, rollback={**WATCHED, "window": "60s"}),
        version(200, "v1.1.0"),
        NodeLost(at=900, seconds=25, node=0),
        load=120.0,
    ),
    "killed while it went back to a standby it left nobody to answer, though that was ready": story(
        served(3, blue_green("10s"), standby="300s", rollback=QUICK),
        version(60, "v1.1.0"),
        BadVersion(at=150, seconds=900, version="v1.1.0", how="answers errors"),
        Crash(at=156, calls=7, down_seconds=40),
        nodes=3,
        load=10.0,
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_mended(what: str) -> None:
    assert run(FOUND[what]).violation is None


FAILS_FOR_AN_HOUR = BadVersion(at=400, seconds=4000, version="v1.1.0", how="answers errors")
TAKEN_BACK: dict[str, Scenario] = {
    "released by Recreate, without metrics": story(
        served(3, RECREATE, rollback=ANY), version(60, "v1.1.0"), FAILS_FOR_AN_HOUR, nodes=3, load=10.0
    ),
    "released from zero replicas": story(
        served(3, ROLLING, rollback=ANY),
        edit(200, replicas=0),
        version(300, "v1.1.0", replicas=3),
        FAILS_FOR_AN_HOUR,
        nodes=3,
        load=10.0,
    ),
    "released at zero replicas, and scaled up": story(
        served(3, ROLLING, rollback=ANY),
        edit(200, replicas=0),
        version(300, "v1.1.0"),
        edit(401, replicas=3),
        FAILS_FOR_AN_HOUR,
        nodes=3,
        load=10.0,
    ),
}
"""Nothing is known of how the version before fared: nothing of it was counted."""


@pytest.mark.parametrize("what", TAKEN_BACK)
def test_what_answers_nothing_but_errors_is_taken_back_also_where_there_is_nothing_to_compare_with(what: str) -> None:
    played = run(TAKEN_BACK[what])
    assert (played.violation, played.taken_back) == (None, frozenset({"v1.1.0"}))


def test_a_version_that_was_suspended_for_longer_than_its_bake_time_is_still_watched_when_it_is_back() -> None:
    scenario = story(
        served(3, ROLLING, rollback={**ANY, "bakeTime": "5m"}),
        version(60, "v1.1.0"),
        edit(160, replicas=0),
        edit(1500, replicas=3),
        BadVersion(at=1530, seconds=4000, version="v1.1.0", how="answers errors"),
        nodes=3,
        load=10.0,
    )
    played = run(scenario)
    assert (played.violation, played.taken_back) == (None, frozenset({"v1.1.0"}))


HANG_IN_LOADING: dict[str, Scenario] = {
    "at the second step": story(
        served(4, canary((25, "30s"), (50, "30s")), rollback=ANY),
        version(60, "v1.1.0"),
        SlowLoads(at=75, seconds=500, load_seconds=90_000),
        nodes=3,
        load=10.0,
    ),
    "after a release at zero replicas": story(
        served(3, ROLLING, rollback=ANY),
        edit(200, replicas=0),
        version(300, "v1.1.0"),
        edit(400, replicas=3),
        SlowLoads(at=395, seconds=500, load_seconds=90_000),
        nodes=3,
        load=10.0,
    ),
}


@pytest.mark.parametrize("what", HANG_IN_LOADING)
def test_pods_that_hang_in_loading_are_given_up_also_where_kubernetes_does_not_look(what: str) -> None:
    played = run(HANG_IN_LOADING[what])
    assert (played.violation, played.taken_back) == (None, frozenset({"v1.1.0"}))
