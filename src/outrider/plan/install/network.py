"""The NetworkPolicy of the operator."""

from typing import Any

from outrider.api import labels
from outrider.plan.install.objects import POD_LABELS, operator_object
from outrider.plan.install.settings import HEALTH_PORT, METRICS_PORT, Installation

API_SERVER_PORTS = (443, 6443)
"""Of the `kubernetes` Service, and of the API servers behind it. They are no pods: no selector can name them."""
DNS_PORT = 53


def network_policy(settings: Installation, namespace: str) -> dict[str, Any]:
    """Who may reach the operator: probes and metrics. Whom it may reach: DNS, the API server, model
    servers, and what is in the namespace of the Gateway, on whatever ports that listens.

    The metrics port is open to all pods, since it asks every caller for a token and the API server for its rights.
    """
    made = operator_object("networking.k8s.io/v1", "NetworkPolicy", namespace, where=namespace)
    models = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {labels.NAME: labels.NAME_VALUE}},
    }
    made["spec"] = {
        "podSelector": {"matchLabels": dict(POD_LABELS)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [_port(HEALTH_PORT), _port(METRICS_PORT)]}],
        "egress": [
            {"ports": [_port(DNS_PORT, "UDP"), _port(DNS_PORT)]},
            {"ports": [_port(number) for number in API_SERVER_PORTS]},
            {"to": [models], "ports": [_port(labels.HTTP_PORT)]},
            *_to_gateway(settings),
        ],
    }
    return made


def _to_gateway(settings: Installation) -> list[dict[str, Any]]:
    """For its counters, and for requests through it."""
    if not settings.gateway:
        return []
    name = settings.gateway.partition("/")[0]
    return [{"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]}]


def _port(number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": number, "protocol": protocol}
