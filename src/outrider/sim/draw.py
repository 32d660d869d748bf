"""Scenarios drawn from a seed: a release day with everything that can go wrong on it."""

import random
from collections.abc import Callable, Sequence
from typing import get_args

import msgspec

from outrider.sim.draw_releases import changes_of_mind
from outrider.sim.draw_specs import VERSIONS, Spec, edit, first_spec, other_strategy, strategy, version
from outrider.sim.incidents import (
    AnyIncident,
    ApiFault,
    ApiTrouble,
    Apply,
    BadVersion,
    Crash,
    DeletePod,
    Drill,
    Edit,
    GpuLost,
    Meddle,
    Meddling,
    NodeLost,
    Pin,
    PodFault,
    Remove,
    Scenario,
    SlowLoads,
    Steer,
    Steering,
    Stop,
    Unpin,
    VersionFault,
    WatchFault,
    WatchTrouble,
)

NAMES = ("llama", "mistral")
WATCHED = (
    "llmdeployments",
    "modelrevisions",
    "versionpins",
    "deployments",
    "services",
    "httproutes",
    "pods",
    "nodes",
    "",
)
SECONDS_BETWEEN_INCIDENTS = 45.0
"""On average: so that some come while the one before is still being dealt with, and some into a quiet world."""
DRILLED_SHARE = 0.5
"""Of the scenarios in which somebody drills a rollback."""
GPUS_LOST_SHARE = 0.3
"""Of the scenarios in which GPUs are lost."""
NO_GATEWAY_SHARE = 0.15
"""Of the scenarios in which no routes divide the traffic."""
HANDS_OFF = 0.75
"""Share of the time in which something may begin: the rest is for what has begun to end."""


def draw(seed: int, seconds: float) -> Scenario:
    """The scenario of a seed: trouble for so many seconds of virtual time. The same for the same arguments."""
    rng = random.Random(seed)  # noqa: S311  (a simulation must be repeatable)
    names = NAMES[: 1 if rng.random() < 0.8 else 2]
    specs = {name: {**first_spec(rng), **strategy(rng)} for name in names}
    incidents: list[AnyIncident] = [
        Apply(at=round(rng.uniform(0, 30), 1), deployment=name, spec=specs[name]) for name in names
    ]
    at = rng.uniform(1, 90)
    while at < seconds * HANDS_OFF:
        incidents += _incidents(rng, round(at, 1), rng.choice(names), specs)
        at += rng.expovariate(1 / SECONDS_BETWEEN_INCIDENTS)
    made = Scenario(
        seed=seed,
        incidents=tuple(sorted(incidents, key=lambda one: one.at)),
        load_seconds=rng.choice((3.0, 20.0, 60.0)),
        operators=2 if rng.random() < 0.1 else 1,
    )
    more = (
        *_drills(seed, seconds, names),
        *_lost_gpus(seed, seconds, names),
        *changes_of_mind(seed, seconds * HANDS_OFF, names),
    )
    ordered = tuple(sorted((*made.incidents, *more), key=lambda one: one.at))
    routed = random.Random(f"gateway-{seed}").random() >= NO_GATEWAY_SHARE  # noqa: S311
    return msgspec.structs.replace(made, incidents=ordered, gateway=routed)


def _drills(seed: int, seconds: float, names: Sequence[str]) -> list[AnyIncident]:
    """Drills by chance of their own: what else is drawn of a seed is the same as without them."""
    rng = random.Random(f"drills-{seed}")  # noqa: S311
    if rng.random() >= DRILLED_SHARE:
        return []
    times = [round(rng.uniform(0.1, HANDS_OFF) * seconds, 1) for _ in range(rng.randint(1, 3))]
    return [Drill(at=at, deployment=rng.choice(names)) for at in times]


def _lost_gpus(seed: int, seconds: float, names: Sequence[str]) -> list[AnyIncident]:
    """By chance of their own, as drills."""
    rng = random.Random(f"gpus-{seed}")  # noqa: S311
    if rng.random() >= GPUS_LOST_SHARE:
        return []
    times = [round(rng.uniform(0.05, HANDS_OFF) * seconds, 1) for _ in range(rng.randint(1, 3))]
    return [GpuLost(at=at, deployment=rng.choice(names), place=rng.randint(0, 3)) for at in times]


def _incidents(rng: random.Random, at: float, name: str, specs: dict[str, Spec]) -> list[AnyIncident]:
    """What happens at one moment. Now and then several things do at once, which is when it gets interesting."""
    made = _one(rng, at, name, specs)
    return made + _incidents(rng, at, name, specs) if rng.random() < 0.15 else made


def _one(rng: random.Random, at: float, name: str, specs: dict[str, Spec]) -> list[AnyIncident]:
    pod = rng.randint(0, 3)
    fault: VersionFault = rng.choice(get_args(VersionFault))
    length = round(rng.choice((5.0, 30.0, 120.0)) * rng.uniform(0.5, 1.5), 1)
    kinds: list[tuple[float, Callable[[], list[AnyIncident]]]] = [
        (6, lambda: [Edit(at=at, deployment=name, spec=edit(rng))]),
        (0.5, lambda: [Edit(at=at, deployment=name, spec=other_strategy(rng))]),
        (0.5, lambda: _steered(rng, at, name)),
        (2, lambda: [Crash(at=at, calls=rng.randint(1, 12), down_seconds=round(rng.uniform(0, 40), 1))]),
        (
            2,
            lambda: [
                ApiTrouble(at=at, seconds=length, how=rng.choice(get_args(ApiFault)), share=rng.choice((0.2, 1.0)))
            ],
        ),
        (
            2,
            lambda: [
                WatchTrouble(at=at, seconds=length, how=rng.choice(get_args(WatchFault)), plural=rng.choice(WATCHED))
            ],
        ),
        (1, lambda: [Stop(at=at, seconds=length)]),
        (1, lambda: _pinned(rng, at, name)),
        (1, lambda: _git(rng, at, name, specs)),
        (1, lambda: _removed(rng, at, name, specs)),
        (1, lambda: [Meddle(at=at, deployment=name, how=rng.choice(get_args(Meddling)))]),
        (1, lambda: [DeletePod(at=at, deployment=name, place=pod)]),
        (1, lambda: [BadVersion(at=at, seconds=3 * length, version=rng.choice(VERSIONS), how=fault)]),
        (1, lambda: [PodFault(at=at, seconds=length, deployment=name, place=pod, how=fault)]),
        (1, lambda: [NodeLost(at=at, seconds=2 * length, node=rng.randint(0, 2))]),
        (1, lambda: [SlowLoads(at=at, seconds=length, load_seconds=round(rng.uniform(30, 180), 1))]),
    ]
    (choice,) = rng.choices([one for _, one in kinds], [weight for weight, _ in kinds])
    return choice()


def _steered(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """A version is released, and a person has a hand in it."""
    how: Steering = rng.choice(get_args(Steering))
    moment = round(at + rng.uniform(1, 60), 1)
    steps: list[AnyIncident] = [Edit(at=at, deployment=name, spec=version(rng))]
    steps.append(Steer(at=moment, deployment=name, how=how))
    if how == "pause":
        steps.append(Steer(at=round(moment + rng.uniform(5, 90), 1), deployment=name, how="resume"))
    return steps


def _pinned(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    pin = Pin(at=at, deployment=name, version=rng.choice((*VERSIONS[:2], "previous-stable")))
    return [pin, Unpin(at=round(at + rng.uniform(20, 300), 1), deployment=name)] if rng.random() < 0.7 else [pin]


def _git(rng: random.Random, at: float, name: str, specs: dict[str, Spec]) -> list[AnyIncident]:
    """Git heals what people edit, again and again."""
    every = rng.uniform(10, 60)
    times = [round(at + number * every, 1) for number in range(rng.randint(1, 5))]
    return [Apply(at=when, deployment=name, spec=specs[name]) for when in times]


def _removed(rng: random.Random, at: float, name: str, specs: dict[str, Spec]) -> list[AnyIncident]:
    gone = Remove(at=at, deployment=name)
    if rng.random() < 0.4:
        return [gone]
    specs[name] = {**first_spec(rng), **strategy(rng)}
    return [gone, Apply(at=round(at + rng.choice((0.0, 0.5, 60.0)), 1), deployment=name, spec=specs[name])]
