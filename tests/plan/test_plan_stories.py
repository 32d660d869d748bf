"""Whole lives of a deployment in the pure world: releases, rollbacks, pins, mistakes and shortages."""

import copy
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from plan_world import LLAMA, PlanWorld, merged

from outrider.api.meta import find_condition
from outrider.plan.actions import Apply, Create
from outrider.plan.deployment import plan
from outrider.plan.deployment.snapshot import Capacity, PlanConfig


@pytest.fixture
def world() -> PlanWorld:
    """v1.0.0 serves."""
    world = PlanWorld()
    world.settle()
    return world


def released(world: PlanWorld, *versions: str) -> PlanWorld:
    for version in versions:
        world.version(version)
        world.settle()
    return world


def test_a_first_install_becomes_ready_and_then_nothing_is_written(world: PlanWorld) -> None:
    status = world.status
    assert (status.phase, status.ready, status.serving_version) == ("Ready", "2/2", "v1.0.0")
    assert world.revision("v1.0.0").status.state == "Serving"
    made = world.plan()
    assert made.status is None
    assert made.actions == ()


def test_printed_columns_are_never_empty() -> None:
    world = PlanWorld()
    for _ in range(12):
        world.reconcile()
        world.tick()
    for status in world.history:
        for column in (
            status.effective_version, status.phase, status.ready, status.model, status.stage, status.stable_version,
            status.gpus, status.latency_p95, status.error_rate, status.cost_per_hour, status.url,
        ):  # fmt: skip
            assert column
            assert " " not in column, "awk would see two columns"


def test_ready_is_false_with_the_new_generation_before_anything_of_the_new_revision_is_written(
    world: PlanWorld,
) -> None:
    world.version("v1.1.0")
    made = world.plan()
    assert made.status is not None
    assert made.status["observedGeneration"] == 2
    (ready,) = (one for one in made.status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["observedGeneration"]) == ("False", 2)
    kinds = [step.body["kind"] for step in made.actions if isinstance(step, Apply | Create)]
    assert kinds == ["ModelRevision", "Deployment"], "the history exists before the pods"


def test_old_pods_never_count_for_the_new_revision(world: PlanWorld) -> None:
    world.version("v1.1.0")
    world.crashing.add("v1.1.0")
    for _ in range(10):
        world.reconcile()
        world.tick()
        assert world.condition("Ready").status == "False", "two old pods are ready, and the Deployment counts them"
    assert world.status.phase == "Degraded"
    assert world.condition("Ready").reason == "PodsFailing"
    assert world.serving_versions() == {"v1.0.0"}


def test_a_version_that_answers_nothing_takes_nothing_from_the_one_that_works(world: PlanWorld) -> None:
    world.failing.add("v1.1.0")
    world.version("v1.1.0")
    for _ in range(20):
        world.reconcile()
        world.tick()
        assert world.serving_versions() == {"v1.0.0"}
        assert world.status.ready_replicas == 2
    ready = world.condition("Ready")
    assert (ready.status, ready.reason) == ("False", "SyntheticCheckFailed")
    assert "0 of 2 replicas of v1.1.0" in ready.message, "how far it came, besides what is wrong"
    assert "it answered 500" in ready.message
    world.failing.clear()
    world.settle()
    assert world.serving_versions() == {"v1.1.0"}, "it goes on as soon as it answers"


def test_pods_that_serve_stay_ready_while_nobody_probes_them(world: PlanWorld) -> None:
    world.probing = False
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}


def test_pods_that_answer_nothing_are_not_ready(world: PlanWorld) -> None:
    world.failing.add("v1.1.0")
    released(world, "v1.1.0")
    assert (world.condition("Ready").status, world.condition("Ready").reason) == ("False", "SyntheticCheckFailed")
    assert "it answered 500" in world.condition("SyntheticHealthy").message
    assert world.revision("v1.1.0").status.state == "Candidate", "it has never answered"
    assert world.status.stable_version == "v1.0.0"


def test_a_version_that_starts_to_fail_later_degrades(world: PlanWorld) -> None:
    world.failing.add("v1.0.0")
    world.settle()
    assert world.condition("Ready").status == "False"
    assert world.status.phase in {"Degraded", "Failed"}


def test_back_and_forth_in_the_middle_of_a_rollout_goes_back_to_the_same_revision(world: PlanWorld) -> None:
    first = world.status.effective_revision
    world.version("v1.1.0")
    for _ in range(4):
        world.reconcile()
        world.tick()
    assert world.serving_versions() == {"v1.0.0", "v1.1.0"}, "in the middle"
    world.version("v1.0.0")
    world.settle()
    assert world.status.effective_revision == first
    assert world.serving_versions() == {"v1.0.0"}
    assert len(world.revisions()) == 2, "no third revision"


def test_rapid_edits_end_at_the_last_one_and_always_leave_two_pods_serving(world: PlanWorld) -> None:
    for number in range(1, 6):
        world.version(f"v1.{number}.0")
        world.reconcile()
        world.tick()
        assert len(world.snapshot().pods) >= 2
        assert world.condition("Available").status == "True"
    world.settle()
    assert world.serving_versions() == {"v1.5.0"}


def test_previous_stable_is_resolved_once(world: PlanWorld) -> None:
    released(world, "v1.1.0", "previous-stable-tag")
    assert world.serving_versions() == {"v1.0.0"}
    world.edit({"replicas": 3})
    world.settle()
    assert (world.serving_versions(), world.status.ready) == ({"v1.0.0"}, "3/3"), "the alias does not swing on"
    released(world, "v1.2.0", "previous-stable")
    assert world.serving_versions() == {"v1.0.0"}


def test_previous_stable_skips_what_never_served(world: PlanWorld) -> None:
    world.crashing.add("v1.1.0")
    world.version("v1.1.0")
    for _ in range(6):
        world.reconcile()
        world.tick()
    released(world, "previous-stable")
    assert world.status.phase == "Ready"
    assert world.serving_versions() == {"v1.0.0"}


def test_previous_stable_without_history_holds_and_says_what_to_do() -> None:
    world = PlanWorld(merged(LLAMA, {"spec": {"model": {"version": "previous-stable"}}}))
    world.settle()
    assert (world.status.phase, world.condition("Ready").reason) == ("Failed", "NoPreviousStableVersion")
    assert "previousVersions" in world.condition("Ready").message
    assert not world.pods


def test_previous_stable_without_history_takes_the_first_listed_version() -> None:
    spec = {"model": {"version": "previous-stable-tag"}, "rollback": {"previousVersions": ["v0.9.0", "v0.8.0"]}}
    world = PlanWorld(merged(LLAMA, {"spec": spec}))
    world.settle()
    assert (world.status.phase, world.serving_versions()) == ("Ready", {"v0.9.0"})
    world.edit({"replicas": 1})
    world.settle()
    assert world.serving_versions() == {"v0.9.0"}


def test_a_pin_restores_the_whole_revision_and_not_only_its_version(world: PlanWorld) -> None:
    before = world.revision("v1.0.0").spec
    world.edit({"model": {"version": "v2.0.0", "image": "vllm/vllm-openai:v9", "quantization": {"type": "fp8"}}})
    world.settle()
    world.set_pin(version="v1.0.0", rejects=world.status.effective_revision, reason="bad answers", createdBy="ann")
    world.settle()
    container = world.objects["Deployment", "llama"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == before.image
    assert not [arg for arg in container["args"] if "quantization" in arg]
    assert (world.status.phase, world.status.effective_version, world.status.desired_version) == (
        "RolledBack",
        "v1.0.0",
        "v2.0.0",
    )
    assert "ann" in world.condition("Pinned").message


def test_a_pin_quarantines_what_it_rejects_and_unpinning_lifts_that(world: PlanWorld) -> None:
    released(world, "v1.1.0")
    world.set_pin(version="v1.0.0", rejects=world.status.effective_revision)
    world.settle()
    assert world.revision("v1.1.0").status.state == "Quarantined"
    assert world.status.rollback.ready is False, "nothing goes back to a quarantined revision"
    world.unpin()
    world.settle()
    assert world.revision("v1.1.0").status.state == "Serving"
    assert (world.status.phase, world.serving_versions()) == ("Ready", {"v1.1.0"})
    assert find_condition(world.status.conditions, "Pinned") is None


def test_a_pin_survives_the_same_manifest_again_and_again(world: PlanWorld) -> None:
    released(world, "v1.1.0")
    world.set_pin(version="previous-stable")
    world.settle()
    for _ in range(5):
        world.version("v1.1.0")
        world.settle()
        assert world.serving_versions() == {"v1.0.0"}


def test_a_pin_to_previous_stable_means_the_same_after_a_crash_at_any_write(world: PlanWorld) -> None:
    released(world, "v1.1.0", "v1.2.0")
    for stop_after in range(8):
        other = PlanWorld()
        other.settle()
        released(other, "v1.1.0", "v1.2.0")
        other.set_pin(version="previous-stable")
        other.carry_out(other.plan(), stop_after=stop_after)
        other.settle()
        assert other.serving_versions() == {"v1.1.0"}, f"crash after {stop_after} writes"


def test_a_pin_to_an_unknown_revision_holds_and_names_the_known_ones(world: PlanWorld) -> None:
    world.set_pin(revision="0123456789")
    world.settle()
    condition = world.condition("Pinned")
    assert (condition.status, condition.reason) == ("False", "UnknownRevision")
    assert world.status.effective_revision in condition.message
    assert world.serving_versions() == {"v1.0.0"}


def test_a_pin_to_a_version_never_released_makes_a_revision_of_it(world: PlanWorld) -> None:
    world.set_pin(version="v0.5.0")
    world.settle()
    assert world.serving_versions() == {"v0.5.0"}
    assert world.revision("v0.5.0").spec.args[-1] == "--revision=v0.5.0"


def test_an_invalid_spec_changes_nothing_and_lists_every_error(world: PlanWorld) -> None:
    before = world.objects["Deployment", "llama"]["spec"]
    world.edit({"model": {"modelUri": "ftp://x"}, "replicas": -1})
    world.settle()
    assert world.objects["Deployment", "llama"]["spec"] == before
    ready = world.condition("Ready")
    assert (ready.status, ready.reason, ready.observed_generation) == ("False", "InvalidSpec", 2)
    assert "spec.model.modelUri" in ready.message
    assert "spec.replicas" in ready.message
    assert (world.status.phase, world.status.serving_version) == ("Degraded", "v1.0.0")
    world.edit({"model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct"}, "replicas": 2})
    world.settle()
    assert world.status.phase == "Ready"


def test_an_invalid_spec_from_the_start_has_failed() -> None:
    world = PlanWorld(merged(LLAMA, {"spec": {"model": {"modelUri": None}}}))
    world.settle()
    assert (world.status.phase, world.condition("SpecValid").status) == ("Failed", "False")
    assert not world.objects


def test_an_invalid_moment_does_not_change_what_previous_stable_means(world: PlanWorld) -> None:
    released(world, "v1.1.0", "previous-stable")
    world.edit({"replicas": -1})
    world.settle()
    world.edit({"replicas": 2})
    world.settle()
    assert world.serving_versions() == {"v1.0.0"}


def test_the_second_of_two_deployments_waits_for_room_and_starts_when_it_appears() -> None:
    world = PlanWorld(merged(LLAMA, {"spec": {"replicas": 3, "resources": {"requests": {"nvidia.com/gpu": "2"}}}}))
    world.foreign_pod("other-0", "other", "node-0", 2)
    world.foreign_pod("other-1", "other", "node-0", 2)
    for _ in range(10):
        world.reconcile()
        world.tick()
    capacity = world.condition("CapacityAvailable")
    assert (capacity.status, capacity.reason) == ("False", "InsufficientGPUs")
    assert "2 GPUs are missing for 1 of 3 replicas: 8 GPUs in 1 node" in capacity.message
    assert "when production/other is scaled down by 1 replica" in capacity.message
    assert world.status.ready == "2/3"
    world.foreign_pods.pop()
    world.settle()
    assert (world.status.phase, world.status.ready) == ("Ready", "3/3")


def test_a_rollout_without_room_for_its_first_replica_says_so_and_breaks_nothing() -> None:
    world = PlanWorld(gpus_per_node=2)
    world.settle()
    world.version("v1.1.0")
    for _ in range(8):
        world.reconcile()
        world.tick()
    progressing = world.condition("Progressing")
    assert (progressing.status, progressing.reason) == ("False", "SurgeNeedsRoom")
    assert "maxUnavailable" in progressing.message
    assert world.serving_versions() == {"v1.0.0"}
    world.edit({"deployment": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}})
    world.settle()
    assert (world.status.phase, world.serving_versions()) == ("Ready", {"v1.1.0"})


def test_zero_replicas_are_suspended(world: PlanWorld) -> None:
    world.edit({"replicas": 0})
    world.settle()
    assert (world.status.phase, world.status.ready, world.pods) == ("Suspended", "0/0", [])


def test_a_service_that_begins_without_replicas_gets_a_budget_with_the_first() -> None:
    world = PlanWorld(merged(LLAMA, {"spec": {"replicas": 0}}))
    world.settle()
    assert ("PodDisruptionBudget", "llama") not in world.objects, "there is nothing to disrupt"
    world.edit({"replicas": 1})
    world.settle()
    assert world.objects["PodDisruptionBudget", "llama"]["spec"]["maxUnavailable"] == 1
    world.edit({"replicas": 0})
    world.settle()
    assert ("PodDisruptionBudget", "llama") in world.objects, "it stays: there may be replicas again"


def test_scaling_keeps_the_revision(world: PlanWorld) -> None:
    before = world.status.effective_revision
    world.edit({"replicas": 4})
    world.settle()
    assert (world.status.effective_revision, world.status.ready) == (before, "4/4")


def test_a_release_is_verified_when_it_has_served_for_the_bake_time(world: PlanWorld) -> None:
    made = world.plan()
    assert made.requeue_at is not None
    world.now += 1790
    world.settle()
    assert world.revision("v1.0.0").status.state == "Serving"
    world.now += 20
    world.settle()
    assert world.revision("v1.0.0").status.state == "Verified"
    assert world.status.history[0].state == "Verified"


def test_the_last_verified_revision_is_preferred_to_a_newer_one_that_was_not(world: PlanWorld) -> None:
    world.now += 2000
    world.settle()
    released(world, "v1.1.0", "v1.2.0", "previous-stable")
    assert world.serving_versions() == {"v1.0.0"}


def test_an_upgrade_of_the_operator_restarts_no_model(world: PlanWorld) -> None:
    before = world.status.effective_revision
    world.config = PlanConfig(engine_image="vllm/vllm-openai:v9.9.9")
    world.settle()
    assert world.status.effective_revision == before
    released(world, "v1.1.0")
    assert world.revision("v1.1.0").spec.image == "vllm/vllm-openai:v9.9.9", "the next release takes the new image"
    released(world, "v1.0.0")
    assert world.status.effective_revision == before, "and going back goes back to the old one"


def test_history_is_bounded_and_never_forgets_what_is_in_use(world: PlanWorld) -> None:
    world.now += 2000
    world.settle()
    for number in range(1, 16):
        released(world, f"v1.{number}.0")
    kept = [one.spec.version for one in world.revisions()]
    assert len(kept) == 10
    assert {"v1.15.0", "v1.14.0", "v1.0.0"} <= set(kept), "the effective, the one before, and the last verified"
    assert len(world.status.history) == 10
    assert [entry.sequence for entry in world.status.history] == sorted(
        (entry.sequence for entry in world.status.history), reverse=True
    )


DRIFT: dict[str, tuple[tuple[str, str], list[Any], Any]] = {
    "replicas": (("Deployment", "llama"), ["spec", "replicas"], 7),
    "the surge": (("Deployment", "llama"), ["spec", "strategy", "rollingUpdate", "maxSurge"], 5),
    "the image": (("Deployment", "llama"), ["spec", "template", "spec", "containers", 0, "image"], "evil:1"),
    "the Service's selector, by one more key as the guide's script adds it": (
        ("Service", "llama"), ["spec", "selector", "deployment"], "green",
    ),
    "the budget": (("PodDisruptionBudget", "llama"), ["spec", "maxUnavailable"], 2),
    "the weights": (("HTTPRoute", "llama"), ["spec", "rules", 0, "backendRefs", 0, "weight"], 0),
}  # fmt: skip


@pytest.mark.parametrize("what", DRIFT)
def test_what_somebody_changed_behind_our_back_is_put_right(what: str) -> None:
    world = PlanWorld(config=PlanConfig(gateway_name="outrider"))
    world.settle()
    key, path, value = DRIFT[what]
    target = world.objects[key]
    for step in path[:-1]:
        target = target[step]
    before = target.get(path[-1])
    target[path[-1]] = value
    world.settle()
    target = world.objects[key]
    for step in path[:-1]:
        target = target[step]
    assert target.get(path[-1]) == before
    assert "DriftCorrected" in {event.reason for event in world.events}


def test_what_kubectl_rollout_undo_brought_back_is_replaced_and_told(world: PlanWorld) -> None:
    """It brings back the older template, and with it our own annotations of that time."""
    key = ("Deployment", "llama")
    older = copy.deepcopy(world.objects[key])
    released(world, "v1.3.0")
    newer = copy.deepcopy(world.objects[key]["spec"]["template"])
    world.objects[key]["spec"]["template"] = older["spec"]["template"]
    world.objects[key]["metadata"]["annotations"] = older["metadata"]["annotations"]
    world.settle()
    assert world.objects[key]["spec"]["template"] == newer
    (told,) = [event.note for event in world.events if event.reason == "DriftCorrected"]
    assert told == (
        "Deployment llama: somebody went back to v1.0.0, as `kubectl rollout undo` does; "
        "`outrider rollback` is what lasts."
    )


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
def test_what_somebody_deleted_is_made_again(world: PlanWorld, kind: str) -> None:
    del world.objects[kind, "llama"]
    world.pods = world.pods if kind != "Deployment" else []
    world.settle()
    assert (kind, "llama") in world.objects
    assert world.status.phase == "Ready"


def test_a_deployment_of_somebody_else_is_not_taken_over() -> None:
    world = PlanWorld()
    rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    world.objects["Deployment", "llama"] = {
        "metadata": {"name": "llama", "uid": "theirs", "generation": 1},
        "spec": {"replicas": 1, "template": {"spec": {}, "metadata": {}}, "strategy": rolling},
    }
    made = world.reconcile()
    assert world.condition("Ready").reason == "NameTaken"
    assert not [step for step in made.actions if isinstance(step, Apply)]


def test_nothing_is_planned_for_what_is_being_deleted(world: PlanWorld) -> None:
    world.manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    made = world.plan()
    assert (made.status, made.actions) == (None, ())


def test_a_new_observer_keeps_ready_until_it_can_know_better(world: PlanWorld) -> None:
    world.probing = False
    made = world.plan()
    assert (made.status, made.actions) == (None, ()), "`outrider plan` does not probe"


def test_a_status_that_was_lost_is_rebuilt_from_the_objects(world: PlanWorld) -> None:
    released(world, "v1.1.0")
    del world.manifest["status"]
    for body in world.objects.values():
        body["metadata"].pop("annotations", None)
    world.settle()
    assert (world.status.phase, world.status.effective_version) == ("Ready", "v1.1.0")
    assert world.status.rollback.target == "v1.0.0"


def test_status_writes_per_release_are_bounded() -> None:
    world = PlanWorld(load_ticks=30)
    world.settle(rounds=200)
    before = len(world.history)
    world.version("v1.1.0")
    world.settle(rounds=300)
    steps = world.history[before:]
    assert len(steps) <= 12, "a release of two replicas takes a few status writes, however long the model loads"
    assert all(one != other for one, other in pairwise(steps))


def test_a_revision_that_somebody_made_unreadable_is_held_and_told_of() -> None:
    world = PlanWorld()
    world.settle()
    (name,) = (name for kind, name in world.objects if kind == "ModelRevision")
    world.objects[("ModelRevision", name)]["spec"]["modelUri"] = "nowhere"
    made = world.plan()
    assert not any(isinstance(action, Apply) for action in made.actions)
    world.reconcile()
    assert "has the modelUri 'nowhere'" in world.condition("Ready").message
    del world.objects[("ModelRevision", name)]
    world.settle()
    assert world.status.phase == "Ready"


def test_what_serves_asks_nobody_what_the_whole_cluster_has() -> None:
    """With ten thousand services each look would count the GPUs of all."""
    world = PlanWorld()
    world.settle()

    def counted() -> Capacity:
        raise AssertionError("nothing depends on it")

    snapshot = msgspec.structs.replace(world.snapshot(), gpus=counted)
    assert plan(snapshot, world.now).actions == ()
