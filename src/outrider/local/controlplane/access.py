"""Who may do what on a local world's control plane: the least that each part needs."""

from collections.abc import Iterable
from typing import Any

from outrider.kube.api import Api, Object
from outrider.kube.installed import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, installed_kind
from outrider.local.controlplane.definitions import FIELD_OWNER
from outrider.plan.install.objects import ACCOUNT
from outrider.plan.install.roles import operator_roles, people_roles
from outrider.plan.install.settings import Installation
from outrider.plan.install.workload import service_account

OPERATOR = ACCOUNT
GATEWAY_USER = "outrider:gateway"
GATEWAY_ROLE = "outrider-local-gateway"

_READ = ["get", "list", "watch"]
_GATEWAY_API, _GATEWAY_KINDS = "gateway.networking.k8s.io", ("gatewayclasses", "gateways", "httproutes")
_GATEWAY_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["namespaces", "services", "pods"], "verbs": _READ},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    {"apiGroups": [_GATEWAY_API], "resources": list(_GATEWAY_KINDS), "verbs": _READ},
    {"apiGroups": [_GATEWAY_API], "resources": [f"{kind}/status" for kind in _GATEWAY_KINDS], "verbs": ["patch"]},
    {"apiGroups": ["inference.llm-d.io"], "resources": ["llmdeployments"], "verbs": _READ},
]


def _gateway() -> Iterable[Object]:
    """What the world's own gateway reads, and the status that it writes."""
    yield {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.kind,
        "metadata": {"name": GATEWAY_ROLE},
        "rules": _GATEWAY_RULES,
    }
    yield {
        "apiVersion": CLUSTER_ROLE_BINDING.api_version,
        "kind": CLUSTER_ROLE_BINDING.kind,
        "metadata": {"name": GATEWAY_ROLE},
        "roleRef": {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": GATEWAY_ROLE},
        "subjects": [{"apiGroup": CLUSTER_ROLE.group, "kind": "User", "name": GATEWAY_USER}],
    }


async def grant(api: Api, operator_namespace: str) -> None:
    """Write the roles and bindings. The operator gets what `outrider install` gives it, and no more."""
    account = [service_account(operator_namespace)]
    roles = [*operator_roles(Installation(), operator_namespace), *people_roles()]
    for body in (*account, *roles, *_gateway()):
        await api.apply(installed_kind(body), body, owner=FIELD_OWNER)
