"""Create, update, patch and apply: what a write may change, and what it changes besides."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from outrider.kube.api import Forbidden, Kind, Object, PatchType
from outrider.kube.objects import DEPLOYMENT, EVENT, NAMESPACE
from outrider.local.store import errors, ownership
from outrider.local.store.deletion import is_finished
from outrider.local.store.event_expiry import expire_events
from outrider.local.store.fieldsets import Fields
from outrider.local.store.metadata_rules import check_finalizers, check_metadata
from outrider.local.store.ownership import Entry, Manager
from outrider.local.store.patches import json_patch, merge_patch
from outrider.local.store.records import Record, copy, make_record, same
from outrider.local.store.rules import Rules
from outrider.local.store.store import Store, Table
from outrider.local.store.strategic import strategic_merge

_SERVER_METADATA = (
    "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
    "managedFields", "selfLink",
)  # fmt: skip
_LEFT_OUT = ("labels", "annotations", "finalizers", "ownerReferences")
"""What an API server leaves out where it is empty."""
_GENERATED_BASE = 58
"""How much of `generateName` is kept, so that with its suffix it fits a label (k8s.io/apiserver storage/names)."""
_GENERATE_ATTEMPTS = 8


class Write(msgspec.Struct, frozen=True):
    """Who writes, where, and whether in earnest."""

    manager: Manager
    dry_run: bool = False

    @property
    def subresource(self) -> str:
        return self.manager.subresource


def _checked_body(kind: Kind[Any], body: Any) -> Object:
    """A copy of the body, with the kind's own `apiVersion`, `kind` and a metadata map."""
    if not isinstance(body, Mapping):
        raise errors.bad_request(f"the body must be a {kind.kind} object, not {type(body).__name__}")
    obj: Object = copy(body)
    for name, expected in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if obj.get(name) not in (None, "", expected):
            raise errors.bad_request(f"{name} is {obj[name]!r}, but this is a request for {expected!r}")
        obj[name] = expected
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be a map")
    obj["metadata"] = {name: value for name, value in (metadata or {}).items() if value or name not in _LEFT_OUT}
    return {name: obj[name] for name in ("apiVersion", "kind", "metadata")} | obj


def _check_namespace(store: Store, kind: Kind[Any], metadata: Object) -> None:
    """The namespace in which an object is created must exist, and must not be on its way out."""
    if not kind.namespaced:
        metadata.pop("namespace", None)
        return
    namespace = metadata.get("namespace")
    if not namespace or not isinstance(namespace, str):
        raise errors.bad_request(f"a {kind.kind} lives in a namespace: set metadata.namespace")
    if store.get(NAMESPACE, namespace).fields["status.phase"] == "Terminating":
        name = str(metadata.get("name", ""))
        why = f"namespace {namespace} is being terminated"
        cause = {"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}
        raise Forbidden(
            f'{errors.resource(kind)} "{name}" is forbidden: unable to create new content because {why}',
            details=errors.details(kind, name) | {"causes": [cause]},
        )


def create(store: Store, kind: Kind[Any], body: Mapping[str, Any], write: Write) -> Record:
    """Raises `AlreadyExists`, `Invalid`, `NotFound` for the namespace, `Forbidden` when that is being deleted."""
    obj = _checked_body(kind, body)
    if obj["metadata"].get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    return _insert(store, store.table(kind), obj, write, None)


def _name_new(store: Store, table: Table, metadata: Object) -> None:
    """Give the object its name, from `generateName` where it has none. Raises `AlreadyExists`."""
    namespace, base = metadata.get("namespace", ""), metadata.get("generateName")
    generated = not metadata.get("name") and isinstance(base, str) and base
    for _ in range(_GENERATE_ATTEMPTS if generated else 1):
        if generated:
            metadata["name"] = str(base)[:_GENERATED_BASE] + store.new_suffix()
        name = metadata.get("name")
        if not isinstance(name, str) or table.get(namespace, name) is None:
            return
    raise errors.already_exists(table.kind, metadata["name"])


def _insert(store: Store, table: Table, obj: Object, write: Write, applied: Fields | None) -> Record:
    kind, rules, metadata = table.kind, table.rules, obj["metadata"]
    store.check_writable()
    for field in _SERVER_METADATA:
        metadata.pop(field, None)
    _check_namespace(store, kind, metadata)
    _name_new(store, table, metadata)
    if rules.has_status and not rules.keeps_status_on_create:
        obj.pop("status", None)
    causes = check_metadata(metadata, rules.name_form)
    entries: tuple[Entry, ...] = ()
    if not causes:
        rules.default(obj)
        # What admission and the kind's own strategy add belongs to nobody.
        entries = _owners(store, table, (), {}, _without_status(rules, obj), write, applied)
        rules.prepare(obj)
        rules.default(obj)
        rules.admit(obj)
        causes = rules.validate(obj, None)
    if causes:
        raise errors.invalid(kind, str(obj["metadata"].get("name") or ""), causes)
    obj["metadata"] |= {"uid": store.new_uid(), "creationTimestamp": store.now()}
    if rules.counts_generations:
        obj["metadata"]["generation"] = 1
    _write_owners(obj, entries)
    if write.dry_run:
        return make_record(kind, obj)
    if kind == EVENT:
        expire_events(store)
    return store.commit(table, None, obj)


def _without_status(rules: Rules, obj: Object) -> Object:
    """The part of a new object that its creator owns."""
    return {name: value for name, value in obj.items() if name != "status"} if rules.has_status else obj


def _owners(
    store: Store, table: Table, entries: Sequence[Entry], old: Object, new: Object, write: Write, applied: Fields | None
) -> tuple[Entry, ...]:
    shape, api_version, now = table.rules.shape, table.kind.api_version, store.now()
    if applied is None:
        return ownership.record_update(entries, write.manager, old, new, shape, api_version=api_version, now=now)
    return ownership.record_apply(entries, write.manager, applied, old, new, shape, api_version=api_version, now=now)


def _write_owners(obj: Object, entries: Sequence[Entry]) -> None:
    obj["metadata"].pop("managedFields", None)
    if entries:
        obj["metadata"]["managedFields"] = ownership.write_entries(entries)


def update(store: Store, kind: Kind[Any], body: Mapping[str, Any], write: Write) -> Record:
    """Replace the object, as HTTP PUT does; with `metadata.resourceVersion` only if it is still that version."""
    obj = _checked_body(kind, body)
    metadata = obj["metadata"]
    record = store.get(kind, str(metadata.get("name") or ""), str(metadata.get("namespace") or ""))
    if not metadata.get("resourceVersion") and not store.table(kind).rules.updates_unconditionally:
        causes = [errors.invalid_value("metadata.resourceVersion", 0, "must be specified for an update")]
        raise errors.invalid(kind, record.name, causes)
    return change(store, store.table(kind), record, obj, write)


def patch(
    store: Store, kind: Kind[Any], namespace: str, name: str, body: Any, patch_type: PatchType, write: Write
) -> Record:
    """Raises `NotFound`, `Conflict`, `Invalid`, `BadRequest`, and 415 for a strategic merge patch of a custom kind."""
    table = store.table(kind)
    record = store.get(kind, name, namespace)
    wanted = copy(body)
    if patch_type == "json":
        new = json_patch(record.object(), wanted)
    elif not isinstance(wanted, dict):
        raise errors.bad_request(f"a {patch_type} patch is a map")
    elif patch_type == "merge":
        new = merge_patch(record.object(), wanted)
    elif table.rules.strategic:
        new = strategic_merge(record.object(), wanted, table.rules.shape)
    else:
        raise errors.unsupported_media_type(
            f"{errors.resource(kind)} is a custom resource: it takes merge, JSON and apply patches, not strategic ones"
        )
    return change(store, table, record, _checked_body(kind, new), write, patched=True)


def apply(store: Store, kind: Kind[Any], body: Mapping[str, Any], write: Write, *, force: bool) -> Record:
    """Server-side apply: creates the object where there is none. Raises `Conflict` where others own what it changes."""
    table = store.table(kind)
    manager = write.manager
    if not manager.name:
        raise errors.bad_request("apply needs a field manager: who wants these fields to be so")
    if not (body.get("apiVersion") and body.get("kind")):
        raise errors.bad_request("an applied object says its apiVersion and kind")
    wanted = _without_nulls(_checked_body(kind, body))
    metadata = wanted["metadata"]
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil in an applied object: leave it out")
    name, namespace = metadata.get("name"), metadata.get("namespace") or ""
    if not isinstance(name, str) or not name:
        raise errors.bad_request("an applied object says its metadata.name")
    record = table.get(namespace if kind.namespaced else "", name)
    shape, has_status = table.rules.shape, table.rules.has_status
    if record is not None:
        live = record.object()
        entries = ownership.owners_before_apply(live, shape)
        merged, owned = ownership.apply(live, wanted, entries, manager, shape, force=force, has_status=has_status)
        return change(store, table, record, copy(merged), write, owned)
    if manager.subresource or metadata.get("resourceVersion") or metadata.get("uid"):
        raise errors.not_found(kind, name)
    owned = ownership.reachable(frozenset(ownership.owned_fields(wanted, shape)), "", has_status=has_status)
    return _insert(store, table, wanted, write, owned)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _check_identity(kind: Kind[Any], live: Object, new: Object, *, patched: bool) -> None:
    """A write must mean this object, and, if it says so, this version of it.

    A replacement with another uid conflicts, while a patch with one is invalid: so API servers have it.
    """
    old, wanted = live["metadata"], new["metadata"]
    name = old["name"]
    for field in ("name", "namespace"):
        if wanted.get(field, old.get(field)) != old.get(field):
            raise errors.bad_request(
                f"the {field} of the object ({wanted[field]}) is not that of the object to be changed ({old[field]})"
            )
    if wanted.get("uid") not in (None, "", old["uid"]):
        if patched:
            causes = [errors.invalid_value("metadata.uid", wanted["uid"], "field is immutable")]
            raise errors.invalid(kind, name, causes)
        why = f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {old['uid']}"
        raise errors.conflict(kind, name, why)
    if wanted.get("resourceVersion") not in (None, "", old["resourceVersion"]):
        raise errors.modified(kind, name)


def _given_owners(kind: Kind[Any], kept: tuple[Entry, ...], live: Object, new: Object) -> tuple[Entry, ...]:
    """The owners before the write: the object's own, unless the write itself rewrites or (`[]`, `[{}]`) resets them."""
    given = new["metadata"].get("managedFields")
    if given is None or given == live["metadata"].get("managedFields"):
        return kept
    try:
        return tuple(entry for entry in ownership.read_entries(new["metadata"]) if entry.fields)
    except (AttributeError, TypeError) as error:
        raise errors.bad_request(f"metadata.managedFields of {kind.kind} is malformed: {error}") from error


def _restore(table: Table, live: Object, new: Object, subresource: str) -> Object:
    """`new` with everything that this write cannot change as it was."""
    if subresource == "status":
        new = {**copy(live), "status": new.get("status") or {}} if table.rules.has_status else new
    elif table.rules.has_status:
        new.pop("status", None)
        if "status" in live:
            new["status"] = copy(live["status"])
    metadata = new["metadata"]
    for field in (*_SERVER_METADATA, "name", "namespace"):
        metadata.pop(field, None)
        if field in live["metadata"] and field != "managedFields":
            metadata[field] = live["metadata"][field]
    if table.kind == NAMESPACE and subresource != "finalize":
        new["spec"] = copy(live["spec"])
    return new


def change(
    store: Store, table: Table, record: Record, new: Object, write: Write, applied: Fields | None = None,
    *, patched: bool = False,
) -> Record:  # fmt: skip
    """Turn the recorded object into `new`, as far as this write may. What changes nothing writes nothing.

    `new` is changed in place, and must share nothing with what its caller keeps.
    """
    kind, rules, live = table.kind, table.rules, record.object()
    store.check_writable()
    _check_identity(kind, live, new, patched=patched or applied is not None)
    kept = ownership.read_entries(live["metadata"])
    found = kept if applied is None else ownership.owners_before_apply(live, rules.shape)
    before = _given_owners(kind, found, live, new)
    new = _restore(table, live, _unmanaged(new), write.subresource)
    causes = check_metadata(new["metadata"], rules.name_form) + check_finalizers(new["metadata"], live["metadata"])
    if not causes:
        rules.default(new)
        rules.admit(new)
        causes = rules.validate(new, live)
    if causes:
        raise errors.invalid(kind, record.name, causes)
    existing = None if applied is None else applied.intersection(ownership.owned_fields(new, rules.shape))
    # Whose owners are not known, of that none are kept until it is applied: as API servers have it.
    tracked = bool(before) or applied is not None
    live_unmanaged = _unmanaged(live)
    after = _owners(store, table, before, live_unmanaged, new, write, existing) if tracked else ()
    if after == kept and same(new, live_unmanaged):
        return record
    if rules.counts_generations and not same(_specified(table.kind, new), _specified(table.kind, live)):
        new["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1
    _write_owners(new, after)
    if write.dry_run:
        return make_record(kind, new)
    return store.commit(table, record, new, remove=is_finished(new))


def _unmanaged(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def _specified(kind: Kind[Any], obj: Object) -> Object:
    """What people want of the object: changes of this are what `generation` counts."""
    wanted = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    # A Deployment hands its annotations on to its ReplicaSets, so that they are part of what is wanted.
    return wanted | {"annotations": obj["metadata"].get("annotations")} if kind == DEPLOYMENT else wanted
