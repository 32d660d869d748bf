"""The scale subresource: how many replicas are wanted and running, for any kind that has such a number."""

from typing import Any

import msgspec

from outrider.kube.api import Kind, Object, PatchType
from outrider.kube.objects import LabelSelector
from outrider.kube.selectors import label_selector
from outrider.local.store import errors
from outrider.local.store.patches import json_patch, merge_patch
from outrider.local.store.records import Record, copy
from outrider.local.store.store import Store
from outrider.local.store.writes import Write, apply, change


def _selector_text(obj: Object) -> str:
    status = (obj.get("status") or {}).get("selector")
    if isinstance(status, str):
        return status
    selector = (obj.get("spec") or {}).get("selector")
    return str(label_selector(msgspec.convert(selector, LabelSelector))) if isinstance(selector, dict) else ""


def read_scale(store: Store, kind: Kind[Any], namespace: str, name: str) -> Object:
    """The object's `autoscaling/v1` Scale. Raises `NotFound`, also for a kind that has no scale."""
    if not store.table(kind).rules.has_scale:
        raise errors.no_subresource(kind, "scale")
    obj = store.get(kind, name, namespace).object()
    metadata = obj["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Object = {"replicas": (obj.get("status") or {}).get("replicas", 0)}
    if selector := _selector_text(obj):
        status["selector"] = selector
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {field: metadata[field] for field in shown if field in metadata},
        "spec": {"replicas": (obj.get("spec") or {}).get("replicas", 0)},
        "status": status,
    }


def patch_scale(
    store: Store, kind: Kind[Any], namespace: str, name: str, patch: Any, patch_type: PatchType, write: Write
) -> Record:
    """Patch the Scale, which sets the object's `spec.replicas`. Returns the object."""
    scale = read_scale(store, kind, namespace, name)
    body = copy(patch)
    return write_scale(
        store,
        kind,
        namespace,
        name,
        json_patch(scale, body) if patch_type == "json" else merge_patch(scale, body),
        write,
    )


def apply_scale(
    store: Store, kind: Kind[Any], namespace: str, name: str, scale: Any, write: Write, *, force: bool
) -> Record:
    """Apply the Scale: the manager owns the number of replicas. Raises `Conflict` where somebody else does."""
    read_scale(store, kind, namespace, name)
    spec = scale.get("spec") if isinstance(scale, dict) else None
    replicas = {"replicas": spec["replicas"]} if isinstance(spec, dict) and "replicas" in spec else {}
    body = {
        "apiVersion": kind.api_version, "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": replicas,
    }  # fmt: skip
    return apply(store, kind, body, write, force=force)


def write_scale(store: Store, kind: Kind[Any], namespace: str, name: str, scale: Any, write: Write) -> Record:
    """Replace the Scale. Raises `Conflict` when its `metadata.resourceVersion` is not the object's any more."""
    table, record = store.table(kind), store.get(kind, name, namespace)
    if not table.rules.has_scale:
        raise errors.no_subresource(kind, "scale")
    spec = scale.get("spec") if isinstance(scale, dict) else None
    replicas = (spec or {}).get("replicas", 0) if isinstance(spec, dict | None) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        causes = [errors.invalid_value("spec.replicas", replicas, "must be a whole number, 0 or more")]
        raise errors.invalid(kind, name, causes)
    obj = record.object()
    obj["spec"]["replicas"] = replicas
    metadata = scale.get("metadata") or {}
    for field in ("uid", "resourceVersion"):
        if metadata.get(field):
            obj["metadata"][field] = metadata[field]
    return change(store, table, record, obj, write)
