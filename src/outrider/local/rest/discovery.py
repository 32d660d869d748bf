"""What is served here, for clients that ask before they act: versions, groups and resources."""

from typing import Any

from outrider import __version__
from outrider.kube.api import Kind
from outrider.kube.objects import NAMESPACE, POD
from outrider.local.store import Store
from outrider.local.store.rules import Rules

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_KUBERNETES = "1.34"
"""The Kubernetes whose semantics the store follows, for clients that compare versions."""


def version() -> dict[str, Any]:
    major, minor = _KUBERNETES.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{_KUBERNETES}.0+outrider.{__version__}",
        "platform": "local",
    }


def core_versions() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(store: Store) -> list[dict[str, Any]]:
    found = dict.fromkeys((kind.group, kind.version) for kind in store.kinds if kind.group)
    versions = [(group, {"groupVersion": f"{group}/{version}", "version": version}) for group, version in found]
    return [{"name": group, "versions": [version], "preferredVersion": version} for group, version in versions]


def group_list(store: Store) -> dict[str, Any]:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups(store)}


def resource_list(store: Store, api_version: str) -> dict[str, Any] | None:
    """The resources of a group and version; None where there are none."""
    found: list[dict[str, Any]] = []
    for kind in store.kinds:
        if kind.api_version == api_version:
            found += _resources(kind, store.table(kind).rules)
    if not found:
        return None
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": found}


def _resources(kind: Kind[Any], rules: Rules) -> list[dict[str, Any]]:
    def subresource(name: str, verbs: list[str], shown: str = kind.kind, **more: str) -> dict[str, Any]:
        return {
            "name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced, "kind": shown,
            "verbs": verbs, **more,
        }  # fmt: skip

    found: list[dict[str, Any]] = [
        {
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": _VERBS, "shortNames": list(kind.short_names),
        }
    ]  # fmt: skip
    if rules.has_status:
        found.append(subresource("status", ["get", "patch", "update"]))
    if rules.has_scale:
        found.append(subresource("scale", ["get", "patch", "update"], "Scale", group="autoscaling", version="v1"))
    if kind == POD:
        found.append(subresource("eviction", ["create"], "Eviction", group="policy", version="v1"))
        found.append(subresource("log", ["get"]))
    if kind == NAMESPACE:
        found.append(subresource("finalize", ["patch", "update"]))
    return found
