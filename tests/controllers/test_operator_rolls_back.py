"""Releases that are taken back by themselves, on evidence, and those that are not."""

from typing import Any

from operator_world import OperatorWorld, until
from plan_world import LLAMA, merged
from virtual_kube import run_virtually

from outrider.api.labels import MODEL_VERSION
from outrider.api.meta import format_time
from outrider.kube.objects import EVENT, NODE, POD
from outrider.sim.incidents import PodFault
from outrider.sim.world import NAMESPACE_NAME

AUTO = {"rollback": {"autoRollback": {"enabled": True, "triggers": [{"errorRate": ">1%"}]}}}


async def serving(world: OperatorWorld, **spec: Any) -> None:
    """v1.0.0 serves, two replicas of it, and may be followed by others that are watched."""
    world.start_operator()
    await world.install(merged(LLAMA, {"spec": {**AUTO, **spec}}))
    await world.until_ready("v1.0.0")


def one_serves(world: OperatorWorld, version: str) -> bool:
    serving = set(world.ready_addresses())
    return any(
        pod["metadata"]["name"] in serving and pod["metadata"]["labels"][MODEL_VERSION] == version
        for pod in world.pods()
    )


def watched(world: OperatorWorld) -> bool:
    release = world.deployment().status.release
    return release is not None and release.phase == "Watching"


def test_a_version_that_fails_beside_the_old_one_is_taken_back_within_a_minute() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await until(lambda: one_serves(world, "v1.1.0"))
            world.breaks("v1.1.0", "answers errors")
            broke_at = world.clock.monotonic()
            await until(lambda: not one_serves(world, "v1.1.0"))
            assert world.clock.monotonic() - broke_at < 60
            assert one_serves(world, "v1.0.0")
            await until(lambda: world.deployment().status.phase == "RolledBack")
            status = world.deployment().status
            assert (status.desired_version, status.effective_version, status.serving_version) == (
                "v1.1.0",
                "v1.0.0",
                "v1.0.0",
            )
            assert world.revisions()["v1.1.0"].status.state == "Quarantined"
            assert status.release is not None
            assert (status.release.phase, status.release.verdict) == ("RolledBack", "RollBack")
            assert "v1.1.0" in world.condition("RolledBack").message
            told = {event["reason"] for event in world.all(EVENT)}
            assert {"RolledBack", "RollbackStarted"} <= told
            await world.until_quiet()

    run_virtually(story)


def test_git_that_applies_the_bad_version_again_and_again_changes_nothing() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await until(lambda: one_serves(world, "v1.1.0"))
            world.breaks("v1.1.0", "answers errors")
            await until(lambda: world.deployment().status.phase == "RolledBack")
            for _ in range(20):
                await world.install(merged(LLAMA, {"spec": {**AUTO, "model": {"version": "v1.1.0"}}}))
                await world.clock.sleep(5)
                assert not one_serves(world, "v1.1.0")
                assert world.deployment().status.phase == "RolledBack"

    run_virtually(story)


def test_a_version_that_never_answers_is_taken_back_although_it_never_took_a_request() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            world.breaks("v1.1.0", "answers errors")
            await world.version("v1.1.0")
            await until(lambda: world.deployment().status.phase == "RolledBack", deadline=300)
            assert not one_serves(world, "v1.1.0")

    run_virtually(story)


def test_a_version_that_crashes_is_taken_back() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            world.breaks("v1.1.0", "crashes")
            await world.version("v1.1.0")
            await until(lambda: world.deployment().status.phase == "RolledBack", deadline=300)
            assert world.condition("RolledBack").reason == "CrashLooping"

    run_virtually(story)


def test_a_version_whose_metrics_cannot_be_read_is_held_on_trial_until_they_can() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            world.shows_metrics = {"v1.0.0"}
            await serving(world, rollback={"autoRollback": {"enabled": True, "window": "10s"}})
            await world.version("v1.1.0")
            await until(lambda: world.condition("ReleaseHealthy").reason == "StaleData")
            assert "nobody serves metrics here" in world.condition("ReleaseHealthy").message
            await world.clock.sleep(600)
            assert one_serves(world, "v1.0.0")
            assert world.revisions()["v1.1.0"].status.state != "Quarantined"
            world.shows_metrics = {"v1.0.0", "v1.1.0"}
            await world.until_ready("v1.1.0")

    run_virtually(story)


def test_where_no_version_shows_any_metrics_probes_decide() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world, rollback={"autoRollback": {"enabled": True, "window": "10s"}})
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")

    run_virtually(story)


def test_a_fault_that_both_versions_share_is_nobodys_fault() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await until(lambda: one_serves(world, "v1.1.0"))
            world.breaks("v1.0.0", "answers errors", seconds=300)
            world.breaks("v1.1.0", "answers errors", seconds=300)
            await world.clock.sleep(600)
            assert world.revisions()["v1.1.0"].status.state != "Quarantined"
            await world.until_ready("v1.1.0")

    run_virtually(story)


def test_one_pod_that_fails_is_not_the_version_and_is_forgotten_when_it_is_replaced() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world, replicas=3, rollback={"autoRollback": {"enabled": True, "window": "15s"}})
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")
            bad = next(pod["metadata"] for pod in world.pods() if pod["metadata"]["labels"][MODEL_VERSION] == "v1.1.0")
            fault = PodFault(at=world.clock.monotonic(), seconds=1e9, deployment="llama", place=0, how="answers errors")
            world.kubelet.fault(fault, bad["uid"])
            await until(lambda: world.condition("ReleaseHealthy").reason == "OnePodOnly")
            assert bad["name"] in world.condition("ReleaseHealthy").message
            await world.clock.sleep(600)
            assert world.deployment().status.effective_version == "v1.1.0"
            await world.api.delete(POD, bad["name"], NAMESPACE_NAME)
            await until(lambda: world.condition("ReleaseHealthy").reason == "AwaitingTime")

    run_virtually(story)


def test_what_failed_on_a_faulty_node_is_not_blamed_on_the_version_when_the_node_has_recovered() -> None:
    async def story() -> None:
        async with OperatorWorld(nodes=3) as world:
            await serving(world)
            await world.version("v1.1.0")
            await until(lambda: one_serves(world, "v1.1.0"))
            [node] = {
                pod["spec"]["nodeName"] for pod in world.pods() if pod["metadata"]["labels"][MODEL_VERSION] == "v1.1.0"
            }
            await say_ready(world, node, "False")
            world.breaks("v1.1.0", "answers errors", seconds=40)
            await until(lambda: world.condition("ReleaseHealthy").reason == "NodeFault")
            await world.clock.sleep(20)
            await say_ready(world, node, "True")
            await world.clock.sleep(300)
            assert world.revisions()["v1.1.0"].status.state != "Quarantined"
            await world.until_ready("v1.1.0")

    run_virtually(story)


def test_what_failed_on_a_node_that_is_gone_is_not_blamed_on_the_version_although_its_pod_never_ends() -> None:
    async def story() -> None:
        async with OperatorWorld(nodes=3) as world:
            await serving(world)
            await world.version("v1.1.0")
            await until(lambda: one_serves(world, "v1.1.0"))
            [pod] = [one for one in world.pods() if one["metadata"]["labels"][MODEL_VERSION] == "v1.1.0"]
            await say_ready(world, pod["spec"]["nodeName"], "False")
            fault = PodFault(at=world.clock.monotonic(), seconds=1e9, deployment="llama", place=0, how="answers errors")
            world.kubelet.fault(fault, pod["metadata"]["uid"])
            await until(lambda: world.condition("ReleaseHealthy").reason == "NodeFault")
            name = pod["metadata"]["name"]
            await world.api.patch(POD, name, {"metadata": {"finalizers": ["test/its-kubelet-is-gone"]}}, NAMESPACE_NAME)
            await world.api.delete(POD, name, NAMESPACE_NAME)
            await world.clock.sleep(300)
            assert any(one["metadata"]["name"] == name for one in world.pods()), "it is still there"
            assert world.revisions()["v1.1.0"].status.state != "Quarantined"
            assert world.deployment().status.effective_version == "v1.1.0"

    run_virtually(story)


async def say_ready(world: OperatorWorld, node: str, status: str) -> None:
    now = format_time(world.clock.now())
    condition = {"type": "Ready", "status": status, "reason": "Said", "lastTransitionTime": now}
    await world.api.patch_status(NODE, node, {"conditions": [condition]})


def test_without_leave_it_is_only_said() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world, rollback={"autoRollback": {"enabled": True, "mode": "recommend"}})
            world.breaks("v1.1.0", "answers errors")
            await world.version("v1.1.0")
            await until(lambda: world.condition("ReleaseHealthy").status == "False", deadline=300)
            assert "mode is recommend" in world.condition("ReleaseHealthy").message
            assert "outrider rollback llama" in world.condition("ReleaseHealthy").message
            assert world.deployment().status.effective_version == "v1.1.0"

    run_virtually(story)


def test_a_second_rollback_within_the_cooldown_is_left_to_people() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            world.breaks("v1.1.0", "answers errors")
            await world.version("v1.1.0")
            await until(lambda: world.deployment().status.phase == "RolledBack", deadline=300)
            world.breaks("v1.2.0", "answers errors")
            await world.version("v1.2.0")
            await until(lambda: world.condition("ReleaseHealthy").status == "False", deadline=300)
            assert "cooldown" in world.condition("ReleaseHealthy").message
            assert one_serves(world, "v1.0.0"), "which takes all requests: the other one never was ready"

    run_virtually(story)


def test_a_good_version_is_watched_and_then_no_longer() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")
            release = world.deployment().status.release
            assert release is not None
            assert (release.phase, release.version, release.stable_version) == ("Watching", "v1.1.0", "v1.0.0")
            await until(
                lambda: (found := world.deployment().status.release) is not None and found.phase == "Ended", 9000
            )
            assert world.deployment().status.phase == "Ready"
            await world.until_quiet()

    run_virtually(story)


def test_the_first_version_ever_has_nothing_to_be_compared_with() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            world.breaks("v1.0.0", "answers errors")
            await world.clock.sleep(300)
            status = world.deployment().status
            assert (status.release, status.effective_version) == (None, "v1.0.0")

    run_virtually(story)


def test_another_operator_goes_on_with_the_evidence_that_there_is() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await serving(world)
            await world.version("v1.1.0")
            await until(lambda: one_serves(world, "v1.1.0"))
            world.breaks("v1.1.0", "answers errors")
            while world.deployment().status.phase != "RolledBack":
                await world.clock.sleep(31)
                await world.stop_operator()
                world.start_operator()
                assert world.clock.monotonic() < 600, "it never came to a conclusion"

    run_virtually(story)
