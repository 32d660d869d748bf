"""A release in the plan: what it is compared with, what is done about a bad one, and when it is over."""

from typing import Any

import msgspec
import pytest
from plan_world import PlanWorld, merged
from release_evidence import after, old, pods

from outrider.api.labels import MODEL_VERSION, PAUSE_RELEASE
from outrider.api.llmdeployment import ReleaseStatus
from outrider.plan.deployment import gates
from outrider.plan.evidence import State

AUTO: dict[str, Any] = {"rollback": {"autoRollback": {"enabled": True, "window": "1s"}}}
FAILING = after([(pods((20, 20)), old((0, 40)))] * 6)
"""All of the candidate's answers are bad, and none of the stable one's."""
FAULTY = after([(pods((4, 20)), old((0, 40)))] * 12)
"""A fifth of them is."""
FINE = after([(pods((0, 20)), old((0, 40)))] * 6)


def served(*versions: str, **spec: Any) -> PlanWorld:
    """These versions were released, one after another."""
    world = PlanWorld()
    world.edit(merged(AUTO, spec))
    for version in versions:
        world.version(version)
        world.settle()
    return world


def release_of(world: PlanWorld) -> ReleaseStatus:
    assert world.status.release is not None
    return world.status.release


def found(world: PlanWorld, state: State) -> ReleaseStatus:
    world.counted = state
    world.settle()
    world.counted = State()
    return release_of(world)


def test_a_new_version_is_compared_with_what_served_before_it() -> None:
    world = served("v1.0.0", "v1.1.0")
    release = release_of(world)
    assert (release.version, release.stable_version, release.phase) == ("v1.1.0", "v1.0.0", "Watching")


def test_the_first_version_is_compared_with_nothing() -> None:
    assert served("v1.0.0").status.release is None


def test_a_version_that_never_served_is_nothing_to_be_compared_with() -> None:
    world = served("v1.0.0")
    world.failing.add("v1.1.0")
    world.version("v1.1.0")
    world.reconcile()
    world.version("v1.2.0")
    world.reconcile()
    assert (release_of(world).version, release_of(world).stable_version) == ("v1.2.0", "v1.0.0")


def test_going_back_to_what_has_proven_itself_is_no_release() -> None:
    world = served("v1.0.0")
    world.edit({"rollback": {"autoRollback": {"enabled": True, "bakeTime": "10s"}}})
    for _ in range(20):
        world.reconcile()
        world.tick()
    assert world.revision("v1.0.0").status.state == "Verified"
    world.version("v1.1.0")
    world.settle()
    world.version("v1.0.0")
    world.settle()
    assert (release_of(world).version, release_of(world).phase) == ("v1.1.0", "Ended")


def test_a_pin_ends_the_comparison() -> None:
    world = served("v1.0.0", "v1.1.0")
    world.set_pin(version="v1.0.0")
    world.settle()
    assert release_of(world).phase == "Ended"


def test_an_invalid_spec_does_not_end_it() -> None:
    world = served("v1.0.0", "v1.1.0")
    world.edit({"replicas": -1})
    world.settle()
    assert release_of(world).phase == "Watching"


def test_a_bad_version_is_taken_back_and_why_is_kept_with_it() -> None:
    world = served("v1.0.0", "v1.1.0")
    release = found(world, FAILING)
    assert (release.phase, release.verdict, release.reason) == ("RolledBack", "RollBack", "AllRecentFailed")
    rejection = world.revision("v1.1.0").status.rejection
    assert rejection is not None
    assert (rejection.reason, rejection.severe, rejection.fallback) == (
        "AllRecentFailed",
        True,
        world.revision("v1.0.0").spec.hash,
    )
    assert world.serving_versions() == {"v1.0.0"}
    assert "10 of the last 10 requests failed" in world.condition("RolledBack").message
    (errors,) = [one for one in release.indicators if one.name == "errors"]
    assert (errors.candidate_bad, errors.candidate_total, errors.stable_bad) == (120, 120, 0)
    assert release.p_value < 0.005


def test_a_version_of_which_most_answers_are_good_is_taken_back_without_haste() -> None:
    world = served("v1.0.0", "v1.1.0")
    assert found(world, FAULTY).reason == "ErrorsWorse"
    rejection = world.revision("v1.1.0").status.rejection
    assert rejection is not None
    assert not rejection.severe


@pytest.mark.parametrize("writes", range(4))
def test_it_is_taken_back_wherever_a_crash_comes_between_the_writes(writes: int) -> None:
    world = served("v1.0.0", "v1.1.0")
    world.counted = FAILING
    world.carry_out(world.plan(), stop_after=writes)
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}
    assert release_of(world).phase == "RolledBack"


LEFT_TO_PEOPLE: dict[str, tuple[dict[str, Any], str]] = {
    "nobody has switched it on": ({"enabled": False}, "autoRollback.enabled is not true"),
    "it is only to be recommended": ({"mode": "recommend"}, "autoRollback.mode is recommend"),
}


@pytest.mark.parametrize(("auto", "told"), LEFT_TO_PEOPLE.values(), ids=LEFT_TO_PEOPLE.keys())
def test_a_bad_version_is_left_to_people_where(auto: dict[str, Any], told: str) -> None:
    world = served("v1.0.0", "v1.1.0", rollback={"autoRollback": {"enabled": True, **auto}})
    release = found(world, FAILING)
    assert (release.phase, release.verdict) == ("Watching", "RollBack")
    condition = world.condition("ReleaseHealthy")
    assert (condition.status, condition.reason) == ("False", "AllRecentFailed")
    assert told in condition.message
    assert "outrider rollback llama --namespace production" in condition.message
    assert world.serving_versions() == {"v1.1.0"}
    assert "AllRecentFailed" in {event.reason for event in world.events}


def _taken_back(world: PlanWorld, version: str) -> None:
    world.version(version)
    world.settle()
    found(world, FAILING)


def test_a_second_one_within_the_cooldown_is_left_to_people() -> None:
    world = served("v1.0.0")
    _taken_back(world, "v1.1.0")
    _taken_back(world, "v1.2.0")
    assert "cooldown" in world.condition("ReleaseHealthy").message
    world.now += 1800
    assert found(world, FAILING).phase == "RolledBack", "and done when it is over"


def test_what_is_left_to_people_stays_where_it_is_until_they_decide() -> None:
    def paused(world: PlanWorld) -> object:
        return world.objects["Deployment", "llama"]["spec"].get("paused")

    world = served("v1.0.0")
    _taken_back(world, "v1.1.0")
    assert paused(world) is False
    _taken_back(world, "v1.2.0")
    assert release_of(world).verdict == "RollBack"
    assert paused(world) is False, "all of its replicas run already: there is nothing to stop"
    assert world.condition("Progressing").reason == "RolledOut"


def test_a_rollout_that_is_worse_is_stopped_where_it_may_not_be_taken_back() -> None:
    world = served("v1.0.0", rollback={"autoRollback": {"enabled": True, "window": "90s"}})
    _taken_back(world, "v1.1.0")
    world.version("v1.2.0")
    for _ in range(12):
        world.reconcile()
        world.tick()
    assert found(world, FAILING).verdict == "RollBack"
    assert "held where it is" in release_of(world).message
    world.now += 60
    world.settle()
    assert pause(world) is True
    assert len([pod for pod in world.snapshot().pods if pod.ready and pod.version == "v1.0.0"]) == 2
    world.set_pin(version="v1.0.0")
    world.settle()
    assert pause(world) is False


def test_a_fourth_one_in_a_day_is_left_to_people() -> None:
    world = served("v1.0.0", rollback={"autoRollback": {"enabled": True, "cooldown": "1s"}})
    for version in ("v1.1.0", "v1.2.0", "v1.3.0"):
        _taken_back(world, version)
        assert release_of(world).phase == "RolledBack"
        world.now += 60
    _taken_back(world, "v1.4.0")
    assert release_of(world).phase == "Watching"
    assert "3 rollbacks in a day" in world.condition("ReleaseHealthy").message


def test_a_retry_is_a_new_comparison() -> None:
    world = served("v1.0.0", "v1.1.0", rollback={"autoRollback": {"enabled": True, "cooldown": "1s"}})
    found(world, FAILING)
    rejected = world.revision("v1.1.0")
    assert rejected.status.rejection is not None
    annotations = {"inference.llm-d.io/retry": rejected.status.rejection.time}
    world.objects["ModelRevision", rejected.metadata.name]["metadata"]["annotations"] = annotations
    world.settle()
    release = release_of(world)
    assert (release.version, release.phase, release.indicators) == ("v1.1.0", "Watching", ())
    assert found(world, FAILING).phase == "RolledBack"


def test_numbers_are_written_now_and_then_and_conclusions_at_once() -> None:
    world = served("v1.0.0", "v1.1.0", rollback={"autoRollback": {"mode": "recommend"}})
    world.counted = FINE
    world.now += 40
    world.reconcile()
    writes = world.writes
    for _ in range(5):
        world.now += 5
        world.reconcile()
    assert world.writes == writes
    world.now += 30
    world.reconcile()
    assert world.writes == writes + 1
    world.counted = FAILING
    world.now += 1
    world.reconcile()
    assert release_of(world).verdict == "RollBack"


def test_it_is_looked_at_every_five_seconds_while_it_may_be_taken_back() -> None:
    world = served("v1.0.0", "v1.1.0")
    world.counted = FINE
    world.settle()
    assert world.plan().requeue_at == world.now + 5
    world.edit({"rollback": {"autoRollback": {"enabled": False}}})
    world.reconcile()
    assert world.plan().requeue_at == world.now + 30


def pause(world: PlanWorld) -> object:
    return world.objects["Deployment", "llama"]["spec"].get("paused")


def trying(**auto: Any) -> PlanWorld:
    """v1.1.0 has its first replica ready."""
    world = served("v1.0.0", rollback={"autoRollback": {"enabled": True, **auto}})
    world.version("v1.1.0")
    for _ in range(12):
        world.reconcile()
        world.tick()
    return world


def test_a_release_that_is_over_cannot_be_paused() -> None:
    world = served("v1.0.0")
    world.version("v1.1.0")
    world.settle()
    release = release_of(world)
    assert release.phase == "Watching"
    revision = world.revision("v1.1.0")
    annotations = world.objects["ModelRevision", revision.metadata.name]["metadata"].setdefault("annotations", {})
    annotations[PAUSE_RELEASE] = release.started_time
    world.reconcile()
    assert pause(world) is False
    assert world.condition("Ready").status == "True"


def test_the_first_new_replica_is_tried_beside_all_old_ones_before_the_rest_follow() -> None:
    world = trying(window="90s")
    assert pause(world) is True
    assert len([pod for pod in world.snapshot().pods if pod.ready and pod.version == "v1.0.0"]) == 2
    assert len([pod for pod in world.snapshot().pods if pod.ready and pod.version == "v1.1.0"]) == 1
    world.now += 90
    world.settle()
    assert pause(world) is False
    assert world.serving_versions() == {"v1.1.0"}
    assert release_of(world).stage == "Rollout"


def test_the_pause_of_a_trial_lasts_while_its_only_pod_is_not_ready() -> None:
    """An old one would else be ended as it comes back, whose gate is open."""
    world = trying(window="90s")
    tried = next(pod for pod in world.pods if pod["metadata"]["labels"][MODEL_VERSION] == "v1.1.0")
    tried["status"]["conditions"] = [
        one for one in tried["status"]["conditions"] if one["type"] not in ("Ready", "ContainersReady")
    ]
    world.reconcile()
    assert pause(world) is True


def test_a_trial_does_not_end_while_the_version_looks_worse() -> None:
    world = trying(window="90s")
    world.counted = after([(pods((4, 20)), old((0, 40)))] * 3)
    world.now += 90
    world.settle()
    assert (release_of(world).stage, release_of(world).verdict) == ("Trial", "Watching")
    assert release_of(world).waits_for == "better evidence: so far it looks worse"
    assert pause(world) is True


def test_that_a_person_has_paused_it_is_told() -> None:
    world = trying(window="90s")
    revision = world.revision("v1.1.0")
    annotations = world.objects["ModelRevision", revision.metadata.name]["metadata"].setdefault("annotations", {})
    annotations[PAUSE_RELEASE] = release_of(world).started_time
    world.now += 90
    world.settle()
    assert pause(world) is True
    assert "paused by a person: outrider rollout resume llama" in world.condition("Progressing").message


def test_a_pause_by_another_hand_is_put_right() -> None:
    """`kubectl rollout pause deployment/llama`: nothing that is asked for afterwards would come true."""
    world = served("v1.0.0")
    world.objects["Deployment", "llama"]["spec"]["paused"] = True
    world.reconcile()
    assert pause(world) is False
    assert "DriftCorrected" in {event.reason for event in world.events}


def test_a_version_that_never_had_all_its_replicas_is_compared_with_all_the_same() -> None:
    world = PlanWorld(gpus_per_node=1)
    world.edit(merged(AUTO, {"replicas": 3}))
    world.version("v1.0.0")
    world.settle()
    assert world.condition("Ready").status == "False"
    assert world.serving_versions() == {"v1.0.0"}
    world.edit({"deployment": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}})
    world.version("v1.1.0")
    world.settle()
    assert release_of(world).stable_version == "v1.0.0"


def test_no_old_replica_goes_before_the_new_one_is_tried_however_late_the_pause_is_seen() -> None:
    world = served("v1.0.0", rollback={"autoRollback": {"enabled": True, "window": "90s"}})
    world.version("v1.1.0")
    for _ in range(20):
        world.reconcile()
        workload = world.objects["Deployment", "llama"]
        if pause(world) and "seen late" not in workload["metadata"]["labels"]:
            snapshot = world.snapshot()
            assert snapshot.workload is not None
            behind = msgspec.structs.replace(snapshot.workload, observed_generation=0)
            opened = gates.opened(msgspec.structs.replace(snapshot, workload=behind), world.now)
            assert not [one for one in opened if one.condition.status == "True"]
        world.tick()
    assert world.serving_versions() == {"v1.0.0", "v1.1.0"}


def test_a_trial_is_not_over_before_the_new_replica_was_looked_at_three_times() -> None:
    world = trying(window="90s")
    world.counted = after([(pods((0, 20)), old((0, 40)))] * 2)
    world.now += 90
    world.settle()
    assert release_of(world).stage == "Trial"
    world.counted = after([(pods((0, 20)), old((0, 40)))] * 3)
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}


def test_a_trial_is_not_over_while_the_metrics_cannot_be_read() -> None:
    world = trying(window="90s")
    world.counted = FINE
    world.unread = 30.0
    world.now += 90
    world.settle()
    assert (release_of(world).stage, release_of(world).verdict, release_of(world).reason) == (
        "Trial",
        "Hold",
        "StaleData",
    )
    world.unread = 0.0
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}


def test_a_bad_version_on_trial_leaves_all_old_replicas_where_they_are() -> None:
    world = trying(window="90s")
    assert found(world, FAILING).phase == "RolledBack"
    assert pause(world) is False
    assert world.serving_versions() == {"v1.0.0"}
    assert len(world.pods) == 2


def test_another_template_in_the_middle_of_a_trial_ends_no_replica_that_serves() -> None:
    world = trying(window="90s")
    world.edit({"runtime": {"env": [{"name": "HF_HOME", "value": "/models"}]}})
    for _ in range(12):
        world.reconcile()
        world.tick()
        assert len([pod for pod in world.snapshot().pods if pod.ready]) >= 2
    world.now += 90
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}


NO_TRIAL: dict[str, dict[str, Any]] = {
    "nothing is done by itself": {"enabled": False},
    "it is only recommended": {"enabled": True, "mode": "recommend"},
}
ALL_AT_ONCE: dict[str, dict[str, Any]] = {
    "one replica is all there is": {"replicas": 1},
    "all new ones may come at once": {"deployment": {"rollingUpdate": {"maxSurge": "100%"}}},
    "half may come and half may go": {"deployment": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}},
}


@pytest.mark.parametrize("auto", NO_TRIAL.values(), ids=NO_TRIAL.keys())
def test_there_is_no_trial_where(auto: dict[str, Any]) -> None:
    world = served("v1.0.0", "v1.1.0", rollback={"autoRollback": {"window": "1h", **auto}})
    assert world.serving_versions() == {"v1.1.0"}


@pytest.mark.parametrize("spec", ALL_AT_ONCE.values(), ids=ALL_AT_ONCE.keys())
def test_there_is_no_trial_of_all_replicas_for_a_paused_deployment_would_give_up_the_old_ones(
    spec: dict[str, Any],
) -> None:
    auto = {"rollback": {"autoRollback": {"enabled": True, "window": "1h"}}}
    world = served("v1.0.0", "v1.1.0", **auto, **spec)
    assert world.serving_versions() == {"v1.1.0"}
    assert release_of(world).stage == "Rollout"


def test_a_trial_is_over_when_there_is_nothing_to_be_compared_with_any_more() -> None:
    world = trying(window="1h")
    world.pods = [pod for pod in world.pods if pod["metadata"]["labels"][MODEL_VERSION] == "v1.1.0"]
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}
    assert len(world.pods) == 2


def test_that_no_pod_is_ready_is_not_told_any_longer_than_it_is_so() -> None:
    """It was, beside "2/2 replicas ready", until numbers were written again: two minutes."""
    world = PlanWorld()  # which may not be taken back by itself: nothing else would be written at once
    world.settle()
    world.version("v2.0.0")
    world.reconcile()
    assert release_of(world).reason == "AwaitingPods"
    world.settle()
    assert release_of(world).reason != "AwaitingPods"


def _suspended_for(world: PlanWorld, seconds: float) -> None:
    world.edit({"replicas": 0})
    world.settle()
    world.tick(seconds)
    world.settle()
    world.edit({"replicas": 2})
    world.settle()


def test_the_bake_time_stands_still_while_no_replica_is_wanted() -> None:
    world = served("v1.0.0", "v1.1.0")
    _suspended_for(world, 7200)
    release = release_of(world)
    assert (release.phase, release.suspended_since) == ("Watching", "")
    assert 7200 <= release.suspended_seconds < 7300
    assert found(world, FAILING).phase == "RolledBack"
