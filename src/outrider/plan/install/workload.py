"""The operator's Deployment and what belongs to it."""

from collections.abc import Mapping
from typing import Any

from outrider.plan.install.objects import ACCOUNT, NAME, POD_LABELS, operator_object
from outrider.plan.install.settings import HEALTH_PORT, METRICS_PORT, Installation

METRICS_SERVICE = "outrider-operator-metrics"
_TERMINATION_SECONDS = 45
"""Reconciles under way get 30 s to end (kube/manager.py), and the lease is given up after that."""


def service_account(namespace: str) -> dict[str, Any]:
    """The account of the operator. Its token is mounted where the Deployment says so, and nowhere else."""
    made = operator_object("v1", "ServiceAccount", namespace, ACCOUNT, where=namespace)
    return made | {"automountServiceAccountToken": False}


def arguments(settings: Installation) -> list[str]:
    """The command line of the operator after `outrider`."""
    made = ["operator", "--leader-elect", f"--health-address=:{HEALTH_PORT}", "--log-format=json"]
    if settings.has_metrics:
        made.append(f"--metrics-address=:{METRICS_PORT}")
    if settings.watch_namespaces:
        made.append(f"--watch-namespaces={','.join(settings.watch_namespaces)}")
    if settings.gateway:
        made.append(f"--gateway={settings.gateway}")
    if settings.gateway_inside_url:
        made.append(f"--gateway-inside-url={settings.gateway_inside_url}")
    made += [f"--gateway-metrics={url}" for url in settings.gateway_metrics]
    if settings.inference_pool:
        made.append("--inference-pool")
    return [*made, *settings.arguments]


def deployment(settings: Installation, namespace: str) -> dict[str, Any]:
    """The operator: one pod leads, the others stand by with filled caches."""
    made = operator_object("apps/v1", "Deployment", namespace, where=namespace)
    made["spec"] = {
        "replicas": settings.replicas,
        "selector": {"matchLabels": dict(POD_LABELS)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {
                "labels": dict(made["metadata"]["labels"]),
                "annotations": {"kubectl.kubernetes.io/default-container": "operator"},
            },
            "spec": _pod(settings),
        },
    }
    return made


def _pod(settings: Installation) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": True,
        "terminationGracePeriodSeconds": _TERMINATION_SECONDS,
        # No user is named: the image's own is not root, and some clusters (OpenShift) assign one themselves.
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(settings)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
        "topologySpreadConstraints": [_spread("kubernetes.io/hostname"), _spread("topology.kubernetes.io/zone")],
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        spec["tolerations"] = [dict(one) for one in settings.tolerations]
    return spec


def _spread(topology: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(POD_LABELS)},
    }


def _container(settings: Installation) -> dict[str, Any]:
    ports = [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}]
    if settings.has_metrics:
        ports.append({"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"})
    return {
        "name": "operator",
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["outrider"],
        "args": arguments(settings),
        "env": [_from_pod("POD_NAME", "metadata.name"), _from_pod("POD_NAMESPACE", "metadata.namespace")],
        "ports": ports,
        "livenessProbe": _probe("/healthz", period=10, failures=6),
        "readinessProbe": _probe("/readyz", period=5, failures=3),
        "resources": {
            "requests": _amounts(settings.resources.requests),
            "limits": _amounts(settings.resources.limits),
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  (the pod's own, and empty)
    }


def _amounts(written: Mapping[str, str | int]) -> dict[str, str]:
    """Amounts as Kubernetes keeps them: text."""
    return {name: str(amount) for name, amount in written.items()}


def _from_pod(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "health", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def metrics_service(namespace: str) -> dict[str, Any]:
    """The address of the metrics of all pods, for whoever scrapes by Service."""
    made = operator_object("v1", "Service", namespace, METRICS_SERVICE, where=namespace)
    made["spec"] = {
        "selector": dict(POD_LABELS),
        "ports": [{"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"}],
    }
    return made


def disruption_budget(namespace: str) -> dict[str, Any]:
    """A drain takes one pod of the operator at a time. One replica alone may be drained too: models go on serving."""
    made = operator_object("policy/v1", "PodDisruptionBudget", namespace, where=namespace)
    made["spec"] = {"maxUnavailable": 1, "selector": {"matchLabels": dict(POD_LABELS)}}
    return made


def service_monitor(namespace: str) -> dict[str, Any]:
    """For the Prometheus operator, which scrapes with its own token: it must be bound to `outrider-metrics-reader`."""
    made = operator_object("monitoring.coreos.com/v1", "ServiceMonitor", namespace, NAME, where=namespace)
    made["spec"] = {
        "selector": {"matchLabels": dict(POD_LABELS)},
        "endpoints": [
            {
                "port": "metrics",
                "scheme": "https",
                "path": "/metrics",
                "bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token",
                # The operator signs its certificate itself when it starts; the token says who asks, not who answers.
                "tlsConfig": {"insecureSkipVerify": True},
            }
        ],
    }
    return made
