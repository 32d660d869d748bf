"""Specs drawn by chance, and the edits that people make of them."""

import random
from collections.abc import Callable
from typing import Any

VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0")
WATCHED_SHARE = 0.4
"""Of the services whose releases may be taken back by themselves."""

Spec = dict[str, Any]


def first_spec(rng: random.Random) -> Spec:
    """What somebody installs."""
    return {
        "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": rng.choice(VERSIONS[:2])},
        "replicas": rng.randint(1, 3),
        "resources": {"requests": {"nvidia.com/gpu": rng.choice(("1", "2"))}},
        "rollback": {
            "standby": rng.choice(("0s", "15s", "60s")),
            "autoRollback": auto_rollback(rng) if rng.random() < WATCHED_SHARE else {"minRequests": 0},
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


def auto_rollback(rng: random.Random) -> Spec:
    return {"enabled": True, "window": rng.choice(("15s", "60s")), "triggers": [{"errorRate": ">1%"}]}


def edit(rng: random.Random) -> Spec:
    """A merge patch of a spec after which it is still valid, and fits into the cluster."""
    (choice,) = rng.choices([one for _, one in _EDITS], [weight for weight, _ in _EDITS])
    return choice(rng)


def version(rng: random.Random) -> Spec:
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
    (8, version),
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
    (1, lambda rng: {"rollback": {"autoRollback": rng.choice((auto_rollback(rng), {"enabled": None}))}}),
    (1, lambda rng: {"model": {"image": rng.choice(("vllm/vllm-openai:v0.11.0", ""))}}),
)


def other_strategy(rng: random.Random) -> Spec:
    """The strategy in the middle of things, at times together with a version."""
    patch = strategy(rng) or {"deployment": {"rolloutStrategy": "RollingUpdate"}}
    return {**patch, **version(rng)} if rng.random() < 0.5 else patch
