"""What went wrong with releases by other projects, told to Outrider. A test is named after what went wrong there."""

import copy
from collections.abc import Iterator

import pytest
from plan_world import PlanWorld
from release_evidence import after, old, pods
from release_world import annotate, go_on, release, released, selected, sizes, turns_bad, weights, world

from outrider.api import labels
from outrider.plan.actions import Plan

BY_STEPS = ("Canary", "BlueGreen")
STRATEGIES = ("RollingUpdate", *BY_STEPS)
COOLDOWN = 1900
"""Seconds. Within 1800 of the last one a second rollback is left to people."""


def by_write(made: PlanWorld, rounds: int) -> Iterator[None]:
    """Let operator and cluster take turns, and stop after each single write of the operator."""
    for _ in range(rounds):
        for _ in range(50):
            plan = made.plan()
            if plan.status is None and not plan.actions:
                break
            made.carry_out(plan, stop_after=1) if made.writes else made.carry_out(plan)
            yield
        made.tick()
        yield


def able(made: PlanWorld) -> int:
    """Ready pods that the Service selects."""
    wanted = made.objects["Service", "llama"]["spec"]["selector"]
    return sum(
        1
        for pod in made.pods
        if wanted.items() <= pod["metadata"]["labels"].items()
        and not pod["metadata"].get("deletionTimestamp")
        and any(one == {"type": "Ready", "status": "True"} for one in pod["status"].get("conditions") or ())
    )


def quiet(plan: Plan) -> bool:
    return plan.status is None and not plan.actions


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_release_without_any_requests_is_aborted(strategy: str) -> None:
    """argo-rollouts #1466: an empty result is an error, and five abort; Flagger counts it as a failed check."""
    made = world(strategy)
    released(made)
    go_on(made, 900, rounds=120)
    assert release(made).phase != "RolledBack"
    assert made.status.serving_version == "v2.0.0", "its own requests, which were good, decide"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_outage_of_the_monitoring_rolls_back(strategy: str) -> None:
    """Flagger: Prometheus that is down is a failed check, and `threshold` of them roll back a good version."""
    made = world(strategy)
    released(made)
    made.data_age = 3600.0
    made.counted = after([(pods((20, 20)), old((0, 40)))] * 6)
    go_on(made, 600)
    assert release(made).phase == "Watching"
    assert (release(made).verdict, release(made).reason) == ("Hold", "StaleData"), (
        "old numbers say nothing, good or bad"
    )
    assert made.revision("v2.0.0").status.state != "Quarantined"


@pytest.mark.parametrize("strategy", BY_STEPS)
def test_an_outage_of_the_monitoring_promotes(strategy: str) -> None:
    """argo-rollouts: a run that is ended without a measurement is successful."""
    made = world(strategy)
    released(made)
    made.data_age = 3600.0
    before = (release(made).step, selected(made))
    go_on(made, 1800)
    assert (release(made).step, selected(made)) == before
    assert "evidence" in release(made).waits_for


def test_a_release_that_waits_for_evidence_cannot_be_promoted_by_hand() -> None:
    """argo-rollouts #3015: an inconclusive step stays stuck after promote."""
    made = world()
    released(made)
    made.counted = after([(pods((4, 20)), old((0, 40)))] * 3)
    go_on(made, 100)
    assert release(made).step == 0
    annotate(made, labels.PROMOTE_RELEASE, release(made).started_time)
    go_on(made)
    assert (release(made).stage, selected(made)) == ("Standby", "v2.0.0")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pods_that_never_come_up_hold_the_release_for_ever_and_nobody_is_told(strategy: str) -> None:
    """argo-rollouts #4128, #3988: no deadline, no abort."""
    made = world(strategy)
    made.crashing.add("v2.0.0")
    made.version("v2.0.0")
    go_on(made, 1200, rounds=120)
    assert made.status.phase == "RolledBack"
    assert made.revision("v2.0.0").status.state == "Quarantined"
    assert sizes(made) == {"v1.0.0": 4}
    assert any(event.reason == "RolledBack" for event in made.events)


@pytest.mark.parametrize("replicas", [1, 8])
@pytest.mark.parametrize("strategy", BY_STEPS)
def test_scaling_in_the_middle_takes_the_old_version_to_zero(strategy: str, replicas: int) -> None:
    """argo-rollouts #1415, #2050: an autoscaler's change in the middle ended 110 pods that served."""
    made = world(strategy)
    made.load_ticks = 10
    made.version("v2.0.0")
    go_on(made, 2)
    made.edit({"replicas": replicas})
    for _ in by_write(made, 40):
        assert sizes(made).get("v1.0.0", 0) >= min(4, replicas)
        assert able(made) >= min(4, replicas)


@pytest.mark.parametrize("strategy", BY_STEPS)
def test_the_selector_follows_after_the_old_pods_are_gone(strategy: str) -> None:
    """argo-rollouts #2235: switched when the old pods had been scaled to zero; #4750: selected nothing at all."""
    made = world(strategy)
    made.version("v2.0.0")
    for _ in by_write(made, 30):
        assert able(made) >= 4
        made.now += 10
    while sizes(made) != {"v2.0.0": 4}:
        for _ in by_write(made, 1):
            assert able(made) >= 4
        made.now += 10


def test_blue_green_of_pods_that_crash_gives_them_the_traffic() -> None:
    """argo-rollouts #4750: the active selector was empty, and the analysis before promotion was left out."""
    made = world("BlueGreen")
    made.crashing.add("v2.0.0")
    made.version("v2.0.0")
    for _ in by_write(made, 40):
        assert selected(made) in ("", "v1.0.0")
        assert able(made) == 4


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_aborting_what_has_long_been_promoted_never_ends(strategy: str) -> None:
    """argo-rollouts #2982: a thousand writes a minute, setting and unsetting the same annotation."""
    made = world(strategy)
    released(made)
    started, revision = release(made).started_time, release(made).revision
    go_on(made, 7200, rounds=200)
    assert sizes(made) == {"v2.0.0": 4}
    name = f"llama-{revision}"
    made.objects["ModelRevision", name]["metadata"].setdefault("annotations", {})[labels.ABORT_RELEASE] = started
    go_on(made, 60)
    assert quiet(made.plan())
    assert (made.status.serving_version, sizes(made)) == ("v2.0.0", {"v2.0.0": 4})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_abort_with_nothing_under_way_scales_what_serves_to_zero(strategy: str) -> None:
    """argo-rollouts #1292."""
    made = world(strategy)
    (only,) = made.revisions()
    annotations = made.objects["ModelRevision", only.metadata.name]["metadata"].setdefault("annotations", {})
    for note in (labels.ABORT_RELEASE, labels.PROMOTE_RELEASE, labels.PAUSE_RELEASE):
        annotations[note] = "2026-01-01T00:00:00Z"
    go_on(made, 60)
    assert quiet(made.plan())
    assert (able(made), sizes(made)) == (4, {"v1.0.0": 4})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_was_taken_back_comes_again_with_every_scale_up(strategy: str) -> None:
    """argo-rollouts #4973: each change of replicas scaled an aborted canary up, and the selector flapped; #2929."""
    made = world(strategy)
    released(made)
    turns_bad(made)
    go_on(made, 30)
    for replicas in (6, 3, 5):
        made.edit({"replicas": replicas})
        for _ in by_write(made, 12):
            assert sizes(made).get("v2.0.0", 0) == 0
            assert selected(made) in ("", "v1.0.0")
        assert sizes(made) == {"v1.0.0": replicas}


def test_taking_back_what_was_promoted_long_ago_sends_all_traffic_to_pods_that_have_to_load_first() -> None:
    """argo-rollouts #3888: with the old version scaled down, an abort moved everything to it at once."""
    made = world("BlueGreen")
    released(made)
    go_on(made, 700, rounds=100)
    assert sizes(made) == {"v2.0.0": 4}
    made.load_ticks = 15
    made.set_pin(version="v1.0.0")
    for _ in by_write(made, 40):
        assert able(made) >= 4
    assert (selected(made), sizes(made).get("v1.0.0")) == ("v1.0.0", 4)


def test_a_rollback_after_promotion_sends_all_traffic_to_pods_that_are_broken() -> None:
    """Flagger #1898: the primary failed after promotion, the rollback led to it, and the good canary was deleted."""
    made = world("BlueGreen")
    released(made)
    go_on(made, 80)
    assert release(made).stage == "Standby"
    for pod in made.pods:
        if pod["metadata"]["labels"][labels.MODEL_VERSION] == "v1.0.0":
            pod["status"]["conditions"] = []
            pod["age"] = -20
    turns_bad(made)
    for _ in by_write(made, 15):
        assert able(made) >= 4, "the pods that answer keep the traffic until others can take it"
    go_on(made, 60)
    assert (selected(made), sizes(made)) == ("v1.0.0", {"v1.0.0": 4})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_third_version_that_is_bad_goes_back_to_the_second_that_was_bad_too(strategy: str) -> None:
    """KServe #1968, #2040, #2097: back to the wrong previous revision."""
    made = world(strategy)
    for version in ("v2.0.0", "v3.0.0"):
        released(made, version)
        turns_bad(made)
        go_on(made, 40)
        made.counted = after([])
        assert made.status.serving_version == "v1.0.0"
        go_on(made, COOLDOWN, rounds=20)
    assert sizes(made) == {"v1.0.0": 4}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ready_pods_of_the_old_version_count_for_the_new_one(strategy: str) -> None:
    """ai-dynamo/dynamo #3567: "Successful", while no pod of the new version was ready."""
    made = world(strategy)
    made.load_ticks = 1000
    made.version("v2.0.0")
    go_on(made, 60)
    assert made.condition("Ready").status == "False"
    assert made.status.serving_version == "v1.0.0"
    assert made.status.observed_generation == made.manifest["metadata"]["generation"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_going_back_in_the_middle_ends_the_pods_that_serve(strategy: str) -> None:
    """ai-dynamo/dynamo #13620: the generation that served was deleted, past what may be unavailable."""
    made = world(strategy)
    made.load_ticks = 5
    made.version("v2.0.0")
    go_on(made, 3, rounds=3)
    made.version("v1.0.0")
    for _ in by_write(made, 25):
        assert able(made) >= 3
    assert sizes(made) == {"v1.0.0": 4}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_edits_in_quick_succession_end_all_pods_that_serve(strategy: str) -> None:
    """ai-dynamo/dynamo #13353: every superseded rollout took its share of the pods."""
    made = world(strategy)
    made.load_ticks = 4
    for number in range(2, 8):
        made.version(f"v{number}.0.0")
        for _ in by_write(made, 2):
            assert able(made) >= 3
    go_on(made, 400, rounds=120)
    assert made.status.serving_version == "v7.0.0"


@pytest.mark.parametrize("strategy", BY_STEPS)
def test_state_that_a_replace_wiped_ends_what_serves(strategy: str) -> None:
    """ai-dynamo/dynamo #13495: kept in annotations, the state of a rollout went with `kubectl replace`."""
    made = world(strategy)
    released(made)
    made.manifest["status"] = {}
    for kind in ("ModelRevision", "Deployment"):
        for body in [body for (each, _), body in made.objects.items() if each == kind]:
            body["metadata"].pop("annotations", None)
    for _ in by_write(made, 20):
        assert able(made) >= 4
    go_on(made, 900, rounds=120)
    assert (made.status.serving_version, able(made)) == ("v2.0.0", 4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_there_and_back_before_anything_was_started_leaves_a_second_fleet(strategy: str) -> None:
    """ray-project/kuberay #4109: A, B, A before B existed made a cluster that nobody needed."""
    made = world(strategy)
    made.version("v2.0.0")
    made.reconcile()
    made.version("v1.0.0")
    go_on(made, 60)
    assert sizes(made) == {"v1.0.0": 4}
    assert [name for kind, name in made.objects if kind == "Deployment"] == ["llama"]


def test_the_first_release_that_is_bad_is_rolled_back_to_nothing() -> None:
    """ray-project/kuberay #4989: the first deploy has nothing to go back to."""
    made = world("Canary")
    first = PlanWorld(copy.deepcopy(made.manifest) | {"status": {}})
    first.failing.add("v1.0.0")
    go_on(first, 1200, rounds=100)
    assert first.revision("v1.0.0").status.state != "Quarantined"
    assert sizes(first) == {"v1.0.0": 4}
    assert (first.condition("Ready").status, first.status.rollback.ready) == ("False", False)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_fix_is_not_released_because_a_rollback_is_under_way(strategy: str) -> None:
    """ray-project/kuberay #4601: what is asked for next has to end the way back."""
    made = world(strategy)
    released(made)
    turns_bad(made)
    made.reconcile()
    made.tick()
    made.counted = after([])
    made.version("v3.0.0")
    go_on(made, 900, rounds=120)
    assert made.status.serving_version == "v3.0.0"
    assert made.revision("v2.0.0").status.state == "Quarantined"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_version_that_crashes_blocks_the_one_that_mends_it(strategy: str) -> None:
    """kserve #5677: a gate on availability deadlocked on workloads in a crash loop."""
    made = world(strategy, replicas=2)
    made.edit({"rollback": {"autoRollback": {"enabled": False}}})
    made.crashing.add("v2.0.0")
    made.version("v2.0.0")
    go_on(made, 900, rounds=60)
    assert made.status.serving_version == "v1.0.0", "nobody allowed to take it back"
    made.version("v3.0.0")
    go_on(made, 900, rounds=120)
    assert (made.status.serving_version, sizes(made)) == ("v3.0.0", {"v3.0.0": 2})


def test_somebody_scales_the_deployments_behind_a_release() -> None:
    """Flagger #1158, argo-rollouts #4898: whoever else writes replicas wins, or stops the end of the canary."""
    made = world()
    released(made)
    for (kind, _), body in made.objects.items():
        if kind == "Deployment":
            body["spec"]["replicas"] = 0
    made.reconcile()
    go_on(made)
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 1}
    assert weights(made) == [90, 10]
