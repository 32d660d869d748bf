"""The kinds of which an installation of Outrider in a cluster consists, beyond those that it works with."""

from typing import Any

from outrider.kube.api import Kind
from outrider.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    SERVICE_MONITOR,
)

CUSTOM_RESOURCE_DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, dict, ("crd",)
)
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False, dict)
CLUSTER_ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False, dict)
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, dict, ("netpol",))

OPERATOR_KINDS: tuple[Kind[Any], ...] = (
    SERVICE_MONITOR,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    NETWORK_POLICY,
    ROLE_BINDING,
    ROLE,
    CLUSTER_ROLE_BINDING,
    CLUSTER_ROLE,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
)
"""What runs the operator, in the order in which it is taken away."""

INSTALLED_KINDS: tuple[Kind[Any], ...] = (*OPERATOR_KINDS, CUSTOM_RESOURCE_DEFINITION, NAMESPACE)


def installed_kind(body: dict[str, Any]) -> Kind[Any]:
    """The kind of one of an installation's objects. Raises KeyError for any other."""
    wanted = (body["apiVersion"], body["kind"])
    return {(kind.api_version, kind.kind): kind for kind in INSTALLED_KINDS}[wanted].into(dict)
