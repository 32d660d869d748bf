"""Releases by steps, in a world of pods without time: what each step waits for, and who has the traffic meanwhile."""

from typing import Any

import pytest
from plan_world import LLAMA, PlanWorld, merged
from release_evidence import after, old, pods
from release_world import annotate, go_on, release, released, selected, sizes, traffic, turns_bad, weights, world

from outrider.api import labels
from outrider.plan.deployment.snapshot import PlanConfig


def test_a_canary_goes_up_step_by_step_and_no_pod_is_started_twice() -> None:
    made = world()
    assert selected(made) == "v1.0.0"

    at = released(made)
    assert (at.strategy, at.stage, at.step, at.weight) == ("Canary", "Canary", 0, 10)
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 1}
    assert (selected(made), weights(made)) == ("v1.0.0", [90, 10])
    assert at.waits_for == "its time"
    first = {pod["metadata"]["name"] for pod in made.pods}

    go_on(made, 80)
    assert (release(made).step, release(made).weight, weights(made)) == (1, 50, [50, 50])
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 2}
    assert "Step 2 of 2: 50 % of the traffic. It waits for its time." in made.condition("Ready").message

    go_on(made, 80)
    assert release(made).stage == "Standby"
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}
    assert (selected(made), weights(made)) == ("v2.0.0", [1])
    assert made.condition("Ready").status == "True"
    assert made.status.serving_version == "v2.0.0"
    assert made.status.rollback.readiness == "Warm"
    assert first <= {pod["metadata"]["name"] for pod in made.pods}

    go_on(made, 330)
    assert sizes(made) == {"v2.0.0": 4}
    assert made.status.rollback.readiness == "Cold"
    assert not [name for kind, name in made.objects if kind == "Service" and name != "llama"]
    assert made.condition("Ready").status == "True"


@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen"])
def test_a_step_does_not_end_while_the_candidates_metrics_cannot_be_read(strategy: str) -> None:
    made = world(strategy)
    made.counted = after([(pods((0, 5)), old((0, 5)))] * 6)
    released(made)
    made.unread = 40.0
    go_on(made, 400)
    at = release(made)
    assert (at.step, at.verdict, at.reason) == (0, "Hold", "StaleData")
    assert at.waits_for == "evidence that says something"
    assert made.serving_versions() >= {"v1.0.0"}
    made.unread = 0.0
    go_on(made, 400)
    assert release(made).stage == "Standby"


def test_a_step_too_short_for_data_to_be_old_does_not_end_before_the_metrics_were_read() -> None:
    made = world(canary={"steps": [{"weight": 10, "duration": "4s"}]})
    made.unread = 10.0
    released(made)
    go_on(made, 5)
    assert release(made).waits_for == "its metrics, of which none could be read since it began"
    made.unread = 2.0
    go_on(made, 5)
    assert release(made).step == 1


def test_a_step_has_its_traffic_only_once_its_replicas_are_ready() -> None:
    made = world()
    made.load_ticks = 30
    at = released(made)
    assert (at.weight, weights(made)) == (0, [100, 0])
    assert at.waits_for == "1 replica, of which 0 are ready"
    go_on(made, 10, rounds=40)
    assert weights(made) == [90, 10]


def test_blue_green_tries_all_replicas_without_traffic_and_then_moves_all_of_it_at_once() -> None:
    made = world("BlueGreen")
    at = released(made)
    assert (at.strategy, at.stage) == ("BlueGreen", "Preview")
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}
    assert (selected(made), weights(made), made.status.serving_version) == ("v1.0.0", [100, 0], "v1.0.0")
    preview = made.objects["Service", traffic(made).service]
    assert preview["spec"]["selector"][labels.REVISION] == at.revision
    paths = [rule["matches"][0]["path"]["value"] for rule in made.objects["HTTPRoute", "llama.path"]["spec"]["rules"]]
    assert f"/production/{traffic(made).service}" in paths

    go_on(made, 80)
    assert (release(made).stage, selected(made), weights(made)) == ("Standby", "v2.0.0", [1])
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}


def test_without_auto_promotion_blue_green_waits_for_a_person() -> None:
    made = world("BlueGreen", blueGreen={"autoPromotion": False})
    released(made)
    go_on(made, 600)
    assert release(made).waits_for == "a person: outrider rollout promote llama"
    assert selected(made) == "v1.0.0"
    annotate(made, labels.PROMOTE_RELEASE, "of another release")
    go_on(made)
    assert selected(made) == "v1.0.0"
    annotate(made, labels.PROMOTE_RELEASE, release(made).started_time)
    go_on(made)
    assert (release(made).stage, selected(made)) == ("Standby", "v2.0.0")


def test_a_canary_that_turns_bad_loses_its_traffic_and_its_pods_and_the_old_ones_were_never_fewer() -> None:
    made = world()
    released(made)
    turns_bad(made)
    go_on(made)
    assert release(made).phase == "RolledBack"
    assert (selected(made), weights(made), sizes(made)) == ("v1.0.0", [1], {"v1.0.0": 4})
    assert made.condition("RolledBack").status == "True"
    assert made.status.phase == "RolledBack"


def test_what_turns_bad_after_promotion_is_taken_back_to_pods_that_are_still_loaded() -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, 80)
    stable = {
        pod["metadata"]["name"] for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] == "v1.0.0"
    }
    turns_bad(made)
    made.reconcile()
    made.tick()
    made.reconcile()
    assert selected(made) == "v1.0.0"
    go_on(made)
    assert {pod["metadata"]["name"] for pod in made.pods} == stable


STEERED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "promote gives it all traffic": (
        labels.PROMOTE_RELEASE,
        "{started}",
        {"stage": "Standby", "selected": "v2.0.0"},
    ),
    "skip ends the step": (labels.SKIP_STEP, "{started}/0", {"stage": "Canary", "step": 1}),
    "a skip of another step does nothing": (labels.SKIP_STEP, "{started}/1", {"stage": "Canary", "step": 0}),
    "abort takes it back": (labels.ABORT_RELEASE, "{started}", {"phase": "RolledBack", "selected": "v1.0.0"}),
    "an abort of another release does nothing": (labels.ABORT_RELEASE, "1999", {"phase": "Watching", "step": 0}),
}


@pytest.mark.parametrize("case", STEERED)
def test_people_steer_a_release(case: str) -> None:
    annotation, value, expected = STEERED[case]
    made = world()
    released(made)
    annotate(made, annotation, value.format(started=release(made).started_time))
    go_on(made)
    at = release(made)
    found = {"stage": at.stage, "step": at.step, "phase": at.phase, "selected": selected(made)}
    assert {name: found[name] for name in expected} == expected


def test_a_paused_canary_stays_at_its_step_until_it_is_resumed() -> None:
    made = world()
    annotate_at = released(made).started_time
    annotate(made, labels.PAUSE_RELEASE, annotate_at)
    go_on(made, 600)
    assert (release(made).step, release(made).waits_for) == (0, "a person: outrider rollout resume llama")
    del made.objects["ModelRevision", f"llama-{release(made).revision}"]["metadata"]["annotations"]
    go_on(made, 5)
    assert release(made).step == 1


def test_an_aborted_version_is_not_released_again_by_git() -> None:
    made = world()
    annotate_started = released(made).started_time
    annotate(made, labels.ABORT_RELEASE, annotate_started)
    go_on(made)
    made.manifest["metadata"]["generation"] += 1
    go_on(made, 600)
    assert (selected(made), sizes(made)) == ("v1.0.0", {"v1.0.0": 4})
    assert made.revision("v2.0.0").status.reason == "Aborted"


def test_an_abort_while_the_spec_is_invalid_is_noted_once_says_why_nothing_happens_and_is_done_when_it_is_valid() -> (
    None
):
    made = world()
    started = released(made).started_time
    made.edit({"replicas": -1})
    annotate(made, labels.ABORT_RELEASE, started)
    go_on(made)
    noted = made.revision("v2.0.0").status.rejection
    go_on(made, 600)
    assert noted is not None
    assert made.revision("v2.0.0").status.rejection == noted
    assert release(made).message == "v2.0.0 was aborted by hand. It serves on, for the spec is invalid."
    made.edit({"replicas": 4})
    go_on(made, 60)
    assert (selected(made), sizes(made)) == ("v1.0.0", {"v1.0.0": 4})


def test_going_back_in_the_middle_takes_all_traffic_from_the_candidate() -> None:
    made = world()
    released(made)
    made.version("v1.0.0")
    go_on(made)
    assert (selected(made), weights(made), sizes(made)) == ("v1.0.0", [1], {"v1.0.0": 4})
    assert made.condition("Ready").status == "True"


def test_a_third_version_in_the_middle_begins_at_the_first_step_beside_what_serves() -> None:
    made = world()
    released(made)
    go_on(made, 80)
    assert weights(made) == [50, 50]
    at = released(made, "v3.0.0")
    assert (at.version, at.step, at.weight) == ("v3.0.0", 0, 10)
    assert sizes(made) == {"v1.0.0": 4, "v3.0.0": 1}
    assert (selected(made), weights(made)) == ("v1.0.0", [90, 10])
    one, two, three = (f"{name} (revision {made.revision(name).spec.hash})" for name in ("v1.0.0", "v2.0.0", "v3.0.0"))
    told = [event.note for event in made.events if event.reason == "ReleaseStarted"]
    assert told[1:] == [f"Releasing from {one} to {two}.", f"Releasing from {one} to {three}, and {two} no more."]


def test_where_requests_go_that_did_not_before_pods_are_to_be_read_anew_first() -> None:
    """A plan that only waits asks for nothing."""
    made = world()
    made.version("v2.0.0")
    seen = []
    for _ in range(120):
        before, asked = weights(made), made.plan().confirm_first
        made.reconcile()
        made.tick(2.0)
        assert asked or weights(made) in (before, [100, 0], [1])
        seen += [weights(made)] if asked else []
    assert [90, 10] in seen
    assert [50, 50] in seen
    assert [1] in seen, "all requests go to the new version"
    assert len(seen) < 6


def test_the_first_release_ever_has_nothing_beside_it() -> None:
    made = world()
    assert made.status.release is None
    assert [name for kind, name in made.objects if kind == "Deployment"] == ["llama"]


def test_steps_are_those_of_the_moment_in_which_the_release_began() -> None:
    made = world()
    released(made)
    made.edit({"deployment": {"canary": {"steps": [{"weight": 99, "duration": "1s"}]}}})
    go_on(made)
    assert (release(made).weight, release(made).step) == (10, 0)


def test_without_a_gateway_the_numbers_of_pods_divide_the_traffic() -> None:
    made = world(config=PlanConfig())
    released(made)
    assert selected(made) == ""
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 1}
    go_on(made, 80)
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}
    go_on(made, 80)
    assert selected(made) == "v2.0.0"


def test_more_replicas_in_the_middle_are_more_of_both() -> None:
    made = world()
    released(made)
    made.edit({"replicas": 8})
    go_on(made)
    assert sizes(made) == {"v1.0.0": 8, "v2.0.0": 1}


def test_a_rolling_update_that_is_under_way_ends_as_one() -> None:
    made = world("RollingUpdate")
    made.load_ticks = 3
    made.version("v2.0.0")
    go_on(made, rounds=2)
    made.edit({"deployment": {"rolloutStrategy": "Canary"}, "model": {"version": "v3.0.0"}})
    go_on(made, 600, rounds=100)
    assert [name for kind, name in made.objects if kind == "Deployment"] == ["llama"]
    assert sizes(made) == {"v3.0.0": 4}


def test_back_to_rolling_updates_the_next_version_gets_the_plain_deployment_again() -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, 600)
    assert [name for kind, name in made.objects if kind == "Deployment"] == [f"llama-{release(made).revision}"]
    made.edit({"deployment": {"rolloutStrategy": "RollingUpdate"}})
    released(made, "v3.0.0")
    go_on(made, 60, rounds=60)
    assert [name for kind, name in made.objects if kind == "Deployment"] == ["llama"]
    assert sizes(made) == {"v3.0.0": 4}
    assert (selected(made), weights(made)) == ("", [1])


def test_there_is_no_trial_where_no_old_pod_goes_for_a_new_one() -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, 1200)
    made.edit({"deployment": {"rolloutStrategy": "RollingUpdate"}, "model": {"version": "v3.0.0"}})
    stages, ready = set(), []
    for _ in range(60):
        made.reconcile()
        made.tick()
        stages.add(release(made).stage)
        ready.append(made.condition("Ready").status)
        assert made.objects["Deployment", "llama"]["spec"]["paused"] is False
    assert stages == {"Rollout"}
    assert ready == sorted(ready)  # once True it stays so
    assert sizes(made) == {"v3.0.0": 4}


def test_recreate_ends_the_old_pods_first() -> None:
    made = PlanWorld(merged(LLAMA, {"spec": {"deployment": {"rolloutStrategy": "Recreate"}}}))
    made.reconcile()
    assert made.objects["Deployment", "llama"]["spec"]["strategy"] == {"type": "Recreate"}


def test_what_takes_no_requests_gives_its_gpus_to_what_needs_them() -> None:
    made = world("BlueGreen", replicas=8)
    released(made)
    go_on(made, 80)
    assert sizes(made) == {"v1.0.0": 8, "v2.0.0": 8}
    released(made, "v3.0.0")
    go_on(made, 5)
    assert sizes(made) == {"v2.0.0": 8, "v3.0.0": 8}
    assert selected(made) == "v2.0.0"


def test_a_step_does_not_end_while_the_evidence_leans_against_the_version() -> None:
    made = world()
    released(made)
    made.counted = after([(pods((4, 20)), old((0, 40)))] * 3)
    go_on(made, 100)
    assert (release(made).step, release(made).verdict) == (0, "Watching")
    assert release(made).waits_for == "better evidence: so far it looks worse"


def test_a_version_that_served_once_and_is_a_candidate_again_is_not_what_the_next_one_is_compared_with() -> None:
    """Found by the simulation: it was kept as standby beside the one that serves, and there were three versions."""
    made = world("BlueGreen")
    for version in ("v2.0.0", "v1.0.0"):
        released(made, version)
        go_on(made, 600)
    released(made, "v2.0.0")
    at = released(made, "v3.0.0")
    assert at.stable_version == "v1.0.0"
    assert sizes(made) == {"v1.0.0": 4, "v3.0.0": 4}


def test_a_canary_of_hours_is_not_over_because_a_release_is_watched_for_an_hour_at_most() -> None:
    made = world(canary={"steps": [{"weight": 10, "duration": "5h"}]})
    for version in ("v2.0.0", "v1.0.0"):
        made.version(version)
        go_on(made)
        annotate(made, labels.PROMOTE_RELEASE, release(made).started_time)
        go_on(made, 600)
    released(made, "v2.0.0")
    made.now += 4 * 3600
    go_on(made)
    assert (release(made).phase, release(made).stage) == ("Watching", "Canary")
    assert weights(made) == [90, 10]


def test_pods_that_a_deleted_deployment_left_are_no_rolling_update() -> None:
    """Else the next version would be rolled over what serves, instead of being tried beside it."""
    made = world()
    released(made)
    del made.objects["Deployment", f"llama-{release(made).revision}"]
    made.version("v3.0.0")
    made.reconcile()
    template = made.objects["Deployment", "llama"]["spec"]["template"]
    assert template["metadata"]["labels"][labels.MODEL_VERSION] == "v1.0.0"
    go_on(made)
    assert sizes(made) == {"v1.0.0": 4, "v3.0.0": 1}


def test_a_canary_is_not_promoted_because_the_old_version_is_away_for_a_moment() -> None:
    made = world()
    released(made)
    gone = [pod for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] == "v1.0.0"]
    for pod in gone:
        pod["status"]["conditions"] = []
        pod["age"] = -8
    made.reconcile()
    assert (selected(made), weights(made)) == ("", [0, 100]), "whoever can answer does"
    go_on(made, 10, rounds=40)
    assert (release(made).stage, selected(made), weights(made)) == ("Canary", "v1.0.0", [90, 10])
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 1}


def _lose_a_pod(made: PlanWorld, version: str, rounds: int = 30) -> None:
    """One of its pods is not ready any more, and loads again for so many rounds."""
    lost = next(pod for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] == version)
    lost["status"]["conditions"] = []
    lost["age"] = -rounds


def test_going_back_by_the_spec_leaves_a_share_with_the_candidate_until_the_old_version_can_carry_all() -> None:
    made = world(canary={"steps": [{"weight": 50, "duration": "1h"}]})
    released(made)
    _lose_a_pod(made, "v1.0.0")
    made.reconcile()
    made.version("v1.0.0")
    made.reconcile()
    assert (selected(made), weights(made)) == ("v1.0.0", [75, 25])
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 2}, "and it gets no more pods"
    go_on(made, rounds=60)
    assert (weights(made), sizes(made)) == ([1], {"v1.0.0": 4})


def test_a_person_who_rolls_back_leaves_nothing_with_the_candidate_whatever_the_old_version_can_carry() -> None:
    made = world(canary={"steps": [{"weight": 50, "duration": "1h"}]})
    at = released(made)
    _lose_a_pod(made, "v1.0.0")
    made.reconcile()
    made.set_pin(version="v1.0.0", rejects=at.revision)
    made.reconcile()
    assert (selected(made), weights(made)) == ("v1.0.0", [1])
    go_on(made, rounds=3)
    assert sizes(made) == {"v1.0.0": 4}


def _lose_all(made: PlanWorld, version: str, rounds: int = 30) -> None:
    for pod in made.pods:
        if pod["metadata"]["labels"][labels.MODEL_VERSION] == version:
            pod["status"]["conditions"] = []
            pod["age"] = -rounds


@pytest.mark.parametrize("back_by", ["an edit", "a pin", "an abort"])
@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen"])
def test_while_nothing_of_the_old_version_answers_the_candidate_keeps_everything_whatever_people_say(
    strategy: str, back_by: str
) -> None:
    made = world(strategy)
    at = released(made)
    _lose_all(made, "v1.0.0")
    made.reconcile()
    if back_by == "an edit":
        made.version("v1.0.0")
    elif back_by == "a pin":
        made.set_pin(version="v1.0.0", rejects=at.revision)
    else:
        annotate(made, labels.ABORT_RELEASE, at.started_time)
    go_on(made, rounds=20)
    assert (selected(made), weights(made)) == ("", [0, 100])
    assert made.serving_versions() == {"v2.0.0"}
    go_on(made, rounds=40)
    assert (selected(made), weights(made), sizes(made)) == ("v1.0.0", [1], {"v1.0.0": 4})


def test_while_nothing_of_the_old_version_answers_the_candidate_keeps_everything_although_a_third_one_comes() -> None:
    made = world()
    released(made)
    _lose_all(made, "v1.0.0", rounds=100)
    made.reconcile()
    made.load_ticks = 20
    made.version("v3.0.0")
    for _ in range(15):
        go_on(made, rounds=1)
        assert made.serving_versions() == {"v2.0.0"}, "which is all that answers"
    assert selected(made) == "v2.0.0", "and not what has stopped answering"
    go_on(made, 400, rounds=80)
    assert (selected(made), sizes(made)) == ("v3.0.0", {"v3.0.0": 4})


def test_standby_outlasts_its_time_while_what_took_over_does_not_answer_in_full() -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, 80)
    assert release(made).stage == "Standby"
    _lose_a_pod(made, "v2.0.0", rounds=40)
    go_on(made, 400, rounds=20)
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}
    go_on(made, 20, rounds=40)
    assert sizes(made) == {"v2.0.0": 4}


@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen"])
def test_a_step_in_which_no_replica_was_wanted_begins_anew(strategy: str) -> None:
    made = world(strategy)
    released(made)
    before = release(made)
    made.edit({"replicas": 0})
    made.settle()
    made.tick(900)
    made.edit({"replicas": 4})
    made.settle()
    at = release(made)
    assert (at.stage, at.step) == (before.stage, 0)
    assert at.step_since > before.step_since
