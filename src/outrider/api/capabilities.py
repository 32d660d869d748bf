"""Known fields that this version of Outrider takes but does not act on yet.

Every line is a promise not kept yet: the field is reported in the status of whoever sets it. Work that makes a line
true removes it here. A line covers everything below its path; `[]` stands for any item of a list.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from outrider.api.labels import HTTP_PORT, METRICS_PORT
from outrider.api.spec import LLMDeploymentSpec

NOT_ACTED_ON: dict[str, str] = {
    # autoscaling
    "spec.autoscaling.maxReplicas": "replicas are not scaled by load yet: minReplicas run",
    "spec.autoscaling.targetGPUUtilization": "replicas are not scaled by GPU utilisation yet",
    "spec.autoscaling.behavior": "replicas are not scaled by load yet",
    "spec.autoscaling.scaleDownDelay": "replicas are not scaled by load yet",
    "spec.autoscaling.prefillScaling": "prefill and decode are not separated yet",
    "spec.autoscaling.decodeScaling": "prefill and decode are not separated yet",
    "spec.scaling": "cost and latency do not bound scaling yet",
    # scheduling and objectives
    "spec.scheduling.sloPolicy": "objectives are not measured yet",
    "spec.resources.policies": "no advice on cost is given yet",
    # monitoring
    "spec.monitoring.alerting": "no alerts are sent yet",
    "spec.monitoring.metrics.detailed": "there is one level of detail",
    "spec.monitoring.logging": "the engine logs in its own way",
    "spec.monitoring.tracing": "the engine's traces are not configured yet",
    "spec.monitoring.memoryThreshold": "no alerts are sent yet",
    # backup
    "spec.backup": "no backups are made yet",
    # releases
    "spec.deployment.approval": "versions need no approval in this version",
    # the model
    "spec.model.registry": "recorded in the revision; the engine fetches from modelUri",
    "spec.model.checksums": "the model's files are not verified yet",
    "spec.model.cache": "the engine decides what it caches",
    "spec.model.framework": "kept as a note",
    "spec.model.architecture": "kept as a note",
    "spec.model.source.s3.region": "the region comes from the pod's environment (AWS_REGION)",
    "spec.model.preload": "models are not loaded ahead of their pods yet",
    "spec.model.loading.preload": "models are not loaded ahead of their pods yet",
    "spec.model.loading.pinMemory": "the engine decides how it loads",
    "spec.model.loading.numWorkers": "the engine decides how it loads",
    "spec.model.loading.warmupSamples": "replicas are not warmed up yet",
    "spec.model.warmupRequests": "replicas are not warmed up yet",
    # serving
    "spec.serving.mode": "prefill and decode are not separated yet",
    "spec.serving.prefill": "prefill and decode are not separated yet",
    "spec.serving.decode": "prefill and decode are not separated yet",
    "spec.serving.batching": "the engine batches continuously on its own",
    "spec.routing": "requests go to the ready replica with the fewest in flight",
    # the rest
    "spec.cache": "the engine decides what it caches",
    "spec.security.networkPolicy": "no NetworkPolicy is written yet",
    "spec.debugging": "nothing is switched on for debugging",
    "spec.priority": "a word, and no PriorityClass: name one in spec.scheduling.priorityClassName",
}


CONDITIONAL: dict[str, str] = {
    "spec.scheduling.scheduler": "where the cluster has InferencePools and a gateway that knows them",
    "spec.deployment.rolloutStrategy": "canary and blue-green where no endpoint picker chooses the pod",
    "spec.monitoring.serviceMonitor": "where the cluster has ServiceMonitors (prometheus-operator)",
}
"""Fields whose effect depends on the cluster. Where they have none, the plan says why."""


@dataclass(frozen=True)
class Fixed:
    """A field of which this version can do only one value."""

    path: str
    value: Callable[[LLMDeploymentSpec], Any]
    only: Any
    """The value that is true anyway; every other one is reported."""
    reason: str


FIXED: tuple[Fixed, ...] = (
    Fixed("spec.rollback.enabled", lambda spec: spec.rollback.enabled, True, "rollback is always possible"),
    Fixed("spec.serving.port", lambda spec: spec.serving.port, HTTP_PORT, f"the Service listens on {HTTP_PORT}"),
    Fixed("spec.serving.protocol", lambda spec: spec.serving.protocol, "http", "http is served"),
    Fixed(
        "spec.monitoring.enabled",
        lambda spec: spec.monitoring.enabled,
        True,
        "metrics are served all the same; only a ServiceMonitor leaves them out",
    ),
    Fixed(
        "spec.monitoring.metrics.enabled",
        lambda spec: spec.monitoring.metrics.enabled,
        True,
        "metrics are always served",
    ),
    Fixed(
        "spec.monitoring.metrics.port",
        lambda spec: spec.monitoring.metrics.port,
        METRICS_PORT,
        f"metrics are served at port {METRICS_PORT} of the Service",
    ),
    Fixed(
        "spec.monitoring.metrics.path",
        lambda spec: spec.monitoring.metrics.path,
        "/metrics",
        "metrics are served at /metrics",
    ),
)


def covering_line(path: str, table: Collection[str] = NOT_ACTED_ON) -> str | None:
    """The line of the table that covers a path, if any."""
    plain = _without_indexes(path)
    while plain:
        if plain in table:
            return plain
        plain = plain.rpartition(".")[0]
    return None


def conditional(paths: Iterable[str]) -> tuple[str, ...]:
    """The lines of `CONDITIONAL` that the written `paths` touch, in their order."""
    return tuple(dict.fromkeys(line for path in paths if (line := covering_line(path, CONDITIONAL)) is not None))


def not_acted_on(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths of the table that the written `paths` touch, in their order."""
    return tuple(dict.fromkeys(line for line in map(covering_line, paths) if line is not None))


def not_possible(spec: LLMDeploymentSpec, paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the written `paths` whose value is not the only one that this version can do."""
    written = set(paths)
    return tuple(line.path for line in FIXED if line.path in written and line.value(spec) != line.only)


def reason(path: str) -> str:
    """Why nothing is done about a path; empty where something is."""
    line = covering_line(path)
    if line is not None:
        return NOT_ACTED_ON[line]
    return next((fixed.reason for fixed in FIXED if fixed.path == path), "")


def _without_indexes(path: str) -> str:
    return _INDEX.sub("", path)


_INDEX = re.compile(r"\[[^\]]*\]")
