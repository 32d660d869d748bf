"""Looks for the shortest scenario that still breaks the same promise.

First whole halves, quarters and so on of the incidents are left out (delta debugging: Zeller and Hildebrandt,
"Simplifying and isolating failure-inducing input", 2002), then what is left is made simpler bit by bit.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from outrider.sim.incidents import AnyIncident, Scenario
from outrider.sim.run import run

Fails = Callable[[Scenario], bool]


def shrink(scenario: Scenario, *, runs: int = 300, told: Callable[[int, Scenario], None] | None = None) -> Scenario:
    """The shortest scenario found within so many runs that breaks the promise that `scenario` breaks.

    `told` hears of each run: how many there were, and the shortest scenario so far. Raises `ValueError` if `scenario`
    breaks no promise.
    """
    outcome = run(scenario)
    if outcome.violation is None:
        raise ValueError(f"the scenario of seed {scenario.seed} breaks no promise")
    promise = outcome.violation.promise
    return _shrink(scenario, lambda each: _breaks(each, promise), runs, told)


def _breaks(scenario: Scenario, promise: str) -> bool:
    violation = run(scenario).violation
    return violation is not None and violation.promise == promise


def _shrink(
    scenario: Scenario, fails: Fails, runs: int, told: Callable[[int, Scenario], None] | None = None
) -> Scenario:
    """Take the first candidate that fails as the new scenario, until none does or the runs are used up."""
    done, best = 0, scenario
    progress = True
    while progress:
        progress = False
        for candidate in _simpler(best):
            if done >= runs:
                return best
            done += 1
            if told is not None:
                told(done, best)
            if fails(candidate):
                best, progress = candidate, True
                break
    return best


def _simpler(scenario: Scenario) -> Iterator[Scenario]:
    incidents = scenario.incidents
    size = len(incidents) // 2
    while size:
        for start in range(0, len(incidents), size):
            yield _with(scenario, incidents=incidents[:start] + incidents[start + size :])
        size //= 2
    nodes = -(-_gpus_needed(scenario) // scenario.gpus) if scenario.gpus else 1
    for name, value in (("operators", 1), ("nodes", max(1, nodes)), ("load_seconds", 3.0)):
        if getattr(scenario, name) > value:
            yield _with(scenario, **{name: value})
    for place, incident in enumerate(incidents):
        for simpler in _simpler_incidents(incident):
            yield _with(scenario, incidents=(*incidents[:place], simpler, *incidents[place + 1 :]))


def _gpus_needed(scenario: Scenario) -> int:
    """At most, for two versions of every service side by side: with less, it would fail for want of GPUs."""
    most: dict[str, tuple[int, int]] = {}
    for incident in scenario.incidents:
        spec: dict[str, Any] = getattr(incident, "spec", {})
        gpus = ((spec.get("resources") or {}).get("requests") or {}).get("nvidia.com/gpu") or 1
        name = getattr(incident, "deployment", "")
        replicas, each = most.get(name, (0, 1))
        most[name] = (max(replicas, spec.get("replicas") or 0), max(each, int(gpus)))
    return 2 * sum(replicas * each for replicas, each in most.values())


def _simpler_incidents(incident: AnyIncident) -> Iterator[AnyIncident]:
    """The incident with one number smaller, or with one field of its patch less."""
    for name, floor in (("seconds", 1.0), ("down_seconds", 0.0), ("calls", 1), ("load_seconds", 3.0)):
        value = getattr(incident, name, None)
        if value is not None and value > floor:
            smaller = max(floor, type(value)(value // 2))
            yield msgspec.structs.replace(incident, **{name: smaller})
    spec: dict[str, Any] = getattr(incident, "spec", {})
    if spec.get("replicas", 1) > 1:
        yield msgspec.structs.replace(incident, spec={**spec, "replicas": 1})


def _with(scenario: Scenario, **changes: Any) -> Scenario:
    return msgspec.structs.replace(scenario, **changes)
