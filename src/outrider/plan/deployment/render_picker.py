"""The endpoint picker of one LLMDeployment: an InferencePool, and what chooses among its pods.

As llm-d's chart for its router has it (llm-d/llm-d-router, config/charts/routerlib, v0.9.0), with three differences:

* The configuration is an argument (`--config-text`), no ConfigMap: a change of it starts the picker anew, which a
  changed ConfigMap does not, and the operator needs no right on ConfigMaps.
* `failureMode: FailOpen`, as that chart sets it too (the API's own default is FailClose): while no picker answers, the
  gateway takes any ready pod. A picker makes answers faster; it must not be able to stop them.
* The container is restricted.

One pool for all revisions, as for the Service: with rolling updates pods of two revisions serve side by side anyway.
"""

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.names import label_value
from outrider.plan.deployment.render import Body, object_body, selector, signed
from outrider.plan.deployment.snapshot import PlanConfig

POOL_API_VERSION = "inference.networking.k8s.io/v1"
RBAC_API_VERSION = "rbac.authorization.k8s.io/v1"
GRPC_PORT, HEALTH_PORT, METRICS_PORT = 9002, 9003, 9090
GRACE_SECONDS = 130
"""Of the chart: as long as the longest grace period of the pool's pods."""
PICKER = "inference.llm-d.io/endpoint-picker"
"""Label of the picker's pods, with the LLMDeployment's name: they are none of the pods that serve it."""
READ = ["get", "list", "watch"]

PLUGINS = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: metrics-data-source
- type: core-metrics-extractor
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
"""
"""The chart's default: few waiting requests, free KV cache, and a prefix that the pod has seen before."""


def pool_body(owner: LLMDeployment, name: str, picker_name: str) -> Body:
    body = object_body(POOL_API_VERSION, "InferencePool", owner, name)
    body["spec"] = {
        "selector": {"matchLabels": selector(owner.metadata.name)},
        "targetPorts": [{"number": labels.HTTP_PORT}],
        "endpointPickerRef": {
            "group": "",
            "kind": "Service",
            "name": picker_name,
            "port": {"number": GRPC_PORT},
            "failureMode": "FailOpen",
        },
    }
    return signed(body)


def access_bodies(owner: LLMDeployment, picker_name: str) -> list[Body]:
    """The picker's account, and what it may read: the pods and the pool, and what people say about them."""
    account = object_body("v1", "ServiceAccount", owner, picker_name)
    role = object_body(RBAC_API_VERSION, "Role", owner, picker_name)
    objectives = ["inferenceobjectives", "inferencemodelrewrites"]
    role["rules"] = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": READ},
        {"apiGroups": ["inference.networking.k8s.io"], "resources": ["inferencepools"], "verbs": READ},
        {"apiGroups": ["llm-d.ai"], "resources": objectives, "verbs": READ},
        {"apiGroups": ["inference.networking.x-k8s.io"], "resources": objectives, "verbs": READ},
    ]
    binding = object_body(RBAC_API_VERSION, "RoleBinding", owner, picker_name)
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": picker_name}
    binding["subjects"] = [
        {"kind": "ServiceAccount", "name": picker_name, "namespace": owner.metadata.namespace},
    ]
    return [signed(body) for body in (account, role, binding)]


def picker_service_body(owner: LLMDeployment, picker_name: str) -> Body:
    body = object_body("v1", "Service", owner, picker_name)
    # The label that selects targets of metrics is the model servers' alone.
    body["metadata"]["labels"][labels.NAME] = picker_name
    body["spec"] = {
        "selector": {PICKER: label_value(owner.metadata.name)},
        "ports": [
            _port("grpc-ext-proc", GRPC_PORT) | {"appProtocol": "kubernetes.io/h2c"},
            _port("http-metrics", METRICS_PORT),
        ],
    }
    return signed(body)


def _port(name: str, number: int) -> Body:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}


def picker_body(owner: LLMDeployment, pool_name: str, picker_name: str, config: PlanConfig) -> Body:
    """The picker's Deployment. One replica, replaced and not doubled: what it knows of caches is in its memory."""
    body = object_body("apps/v1", "Deployment", owner, picker_name)
    body["metadata"]["labels"][labels.NAME] = picker_name
    selected = {PICKER: label_value(owner.metadata.name)}
    body["spec"] = {
        "replicas": 1,
        "selector": {"matchLabels": selected},
        "strategy": {"type": "Recreate"},
        "revisionHistoryLimit": 2,
        "template": {
            "metadata": {"labels": {labels.NAME: picker_name, labels.MANAGED_BY: labels.MANAGED_BY_VALUE} | selected},
            "spec": {
                "serviceAccountName": picker_name,
                "terminationGracePeriodSeconds": GRACE_SECONDS,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [_container(owner, pool_name, config)],
            },
        },
    }
    return signed(body)


def _container(owner: LLMDeployment, pool_name: str, config: PlanConfig) -> Body:
    probe = {"grpc": {"port": HEALTH_PORT, "service": "inference-extension"}}
    return {
        "name": "epp",
        "image": config.picker_image,
        "args": [
            f"--pool-name={pool_name}",
            f"--pool-namespace={owner.metadata.namespace}",
            "--pool-group=inference.networking.k8s.io",
            f"--grpc-port={GRPC_PORT}",
            f"--grpc-health-port={HEALTH_PORT}",
            f"--metrics-port={METRICS_PORT}",
            f"--secure-serving={str(config.picker_tls).lower()}",
            "--metrics-endpoint-auth=false",
            "--tracing=false",
            "--zap-encoder=json",
            f"--config-text={PLUGINS}",
        ],
        "env": [
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": [
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
            {"name": "grpc-health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": probe | {"initialDelaySeconds": 5, "periodSeconds": 10},
        "readinessProbe": probe | {"periodSeconds": 2},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
