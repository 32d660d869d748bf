"""A release takes over by its steps alone, and what is neither what serves nor what comes goes first."""

import msgspec
import pytest
from plan_world import PlanWorld
from release_world import ROUTED, go_on, release, released, selected, sizes, traffic, turns_bad, weights, world

from outrider.api import labels
from outrider.plan.actions import Delete, Emit
from outrider.plan.deployment.plan import plan
from outrider.plan.deployment.snapshot import PlanConfig, PodView

RECREATE = {"rolloutStrategy": "Recreate"}
ROLLING = {"rolloutStrategy": "RollingUpdate"}


def workloads(made: PlanWorld) -> dict[str, str]:
    """Deployment to the version that it is for."""
    return {
        name: body["spec"]["template"]["metadata"]["labels"][labels.MODEL_VERSION]
        for (kind, name), body in made.objects.items()
        if kind == "Deployment"
    }


def lose_stable(made: PlanWorld) -> None:
    """Somebody deletes the Deployment of what serves, with its pods."""
    del made.objects["Deployment", "llama"]
    gone = [pod for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] == "v1.0.0"]
    for pod in gone:
        made.pods.remove(pod)


@pytest.mark.parametrize("strategy", ["Canary", "BlueGreen"])
def test_what_a_release_is_compared_with_is_made_anew_where_somebody_deletes_it(strategy: str) -> None:
    made = world(strategy, blueGreen={"autoPromotion": False})
    made.load_ticks = 3
    released(made)
    before = (release(made).stage, weights(made))
    lose_stable(made)
    made.reconcile()
    stable = f"llama-{made.revision('v1.0.0').spec.hash}"
    assert workloads(made)[stable] == "v1.0.0"
    made.reconcile()
    assert weights(made) == [0, 100], "the candidate stands in"
    assert made.condition("Ready").status == "False"
    go_on(made)
    assert sizes(made)["v1.0.0"] == 4
    assert (release(made).stage, weights(made), selected(made)) == (*before, "v1.0.0")


@pytest.mark.parametrize("seconds", [5, 80])
def test_a_hand_laid_on_the_version_beside_the_one_that_is_made_true_is_put_right(seconds: int) -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, seconds)
    ready = made.condition("Ready").status
    container = made.objects["Deployment", "llama"]["spec"]["template"]["spec"]["containers"][0]
    image, container["image"] = container["image"], "somebody/else:1"
    found = made.reconcile()
    assert made.objects["Deployment", "llama"]["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert [one.reason for one in found.actions if isinstance(one, Emit)] == ["DriftCorrected"]
    assert made.condition("Ready").status == ready
    assert not made.reconcile().actions, "and once is enough"


def test_scaled_to_zero_and_back_a_canary_has_its_share_again() -> None:
    made = world()
    released(made)
    made.edit({"replicas": 0})
    go_on(made)
    assert not made.pods
    made.edit({"replicas": 4})
    go_on(made)
    assert (sizes(made), weights(made)) == ({"v1.0.0": 4, "v2.0.0": 1}, [90, 10])
    assert release(made).stage == "Canary"


def test_the_share_follows_its_step_within_a_second_also_where_nothing_is_taken_back_by_itself() -> None:
    made = world()
    made.edit({"rollback": {"autoRollback": {"enabled": False}}})
    made.version("v2.0.0")
    for _ in range(30):
        found = made.reconcile()
        if release(made).weight == 10:
            break
        made.tick()
    assert found.requeue_at is not None
    assert found.requeue_at <= made.now + 1
    made.now += 1
    made.reconcile()
    assert weights(made) == [90, 10]


def test_a_candidate_that_is_given_up_goes_before_a_third_version_is_rolled_out_in_place() -> None:
    made = world("BlueGreen", blueGreen={"autoPromotion": False})
    released(made)
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}
    made.edit({"deployment": ROLLING, "model": {"version": "v3.0.0"}})
    made.reconcile()
    assert (selected(made), weights(made)) == ("v1.0.0", [1]), "its pods take no requests"
    assert workloads(made)["llama"] == "v1.0.0", "and nothing of the third version has begun"
    for _ in range(80):
        made.tick()
        made.reconcile()
        assert len(set(sizes(made)) - {"v2.0.0"}) <= 2
    assert sizes(made) == {"v3.0.0": 4}
    assert made.condition("Ready").status == "True"


def test_recreate_after_a_release_by_steps_ends_all_old_pods_before_a_new_one_comes() -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, 1200)
    assert sizes(made) == {"v2.0.0": 4}
    made.edit({"deployment": RECREATE, "model": {"version": "v3.0.0"}})
    for _ in range(60):
        made.reconcile()
        made.tick()
        assert len(sizes(made)) <= 1
    assert sizes(made) == {"v3.0.0": 4}
    assert made.condition("Ready").status == "True"


@pytest.mark.parametrize("config", [ROUTED, PlanConfig()], ids=["routed", "without routes"])
def test_the_version_on_standby_takes_no_requests_when_a_third_one_has_its_place(config: PlanConfig) -> None:
    made = world("BlueGreen", config=config)
    released(made)
    go_on(made, 80)
    assert (release(made).stage, sizes(made)) == ("Standby", {"v1.0.0": 4, "v2.0.0": 4})
    made.edit({"deployment": ROLLING, "model": {"version": "v3.0.0"}})
    for _ in range(80):
        made.reconcile()
        versions = {pod.version for pod in made.snapshot().pods if pod.ready}
        assert selected(made) or "v1.0.0" not in versions
        made.tick()
    assert sizes(made) == {"v3.0.0": 4}


@pytest.mark.parametrize(("is_gone", "late"), [(False, 0), (False, 61), (True, 0)])
def test_a_standby_stays_while_a_pod_waits_for_what_its_predecessor_still_holds(is_gone: bool, late: int) -> None:
    made = world("BlueGreen", replicas=8)
    released(made)
    go_on(made, 80)
    assert (release(made).stage, sizes(made)) == ("Standby", {"v1.0.0": 8, "v2.0.0": 8})
    snapshot = made.snapshot()
    one = next(pod for pod in snapshot.pods if pod.version == "v2.0.0")
    others = [pod for pod in snapshot.pods if pod is not one]
    ending = msgspec.structs.replace(
        one, terminating=True, gone_by=made.now + 60 - late, ready=False, containers_ready=False
    )
    waiting = PodView("new", "new", one.revision, one.version, one.owner, gpus=one.gpus, unschedulable="no GPUs")
    pods = (*others, waiting) if is_gone else (*others, waiting, ending)
    found = plan(msgspec.structs.replace(snapshot, pods=pods), made.now)
    deleted = [one.name for one in found.actions if isinstance(one, Delete) and one.kind == "Deployment"]
    assert deleted == (["llama"] if is_gone or late else []), "one that hangs as it ends is not waited for"
    assert found.requeue_at is not None
    assert found.requeue_at <= made.now + 60


def _not_ready(made: PlanWorld, version: str) -> None:
    """Its pods do not answer any more, and load their model anew."""
    for pod in made.pods:
        if pod["metadata"]["labels"][labels.MODEL_VERSION] == version:
            pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
            pod["age"] = -10


def test_while_nothing_of_what_was_promoted_answers_the_version_on_standby_does() -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, 80)
    assert (release(made).stage, selected(made)) == ("Standby", "v2.0.0")
    _not_ready(made, "v2.0.0")
    made.reconcile()
    assert (selected(made), weights(made)) == ("", [0, 100])
    assert traffic(made).candidate == made.revision("v1.0.0").spec.hash
    assert made.condition("Ready").status == "False"
    go_on(made)
    assert (release(made).stage, selected(made), weights(made)) == ("Standby", "v2.0.0", [1])
    assert sizes(made) == {"v1.0.0": 4, "v2.0.0": 4}
    assert made.condition("Ready").status == "True"


def test_a_version_that_was_taken_back_does_not_stand_in() -> None:
    made = world("BlueGreen")
    turned = released(made)
    turns_bad(made)
    go_on(made)
    assert release(made).phase == "RolledBack"
    _not_ready(made, "v1.0.0")
    made.reconcile()
    assert traffic(made).candidate != turned.revision


@pytest.mark.parametrize("config", [ROUTED, PlanConfig()], ids=["routed", "without routes"])
def test_where_the_status_is_lost_a_canary_begins_again_at_its_first_step(config: PlanConfig) -> None:
    made = world(config=config)
    begun = released(made)
    made.manifest["status"] = {}
    made.reconcile()
    assert (release(made).revision, release(made).stage, release(made).step) == (begun.revision, "Canary", 0)
    assert release(made).stable_version == "v1.0.0"
    go_on(made)
    assert sizes(made)["v1.0.0"] == 4


def test_pods_that_are_left_of_a_deployment_that_is_gone_are_no_rolling_update_under_way() -> None:
    """The garbage collector takes its time; the next version is released by its steps all the same."""
    made = world("BlueGreen")
    released(made)
    go_on(made, 80)
    del made.objects["Deployment", "llama"]
    made.version("v3.0.0")
    made.reconcile()
    assert {pod.version for pod in made.snapshot().pods if pod.ready} == {"v1.0.0", "v2.0.0"}
    assert (release(made).strategy, release(made).stage) == ("BlueGreen", "Preview")


def test_pods_of_a_deployment_that_is_gone_get_no_traffic_back() -> None:
    made = world("BlueGreen")
    released(made)
    go_on(made, 80)
    del made.objects["Deployment", "llama"]
    made.set_pin(version="v1.0.0")
    made.reconcile()
    assert selected(made) == "v2.0.0", "its pods are about to go"
    go_on(made, 60)
    assert (selected(made), sizes(made)["v1.0.0"]) == ("v1.0.0", 4)


def test_what_is_given_up_gets_no_more_replicas_while_a_pod_of_what_serves_is_missing() -> None:
    made = world(replicas=4, canary={"steps": [{"weight": 25, "duration": "1h"}]})
    released(made)
    lost = next(pod for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] == "v1.0.0")
    lost["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    made.edit({"deployment": ROLLING, "model": {"version": "v3.0.0"}})
    for _ in range(60):
        made.reconcile()
        made.tick(5)
        assert sizes(made).get("v2.0.0", 0) <= 1
    assert sizes(made) == {"v3.0.0": 4}
