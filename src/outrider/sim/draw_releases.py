"""People who change their minds in the middle of a release, drawn by chance: most faults are found there."""

import random
from collections.abc import Callable, Sequence
from typing import get_args

from outrider.sim.draw_specs import VERSIONS, Spec, auto_rollback, other_strategy, version
from outrider.sim.incidents import (
    AnyIncident,
    BadVersion,
    Crash,
    Edit,
    NodeLost,
    Pin,
    Retry,
    SlowLoads,
    Unpin,
    VersionFault,
)

SHARE = 0.35
"""Of the scenarios in which somebody does."""
CRASHED_SHARE = 0.4
"""Of the changes during which the operator is killed."""
HANGS = 90_000.0
"""Seconds: whatever loads so long is started anew by its startup probe, or given up."""


def changes_of_mind(seed: int, seconds: float, names: Sequence[str]) -> list[AnyIncident]:
    """By chance of their own: what else is drawn of a seed is the same as without them. They begin within `seconds`."""
    rng = random.Random(f"changes-{seed}")  # noqa: S311  (a simulation must be repeatable)
    if rng.random() >= SHARE:
        return []
    made: list[AnyIncident] = []
    for _ in range(rng.randint(1, 3)):
        at, name = _round(rng.uniform(0.1, 1) * seconds), rng.choice(names)
        made += rng.choice(_CHANGES)(rng, at, name)
        if rng.random() < CRASHED_SHARE:
            killed = _later(rng, at, 60)
            made.append(Crash(at=killed, calls=rng.randint(1, 6), down_seconds=_round(rng.uniform(0, 60))))
    return made


def _strategy(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """The strategy is another one while a version is released, or has just been."""
    return [_edit(at, name, version(rng)), _edit(_later(rng, at, 90), name, other_strategy(rng))]


def _suspended(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """No replica is wanted for a time: from before the release, or in the middle of it."""
    down = _later(rng, at, 90)
    up = _later(rng, down, rng.choice((5.0, 60.0, 300.0)))
    steps: list[AnyIncident] = [_edit(down, name, {"replicas": 0})]
    if rng.random() < 0.7:
        steps.append(_edit(at, name, version(rng)))
    if rng.random() < 0.4:
        steps.append(_edit(_round(rng.uniform(down, up)), name, version(rng)))
    back: Spec = {"replicas": rng.randint(1, 4)}
    return [*steps, _edit(up, name, {**back, **version(rng)} if rng.random() < 0.2 else back)]


def _hanging(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """Pods that are started in some part of the release hang while they load."""
    slow = SlowLoads(at=_later(rng, at, 60), seconds=_round(rng.uniform(5, 120)), load_seconds=HANGS)
    return [_edit(at, name, version(rng)), slow]


def _retried(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """A version is bad, and watched; once it was taken back somebody releases it again, perhaps too early."""
    bad = rng.choice(VERSIONS)
    fault: VersionFault = rng.choice(get_args(VersionFault))
    watched: Spec = {"model": {"version": bad}, "rollback": {"autoRollback": auto_rollback(rng)}}
    return [
        _edit(at, name, watched),
        BadVersion(at=_later(rng, at, 60), seconds=_round(rng.uniform(20, 200)), version=bad, how=fault),
        Retry(at=_later(rng, at + 60, 240), deployment=name),
    ]


def _mended(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """A version is bad, and watched; when it was taken back somebody releases the next, which is not."""
    bad, good = rng.sample(VERSIONS, 2)
    fault: VersionFault = rng.choice(get_args(VersionFault))
    watched: Spec = {"model": {"version": bad}, "rollback": {"autoRollback": auto_rollback(rng)}}
    failed = _later(rng, at, 120)
    return [
        _edit(at, name, watched),
        BadVersion(at=failed, seconds=_round(rng.uniform(60, 400)), version=bad, how=fault),
        _edit(_later(rng, failed + 10, 120), name, {"model": {"version": good}}),
    ]


def _back_and_forth(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """One version, another one, and the first again."""
    first, second = rng.sample(VERSIONS, 2)
    steps: list[AnyIncident] = []
    for each in (first, second, first):
        steps.append(_edit(at, name, {"model": {"version": each}}))
        at = _later(rng, at, 60)
    return steps


def _emergency(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """A rollback by hand in the middle of the release, and the end of it."""
    pin = Pin(at=_later(rng, at, 60), deployment=name, version="previous-stable", rejects=rng.random() < 0.7)
    return [_edit(at, name, version(rng)), pin, Unpin(at=_later(rng, pin.at, 120), deployment=name)]


def _silent_node(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """A node is silent for a time that nobody notices, or for one that the control plane does."""
    lost = NodeLost(at=_later(rng, at, 60), seconds=_round(rng.uniform(15, 90)), node=rng.randint(0, 2))
    return [_edit(at, name, version(rng)), lost]


_CHANGES: tuple[Callable[[random.Random, float, str], list[AnyIncident]], ...] = (
    _strategy, _strategy, _suspended, _suspended, _hanging, _retried, _mended, _mended, _back_and_forth, _emergency,
    _silent_node,
)  # fmt: skip


def _edit(at: float, name: str, spec: Spec) -> Edit:
    return Edit(at=at, deployment=name, spec=spec)


def _later(rng: random.Random, at: float, seconds: float) -> float:
    return _round(at + rng.uniform(0, seconds))


def _round(seconds: float) -> float:
    return round(seconds, 1)
