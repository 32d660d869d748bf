"""Scenarios drawn from a seed: a release day with everything that can go wrong on it."""

import random
from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec

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

VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0")
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
WATCHED_SHARE = 0.4
"""Of the services whose releases may be taken back by themselves."""
DRILLED_SHARE = 0.5
"""Of the scenarios in which somebody drills a rollback."""
GPUS_LOST_SHARE = 0.3
"""Of the scenarios in which GPUs are lost."""
NO_GATEWAY_SHARE = 0.15
"""Of the scenarios in which no routes divide the traffic."""
HANDS_OFF = 0.75
"""Share of the time in which something may begin: the rest is for what has begun to end."""

Spec = dict[str, Any]


def first_spec(rng: random.Random) -> Spec:
    """What somebody installs."""
    return {
        "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": rng.choice(VERSIONS[:2])},
        "replicas": rng.randint(1, 3),
        "resources": {"requests": {"nvidia.com/gpu": rng.choice(("1", "2"))}},
        "rollback": {
            "standby": rng.choice(("0s", "15s", "60s")),
            "autoRollback": _auto_rollback(rng) if rng.random() < WATCHED_SHARE else {"minRequests": 0},
        },
    }


def strategy(rng: random.Random) -> Spec:
    """How it is released: by rolling updates, mostly."""
    name = rng.choices(("RollingUpdate", "Canary", "BlueGreen", "Recreate"), (12, 5, 4, 1))[0]
    if name == "RollingUpdate":
        return {}
    release: Spec = {"rolloutStrategy": name, "blueGreen": {"previewDuration": rng.choice(("5s", "30s"))}}
    if name == "Canary":
        weights = sorted(rng.sample((5, 10, 25, 34, 50, 75, 100), rng.randint(1, 3)))
        release["canary"] = {"steps": [{"weight": one, "duration": rng.choice(("5s", "20s"))} for one in weights]}
    return {"deployment": release}


def _auto_rollback(rng: random.Random) -> Spec:
    return {"enabled": True, "window": rng.choice(("15s", "60s")), "triggers": [{"errorRate": ">1%"}]}


def edit(rng: random.Random) -> Spec:
    """A merge patch of a spec after which it is still valid, and fits into the cluster."""
    (choice,) = rng.choices([one for _, one in _EDITS], [weight for weight, _ in _EDITS])
    return choice(rng)


def _version(rng: random.Random) -> Spec:
    return {"model": {"version": rng.choice((*VERSIONS, "previous-stable"))}}


def _rolling(rng: random.Random) -> Spec:
    surge, unavailable = rng.choice(((1, 0), (1, 0), (2, 0), (0, 1), ("50%", 0), (1, 1), ("25%", "25%")))
    return {"deployment": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}


def _environment(rng: random.Random) -> Spec:
    names = rng.sample(("HF_HOME", "VLLM_LOGGING_LEVEL", "OMP_NUM_THREADS"), rng.randint(0, 2))
    return {"runtime": {"env": [{"name": name, "value": rng.choice("123")} for name in names]}}


def _volumes(rng: random.Random) -> Spec:
    names = rng.sample(("cache", "scratch"), rng.randint(0, 2))
    return {
        "volumes": [{"name": name, "emptyDir": {}} for name in names],
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in names],
    }


def _containers(rng: random.Random) -> Spec:
    return {"containers": [{"name": "proxy", "image": f"proxy:{rng.randint(1, 3)}"}] if rng.random() < 0.6 else []}


def _budget(rng: random.Random) -> Spec:
    return {"disruption": {"maxUnavailable": rng.choice((1, 2, "50%", None))}}


_EDITS: tuple[tuple[float, Callable[[random.Random], Spec]], ...] = (
    (8, _version),
    (3, lambda rng: {"replicas": rng.randint(1, 4)}),
    (1, lambda _rng: {"replicas": 0}),
    (1, lambda rng: {"resources": {"requests": {"nvidia.com/gpu": rng.choice(("1", "2"))}}}),
    (2, _rolling),
    (1, _environment),
    (1, _volumes),
    (1, _containers),
    (1, _budget),
    (1, lambda rng: {"serving": {"maxConcurrency": rng.choice((16, 64, None))}}),
    (1, lambda rng: {"model": {"quantization": {"type": rng.choice(("none", "fp8", "auto"))}}}),
    (1, lambda rng: {"model": {"name": rng.choice(("llama-3", "chat", ""))}}),
    (1, lambda rng: {"monitoring": {"enabled": rng.random() < 0.5}}),
    (1, lambda rng: {"monitoring": {"labels": rng.choice(({"team": "a"}, {"team": None}))}}),
    (1, lambda rng: {"template": {"metadata": {"annotations": rng.choice(({"note": "x"}, {"note": None}))}}}),
    (1, lambda rng: {"scheduling": {"tolerations": rng.choice(([], [{"operator": "Exists"}]))}}),
    (1, lambda rng: {"autoscaling": {"enabled": rng.random() < 0.5, "minReplicas": 1, "maxReplicas": 4}}),
    (1, lambda rng: {"deployment": {"stage": rng.choice(("development", "production"))}}),
    (1, lambda rng: {"security": {"runAsUser": rng.choice((1000, 2000, None))}}),
    (1, lambda rng: {"scheduling": {"nodeSelector": rng.choice(({"zone": None}, None))}}),
    (1, lambda rng: {"imagePullSecrets": [{"name": "registry"}] if rng.random() < 0.5 else []}),
    (1, lambda rng: {"model": {"loading": {"useSharedMemory": rng.random() < 0.5}}}),
    (
        1,
        lambda rng: {
            "serving": {"batchSize": rng.choice((8, 32, None)), "maxSequenceLength": rng.choice((4096, None))}
        },
    ),
    (1, lambda rng: {"livenessProbe": rng.choice(({}, {"periodSeconds": 20}, {"periodSeconds": None}))}),
    (1, lambda rng: {"monitoring": {"serviceMonitor": {"enabled": rng.random() < 0.5}}}),
    (1, lambda rng: {"resources": {"requests": {"memory": rng.choice(("32Gi", "64Gi", None))}}}),
    (1, lambda rng: {"resources": {"requests": {"cpu": rng.choice((4, "500m", None))}}}),
    (1, lambda rng: {"rollback": {"autoRollback": {"bakeTime": rng.choice(("1m", "30m", None))}}}),
    (1, lambda rng: {"rollback": {"autoRollback": rng.choice((_auto_rollback(rng), {"enabled": None}))}}),
    (1, lambda rng: {"model": {"image": rng.choice(("vllm/vllm-openai:v0.11.0", ""))}}),
)


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
    more = (*_drills(seed, seconds, names), *_lost_gpus(seed, seconds, names))
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
        (0.5, lambda: [Edit(at=at, deployment=name, spec=_other_strategy(rng))]),
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


def _other_strategy(rng: random.Random) -> Spec:
    """The strategy in the middle of things, at times together with a version."""
    patch = strategy(rng) or {"deployment": {"rolloutStrategy": "RollingUpdate"}}
    return {**patch, **_version(rng)} if rng.random() < 0.5 else patch


def _steered(rng: random.Random, at: float, name: str) -> list[AnyIncident]:
    """A version is released, and a person has a hand in it."""
    how: Steering = rng.choice(get_args(Steering))
    moment = round(at + rng.uniform(1, 60), 1)
    steps: list[AnyIncident] = [Edit(at=at, deployment=name, spec=_version(rng))]
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
