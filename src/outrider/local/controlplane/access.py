"""Who may do what on a local world's control plane: the least that each part needs."""

from collections.abc import Iterable
from typing import Any

from outrider.kube.api import Api, Kind, Object

FIELD_OWNER = "outrider-world"
OPERATOR_NAMESPACE = "outrider-system"
OPERATOR = "outrider"
"""The operator's service account."""
GATEWAY_USER = "outrider:gateway"

_RBAC = ("rbac.authorization.k8s.io", "v1")
CLUSTER_ROLE: Kind[dict[str, Any]] = Kind(*_RBAC, "ClusterRole", "clusterroles", False, dict)
CLUSTER_ROLE_BINDING: Kind[dict[str, Any]] = Kind(*_RBAC, "ClusterRoleBinding", "clusterrolebindings", False, dict)

_READ = ["get", "list", "watch"]
_GATEWAY_RULES = (
    {"apiGroups": [""], "resources": ["services", "pods"], "verbs": _READ},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["gateways", "httproutes"], "verbs": _READ},
    {"apiGroups": ["inference.llm-d.io"], "resources": ["llmdeployments"], "verbs": _READ},
)


def _binding(name: str, role: str, subject: Object) -> Object:
    return {
        "apiVersion": CLUSTER_ROLE_BINDING.api_version,
        "kind": CLUSTER_ROLE_BINDING.kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC[0], "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def _bodies() -> Iterable[tuple[Kind[Any], Object]]:
    gateway = {"name": "outrider-local-gateway"}
    role = {"apiVersion": CLUSTER_ROLE.api_version, "kind": CLUSTER_ROLE.kind, "metadata": gateway}
    yield CLUSTER_ROLE, {**role, "rules": list(_GATEWAY_RULES)}
    user = {"apiGroup": _RBAC[0], "kind": "User", "name": GATEWAY_USER}
    yield CLUSTER_ROLE_BINDING, _binding(gateway["name"], gateway["name"], user)
    account = {"kind": "ServiceAccount", "name": OPERATOR, "namespace": OPERATOR_NAMESPACE}
    yield CLUSTER_ROLE_BINDING, _binding("outrider-local-operator", "cluster-admin", account)


async def grant(api: Api) -> None:
    """Write the roles and bindings."""
    for kind, body in _bodies():
        await api.apply(kind, body, owner=FIELD_OWNER)
