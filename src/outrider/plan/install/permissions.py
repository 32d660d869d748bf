"""What the operator may do, as data: every verb that it uses and none that it does not.

`tests/kubernetes/test_permissions.py` runs the operator against an API server and compares its audit log with this
list: nothing denied, nothing unused. Reasons are printed in `docs/guide/install.md`.
"""

from typing import Literal, NamedTuple

from outrider.api.labels import GROUP

Scope = Literal["watched", "picker", "cluster", "review", "own"]
"""Where a permission holds: in every namespace that the operator looks after; there, where it sets up endpoint pickers;
on cluster-scoped kinds; for asking the API server about callers of the metrics endpoint; in its own namespace."""


class Permission(NamedTuple):
    scope: Scope
    group: str
    resource: str
    """Plural, with `/SUBRESOURCE` where it is about one."""
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    """Only the objects of these names."""


LEASE_NAME = "outrider-operator"
CONFIG_MAP_NAME = "outrider-operator"
_READ = ("list", "watch")
_OWN = (*_READ, "create", "patch")
"""Server-side apply is `patch`, and `create` where there is no such object yet."""
_OWNED = (*_OWN, "delete")
_GRANTED = ("get", *_READ)

PERMISSIONS: tuple[Permission, ...] = (
    Permission("watched", GROUP, "llmdeployments", _READ, "what people want"),
    Permission("watched", GROUP, "llmdeployments/status", ("patch",), "how it is doing"),
    Permission(
        "watched",
        GROUP,
        "llmdeployments/finalizers",
        ("update",),
        "objects name the LLMDeployment as their owner; the admission plugin OwnerReferencesPermissionEnforcement asks",
    ),
    Permission("watched", GROUP, "modelrevisions", (*_READ, "create", "get", "delete"), "the history"),
    Permission("watched", GROUP, "modelrevisions/status", ("patch",), "which revision serves, and worked"),
    Permission("watched", GROUP, "versionpins", _READ, "rollbacks that people hold"),
    Permission("watched", GROUP, "versionpins/status", ("patch",), "whether a rollback holds"),
    Permission(
        "watched", "apps", "deployments", _OWNED, "the pods of a service; those of one revision go with it, or a drill"
    ),
    Permission("watched", "", "services", _OWNED, "its address; that of a candidate goes when it is none any more"),
    Permission("watched", "policy", "poddisruptionbudgets", _OWN, "how much a drain may take"),
    Permission("watched", "gateway.networking.k8s.io", "httproutes", _OWN, "its way in, where a gateway is set"),
    Permission("watched", "gateway.networking.k8s.io", "gateways", _READ, "the gateway's address, where one is set"),
    Permission(
        "watched",
        "monitoring.coreos.com",
        "servicemonitors",
        _OWNED,
        "scraping of its metrics, where the cluster has ServiceMonitors",
    ),
    Permission("watched", "", "pods", _READ, "which replicas are up, and who holds GPUs"),
    Permission("watched", "", "pods/status", ("patch",), "the readiness gate: a replica has answered a real request"),
    Permission(
        "watched", "", "pods/eviction", ("create",), "a replica that a faulty GPU keeps from serving: another is made"
    ),
    Permission("watched", "events.k8s.io", "events", ("create", "patch"), "what happened, in words"),
    Permission("picker", "inference.networking.k8s.io", "inferencepools", (*_OWNED, "get"), "the pods to choose among"),
    Permission("picker", "", "serviceaccounts", _OWNED, "who an endpoint picker is"),
    Permission("picker", "rbac.authorization.k8s.io", "roles", _OWNED, "what an endpoint picker may read"),
    Permission("picker", "rbac.authorization.k8s.io", "rolebindings", _OWNED, "that it may"),
    Permission("picker", "", "pods", ("get",), "a role can only be given what its giver may do"),
    Permission("picker", "llm-d.ai", "inferenceobjectives", _GRANTED, "the same"),
    Permission("picker", "llm-d.ai", "inferencemodelrewrites", _GRANTED, "the same"),
    Permission("picker", "inference.networking.x-k8s.io", "inferenceobjectives", _GRANTED, "the same"),
    Permission("picker", "inference.networking.x-k8s.io", "inferencemodelrewrites", _GRANTED, "the same"),
    Permission("cluster", "", "nodes", _READ, "where GPUs are free"),
    Permission("review", "authentication.k8s.io", "tokenreviews", ("create",), "who asks for metrics"),
    Permission("review", "authorization.k8s.io", "subjectaccessreviews", ("create",), "whether they may"),
    Permission("own", "coordination.k8s.io", "leases", ("create",), "leader election"),
    Permission("own", "coordination.k8s.io", "leases", ("get", "patch"), "leader election", (LEASE_NAME,)),
    Permission(
        "own", "", "configmaps", ("create", "patch"), "its settings, for `outrider plan` to read", (CONFIG_MAP_NAME,)
    ),
)


def rules(*scopes: Scope) -> list[dict[str, object]]:
    """The rules of a Role or ClusterRole with the permissions of these scopes; equal ones are put together."""
    merged: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for one in PERMISSIONS:
        if one.scope in scopes:
            merged.setdefault((one.group, one.verbs, one.names), []).append(one.resource)
    made = []
    for (group, verbs, names), resources in merged.items():
        rule: dict[str, object] = {"apiGroups": [group], "resources": resources}
        if names:
            rule["resourceNames"] = list(names)
        made.append(rule | {"verbs": list(verbs)})
    return made
