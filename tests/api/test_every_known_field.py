"""Every field that the SRE guide and its book give an LLMDeployment is honoured, passed to the pod, or reported.

One row per field. A field of the first table changes the answer that its function gives; a field of the second is
listed in `not_acted_on`. Work that makes a listed field true moves its row.
"""

from collections.abc import Callable
from typing import Any

import pytest

from outrider.api.capabilities import CONDITIONAL, FIXED, NOT_ACTED_ON, covering_line, reason
from outrider.api.crd import object_schema, validate_object
from outrider.api.parse import Parsed, parse_spec
from outrider.api.spec import LLMDeploymentSpec

URI = "hf://meta-llama/Llama-3.1-8B-Instruct"
BASE: dict[str, Any] = {"model": {"modelUri": URI, "version": "v1.2.0"}}

Answer = Callable[[LLMDeploymentSpec], Any]

PROBE = {"periodSeconds": 3}
LABELS = {"team": "a"}

HONOURED: dict[str, tuple[Any, Answer, Any]] = {
    "model.modelUri": ("s3://models/x", lambda s: str(s.model.model_uri), "s3://models/x"),
    "model.version": ("v2.0.0", lambda s: str(s.model.version), "v2.0.0"),
    "model.quantization.type": ("int8", lambda s: s.model.quantization.type, "int8"),
    "model.quantization.enabled": (False, lambda s: s.model.quantization.type, "none"),
    "model.quantization.precision": ("fp8", lambda s: s.model.quantization.type, "fp8"),
    "model.name": ("chat", lambda s: s.model.served_names[0], "chat"),
    "model.parameters": (1_000_000_000, lambda s: s.model.weights_bytes, 2_000_000_000),
    "model.parallelism.tensor": (1, lambda s: s.tensor_parallel_size, 1),
    "model.parallelism.pipeline": (2, lambda s: s.model.parallelism.pipeline, 2),
    "model.parallelism.data": (2, lambda s: s.model.parallelism.data, 2),
    "model.loading.useSharedMemory": (True, lambda s: s.pod.shared_memory, True),
    "model.image": ("engine:1", lambda s: s.model.image, "engine:1"),
    "resources.requests": ({"memory": "64Gi"}, lambda s: s.resources.manifest()["requests"]["memory"], "64Gi"),
    "resources.limits": ({"cpu": "16"}, lambda s: s.resources.manifest()["limits"].get("cpu"), "16"),
    "replicas": (3, lambda s: s.desired_replicas, 3),
    "autoscaling.enabled": (True, lambda s: s.autoscaling.enabled, True),
    "autoscaling.minReplicas": (2, lambda s: s.autoscaling.minimum, 2),
    "scheduling.nodeSelector": (LABELS, lambda s: s.pod.node_selector, LABELS),
    "scheduling.tolerations": ([{"key": "spot"}], lambda s: s.pod.tolerations, ({"key": "spot"},)),
    "scheduling.affinity": ({"nodeAffinity": {}}, lambda s: s.pod.affinity, {"nodeAffinity": {}}),
    "nodeSelector": (LABELS, lambda s: s.pod.node_selector, LABELS),
    "tolerations": ([{"key": "spot"}], lambda s: s.pod.tolerations, ({"key": "spot"},)),
    "affinity": ({"nodeAffinity": {}}, lambda s: s.pod.affinity, {"nodeAffinity": {}}),
    "monitoring.labels": (LABELS, lambda s: s.pod.labels, LABELS),
    "rollback.autoRollback.enabled": (True, lambda s: s.rollback.auto_rollback.enabled, True),
    "rollback.autoRollback.triggers": (
        [{"errorRate": ">1%"}],
        lambda s: [(one.indicator, str(one.trigger)) for one in s.rollback.auto_rollback.rules],
        [("errorRate", ">1%")],
    ),
    "rollback.autoRollback.window": ("2m", lambda s: s.rollback.auto_rollback.window.seconds, 120.0),
    "rollback.autoRollback.minRequests": (50, lambda s: s.rollback.auto_rollback.min_requests, 50),
    "rollback.autoRollback.consecutive": (3, lambda s: s.rollback.auto_rollback.consecutive, 3),
    "rollback.autoRollback.cooldown": ("1h", lambda s: s.rollback.auto_rollback.cooldown.seconds, 3600.0),
    "rollback.autoRollback.mode": ("recommend", lambda s: s.rollback.auto_rollback.mode, "recommend"),
    "rollback.autoRollback.bakeTime": ("1h", lambda s: s.rollback.auto_rollback.bake_time.seconds, 3600.0),
    "rollback.previousVersions": (["v1.0.0"], lambda s: [v.text for v in s.rollback.previous_versions], ["v1.0.0"]),
    "deployment.stage": ("poc", lambda s: s.stage, "poc"),
    "deployment.rollingUpdate.maxSurge": ("25%", lambda s: s.deployment.rolling_update.max_surge, "25%"),
    "deployment.rollingUpdate.maxUnavailable": (1, lambda s: s.deployment.rolling_update.max_unavailable, 1),
    "deployment.rolloutStrategy": ("canary", lambda s: s.deployment.rollout_strategy, "Canary"),
    "deployment.canary.steps": (
        [{"weight": 10, "duration": "10m"}, {"weight": 50, "duration": "30m"}],
        lambda s: [(step.weight, step.duration.seconds) for step in s.deployment.canary.steps],
        [(10, 600.0), (50, 1800.0)],
    ),
    "deployment.blueGreen.previewDuration": ("5m", lambda s: s.deployment.blue_green.preview_duration.seconds, 300.0),
    "deployment.blueGreen.autoPromotion": (False, lambda s: s.deployment.blue_green.auto_promotion, False),
    "rollback.standby": ("5m", lambda s: s.rollback.standby.seconds, 300.0),
    "deployment.progressDeadlineSeconds": (900, lambda s: s.progress_deadline_seconds, 900),
    "serving.batchSize": (32, lambda s: s.serving.batch_size, 32),
    "serving.maxSequenceLength": (4096, lambda s: s.serving.max_sequence_length, 4096),
    "serving.maxConcurrency": (100, lambda s: s.serving.max_concurrency, 100),
    "runtime.env": ([{"name": "A", "value": "1"}], lambda s: s.pod.env, ({"name": "A", "value": "1"},)),
    "scheduling.priorityClassName": ("urgent", lambda s: s.scheduling.priority_class_name, "urgent"),
    "template.metadata.labels": (LABELS, lambda s: s.pod.labels, LABELS),
    "template.metadata.annotations": (LABELS, lambda s: s.pod.annotations, LABELS),
    "containers": ([{"name": "p", "image": "i"}], lambda s: s.pod.sidecars, ({"name": "p", "image": "i"},)),
    "volumes": ([{"name": "v", "emptyDir": {}}], lambda s: s.pod.volumes, ({"name": "v", "emptyDir": {}},)),
    "imagePullSecrets": ([{"name": "pull"}], lambda s: s.pod.image_pull_secrets, ({"name": "pull"},)),
    "startupProbe": (PROBE, lambda s: s.pod.startup_probe, PROBE),
    "livenessProbe": (PROBE, lambda s: s.pod.liveness_probe, PROBE),
    "readinessProbe": (PROBE, lambda s: s.pod.readiness_probe, PROBE),
    "security.enabled": (True, lambda s: s.pod.pod_security_context.get("runAsUser"), 1000),
    "security.runAsNonRoot": (True, lambda s: s.pod.pod_security_context.get("runAsNonRoot"), True),
    "security.runAsUser": (7, lambda s: s.pod.pod_security_context.get("runAsUser"), 7),
    "security.fsGroup": (7, lambda s: s.pod.pod_security_context.get("fsGroup"), 7),
    "security.readOnlyRootFilesystem": (
        True,
        lambda s: s.pod.container_security_context.get("readOnlyRootFilesystem"),
        True,
    ),
    "security.capabilities.drop": (
        ["NET_RAW"],
        lambda s: s.pod.container_security_context["capabilities"]["drop"],
        ["NET_RAW"],
    ),
    "security.seccompProfile.type": (
        "Unconfined",
        lambda s: s.pod.pod_security_context["seccompProfile"]["type"],
        "Unconfined",
    ),
    "disruption.maxUnavailable": (2, lambda s: s.disruption_budget, {"maxUnavailable": 2}),
    "disruption.minAvailable": (1, lambda s: s.disruption_budget, {"minAvailable": 1}),
}

REPORTED: dict[str, Any] = {
    "model.registry": "company-registry.com/models",
    "model.registry.endpoint": "company-registry.com/models",
    "model.registry.credentials.secretName": "registry",
    "model.checksums.sha256": "a" * 64,
    "model.checksums.files": {"config.json": "a" * 64},
    "model.framework": "pytorch",
    "model.architecture": "llama",
    "model.cache.enabled": True,
    "model.cache.maxSize": "100Gi",
    "model.cache.preallocation": True,
    "model.loading.preload": True,
    "model.loading.pinMemory": True,
    "model.loading.warmupSamples": 3,
    "model.loading.numWorkers": 4,
    "model.preload": True,
    "model.warmupRequests": 3,
    "resources.policies.costOptimization": "aggressive",
    "resources.policies.spotPreference": "preferred",
    "resources.policies.utilizationTarget": 0.8,
    "autoscaling.maxReplicas": 3,
    "autoscaling.targetGPUUtilization": 70,
    "autoscaling.behavior": {"scaleUp": {"stabilizationWindowSeconds": 30}},
    "autoscaling.scaleDownDelay": "10m",
    "autoscaling.prefillScaling": {"minReplicas": 1},
    "autoscaling.decodeScaling": {"minReplicas": 1},
    "scaling.mode": "cost-aware",
    "scaling.constraints.maxCostPerHour": 50,
    "scaling.constraints.maxCostPerRequest": 0.002,
    "scaling.constraints.maxLatencyP95": 500,
    "scaling.constraints.minThroughput": "100",
    "scheduling.sloPolicy.enabled": True,
    "scheduling.sloPolicy.objectives": [{"name": "availability", "target": "99.9%", "weight": 1.0, "window": "5m"}],
    "scheduling.sloPolicy.scaling": {"scaleUpThreshold": 0.8},
    "monitoring.alerting.enabled": True,
    "monitoring.alerting.channels": ["#sre-alerts"],
    "monitoring.alerting.rules": [{"name": "slow", "condition": "p95_latency > 1000ms", "severity": "critical"}],
    "monitoring.enabled": False,
    "monitoring.metrics.enabled": False,
    "monitoring.metrics.port": 9000,
    "monitoring.metrics.path": "/stats",
    "monitoring.metrics.detailed": True,
    "monitoring.port": 9090,
    "monitoring.path": "/stats",
    "monitoring.logging.level": "info",
    "monitoring.logging.format": "json",
    "monitoring.tracing.enabled": True,
    "monitoring.tracing.samplingRate": 0.1,
    "monitoring.memoryThreshold": 0.9,
    "observability.tracing.enabled": True,
    "backup.enabled": True,
    "backup.schedule": "0 2 * * *",
    "backup.retention": "30d",
    "rollback.enabled": False,
    "deployment.approval": {"required": True},
    "serving.port": 9000,
    "serving.protocol": "grpc",
    "serving.mode": "disaggregated",
    "serving.prefill": {"replicas": 1},
    "serving.decode": {"replicas": 1},
    "serving.batching": {"maxBatchSize": 8},
    "routing": {"strategy": "least-loaded"},
    "cache": {"enabled": True},
    "security.networkPolicy.enabled": True,
    "security.networkPolicy.isolateTenant": True,
    "debugging": {"enabled": True},
    "priority": "emergency",
}


IN_SOME_CLUSTERS: dict[str, Any] = {
    "scheduling.scheduler": "llm-d-inference-scheduler",
    "schedulerName": "llm-d-inference-scheduler",
    "monitoring.serviceMonitor.enabled": True,
    "monitoring.serviceMonitor.interval": "15s",
}
"""What has its effect depends on the cluster: the plan says so."""


def _with(path: str, value: Any) -> dict[str, Any]:
    """BASE with a value at a path below `spec`."""
    spec: dict[str, Any] = {"model": dict(BASE["model"])}
    *parents, last = path.split(".")
    node = spec
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return spec


def _parse(spec: dict[str, Any]) -> Parsed:
    return parse_spec(spec, name="llama", namespace="default")


@pytest.mark.parametrize("path", HONOURED)
def test_it_has_its_effect(path: str) -> None:
    value, answer, expected = HONOURED[path]
    around = {"resources": {"requests": {"nvidia.com/gpu": "2"}}} if "parallelism" in path else {}
    parsed, before = _parse(_with(path, value) | around), _parse(BASE | around)
    assert parsed.errors == ()
    assert parsed.ignored == ()
    assert parsed.not_acted_on == ()
    assert parsed.spec is not None
    assert before.spec is not None
    assert answer(parsed.spec) == expected
    assert answer(before.spec) != expected, "the row proves nothing"


@pytest.mark.parametrize("path", REPORTED)
def test_it_is_taken_and_reported_as_without_effect(path: str) -> None:
    parsed = _parse(_with(path, REPORTED[path]))
    assert parsed.errors == ()
    assert parsed.ignored == ()
    assert len(parsed.not_acted_on) == 1
    assert f"spec.{path}".startswith(parsed.not_acted_on[0])


@pytest.mark.parametrize("path", IN_SOME_CLUSTERS)
def test_it_is_taken_and_left_to_the_cluster(path: str) -> None:
    parsed = _parse(_with(path, IN_SOME_CLUSTERS[path]))
    assert (parsed.errors, parsed.reported) == ((), ())
    ((line, written),) = parsed.conditional
    assert line in CONDITIONAL
    assert f"spec.{path}".startswith(written)


@pytest.mark.parametrize("path", [*HONOURED, *REPORTED, *IN_SOME_CLUSTERS])
def test_the_crd_takes_it(path: str) -> None:
    value = HONOURED[path][0] if path in HONOURED else (REPORTED | IN_SOME_CLUSTERS)[path]
    assert validate_object(object_schema("LLMDeployment"), None, {"spec": _with(path, value)}) == []


def test_model_source_is_known() -> None:
    s3 = {"bucket": "models", "prefix": "llama", "region": "eu-central-1"}
    parsed = _parse({"model": {"source": {"s3": s3}}})
    assert parsed.errors == ()
    assert parsed.ignored == ()
    assert parsed.not_acted_on == ("spec.model.source.s3.region",)


IN_EFFECT_ANYWAY: dict[str, Any] = {
    "rollback.enabled": True,
    "serving.port": 8080,
    "serving.protocol": "http",
    "monitoring.enabled": True,
    "monitoring.metrics.enabled": True,
    "monitoring.metrics.port": 8081,
    "monitoring.metrics.path": "/metrics",
}


@pytest.mark.parametrize("path", IN_EFFECT_ANYWAY)
def test_what_is_so_anyway_is_not_reported(path: str) -> None:
    parsed = _parse(_with(path, IN_EFFECT_ANYWAY[path]))
    assert parsed.errors == ()
    assert parsed.reported == ()


def test_every_line_of_the_tables_is_reached_by_a_row() -> None:
    reached = {covering_line(f"spec.{path}") for path in REPORTED}
    moved = {"spec.model.source.s3.region"}
    assert set(NOT_ACTED_ON) - reached - moved == set()
    assert {line.path for line in FIXED} == {f"spec.{path}" for path in IN_EFFECT_ANYWAY}


def test_every_reported_field_has_a_reason() -> None:
    assert reason("spec.scheduling.sloPolicy.objectives[0].weight") == "objectives are not measured yet"
    assert reason("spec.serving.port") == "the Service listens on 8080"
    assert reason("spec.replicas") == ""
