"""Deleting: finalizers, grace periods, propagation, and when an object is really gone."""

from typing import Any

import msgspec

from outrider.api.meta import format_time, parse_time
from outrider.kube.api import Kind, Object, Propagation
from outrider.kube.objects import NAMESPACE, POD
from outrider.local.store import errors
from outrider.local.store.records import Record, make_record
from outrider.local.store.store import Store

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
"""The finalizers by which an object waits for the garbage collector: to let its dependents be, or delete them first."""
DEFAULT_GRACE_SECONDS = 30
FINISHED = ("Succeeded", "Failed")


class Deletion(msgspec.Struct, frozen=True):
    """What a delete request says."""

    uid: str = ""
    """Delete only the object with this uid."""
    resource_version: str = ""
    """Delete only this version of it."""
    grace_seconds: int | None = None
    propagation: Propagation | None = None
    """None leaves the choice to the object: what its finalizers say, else Background."""
    dry_run: bool = False


def is_finished(obj: Object) -> bool:
    """Whether nothing holds an object any more that is being deleted: no finalizer, and no node that runs it."""
    metadata = obj["metadata"]
    if (
        not metadata.get("deletionTimestamp")
        or metadata.get("finalizers")
        or metadata.get("deletionGracePeriodSeconds")
    ):
        return False
    return not (obj["kind"] == NAMESPACE.kind and (obj.get("spec") or {}).get("finalizers"))


def delete(store: Store, kind: Kind[Any], name: str, namespace: str, deletion: Deletion) -> Record:
    """Delete the object, or mark it for those that hold it. Returns its state after that, or its last.

    Raises `NotFound`, and `Conflict` when it is not the object or the version that was meant.
    """
    table = store.table(kind)
    record = store.get(kind, name, namespace)
    store.check_writable()
    _check_preconditions(kind, record, deletion)
    if deletion.grace_seconds is not None and deletion.grace_seconds < 0:
        causes = [errors.invalid_value("gracePeriodSeconds", deletion.grace_seconds, "must be 0 or more")]
        raise errors.invalid(kind, name, causes)
    obj = record.object()
    _set_propagation(obj, deletion.propagation)
    grace = _grace(kind, obj, deletion.grace_seconds)
    finished = _mark(store, kind, obj, grace)
    if not finished and obj == record.object():
        return record
    if deletion.dry_run:
        return make_record(kind, obj)
    return store.commit(table, record, obj, remove=finished)


def _check_preconditions(kind: Kind[Any], record: Record, deletion: Deletion) -> None:
    for what, wanted, found in (
        ("UID", deletion.uid, record.uid),
        ("ResourceVersion", deletion.resource_version, str(record.version)),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            raise errors.conflict(kind, record.name, why)


def _set_propagation(obj: Object, propagation: Propagation | None) -> None:
    if propagation is None:
        return
    metadata = obj["metadata"]
    kept = [name for name in metadata.get("finalizers") or [] if name not in (ORPHAN, FOREGROUND)]
    kept += {"Orphan": [ORPHAN], "Foreground": [FOREGROUND], "Background": []}[propagation]
    if kept:
        metadata["finalizers"] = kept
    else:
        metadata.pop("finalizers", None)


def _grace(kind: Kind[Any], obj: Object, asked: int | None) -> int:
    """Seconds that the node has to end a pod. Everything but a pod that may be running goes at once."""
    if kind != POD:
        return 0
    spec, status = obj["spec"], obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in FINISHED:
        return 0
    return int(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)) if asked is None else asked


def _mark(store: Store, kind: Kind[Any], obj: Object, grace: int) -> bool:
    """Mark the object as being deleted, or shorten the grace period of one that is. Returns whether it is gone now."""
    metadata = obj["metadata"]
    marked = metadata.get("deletionTimestamp")
    if not marked:
        metadata["deletionTimestamp"] = format_time(store.clock.now() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        # Deletion is a change of what is wanted.
        if metadata.get("generation"):
            metadata["generation"] += 1
        if kind == NAMESPACE:
            obj.setdefault("status", {})["phase"] = "Terminating"
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        asked_at = (parse_time(marked) or store.clock.now()) - metadata["deletionGracePeriodSeconds"]
        metadata["deletionTimestamp"] = format_time(asked_at + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    return is_finished(obj)
