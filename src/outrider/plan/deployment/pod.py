"""The pod template of one revision.

Numbers: llm-d's recipes for vLLM (guides/recipes/modelserver: probes, preStop 15 s, `--shutdown-timeout=45`, grace =
both + 15 s); the start-up budget from the size of the weights (`spec.start_seconds`).
"""

from outrider.api import labels
from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.names import label_value
from outrider.api.spec import ENGINE_CONTAINER, LLMDeploymentSpec, PodSettings
from outrider.plan.deployment.security import container_context, pod_context
from outrider.plan.deployment.snapshot import PlanConfig
from outrider.plan.deployment.volumes import Body, Storage, storage, without_empty

GRACE_MARGIN_SECONDS = 15
"""What the engine's processes get to end in, after the requests in flight have ended."""
STARTUP_PERIOD_SECONDS = 5
"""A model that loads in seconds is not kept waiting half a minute; one request every 5 s costs nothing."""
QUIET_ENDPOINTS = "/health,/metrics,/v1/models"
"""Probes and scrapes would drown the requests in the access log."""
TOKEN_SECRET = "llm-d-hf-token"  # noqa: S105 - the name of the Secret in llm-d's recipes, not a secret
TOKEN_KEY = "HF_TOKEN"  # noqa: S105 - the name of a key
GPU_TOLERATION = {"key": labels.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}


def pod_template(name: str, spec: LLMDeploymentSpec, revision: ModelRevisionSpec, config: PlanConfig) -> Body:
    pod = spec.pod
    stored = storage(spec, revision)
    return {
        "metadata": {
            "labels": colour_label(name) | pod.labels | pod_labels(name, revision),
            "annotations": dict(pod.annotations),
        },
        "spec": without_empty(
            {
                # Else a Service named `vllm` would put VLLM_PORT=tcp://... into the environment, which breaks vLLM.
                "enableServiceLinks": False,
                "readinessGates": [{"conditionType": labels.ANSWERS_REQUESTS}],
                "terminationGracePeriodSeconds": config.drain_seconds + config.shutdown_seconds + GRACE_MARGIN_SECONDS,
                "securityContext": pod_context(spec, revision),
                "imagePullSecrets": list(pod.image_pull_secrets),
                "priorityClassName": spec.scheduling.priority_class_name,
                "nodeSelector": dict(pod.node_selector),
                "tolerations": _tolerations(spec, pod),
                "affinity": pod.affinity,
                "topologySpreadConstraints": _spread(name),
                "containers": [_engine(spec, pod, revision, config, stored), *pod.sidecars],
                "volumes": list(stored.volumes),
            }
        ),
    }


def colour_label(name: str) -> dict[str, str]:
    """What a blue-green pair is told apart by, from the name's ending."""
    colour = name.rpartition("-")[2]
    return {labels.COLOUR: colour} if colour in labels.COLOURS and colour != name else {}


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
    spec: LLMDeploymentSpec, pod: PodSettings, revision: ModelRevisionSpec, config: PlanConfig, stored: Storage
) -> Body:
    return without_empty(
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
            "env": _environment(pod, stored),
            "ports": [{"name": labels.HTTP_PORT_NAME, "containerPort": labels.HTTP_PORT, "protocol": "TCP"}],
            "startupProbe": _startup_probe(spec, pod),
            "readinessProbe": _with_wishes(_probe("/v1/models", 5, 2, 3), pod.readiness_probe),
            "livenessProbe": _with_wishes(_probe("/health", 10, 5, 3), pod.liveness_probe),
            # The pod leaves the endpoints when its deletion begins; requests that were on their way still arrive.
            "lifecycle": {"preStop": {"sleep": {"seconds": config.drain_seconds}}} if config.drain_seconds else {},
            "resources": without_empty(spec.resources.manifest()),
            "securityContext": container_context(spec, revision),
            "volumeMounts": list(stored.mounts),
        }
    )


def _environment(pod: PodSettings, stored: Storage) -> list[Body]:
    """Ours first, since `$(POD_IP)` in arguments needs it; what the user sets under the same name replaces ours."""
    ours: list[Body] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": TOKEN_KEY, "valueFrom": {"secretKeyRef": {"name": TOKEN_SECRET, "key": TOKEN_KEY, "optional": True}}},
        *({"name": name, "value": value} for name, value in stored.environment.items()),
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
    """Replicas on different nodes where that is possible, so that one node's fault is not the whole service's.

    Counted for each template of its own (`pod-template-hash`): else a rolling update would place its new pods by where
    the old ones are, and be left uneven once those have gone.
    """
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {labels.DEPLOYMENT: label_value(name)}},
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]
