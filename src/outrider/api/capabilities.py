"""Known fields that this version of Outrider takes but does not act on yet.

Every line is a promise not kept yet: the field is reported in the status of whoever sets it. Work that makes a line
true removes it here. A line covers everything below its path; `[]` stands for any item of a list.
"""

from collections.abc import Iterable

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
    "spec.scheduling.scheduler": "no endpoint picker is set up yet: the replica with the fewest requests answers",
    "spec.scheduling.sloPolicy": "objectives are not measured yet",
    "spec.resources.policies": "no advice on cost is given yet",
    # monitoring
    "spec.monitoring.alerting": "no alerts are sent yet",
    "spec.monitoring.metrics.detailed": "there is one level of detail",
    "spec.monitoring.metrics.enabled": "metrics are always served",
    "spec.monitoring.metrics.path": "metrics are served at /metrics",
    "spec.monitoring.metrics.port": "metrics are served at port 8081 of the Service",
    "spec.monitoring.serviceMonitor": "no ServiceMonitor is written yet",
    "spec.monitoring.logging": "the engine logs in its own way",
    "spec.monitoring.tracing": "the engine's traces are not configured yet",
    "spec.monitoring.memoryThreshold": "no alerts are sent yet",
    # backup
    "spec.backup": "no backups are made yet",
    # releases
    "spec.rollback.autoRollback": "rollback is manual in this version: `outrider rollback NAME`",
    "spec.deployment.canary": "releases are rolling updates in this version",
    "spec.deployment.blueGreen": "releases are rolling updates in this version",
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
    "spec.serving.protocol": "http is served",
    "spec.serving.mode": "prefill and decode are not separated yet",
    "spec.serving.prefill": "prefill and decode are not separated yet",
    "spec.serving.decode": "prefill and decode are not separated yet",
    "spec.serving.batching": "the engine batches continuously on its own",
    "spec.routing": "requests go to the ready replica with the fewest in flight",
    # the rest
    "spec.cache": "the engine decides what it caches",
    "spec.security.networkPolicy": "no NetworkPolicy is written yet",
    "spec.debugging": "nothing is switched on for debugging",
    "spec.priority": "no PriorityClass is set yet",
}

UNSUPPORTED_STRATEGIES: dict[str, str] = {
    "Canary": "a rolling update is done instead",
    "BlueGreen": "a rolling update is done instead",
    "Recreate": "a rolling update is done instead",
}
"""Values of `spec.deployment.rolloutStrategy` that are known and not yet done."""


def covering_line(path: str) -> str | None:
    """The line of the table that covers a path, if any."""
    plain = _without_indexes(path)
    while plain:
        if plain in NOT_ACTED_ON:
            return plain
        plain = plain.rpartition(".")[0]
    return None


def not_acted_on(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths of the table that the written `paths` touch, in their order."""
    return tuple(dict.fromkeys(line for line in map(covering_line, paths) if line is not None))


def reason(path: str) -> str:
    """Why nothing is done about a path; empty where something is."""
    line = covering_line(path)
    return NOT_ACTED_ON[line] if line else ""


def _without_indexes(path: str) -> str:
    kept, depth = [], 0
    for character in path:
        depth += (character == "[") - (character == "]")
        if depth == 0 and character != "]":
            kept.append(character)
    return "".join(kept)
