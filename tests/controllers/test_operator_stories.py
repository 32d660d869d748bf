"""The operator on the local world's store and actors, in virtual time: what people do, and what comes of it."""

from typing import Any

import pytest
from operator_world import OperatorWorld, until
from plan_world import LLAMA, guide_manifest, merged
from virtual_kube import run_virtually

from outrider.api import labels
from outrider.api.meta import parse_time
from outrider.controllers.deployment.gather import gather_live
from outrider.kube.objects import DEPLOYMENT, EVENT, HTTP_ROUTE, NAMESPACE, POD, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION
from outrider.plan.deployment import plan
from outrider.sim.world import NAMESPACE_NAME


async def serving(world: OperatorWorld, version: str = "v1.0.0") -> OperatorWorld:
    """v1.0.0 is installed and answers."""
    world.start_operator()
    await world.install(merged(LLAMA, {"spec": {"model": {"version": version}}}))
    await world.until_ready(version)
    return world


def test_install_release_and_roll_back_by_the_spec() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            first = world.deployment().status.effective_revision
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")
            await world.version("v1.0.0")
            await world.until_ready("v1.0.0")
            assert world.deployment().status.effective_revision == first
            assert {one.status.state for one in world.revisions().values()} == {"Serving"}
            await world.until_quiet()

    run_virtually(story)


def test_roll_back_to_previous_stable_tag_as_the_guide_does() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")
            await world.version("previous-stable-tag")
            await world.until_ready("v1.0.0")
            await world.until_quiet()
            assert world.is_ready("v1.0.0")
            assert world.deployment().status.desired_version == "v1.0.0"

    run_virtually(story)


def test_a_pin_holds_against_git_and_unpinning_resumes_the_spec() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")
            rejected = world.deployment().status.effective_revision
            await world.pin_with(version="v1.0.0", rejects=rejected, createdBy="ann")
            await world.until_ready("v1.0.0")
            for _ in range(5):
                await world.install(merged(LLAMA, {"spec": {"model": {"version": "v1.1.0"}}}))
                await world.clock.sleep(5)
            assert world.is_ready("v1.0.0")
            assert world.deployment().status.phase == "RolledBack"
            assert world.revisions()["v1.1.0"].status.state == "Quarantined"
            await world.until_quiet()
            await world.unpin("llama")
            await world.until_ready("v1.1.0")
            assert world.revisions()["v1.1.0"].status.state == "Serving"
            await world.until_quiet()

    run_virtually(story)


def test_ready_turns_false_before_the_deployment_changes() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            seen: list[tuple[str, int]] = []
            before = world.store.table(DEPLOYMENT).get(NAMESPACE_NAME, "llama")
            assert before is not None
            generation = before.object()["metadata"]["generation"]
            await world.version("v1.1.0")
            async for _ in world.api.watch(DEPLOYMENT, NAMESPACE_NAME, resource_version=str(world.store.version)):
                now = world.store.table(DEPLOYMENT).get(NAMESPACE_NAME, "llama")
                assert now is not None
                if now.object()["metadata"]["generation"] > generation:
                    condition = world.condition("Ready")
                    seen.append((condition.status, condition.observed_generation))
                    break
            assert seen == [("False", world.deployment().metadata.generation)]

    run_virtually(story)


def test_a_release_never_has_fewer_ready_pods_than_wanted() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            least = 99
            while not world.is_ready("v1.1.0"):
                ready = [pod for pod in world.pods() if _is_ready(pod)]
                least = min(least, len(ready))
                await world.clock.sleep(0.2)
            assert least >= 2

    run_virtually(story)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def test_a_version_that_crashes_leaves_the_old_one_serving_and_is_never_ready() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            world.breaks("v1.1.0", "crashes")
            await world.version("v1.1.0")
            await until(lambda: world.condition("Ready").reason == "PodsFailing")
            assert "exit code 1" in world.condition("Ready").message
            assert (world.deployment().status.phase, world.deployment().status.serving_version) == (
                "Degraded",
                "v1.0.0",
            )
            await world.until_quiet()
            await world.version("previous-stable")
            await world.until_ready("v1.0.0")

    run_virtually(story)


def test_a_version_that_answers_with_errors_is_never_ready_and_takes_no_traffic() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            world.breaks("v1.1.0", "answers errors", seconds=600)
            await world.version("v1.1.0")
            await until(lambda: world.condition("Ready").reason == "SyntheticCheckFailed")
            assert "it answered 500" in world.condition("SyntheticHealthy").message
            await world.until_quiet(30)
            assert world.deployment().status.serving_version == "v1.0.0"
            assert len(world.ready_addresses()) == 2, "the old pods serve on"
            await world.until_ready("v1.1.0")

    run_virtually(story)


def test_pods_stay_ready_without_an_operator_and_the_next_one_lets_new_pods_in() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.stop_operator()
            await world.clock.sleep(600)
            assert len(world.ready_addresses()) == 2
            await world.api.delete(POD, world.pods()[0]["metadata"]["name"], NAMESPACE_NAME)
            await until(lambda: len(world.pods()) == 2 and len(world.ready_addresses()) == 1)
            await world.clock.sleep(60)
            assert len(world.ready_addresses()) == 1, "nobody has asked the new one yet"
            world.start_operator()
            await until(lambda: len(world.ready_addresses()) == 2)

    run_virtually(story)


def test_an_invalid_spec_is_reported_and_harms_no_other() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            other = merged(LLAMA, {"metadata": {"name": "other"}, "spec": {"replicas": 1}})
            await world.install(other)
            await world.until_ready("v1.0.0", "other")
            # A mistake that no schema can see, so that the object is stored.
            await world.respec({"volumeMounts": [{"name": "nowhere", "mountPath": "/data"}]})
            await until(lambda: world.condition("SpecValid").status == "False")
            assert world.condition("Ready").reason == "InvalidSpec"
            assert len(world.pods()) == 2
            assert world.is_ready("v1.0.0", "other")

    run_virtually(story)


def test_two_deployments_that_share_eight_gpus_of_which_ten_are_asked_for() -> None:
    async def story() -> None:
        async with OperatorWorld(gpus=8) as world:
            world.start_operator()
            wants = {"spec": {"replicas": 3, "resources": {"requests": {"nvidia.com/gpu": "2"}}}}
            await world.install(merged(LLAMA, wants))
            await world.until_ready("v1.0.0")
            second = {"metadata": {"name": "second"}, "spec": {"replicas": 2}}
            await world.install(merged(LLAMA, merged(wants, second)))
            await until(lambda: world.condition("CapacityAvailable", "second").reason == "InsufficientGPUs")
            message = world.condition("CapacityAvailable", "second").message
            assert message.startswith(
                "2 GPUs are missing for 1 of 2 replicas: 8 GPUs in 1 node, 6 held by production/llama"
            )
            assert "when production/llama is scaled down by 1 replica" in message
            await world.until_quiet()
            await world.respec({"replicas": 2})
            await world.until_ready("v1.0.0", "second")
            assert world.condition("CapacityAvailable", "second").status == "True"

    run_virtually(story)


def test_a_new_node_ends_the_wait_for_gpus() -> None:
    async def story() -> None:
        async with OperatorWorld(nodes=0) as world:
            world.start_operator()
            await world.install()
            await until(lambda: world.condition("Ready").reason == "NoGPUNodes")
            assert world.deployment().status.phase == "Pending"
            await world.add_node("node-9", 8)
            await world.until_ready("v1.0.0")

    run_virtually(story)


@pytest.mark.parametrize("name", ["poc", "production", "versioning", "green"])
def test_the_guides_manifests_apply_unmodified_and_become_ready(name: str) -> None:
    async def story() -> None:
        manifest = guide_manifest(name)
        async with OperatorWorld(gpus=8) as world:
            world.start_operator()
            kind = LLM_DEPLOYMENT
            namespace, called = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
            if namespace != NAMESPACE_NAME:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                await world.api.create(NAMESPACE.into(dict), body)
            await world.api.apply(kind.into(dict), manifest, owner="kubectl")

            def ready() -> bool:
                record = world.store.table(kind).get(namespace, called)
                status = record.object().get("status") or {} if record is not None else {}
                return bool(status.get("phase") == "Ready")

            await until(ready)
            record = world.store.table(kind).get(namespace, called)
            assert record is not None
            status = record.object()["status"]
            assert status["serviceName"] == called.replace(".", "-")
            assert world.store.table(SERVICE).get(namespace, status["serviceName"]) is not None
            assert world.store.table(DEPLOYMENT).get(namespace, called) is not None, (
                "kubectl rollout status deployment/NAME"
            )
            assert (status["ignoredFields"] == []) == (name == "green")

    run_virtually(story)


def test_deleting_the_llmdeployment_takes_everything_with_it() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.api.delete(LLM_DEPLOYMENT, "llama", NAMESPACE_NAME)
            kinds = (LLM_DEPLOYMENT, MODEL_REVISION, DEPLOYMENT, SERVICE, HTTP_ROUTE, POD)
            await until(lambda: not any(world.all(kind) for kind in kinds))

    run_virtually(story)


def test_the_service_selector_that_somebody_patched_is_put_right() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.api.patch(SERVICE, "llama", {"spec": {"selector": {"deployment": "green"}}}, NAMESPACE_NAME)
            wanted = {labels.DEPLOYMENT: "llama"}
            await until(lambda: world.all(SERVICE)[0]["spec"]["selector"] == wanted)
            await world.until_ready("v1.0.0")

    run_virtually(story)


def test_a_release_is_verified_after_its_bake_time_without_anybody_doing_anything() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await until(lambda: world.revisions()["v1.0.0"].status.state == "Verified", deadline=3000)
            status = world.revisions()["v1.0.0"].status
            baked = (parse_time(status.verified_time) or 0) - (parse_time(status.first_served_time) or 0)
            assert 1800 <= baked < 1900

    run_virtually(story)


def test_a_restarted_operator_writes_nothing_when_all_is_well() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.until_quiet()
            await world.stop_operator()
            again = world.start_operator()
            await world.clock.sleep(300)
            assert again.writes == []
            assert world.is_ready("v1.0.0")

    run_virtually(story)


def test_outrider_plan_shows_what_a_manifest_would_do_and_changes_nothing() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.until_quiet()
            config = world.config.for_plans()
            before = world.store.version
            same = await gather_live(world.api, NAMESPACE_NAME, "llama", config)
            assert (plan(same, world.clock.now()).status, plan(same, world.clock.now()).actions) == (None, ())
            manifest = merged(LLAMA, {"spec": {"model": {"version": "v1.1.0"}}})
            made = plan(
                await gather_live(world.api, NAMESPACE_NAME, "llama", config, manifest=manifest), world.clock.now()
            )
            assert any("Deployment llama: what is wanted has changed" in reason for reason in made.because)
            unchanged = await gather_live(world.api, NAMESPACE_NAME, "llama", config, manifest=LLAMA)
            assert (plan(unchanged, world.clock.now()).status, plan(unchanged, world.clock.now()).actions) == (None, ())
            absent = merged(LLAMA, {"metadata": {"name": "new"}})
            assert plan(await gather_live(world.api, NAMESPACE_NAME, "new", config, manifest=absent), 0.0).actions
            assert world.store.version == before

    run_virtually(story)


def test_people_can_read_what_happened_in_events() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")
            await world.version("v1.0.0")
            await world.until_ready("v1.0.0")
            await world.clock.sleep(1)
            notes = {
                event["reason"]: event["note"]
                for event in world.all(EVENT)
                if event["regarding"]["kind"] == "LLMDeployment"
            }
            assert {"ReleaseStarted", "Ready", "RollbackStarted"} <= set(notes)
            assert "v1.1.0" in notes["RollbackStarted"]

    run_virtually(story)
