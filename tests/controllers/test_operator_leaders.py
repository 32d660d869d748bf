"""Two operators at every step of a release: whatever befalls the leader, one acts, soon, and nothing is done twice."""

import pytest
from operator_team import Fault, Member, Team
from operator_world import OperatorWorld, until
from plan_world import LLAMA, merged
from virtual_kube import run_virtually

from outrider.kube.objects import DEPLOYMENT

LIMIT = 80
"""More writes than the story has."""
NEXT_ACTION = 20.0


async def _release(world: OperatorWorld) -> None:
    await world.install(merged(LLAMA, {"spec": {"replicas": 1}}))
    await world.until_ready("v1.0.0")
    await world.version("v1.1.0")
    await world.until_ready("v1.1.0")


def _release_with(fault: Fault, after: int) -> bool:
    """Whether the first leader had so many writes. Everything that must hold is asserted."""

    async def story() -> bool:
        async with OperatorWorld(load_seconds=1.0) as world:
            team = Team(world)
            first = team.start("first", fault=fault, fault_after=after)
            await until(lambda: first.election.held)
            second = team.start("second")
            try:
                await _release(world)
                struck = first.line.fault_at is not None
                if struck:
                    await until(lambda: second.election.held)
                await world.until_quiet()
                _check(world, team, second if struck else None)
            finally:
                await team.end()
            return struck

    return run_virtually(story)


def _check(world: OperatorWorld, team: Team, second: Member | None) -> None:
    assert world.is_ready("v1.1.0")
    assert {version: one.spec.sequence for version, one in world.revisions().items()} == {"v1.0.0": 1, "v1.1.0": 2}
    assert len(world.pods()) == 1
    (workload,) = world.all(DEPLOYMENT)
    # A generation for each change by the operator, and one for the number that the Deployment controller notes then.
    numbered = workload["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert (numbered, workload["metadata"]["generation"]) == ("2", 4), "one release is one change of the workload"
    assert team.turns() in (["first"], ["first", "second"]), team.writes
    created = [write.what for write in team.writes if write.what == "create ModelRevision"]
    assert len(created) == 2
    if second is not None:
        fault_at = team.members[0].line.fault_at
        assert fault_at is not None
        taken_at = second.taken_at
        assert taken_at is not None
        assert taken_at - fault_at < NEXT_ACTION


@pytest.mark.parametrize("fault", ["killed", "stopped", "cut off"])
def test_a_leader_lost_in_the_middle_of_a_release(fault: Fault) -> None:
    assert _release_with(fault, 7), "a step that is followed by others at once"


@pytest.mark.e2e
@pytest.mark.parametrize("fault", ["killed", "stopped", "cut off"])
def test_a_leader_lost_at_every_step_of_a_release(fault: Fault) -> None:
    for after in range(1, LIMIT):
        if not _release_with(fault, after):
            assert after > 10, "the story is long enough to mean something"
            return
    raise AssertionError("the story never ended")
