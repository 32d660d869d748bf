"""What simulation found since there are releases by steps, each as the shortest scenario that showed it."""

from typing import Any

import pytest
from sim_scenarios import NOT_WATCHED, ROLLING, TWO_GPUS, WATCHED, blue_green, canary, spec, version

from outrider.sim.crashes import NAME
from outrider.sim.incidents import (
    ApiTrouble,
    Apply,
    BadVersion,
    Crash,
    DeletePod,
    Edit,
    GpuLost,
    Meddle,
    NodeLost,
    Pin,
    PodFault,
    Remove,
    Scenario,
    SlowLoads,
    Steer,
    Stop,
    Unpin,
    WatchTrouble,
)
from outrider.sim.run import run


def gpu_lost_unheard(standby: str, rollback: dict[str, Any]) -> Scenario:
    """A canary loses its GPU while the watch of pods is silent."""
    return Scenario(
        seed=29630,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(at=3.7, deployment=NAME, spec=spec("v1.0.0", 1, standby, rollback, deployment=blue_green("5s"))),
            Edit(at=13.8, deployment=NAME, spec={"monitoring": {"labels": {"team": "a"}}}),
            Crash(at=77.3, calls=12, down_seconds=10),
            Edit(at=77.3, deployment=NAME, spec={"deployment": canary((25, "5s"))}),
            Edit(at=149.9, deployment=NAME, spec={"serving": {"maxSequenceLength": 4096}}),
            WatchTrouble(at=162.4, seconds=1, how="silent", plural="pods"),
            GpuLost(at=193.4, deployment=NAME, place=0),
        ),
    )


FOUND: dict[str, Scenario] = {
    "going back to what had lost a pod meanwhile ended the pods that made up for it": Scenario(
        seed=861,
        nodes=3,
        load_seconds=20.0,
        incidents=(
            Apply(at=17.4, deployment=NAME, spec=spec("v1.1.0", 3, "0s", WATCHED, deployment=canary((10, "20s")))),
            NodeLost(at=175.3, seconds=190.4, node=1),
            Pin(at=220.7, deployment=NAME, version="v1.0.0"),
            Unpin(at=369.9, deployment=NAME),
        ),
    ),
    "a rolling update in the middle of a blue-green release never ended the pods of the third version": Scenario(
        seed=869,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            WatchTrouble(at=1.3, seconds=33.9, how="lagging", plural="deployments"),
            Apply(at=3.2, deployment=NAME, spec=spec("v1.1.0", 1, "15s", NOT_WATCHED, deployment=blue_green("5s"))),
            Remove(at=5.7, deployment=NAME),
            Apply(at=32.3, deployment=NAME, spec=spec("v1.1.0", 1, "15s", NOT_WATCHED, deployment=blue_green("5s"))),
            version(42.5, "v1.0.0"),
            version(58.8, "v1.1.0"),
            Apply(
                at=65.7,
                deployment=NAME,
                spec=spec("v1.1.0", 1, "0s", WATCHED, resources=TWO_GPUS),
            ),
        ),
    ),
    "each step of a release is news, and was not counted as such": Scenario(
        seed=960,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            Apply(
                at=21.1,
                deployment=NAME,
                spec=spec("v1.0.0", 1, "60s", NOT_WATCHED, deployment=canary((25, "20s"), (50, "5s"))),
            ),
            version(56.5, "v1.1.0"),
            Pin(at=127.1, deployment=NAME, version="v1.0.0"),
            Unpin(at=330.4, deployment=NAME),
        ),
    ),
    "the standby ended while what had taken its traffic crashed": Scenario(
        seed=1407,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            Apply(at=27.2, deployment=NAME, spec=spec("v1.1.0", 1, "15s", WATCHED)),
            version(59.4, "v1.0.0"),
            Edit(at=66.5, deployment=NAME, spec={"deployment": blue_green("30s")}),
            SlowLoads(at=80, seconds=91.8, load_seconds=34.2),
            version(85.8, "v1.1.0"),
            DeletePod(at=139.2, deployment=NAME, place=3),
            BadVersion(at=201.7, seconds=28, version="v1.1.0", how="crashes"),
            Stop(at=201.7, seconds=20),
        ),
    ),
    "the standby ended while what had taken its traffic had lost a node": Scenario(
        seed=1683,
        nodes=3,
        load_seconds=20.0,
        incidents=(
            Apply(
                at=11.3,
                deployment=NAME,
                spec=spec("v1.0.0", 3, "60s", NOT_WATCHED, deployment=blue_green("5s"), resources=TWO_GPUS),
            ),
            Apply(at=13.2, deployment="mistral", spec=spec("v1.0.0", 1, "60s", WATCHED)),
            Edit(at=61.6, deployment=NAME, spec={"monitoring": {"labels": {"team": "a"}}}),
            Edit(at=101, deployment=NAME, spec={"serving": {"maxConcurrency": 64}}),
            NodeLost(at=171.3, seconds=1, node=1),
        ),
    ),
    "a pin to the version that was being released kept the old one loaded for ever": Scenario(
        seed=1530,
        nodes=1,
        load_seconds=20.0,
        incidents=(
            Apply(
                at=14.1,
                deployment=NAME,
                spec=spec("v1.1.0", 1, "15s", NOT_WATCHED, deployment=canary((25, "20s"), (34, "20s"))),
            ),
            version(112.7, "v1.0.0"),
            Pin(at=181.8, deployment=NAME, version="v1.0.0"),
        ),
    ),
    "a version that was taken back, and that a person then pinned, never took requests again": Scenario(
        seed=4241,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            Apply(at=22, deployment=NAME, spec=spec("v1.0.0", 1, "15s", WATCHED)),
            BadVersion(at=32.9, seconds=145, version="v1.1.0", how="answers errors"),
            version(74.5, "v1.1.0"),
            Pin(at=139.6, deployment=NAME, version="v1.1.0"),
        ),
    ),
    "a version that came right after a promotion was released beside two others": Scenario(
        seed=1605,
        nodes=1,
        load_seconds=3.0,
        incidents=(
            Apply(
                at=14.4,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "0s", NOT_WATCHED, deployment=canary((50, "20s"), (75, "20s"))),
            ),
            Edit(at=144.7, deployment=NAME, spec={"serving": {"batchSize": 32, "maxSequenceLength": 4096}}),
            Crash(at=189, calls=5, down_seconds=8),
            version(219.2, "v2.0.0"),
        ),
    ),
    "the Service that selects all pods again, now that all are of one version, made it look not ready": Scenario(
        seed=10234,
        nodes=3,
        load_seconds=20.0,
        incidents=(
            Apply(
                at=3.4,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "0s", NOT_WATCHED, deployment=canary((34, "5s"), (50, "20s")))
                | {"resources": TWO_GPUS},
            ),
            version(67.0, "v1.2.0"),
            ApiTrouble(at=87.8, seconds=31.3, how="refused", share=1.0),
            Edit(
                at=155.8,
                deployment=NAME,
                spec={"deployment": {"rolloutStrategy": "RollingUpdate"}, "model": {"version": "v2.0.0"}},
            ),
            SlowLoads(at=186.4, seconds=28.5, load_seconds=151.4),
        ),
    ),
    "pausing a release that was over called the service not ready for a moment, and so did resuming it": Scenario(
        seed=6945,
        load_seconds=3.0,
        incidents=(
            Apply(at=15.3, deployment=NAME, spec=spec("v1.0.0", 3, "15s", NOT_WATCHED)),
            version(204.5, "v1.2.0"),
            Steer(at=218.5, deployment=NAME, how="pause"),
            Steer(at=281.9, deployment=NAME, how="resume"),
        ),
    ),
    "a first version that had lost a node was no previous-stable one for the second one's canary": Scenario(
        seed=13989,
        nodes=3,
        load_seconds=20.0,
        incidents=(
            Apply(at=20.6, deployment=NAME, spec=spec("v1.0.0", 3, "0s", NOT_WATCHED, deployment=canary((34, "90s")))),
            NodeLost(at=39.8, seconds=317.4, node=0),
            version(91.5, "v1.2.0"),
            version(169.9, "previous-stable"),
        ),
    ),
    "a Recreate with fewer replicas in the middle of a rolling update left all pods as they were": Scenario(
        seed=14243,
        load_seconds=60.0,
        incidents=(
            Apply(at=25.5, deployment=NAME, spec=spec("v1.1.0", 3, "15s", NOT_WATCHED) | {"resources": TWO_GPUS}),
            Edit(at=152.6, deployment=NAME, spec={"resources": {"requests": {"nvidia.com/gpu": "1"}}}),
            Edit(at=230.0, deployment=NAME, spec={"replicas": 2, "deployment": {"rolloutStrategy": "Recreate"}}),
        ),
    ),
    "a release that began while a Deployment that was gone was still seen was never let serve": Scenario(
        seed=18063,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(at=26.8, deployment=NAME, spec=spec("v1.0.0", 2, "15s", WATCHED, deployment=blue_green("30s"))),
            WatchTrouble(at=63.3, seconds=155.5, how="expired", plural="deployments"),
            Pin(at=63.3, deployment=NAME, version="previous-stable"),
            DeletePod(at=63.3, deployment=NAME, place=3),
            version(81.9, "v1.1.0"),
            Unpin(at=96.7, deployment=NAME),
            version(172.7, "previous-stable"),
        ),
    ),
    "a version that was aborted while nothing else answered left nobody": Scenario(
        seed=18144,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(
                at=15.3,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "15s", WATCHED, deployment=blue_green("30s")) | {"resources": TWO_GPUS},
            ),
            Crash(at=71.2, calls=5, down_seconds=29.1),
            version(77.7, "v2.0.0"),
            BadVersion(at=127.2, seconds=19.2, version="v1.1.0", how="crashes"),
            Steer(at=136.4, deployment=NAME, how="abort"),
        ),
    ),
    "going back to a version whose first pod was back took all from the one that answered for both": Scenario(
        seed=18828,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(
                at=19.6,
                deployment=NAME,
                spec=spec(
                    "v1.1.0",
                    2,
                    "15s",
                    {**WATCHED, "window": "60s"},
                    deployment=canary((5, "20s"), (10, "20s"), (75, "5s")),
                ),
            ),
            version(67.0, "v1.2.0"),
            BadVersion(at=123.3, seconds=382.5, version="v1.1.0", how="crashes"),
            version(130.2, "v1.1.0"),
            DeletePod(at=201.4, deployment=NAME, place=0),
        ),
    ),
    "an abort two minutes after the last edit was not counted as a change": Scenario(
        seed=27983,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(
                at=11.4,
                deployment=NAME,
                spec=spec("v1.1.0", 1, "60s", NOT_WATCHED, deployment=canary((10, "20s"), (34, "5s"))),
            ),
            version(45.6, "v1.0.0"),
            Steer(at=196.2, deployment=NAME, how="abort"),
        ),
    ),
    "what a pod did whose GPU was lost was held against its version when another had taken its place": gpu_lost_unheard(
        "0s", NOT_WATCHED
    ),
    "a good version was taken back, since nobody heard that its GPU was lost": gpu_lost_unheard("60s", WATCHED),
    "a candidate that served nobody was replaced by another one of the same version, and was missed": Scenario(
        seed=29045,
        load_seconds=60.0,
        nodes=1,
        incidents=(
            Apply(
                at=9.7,
                deployment=NAME,
                spec=spec("v1.0.0", 2, "60s", {**WATCHED, "window": "60s"}, deployment=blue_green("30s")),
            ),
            Edit(at=86.1, deployment=NAME, spec={"model": {"quantization": {"type": "none"}}}),
            DeletePod(at=145.9, deployment=NAME, place=1),
            Edit(at=178.5, deployment=NAME, spec={"model": {"name": "chat"}}),
        ),
    ),
    "a third version took the traffic from the second, which alone answered, and gave it to the first": Scenario(
        seed=36207,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(
                at=2.8,
                deployment=NAME,
                spec=spec("v1.1.0", 1, "60s", NOT_WATCHED, deployment=canary((10, "20s"), (100, "20s"))),
            ),
            version(68.9, "v1.2.0"),
            BadVersion(at=86.2, seconds=36, version="v1.1.0", how="crashes"),
            version(111.1, "v1.0.0"),
        ),
    ),
    "a Recreate ended what served, as it does, although the version before was still loaded": Scenario(
        seed=41434,
        load_seconds=3.0,
        nodes=3,
        incidents=(
            Apply(
                at=8.2,
                deployment=NAME,
                spec=spec("v1.0.0", 1, "15s", NOT_WATCHED, deployment=blue_green("5s")),
            ),
            Edit(at=74.4, deployment=NAME, spec={"resources": {"requests": {"nvidia.com/gpu": "2"}}}),
            Edit(at=104.2, deployment=NAME, spec={"deployment": {"rolloutStrategy": "Recreate"}}),
            Edit(at=107.4, deployment=NAME, spec={"resources": {"requests": {"cpu": 4}}}),
        ),
    ),
    "a version that was asked for again got a share of the traffic for the pod that it had had before": Scenario(
        seed=50928,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(
                at=18.6,
                deployment=NAME,
                spec=spec("v1.0.0", 1, "0s", NOT_WATCHED, deployment=canary((25, "20s"), (34, "20s"))),
            ),
            Apply(
                at=24.6, deployment="mistral", spec=spec("v1.1.0", 3, "15s", NOT_WATCHED, deployment=blue_green("5s"))
            ),
            Edit(at=39.9, deployment="mistral", spec={"model": {"loading": {"useSharedMemory": False}}}),
            WatchTrouble(at=39.9, seconds=27, how="expired", plural="nodes"),
            version(60.3, "v2.0.0"),
            WatchTrouble(at=60.3, seconds=3.2, how="expired", plural="deployments"),
            Edit(at=130.5, deployment="mistral", spec={"disruption": {"maxUnavailable": 1}}),
            Pin(at=136.1, deployment=NAME, version="v1.0.0"),
            WatchTrouble(at=136.1, seconds=33, how="broken"),
            Unpin(at=158.8, deployment=NAME),
        ),
    ),
    "the standby ended at its time while what took over lacked a replica, for it had never served in full": Scenario(
        seed=56027,
        load_seconds=20.0,
        nodes=2,
        incidents=(
            Apply(
                at=9.8,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "60s", WATCHED, deployment=blue_green("30s"), resources=TWO_GPUS),
            ),
            GpuLost(at=29, deployment=NAME, place=2),
            Edit(at=40.6, deployment=NAME, spec={"model": {"quantization": {"type": "fp8"}}}),
            WatchTrouble(at=119.4, seconds=9, how="expired", plural="pods"),
            GpuLost(at=128.8, deployment=NAME, place=2),
        ),
    ),
    "back to blue-green in the middle of a rolling update, all requests went to its first pod": Scenario(
        seed=65092,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(at=23.6, deployment=NAME, spec=spec("v1.0.0", 3, "0s", WATCHED, deployment=blue_green("5s"))),
            Edit(at=124.6, deployment=NAME, spec={"serving": {"maxConcurrency": 64}}),
            Edit(at=139.3, deployment=NAME, spec={"deployment": ROLLING, "model": {"version": "v2.0.0"}}),
            Apply(at=151, deployment=NAME, spec=spec("v1.0.0", 3, "0s", WATCHED, deployment=blue_green("5s"))),
        ),
    ),
    "three versions at once, as the first was kept for the second and a third was pinned": Scenario(
        seed=54641,
        load_seconds=3.0,
        nodes=3,
        incidents=(
            Apply(
                at=16.2,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "15s", NOT_WATCHED, deployment=canary((25, "5s"), (100, "5s"))),
            ),
            Edit(at=20.5, deployment=NAME, spec={"model": {"name": "chat"}}),
            WatchTrouble(at=50.6, seconds=177.3, how="lagging"),
            Pin(at=153.6, deployment=NAME, version="v1.0.0"),
        ),
    ),
    "a version on standby held the GPUs that a replica of its successor lacked, until somebody came": Scenario(
        seed=45400,
        load_seconds=3.0,
        nodes=3,
        incidents=(
            Apply(
                at=4.9,
                deployment="mistral",
                spec=spec("v1.1.0", 3, "15s", {**WATCHED, "window": "60s"}, resources=TWO_GPUS),
            ),
            Apply(
                at=16.4,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "60s", {**WATCHED, "window": "60s"}, resources=TWO_GPUS),
            ),
            GpuLost(at=49.6, deployment="mistral", place=2),
            Edit(at=85.1, deployment=NAME, spec={"replicas": 4}),
            Edit(at=133, deployment=NAME, spec={"deployment": blue_green("5s"), "model": {"version": "v1.0.0"}}),
            GpuLost(at=189.2, deployment=NAME, place=3),
        ),
    ),
    "a rolling update after a release by steps was paused for a trial and looked not ready as it went on": Scenario(
        seed=64838,
        load_seconds=60.0,
        nodes=1,
        incidents=(
            Apply(
                at=13,
                deployment=NAME,
                spec=spec("v1.0.0", 3, "0s", {**WATCHED, "window": "60s"}, deployment=blue_green("5s")),
            ),
            Pin(at=76.4, deployment=NAME, version="v1.1.0"),
            Edit(at=129.5, deployment=NAME, spec={"deployment": ROLLING, "model": {"version": "v1.2.0"}}),
            Unpin(at=204.5, deployment=NAME),
        ),
    ),
    "a preview that served nobody ended as people went back to the same version with other resources": Scenario(
        seed=46487,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(
                at=9.9,
                deployment=NAME,
                spec=spec("v1.1.0", 2, "15s", NOT_WATCHED, deployment=blue_green("30s"), resources=TWO_GPUS),
            ),
            Edit(at=26.7, deployment=NAME, spec={"resources": {"requests": {"nvidia.com/gpu": "1"}}}),
            PodFault(at=26.7, seconds=33, deployment=NAME, place=1, how="crashes"),
            version(45.4, "previous-stable"),
        ),
    ),
    "a share of the traffic was given to pods that had just gone with their service": Scenario(
        seed=29987,
        load_seconds=3.0,
        nodes=2,
        incidents=(
            Apply(
                at=28,
                deployment=NAME,
                spec=spec("v1.1.0", 3, "15s", NOT_WATCHED, deployment=blue_green("5s"), resources=TWO_GPUS),
            ),
            version(35.2, "v1.0.0"),
            Meddle(at=72.3, deployment=NAME, how="deletes the workload"),
            Pin(at=168.7, deployment=NAME, version="v1.1.0"),
            Remove(at=171.8, deployment=NAME),
        ),
    ),
    "that two services answered errors for two minutes was not counted as news": Scenario(
        seed=28364,
        load_seconds=3.0,
        nodes=1,
        incidents=(
            Apply(
                at=19.8,
                deployment="mistral",
                spec=spec("v1.1.0", 2, "15s", {**WATCHED, "window": "60s"}, resources=TWO_GPUS),
            ),
            Apply(
                at=22.4,
                deployment=NAME,
                spec=spec("v1.1.0", 1, "15s", {**WATCHED, "window": "60s"}, resources=TWO_GPUS),
            ),
            BadVersion(at=89.3, seconds=113.1, version="v1.1.0", how="answers errors"),
        ),
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_mended(what: str) -> None:
    assert run(FOUND[what]).violation is None
