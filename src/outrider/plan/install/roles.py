"""Roles: the operator's own, and those by which people may use LLMDeployments."""

from typing import Any

from outrider.api.crd import KINDS
from outrider.api.labels import GROUP
from outrider.plan.install.objects import ACCOUNT, NAME, api_object, operator_object
from outrider.plan.install.permissions import Scope, rules
from outrider.plan.install.settings import Installation

_RBAC = "rbac.authorization.k8s.io"
_API = f"{_RBAC}/v1"
_PEOPLE_WRITE = ("llmdeployments", "versionpins")
METRICS_READER = "outrider-metrics-reader"
WATCHED_ROLE = f"{NAME}-watched"
PICKER_ROLE = f"{NAME}-endpoint-pickers"


def cluster_role(namespace: str) -> list[dict[str, Any]]:
    """For an operator that looks after the whole cluster."""
    return _granted(namespace, f"{namespace}:operator", "watched", "cluster")


def picker_cluster_role(namespace: str) -> list[dict[str, Any]]:
    """For an operator that sets up endpoint pickers anywhere in the cluster."""
    return _granted(namespace, f"{namespace}:endpoint-pickers", "picker")


def picker_role(namespace: str, watched: str) -> list[dict[str, Any]]:
    """For an operator that sets up endpoint pickers in named namespaces: one of them."""
    return _namespaced(namespace, watched, PICKER_ROLE, "picker")


def review_role(namespace: str) -> list[dict[str, Any]]:
    """For the metrics endpoint: ask the API server who a caller is, and what he may."""
    return _granted(namespace, f"{namespace}:metrics-auth", "review")


def watched_role(namespace: str, watched: str) -> list[dict[str, Any]]:
    """For an operator that looks after named namespaces: one of them."""
    return _namespaced(namespace, watched, WATCHED_ROLE, "watched")


def own_role(namespace: str) -> list[dict[str, Any]]:
    """In the operator's own namespace: its lease and its published settings."""
    return _namespaced(namespace, namespace, NAME, "own")


def operator_roles(settings: Installation, namespace: str) -> list[dict[str, Any]]:
    """All roles of the operator, with their bindings."""
    made = []
    if not settings.watch_namespaces:
        made += cluster_role(namespace)
        if settings.inference_pool:
            made += picker_cluster_role(namespace)
    if settings.cluster_roles:
        made += review_role(namespace)
    made += own_role(namespace)
    for watched in settings.watch_namespaces:
        made += watched_role(namespace, watched)
        if settings.inference_pool:
            made += picker_role(namespace, watched)
    return made


def _granted(namespace: str, name: str, *scopes: Scope) -> list[dict[str, Any]]:
    role = operator_object(_API, "ClusterRole", namespace, name, where="")
    binding = operator_object(_API, "ClusterRoleBinding", namespace, name, where="")
    return [role | {"rules": rules(*scopes)}, binding | _binds("ClusterRole", name, namespace)]


def _namespaced(namespace: str, where: str, name: str, *scopes: Scope) -> list[dict[str, Any]]:
    role = operator_object(_API, "Role", namespace, name, where=where)
    binding = operator_object(_API, "RoleBinding", namespace, name, where=where)
    return [role | {"rules": rules(*scopes)}, binding | _binds("Role", name, namespace)]


def _binds(kind: str, role: str, namespace: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }


def people_roles() -> list[dict[str, Any]]:
    """Cluster roles that Kubernetes adds to its own `view`, `edit` and `admin`; and who may read the metrics."""
    plurals = [known.plural for known in KINDS]
    read = [{"apiGroups": [GROUP], "resources": plurals, "verbs": ["get", "list", "watch"]}]
    write = [
        {
            "apiGroups": [GROUP],
            "resources": [*_PEOPLE_WRITE, "llmdeployments/scale"],
            "verbs": ["create", "delete", "deletecollection", "patch", "update"],
        },
        # Steering a release and trying one again are notes on its revision, whose content nobody can change.
        {"apiGroups": [GROUP], "resources": ["modelrevisions"], "verbs": ["patch"]},
    ]
    metrics = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    return [
        _aggregated("view", read),
        _aggregated("edit", write),
        # Kubernetes' own `admin` holds all of `edit`; the history is the operator's, but its owner may clear it away.
        _aggregated("admin", [{"apiGroups": [GROUP], "resources": ["modelrevisions"], "verbs": ["delete"]}]),
        api_object(_API, "ClusterRole", METRICS_READER) | {"rules": metrics},
    ]


def _aggregated(role: str, granted: list[dict[str, Any]]) -> dict[str, Any]:
    made = api_object(_API, "ClusterRole", f"outrider-{role}")
    made["metadata"]["labels"][f"{_RBAC}/aggregate-to-{role}"] = "true"
    return made | {"rules": granted}
