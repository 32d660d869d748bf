"""One life that is played once and forks at every call is what each of them is when it is played anew."""

from typing import Any

import pytest

from outrider.sim.crashes import MOST_CALLS, NAME, SPEC
from outrider.sim.deaths import DeathError, deaths
from outrider.sim.incidents import Apply, Crash, Remove, Scenario
from outrider.sim.run import Outcome, run


def life(crash_after: int, **more: Any) -> Scenario:
    crash = Crash(at=0, calls=crash_after, down_seconds=5.0)
    incidents = (crash, Apply(at=1, deployment=NAME, spec={**SPEC, **more}), Remove(at=30, deployment=NAME))
    return Scenario(seed=1, incidents=incidents, nodes=1, load_seconds=3.0)


def told(outcome: Outcome) -> tuple[object, ...]:
    return outcome.violation, outcome.seconds, outcome.writes, outcome.idle_writes, outcome.starts


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_death_is_what_it_is_when_it_is_played_anew(jobs: int) -> None:
    found = dict(deaths(life(MOST_CALLS), jobs=jobs))
    numbers = sorted(found)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 15, "there are calls enough to die after"
    for number in (1, len(numbers) // 2, len(numbers) - 1):
        assert told(found[number]) == told(run(life(number)))
        assert found[number].starts == 2
    assert found[0].starts == 1, "nobody was killed in the life itself"


def test_a_process_that_plays_and_dies_is_told() -> None:
    with pytest.raises(DeathError, match="ended with 1"):
        list(deaths(life(MOST_CALLS, replicas=object()), jobs=1))


def test_it_may_be_left_at_any_time() -> None:
    playing = deaths(life(MOST_CALLS), jobs=2)
    number, outcome = next(playing)
    assert (number, outcome.starts) in {(1, 2), (2, 2)}
    playing.close()  # type: ignore[attr-defined]
