"""The pod template of one revision.

Numbers: llm-d's recipes for vLLM (guides/recipes/modelserver: probes, preStop 15 s, `--shutdown-timeout=45`, grace =
both + 15 s); the start-up budget from the size of the weights (`spec.start_seconds`).
"""

from typing import Any

from outrider.api import labels
from outrider.api.model_uri import ModelUri
from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.names import label_value
from outrider.api.spec import ENGINE_CONTAINER, LLMDeploymentSpec, PodSettings
from outrider.plan.deployment.engine import MODEL_PATH
from outrider.plan.deployment.snapshot import PlanConfig

GRACE_MARGIN_SECONDS = 15
"""What the engine's processes get to end in, after the requests in flight have ended."""
STARTUP_PERIOD_SECONDS = 5
"""A model that loads in seconds is not kept waiting half a minute; one request every 5 s costs nothing."""
QUIET_ENDPOINTS = "/health,/metrics,/v1/models"
"""Probes and scrapes would drown the requests in the access log."""
TOKEN_SECRET = "llm-d-hf-token"  # noqa: S105 - the name of the Secret in llm-d's recipes, not a secret
TOKEN_KEY = "HF_TOKEN"  # noqa: S105 - the name of a key
GPU_TOLERATION = {"key": labels.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}

Body = dict[str, Any]


def pod_template(name: str, spec: LLMDeploymentSpec, revision: ModelRevisionSpec, config: PlanConfig) -> Body:
    pod = spec.pod
    volumes, mounts = _volumes(spec, pod, revision)
    return {
        "metadata": {
            "labels": pod.labels | pod_labels(name, revision),
            "annotations": dict(pod.annotations),
        },
        "spec": _without_empty(
            {
                # Else a Service named `vllm` would put VLLM_PORT=tcp://... into the environment, which breaks vLLM.
                "enableServiceLinks": False,
                "readinessGates": [{"conditionType": labels.ANSWERS_REQUESTS}],
                "terminationGracePeriodSeconds": config.drain_seconds + config.shutdown_seconds + GRACE_MARGIN_SECONDS,
                "securityContext": pod.pod_security_context,
                "imagePullSecrets": list(pod.image_pull_secrets),
                "nodeSelector": dict(pod.node_selector),
                "tolerations": _tolerations(spec, pod),
                "affinity": pod.affinity,
                "topologySpreadConstraints": _spread(name),
                "containers": [_engine(spec, pod, revision, config, mounts), *pod.sidecars],
                "volumes": volumes,
            }
        ),
    }


def pod_labels(name: str, revision: ModelRevisionSpec) -> dict[str, str]:
    return {
        labels.NAME: labels.NAME_VALUE,
        labels.INSTANCE: label_value(name),
        labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
        labels.DEPLOYMENT: label_value(name),
        labels.REVISION: revision.hash,
        labels.MODEL_VERSION: label_value(revision.version),
        labels.MODEL: label_value(revision.model_name),
        labels.ROLE: labels.ROLE_VALUE,
        labels.ENGINE_TYPE: "vllm",
    }


def _engine(
    spec: LLMDeploymentSpec, pod: PodSettings, revision: ModelRevisionSpec, config: PlanConfig, mounts: list[Body]
) -> Body:
    return _without_empty(
        {
            "name": ENGINE_CONTAINER,
            "image": revision.image,
            "command": ["vllm", "serve"],
            "args": [
                *revision.args,
                "--host=$(POD_IP)",
                f"--port={labels.HTTP_PORT}",
                f"--shutdown-timeout={config.shutdown_seconds}",
                f"--disable-access-log-for-endpoints={QUIET_ENDPOINTS}",
            ],
            "env": _environment(pod),
            "ports": [{"name": labels.HTTP_PORT_NAME, "containerPort": labels.HTTP_PORT, "protocol": "TCP"}],
            "startupProbe": _startup_probe(spec, pod),
            "readinessProbe": _with_wishes(_probe("/v1/models", 5, 2, 3), pod.readiness_probe),
            "livenessProbe": _with_wishes(_probe("/health", 10, 5, 3), pod.liveness_probe),
            # The pod leaves the endpoints when its deletion begins; requests that were on their way still arrive.
            "lifecycle": {"preStop": {"sleep": {"seconds": config.drain_seconds}}} if config.drain_seconds else {},
            "resources": _without_empty(spec.resources.manifest()),
            "securityContext": pod.container_security_context,
            "volumeMounts": mounts,
        }
    )


def _environment(pod: PodSettings) -> list[Body]:
    """Ours first, since `$(POD_IP)` in arguments needs it; what the user sets under the same name replaces ours."""
    ours = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": TOKEN_KEY, "valueFrom": {"secretKeyRef": {"name": TOKEN_SECRET, "key": TOKEN_KEY, "optional": True}}},
    ]
    theirs = {str(entry.get("name")): dict(entry) for entry in pod.env}
    return [entry for entry in ours if entry["name"] not in theirs] + list(theirs.values())


def _probe(path: str, period: int, timeout: int, failures: int) -> Body:
    return {
        "httpGet": {"path": path, "port": labels.HTTP_PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _startup_probe(spec: LLMDeploymentSpec, pod: PodSettings) -> Body:
    """As many tries as the load may take: a model that loads slowly must not be restarted for ever."""
    failures = -(-spec.start_seconds // STARTUP_PERIOD_SECONDS)
    return _with_wishes(_probe("/v1/models", STARTUP_PERIOD_SECONDS, 5, failures), pod.startup_probe)


def _with_wishes(probe: Body, wishes: Body) -> Body:
    """The user's fields win; a way of asking of his own replaces ours, since a probe can have only one."""
    if any(handler in wishes for handler in ("exec", "grpc", "httpGet", "tcpSocket")):
        probe = {key: value for key, value in probe.items() if key != "httpGet"}
    return probe | wishes


def _tolerations(spec: LLMDeploymentSpec, pod: PodSettings) -> list[Body]:
    """GPU nodes are usually tainted with the name of their resource; a pod that asks for GPUs belongs there."""
    wanted = [dict(one) for one in pod.tolerations]
    if spec.resources.gpus and not any(one.get("key") == labels.GPU_RESOURCE for one in wanted):
        wanted.append(dict(GPU_TOLERATION))
    return wanted


def _spread(name: str) -> list[Body]:
    """Replicas on different nodes where that is possible, so that one node's fault is not the whole service's."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {labels.DEPLOYMENT: label_value(name)}},
        }
    ]


def _volumes(spec: LLMDeploymentSpec, pod: PodSettings, revision: ModelRevisionSpec) -> tuple[list[Body], list[Body]]:
    """(volumes, mounts): the user's, the model's where it comes in a volume, and shared memory between GPUs."""
    volumes = [dict(volume) for volume in pod.volumes]
    mounts = [dict(mount) for mount in pod.volume_mounts]
    source = _model_volume(revision)
    if source:
        volumes.append({"name": "model", **source})
        mounts.append({"name": "model", "mountPath": MODEL_PATH, "readOnly": True})
    if pod.shared_memory and not any(mount.get("mountPath") == "/dev/shm" for mount in mounts):  # noqa: S108 - a mount path
        volumes.append(
            {"name": "shm", "emptyDir": _without_empty({"medium": "Memory", "sizeLimit": _shared_memory(spec)})}
        )
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - a mount path
    return volumes, mounts


def _shared_memory(spec: LLMDeploymentSpec) -> str:
    """Half of the pod's memory at most, and 20Gi as llm-d's recipe: it counts against the container's limit."""
    limit = spec.resources.limits.get("memory") or spec.resources.requests.get("memory")
    half = limit.whole // 2 if limit is not None else 20 * 2**30
    return f"{min(half, 20 * 2**30) // 2**20}Mi"


def _model_volume(revision: ModelRevisionSpec) -> Body:
    """A model in a volume: an OCI artifact as an image volume (Kubernetes 1.33), or somebody's claim."""
    uri = ModelUri.parse(revision.model_uri)
    if uri.scheme == "oci":
        return {"image": {"reference": _oci_reference(uri, revision.version), "pullPolicy": "IfNotPresent"}}
    if uri.scheme == "pvc":
        claim, _, _ = uri.location.partition("/")
        return {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    return {}


def _oci_reference(uri: ModelUri, version: str) -> str:
    """The tag or digest of the URI; else the version is the tag."""
    tag = uri.revision or version
    return f"{uri.location}{'@' if tag.startswith('sha256:') else ':'}{tag}"


def _without_empty(body: Body) -> Body:
    return {key: value for key, value in body.items() if value not in ({}, [], None, "")}
