"""Drills of going back, as the operator runs them: over its own restarts, beside others who want GPUs, and frugally."""

import pytest
from operator_world import OperatorWorld, until
from plan_world import LLAMA, merged
from virtual_kube import run_virtually

from outrider.api.labels import DRILL_OF
from outrider.api.llmdeployment import DrillStatus
from outrider.kube.objects import DEPLOYMENT, EVENT, POD
from outrider.sim.incidents import VersionFault


async def released(world: OperatorWorld) -> None:
    """v1.1.0 serves, after v1.0.0 did."""
    world.start_operator()
    await world.install()
    await world.until_ready("v1.0.0")
    await world.version("v1.1.0")
    await world.until_ready("v1.1.0")
    await world.until_quiet()


def last(world: OperatorWorld) -> DrillStatus:
    return world.deployment().status.rollback.last_drill or DrillStatus(outcome="Running", reason="None")


def outcome(world: OperatorWorld) -> str:
    return last(world).outcome


def remains(world: OperatorWorld) -> list[str]:
    return [
        one["metadata"]["name"]
        for kind in (DEPLOYMENT, POD)
        for one in world.all(kind)
        if DRILL_OF in one["metadata"]["labels"]
    ]


def test_a_drill_is_a_handful_of_writes_and_changes_nothing_of_the_service() -> None:
    async def story() -> None:
        async with OperatorWorld(load_seconds=30.0) as world:
            await released(world)
            assert world.operator_api is not None
            before, pods, addresses = len(world.operator_api.writes), world.pods(), world.ready_addresses()
            assert await world.drill("llama")
            await until(lambda: outcome(world) != "Running")
            await until(lambda: not remains(world))
            await world.until_quiet()
            found = last(world)
            assert (found.outcome, found.version, found.reason) == ("Passed", "v1.0.0", "Answered")
            assert found.seconds is not None
            assert 30 <= found.seconds <= 45
            assert (world.pods(), world.ready_addresses()) == (pods, addresses)
            assert len(world.operator_api.writes) - before <= 12, world.operator_api.writes[before:]
            told = {event["reason"] for event in world.all(EVENT)}
            assert {"DrillStarted", "DrillPassed"} <= told

    run_virtually(story)


def test_a_drill_goes_on_when_another_operator_takes_over() -> None:
    async def story() -> None:
        async with OperatorWorld(load_seconds=60.0) as world:
            await released(world)
            await world.drill("llama")
            await until(lambda: bool(remains(world)))
            await world.stop_operator()
            requested = last(world).requested_at
            await world.clock.sleep(20.0)
            world.start_operator()
            await until(lambda: outcome(world) != "Running")
            assert (last(world).outcome, last(world).requested_at) == ("Passed", requested)
            await until(lambda: not remains(world))

    run_virtually(story)


def test_an_operator_that_died_right_after_a_drill_ended_leaves_nothing() -> None:
    async def story() -> None:
        async with OperatorWorld(load_seconds=10.0) as world:
            await released(world)
            await world.drill("llama")
            await until(lambda: outcome(world) == "Passed")
            await world.stop_operator()
            world.start_operator()
            await until(lambda: not remains(world))
            await world.until_quiet()
            assert outcome(world) == "Passed"

    run_virtually(story)


FAULTS: dict[str, tuple[VersionFault, str]] = {
    "it crashes": ("crashes", "LoadFailed"),
    "it answers errors": ("answers errors", "WrongAnswers"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_version_that_would_not_come_back_fails_and_keeps_its_standing(fault: VersionFault, reason: str) -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            await released(world)
            state = world.revisions()["v1.0.0"].status.state
            world.breaks("v1.0.0", fault)
            await world.drill("llama")
            await until(lambda: outcome(world) != "Running")
            assert (last(world).outcome, last(world).reason) == ("Failed", reason)
            await until(lambda: not remains(world))
            await world.until_quiet()
            found = world.revisions()["v1.0.0"].status
            assert (found.state, found.rejection) == (state, None)
            assert world.deployment().status.rollback.target == "v1.0.0"
            assert world.is_ready("v1.1.0")

    run_virtually(story)


def test_a_drill_gives_its_gpus_to_another_service_that_has_none() -> None:
    async def story() -> None:
        async with OperatorWorld(gpus=4, load_seconds=60.0) as world:
            await released(world)
            await world.drill("llama")
            await until(lambda: last(world).reason == "Loading")
            other = {"metadata": {"name": "mistral"}, "spec": {"replicas": 2}}
            await world.install(merged(LLAMA, other))
            await until(lambda: outcome(world) != "Running", deadline=30.0)
            assert (last(world).outcome, last(world).reason) == ("Interrupted", "GPUsNeeded")
            assert "needs its GPUs on" in last(world).message
            await world.until_ready("v1.0.0", "mistral")
            assert not remains(world)

    run_virtually(story)


def test_a_release_ends_a_drill_and_is_not_kept_waiting() -> None:
    async def story() -> None:
        async with OperatorWorld(load_seconds=60.0) as world:
            await released(world)
            await world.drill("llama")
            await until(lambda: last(world).reason == "Loading")
            await world.version("v1.2.0")
            await until(lambda: outcome(world) != "Running", deadline=10.0)
            assert (last(world).outcome, last(world).reason) == ("Interrupted", "ReleaseUnderWay")
            await world.until_ready("v1.2.0")
            assert not remains(world)

    run_virtually(story)
