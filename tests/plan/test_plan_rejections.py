"""A revision that was rolled back by itself: what takes its place, for how long, and who may ask for it again."""

import pytest
from plan_world import PlanWorld

from outrider.api.labels import RETRY
from outrider.plan.actions import SetPodCondition

WHEN = "2023-11-14T22:13:20Z"
WHY = "v1.1.0: 14 of 62 requests failed, v1.0.0: 0 of 310"


@pytest.fixture
def world() -> PlanWorld:
    """v1.0.0 has served, and v1.1.0 has replaced it."""
    made = PlanWorld()
    made.settle()
    made.version("v1.1.0")
    made.settle()
    return made


def reject(world: PlanWorld, version: str, **more: object) -> None:
    """Note that evidence spoke against a version, as the operator does."""
    body = world.objects["ModelRevision", world.revision(version).metadata.name]
    body["status"] = {
        **body.get("status", {}),
        "rejection": {"time": WHEN, "reason": "ErrorsWorse", "message": WHY, **more},
    }


def retry(world: PlanWorld, version: str, when: str = WHEN) -> None:
    world.objects["ModelRevision", world.revision(version).metadata.name]["metadata"]["annotations"] = {RETRY: when}


def test_the_last_good_revision_takes_its_place_and_the_spec_stays_as_it_is(world: PlanWorld) -> None:
    generation = world.manifest["metadata"]["generation"]
    reject(world, "v1.1.0")
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}
    status = world.status
    assert (status.phase, status.desired_version, status.effective_version) == ("RolledBack", "v1.1.0", "v1.0.0")
    assert world.manifest["spec"]["model"]["version"] == "v1.1.0"
    assert world.manifest["metadata"]["generation"] == generation
    revision = world.revision("v1.1.0").status
    assert (revision.state, revision.reason, revision.message) == ("Quarantined", "ErrorsWorse", WHY)
    told = world.condition("RolledBack")
    assert told.reason == "ErrorsWorse"
    assert WHY in told.message
    assert "outrider rollout retry llama" in told.message
    told_by_event = [one for one in world.events if one.reason == "RolledBack"]
    assert len(told_by_event) == 1


def test_being_asked_for_again_does_not_make_it_better(world: PlanWorld) -> None:
    reject(world, "v1.1.0")
    world.settle()
    for replicas in (3, 2, 3):  # Git applies the same version again, with something else changed
        world.edit({"replicas": replicas})
        world.settle()
        assert world.serving_versions() == {"v1.0.0"}


def test_another_version_is_released_as_ever(world: PlanWorld) -> None:
    reject(world, "v1.1.0")
    world.settle()
    world.version("v1.2.0")
    world.settle()
    assert world.serving_versions() == {"v1.2.0"}
    assert world.status.phase == "Ready"


def test_a_retry_lifts_this_rejection_and_no_later_one(world: PlanWorld) -> None:
    reject(world, "v1.1.0")
    world.settle()
    retry(world, "v1.1.0")
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}
    assert world.revision("v1.1.0").status.state == "Serving"
    assert world.revision("v1.1.0").status.rejection is not None, "it is still told, and counted"
    reject(world, "v1.1.0", time="2023-11-14T23:00:00Z", lifted=False)
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}


def test_the_revision_that_was_chosen_stays_chosen(world: PlanWorld) -> None:
    first = world.revision("v1.0.0").spec.hash
    world.version("v1.2.0")
    world.settle()
    reject(world, "v1.2.0", fallback=first)
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}, "and not v1.1.0, which served later"


def test_what_has_served_since_goes_on_when_the_spec_asks_again_for_what_was_rolled_back(world: PlanWorld) -> None:
    reject(world, "v1.1.0", fallback=world.revision("v1.0.0").spec.hash)
    world.settle()
    world.version("v2.0.0")
    world.settle()
    world.events.clear()
    world.version("v1.1.0")
    world.settle()
    assert world.serving_versions() == {"v2.0.0"}, "and not v1.0.0, which nobody asked for"
    assert "v2.0.0" in world.condition("RolledBack").message
    assert "RollbackStarted" not in {one.reason for one in world.events}


def test_a_candidate_gives_way_to_what_serves_when_the_spec_asks_again_for_what_was_rolled_back(
    world: PlanWorld,
) -> None:
    reject(world, "v1.1.0", fallback=world.revision("v1.0.0").spec.hash)
    world.settle()
    world.version("v2.0.0")
    world.settle()
    world.load_ticks = 100
    world.version("v3.0.0")
    for _ in range(3):
        world.reconcile()
        world.tick()
    assert world.status.effective_version == "v3.0.0"
    world.version("v1.1.0")
    world.settle()
    assert world.serving_versions() == {"v2.0.0"}
    assert world.status.effective_version == "v2.0.0"


def test_a_fallback_that_was_rolled_back_itself_is_passed_over(world: PlanWorld) -> None:
    world.version("v1.2.0")
    world.settle()
    reject(world, "v1.1.0")
    reject(world, "v1.2.0", fallback=world.revision("v1.1.0").spec.hash)
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}


def test_without_a_good_revision_the_list_of_previous_versions_decides_in_order(world: PlanWorld) -> None:
    reject(world, "v1.0.0")
    reject(world, "v1.1.0")
    world.edit({"rollback": {"previousVersions": ["v1.0.0", "v0.9.0"]}})
    world.settle()
    assert world.serving_versions() == {"v0.9.0"}
    assert "RollbackStarted" in {one.reason for one in world.events}, "although it is a newer revision"


def test_with_nothing_to_go_back_to_what_is_asked_for_is_served(world: PlanWorld) -> None:
    reject(world, "v1.0.0")
    reject(world, "v1.1.0")
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}
    assert world.status.phase == "Ready"


def test_a_pin_to_it_is_a_person_who_wants_it(world: PlanWorld) -> None:
    reject(world, "v1.1.0")
    world.settle()
    world.set_pin(version="v1.1.0", revision=world.revision("v1.1.0").spec.hash)
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}
    world.unpin()
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}, "the rejection has outlasted the pin"


def test_a_pin_that_rejects_it_too_does_not_wipe_out_why(world: PlanWorld) -> None:
    reject(world, "v1.1.0")
    world.set_pin(version="v1.0.0", rejects=world.revision("v1.1.0").spec.hash, createdBy="ann")
    world.settle()
    assert world.revision("v1.1.0").status.reason == "Pinned"
    world.unpin()
    world.settle()
    assert world.revision("v1.1.0").status.reason == "ErrorsWorse"
    assert world.serving_versions() == {"v1.0.0"}


def test_while_the_spec_is_invalid_what_took_its_place_serves_on(world: PlanWorld) -> None:
    reject(world, "v1.1.0")
    world.settle()
    world.edit({"replicas": -1})
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}
    assert world.status.effective_version == "v1.0.0"


def test_while_what_is_asked_for_means_nothing_a_version_that_was_rolled_back_gives_way_all_the_same(
    world: PlanWorld,
) -> None:
    world.set_pin(revision="0000000000")
    world.settle()
    assert world.condition("Ready").reason == "UnknownRevision"
    assert world.serving_versions() == {"v1.1.0"}
    reject(world, "v1.1.0")
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}
    assert world.condition("Ready").reason == "UnknownRevision", "still nobody can tell what is asked for"
    assert [one.note for one in world.events if one.reason == "RollbackStarted"][-1].startswith(
        "Rolling back from v1.1.0"
    )


def half_released(world: PlanWorld) -> None:
    world.version("v1.2.0")
    while world.serving_versions() != {"v1.1.0", "v1.2.0"}:
        world.reconcile()
        world.tick()


def test_bad_pods_leave_the_endpoints_at_once_when_most_answers_were_bad(world: PlanWorld) -> None:
    half_released(world)
    world.load_ticks = 5
    reject(world, "v1.2.0", severe=True)
    world.reconcile()
    world.tick()
    assert world.serving_versions() == {"v1.1.0"}, "long before the good revision has loaded everywhere"


def test_bad_pods_serve_on_until_replaced_when_most_answers_were_good(world: PlanWorld) -> None:
    half_released(world)
    reject(world, "v1.2.0", severe=False)
    made = world.reconcile()
    assert not [one for one in made.actions if isinstance(one, SetPodCondition)]
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}


def test_bad_pods_serve_on_while_nobody_else_does(world: PlanWorld) -> None:
    world.load_ticks = 5
    reject(world, "v1.1.0", severe=True)
    world.reconcile()
    world.tick()
    assert world.serving_versions() == {"v1.1.0"}
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}
