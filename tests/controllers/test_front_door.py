"""What is asked through the Gateway, when, and what is made of the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from plan_gateway import ACCEPTED, gateway, say
from plan_world import PlanWorld
from release_world import go_on, released, traffic, world

from outrider.controllers.deployment.front_door import FrontDoor
from outrider.plan.deployment.front_door import ROUTE_SECONDS
from outrider.plan.deployment.observed import FrontDoorView
from outrider.plan.deployment.snapshot import PlanConfig
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import ProbeCounts, ProbeTarget

BEHIND = PlanConfig(gateway_name="front", gateway_namespace="infra", base_url="https://models.example.com/llm")
KEY = "production/llama"


class Asked:
    """A prober whose answers the test gives."""

    def __init__(self) -> None:
        self.targets: dict[str, ProbeTarget] = {}
        self.results: dict[str, ProbeResult] = {}
        self.tallies: dict[str, tuple[int, int]] = {}

    def watch(self, _owner: str, targets: Sequence[ProbeTarget]) -> Mapping[str, ProbeResult | None]:
        self.targets = {target.key: target for target in targets}
        return {key: self.results.get(key) for key in self.targets}

    def counts(self, key: str) -> ProbeCounts | None:
        good, bad = self.tallies.get(key, (0, 0))
        return ProbeCounts(0.0, good, bad, good, 0, 0, ()) if key in self.tallies else None

    def answer(self, key: str, at: float, *, ok: bool) -> None:
        if key not in self.targets:
            return
        good, bad = self.tallies.get(key, (0, 0))
        self.tallies[key] = (good + ok, bad + (not ok))
        self.results[key] = ProbeResult(ok=ok, at=at, latency_seconds=0.1, error="" if ok else "it answered 502")


@dataclass
class Door:
    """A canary release behind a Gateway that has taken its routes, and the one who asks there."""

    made: PlanWorld
    asked: Asked
    front_door: FrontDoor

    @property
    def candidate(self) -> str:
        return f"{KEY}/{traffic(self.made).service}"

    def look(
        self, *, service: bool | None = None, candidate: bool | None = None, seconds: float = 2.0
    ) -> FrontDoorView:
        """Time passes, answers come, and the operator looks."""
        self.made.now += seconds
        for key, ok in ((f"{KEY}/llama", service), (self.candidate, candidate)):
            if ok is not None:
                self.asked.answer(key, self.made.now, ok=ok)
        found = self.front_door.look(self.made.snapshot(), self.made.now)
        assert found is not None
        return found


def opened(config: PlanConfig = BEHIND, inside_url: str = "") -> Door:
    made = world(config=config)
    made.gateway = gateway()
    released(made)
    accept(made)
    asked = Asked()
    return Door(made, asked, FrontDoor(asked, inside_url))


def accept(made: PlanWorld) -> None:
    for name in [name for kind, name in made.objects if kind == "HTTPRoute"]:
        say(made, name, **ACCEPTED)


def test_both_paths_are_asked_as_people_ask_them() -> None:
    door = opened()
    view = door.look()
    assert sorted(target.url for target in door.asked.targets.values()) == [
        "https://models.example.com/llm/production/llama",
        f"https://models.example.com/llm/production/{traffic(door.made).service}",
    ]
    assert {target.host for target in door.asked.targets.values()} == {""}
    assert all(target.model for target in door.asked.targets.values())
    assert view.url == f"https://models.example.com/llm/production/{traffic(door.made).service}"
    assert (view.asked, view.answered, view.service_answered) == (False, False, None)


def test_from_inside_they_are_asked_at_another_address_and_by_the_same_name() -> None:
    door = opened(inside_url="http://192.0.2.1:8000")
    view = door.look()
    assert f"http://192.0.2.1:8000/llm/production/{traffic(door.made).service}" in {
        target.url for target in door.asked.targets.values()
    }
    assert {target.host for target in door.asked.targets.values()} == {"models.example.com"}
    assert view.url.startswith("https://models.example.com/")


Step = tuple[bool | None, bool | None, float]
"""Whether the service's path and the candidate's answer (None: neither yes nor no came), and after how many seconds."""
GOOD: Step = (True, True, 2.0)
BAD: Step = (True, False, 2.0)
SETTLED: Step = (True, False, ROUTE_SECONDS)
LOOKS: dict[str, tuple[list[Step], tuple[bool, int, float | None]]] = {
    # The answers; whether the candidate's path has ever answered, failures in a row, and for how many seconds.
    "it answers": ([GOOD, GOOD], (True, 0, None)),
    "it has failed since it answered": ([GOOD, BAD, BAD, BAD], (True, 3, 4.0)),
    "nothing new came": ([GOOD, BAD, (None, None, 2.0)], (True, 1, 2.0)),
    "it answers again": ([GOOD, BAD, BAD, GOOD], (True, 0, None)),
    "it failed again after that": ([GOOD, BAD, BAD, GOOD, BAD], (True, 1, 0.0)),
    "it fails at first, as before a route is in force": ([BAD, BAD, BAD], (False, 0, None)),
    "it still fails when the route must be": ([BAD, SETTLED, BAD, BAD], (False, 3, 4.0)),
    "it answers after that": ([BAD, SETTLED, BAD, GOOD], (True, 0, None)),
}


@pytest.mark.parametrize("sentence", LOOKS)
def test_failures_in_a_row(sentence: str) -> None:
    steps, expected = LOOKS[sentence]
    door = opened()
    view = door.look()
    for service, candidate, seconds in steps:
        view = door.look(service=service, candidate=candidate, seconds=seconds)
    lasted = None if view.failing_since is None else door.made.now - view.failing_since
    assert (view.answered, view.failures, lasted) == expected
    last = next(at for at, step in enumerate(reversed(steps)) if step[0])
    assert view.service_answered == door.made.now - sum(step[2] for step in steps[len(steps) - last :])


def test_what_a_path_without_ready_pods_answers_is_not_asked() -> None:
    made = world(config=BEHIND)
    made.gateway = gateway()
    made.load_ticks = 100
    released(made)
    accept(made)
    asked = Asked()
    door = Door(made, asked, FrontDoor(asked))
    view = door.look(service=True)
    assert set(asked.targets) == {f"{KEY}/llama"}
    assert not view.asked


def test_pods_that_were_lost_begin_anew() -> None:
    door = opened()
    door.look()
    assert door.look(service=True, candidate=True).answered
    for pod in door.made.pods:
        if pod["metadata"]["labels"]["inference.llm-d.io/revision"] == traffic(door.made).candidate:
            pod["status"]["conditions"] = []
    view = door.look(service=True)
    assert (view.answered, view.asked) == (False, False)


def test_nothing_is_asked_before_the_gateway_has_taken_the_routes_nor_where_it_refuses_them() -> None:
    made = world(config=BEHIND)
    made.gateway = gateway()
    released(made)
    asked = Asked()
    front_door = FrontDoor(asked)
    assert front_door.look(made.snapshot(), made.now) is None
    accept(made)
    assert front_door.look(made.snapshot(), made.now) is not None
    say(made, "llama.path", Accepted=("False", "NotAllowedByListeners"))
    assert front_door.look(made.snapshot(), made.now) is None
    assert asked.targets == {}


def test_a_route_that_changes_does_not_begin_anew() -> None:
    door = opened()
    door.look()
    door.look(service=True, candidate=True)
    door.made.objects["HTTPRoute", "llama.path"]["metadata"]["generation"] += 1
    assert door.look().answered


def test_nothing_is_asked_without_a_candidate_and_what_was_known_is_forgotten() -> None:
    door = opened()
    door.look()
    door.front_door.forget(KEY)
    assert door.asked.targets == {}
    rolling = world("RollingUpdate", config=BEHIND)
    rolling.gateway = gateway()
    released(rolling)
    assert door.front_door.look(rolling.snapshot(), rolling.now) is None
    go_on(rolling)
    assert door.asked.targets == {}
