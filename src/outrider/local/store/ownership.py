"""Who owns which fields (`metadata.managedFields`), and server-side apply.

A manager that applies says: these fields shall be so, and what I said before and say no longer is no longer my wish.
Any other write takes ownership of what it changes. Two managers may own a field as long as they agree on its value.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from outrider.kube.api import Conflict, Object
from outrider.local.store.fieldsets import (
    Fields,
    Path,
    below,
    compare,
    describe,
    from_fields_v1,
    leaves,
    prefixes,
    steps_of,
    to_fields_v1,
)
from outrider.local.store.records import same
from outrider.local.store.shapes import Shape

Operation = Literal["Apply", "Update"]

_NOT_OWNED: frozenset[Path] = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink",
            "deletionTimestamp", "deletionGracePeriodSeconds",
        )
    }
)  # fmt: skip
"""What the server decides, or what names the object: nobody owns it."""


class Manager(msgspec.Struct, frozen=True):
    """Who writes, and how."""

    name: str
    operation: Operation = "Update"
    subresource: str = ""


_BEFORE = Manager("before-first-apply")
"""Owner of all that is in an object without `managedFields` when it is first applied."""


class Entry(msgspec.Struct, frozen=True):
    """One line of `metadata.managedFields`."""

    manager: Manager
    api_version: str
    time: str
    fields: Fields


def owners_before_apply(live: Object, shape: Shape) -> tuple[Entry, ...]:
    """The owners that an apply meets: where nobody knows who wrote the object, somebody before owns all of it."""
    if entries := read_entries(live["metadata"]):
        return entries
    everything = frozenset(owned_fields(live, shape))
    if not everything:
        return ()
    return (Entry(_BEFORE, live["apiVersion"], live["metadata"]["creationTimestamp"], everything),)


def read_entries(metadata: Object) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            Manager(line.get("manager", ""), line.get("operation", "Update"), line.get("subresource", "")),
            line.get("apiVersion", ""),
            line.get("time", ""),
            from_fields_v1(line.get("fieldsV1") or {}),
        )
        for line in metadata.get("managedFields") or ()
    )


def write_entries(entries: Sequence[Entry]) -> list[Object]:
    lines = []
    for entry in entries:
        line: Object = {
            "manager": entry.manager.name,
            "operation": entry.manager.operation,
            "apiVersion": entry.api_version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(entry.fields),
        }
        if entry.manager.subresource:
            line["subresource"] = entry.manager.subresource
        lines.append(line)
    return lines


def owned_fields(obj: Object, shape: Shape, *, containers: bool = False) -> dict[Path, Any]:
    """The fields of an object that can be owned, with their values; `containers` as in `leaves`."""
    rest = {name: value for name, value in obj.items() if name != "metadata"}
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name != "managedFields"}
    found = leaves(rest | {"metadata": metadata}, shape, containers=containers)
    return {path: value for path, value in found.items() if path not in _NOT_OWNED}


def reachable(fields: Fields, subresource: str, *, has_status: bool) -> Fields:
    """Those of the fields that a write to this subresource can change."""
    if not has_status:
        return fields
    status = below(fields, "status")
    return status if subresource == "status" else fields - status


def _difference(old: Object, new: Object, shape: Shape) -> tuple[Fields, Fields]:
    """The fields that are new or differ, and those that are gone. What is equal as a whole is not looked into."""
    differing = {name for name in old.keys() | new.keys() if not same(old.get(name), new.get(name))}
    return compare(
        owned_fields({name: value for name, value in old.items() if name in differing}, shape, containers=True),
        owned_fields({name: value for name, value in new.items() if name in differing}, shape, containers=True),
    )


def record_update(
    entries: Sequence[Entry], manager: Manager, old: Object, new: Object, shape: Shape, *, api_version: str, now: str
) -> tuple[Entry, ...]:
    """The owners after `manager` turned `old` into `new`: it owns what it changed, and nobody owns what is gone."""
    changed, removed = _difference(old, new, shape)
    if not (changed or removed):
        return tuple(entries)
    return _replace_fields(entries, manager, changed, removed | changed, add=True, api_version=api_version, now=now)


def record_apply(
    entries: Sequence[Entry], manager: Manager, owned: Fields, old: Object, new: Object, shape: Shape,
    *, api_version: str, now: str,
) -> tuple[Entry, ...]:  # fmt: skip
    """The owners after `manager` applied: it owns `owned`, and the others no longer own what changed or is gone."""
    changed, removed = _difference(old, new, shape)
    return _replace_fields(entries, manager, owned, removed | changed, add=False, api_version=api_version, now=now)


def _replace_fields(
    entries: Sequence[Entry], manager: Manager, fields: Fields, lost: Fields, *, add: bool, api_version: str, now: str
) -> tuple[Entry, ...]:
    result = []
    if not any(entry.manager == manager for entry in entries):
        entries = [*entries, Entry(manager, api_version, now, frozenset())]
    for entry in entries:
        if entry.manager != manager:
            result.append(msgspec.structs.replace(entry, fields=entry.fields - lost))
            continue
        after = (entry.fields - lost) | fields if add else fields
        unchanged = after == entry.fields
        result.append(entry if unchanged else Entry(manager, api_version, now, after))
    return tuple(entry for entry in result if entry.fields)


def merge_applied(live: Any, wanted: Any, shape: Shape) -> Any:
    """`live` with what an applier wants laid over it. Arguments stay as they are, but the result shares their parts."""
    if isinstance(wanted, dict) and isinstance(live, dict) and not shape.atomic:
        merged = dict(live)
        for name, value in wanted.items():
            merged[name] = merge_applied(live[name], value, shape.field(name)) if name in live else value
        return merged
    if isinstance(wanted, list) and isinstance(live, list):
        before, after = steps_of(live, shape), steps_of(wanted, shape)
        if before is not None and after is not None:
            return _merge_items(before, after, shape.item)
    return wanted


def _merge_items(before: dict[str, Any], after: dict[str, Any], shape: Shape) -> list[Any]:
    """The applier's order where it names every item, else that of the live list with the new items at its end."""
    order = after if before.keys() <= after.keys() else {**before, **after}
    return [
        merge_applied(before[step], after[step], shape) if step in before and step in after else order[step]
        for step in order
    ]


def without(value: Any, gone: set[Path], shape: Shape, path: Path = ()) -> Any:
    """`value` without everything at or below the paths in `gone`. The argument stays as it is."""
    if not gone:
        return value
    if isinstance(value, dict) and not shape.atomic:
        return {
            name: without(part, gone, shape.field(name), (*path, f"f:{name}"))
            for name, part in value.items()
            if (*path, f"f:{name}") not in gone
        }
    if isinstance(value, list):
        items = steps_of(value, shape)
        if items is not None:
            return [
                without(item, gone, shape.item, (*path, step))
                for step, item in items.items()
                if (*path, step) not in gone
            ]
    return value


def apply(
    live: Object, wanted: Object, entries: Sequence[Entry], manager: Manager, shape: Shape,
    *, force: bool, has_status: bool,
) -> tuple[Object, Fields]:  # fmt: skip
    """What `live` becomes when `manager` applies `wanted`, and the fields that the manager then owns.

    Raises `Conflict` with all fields that others own and want otherwise, unless `force`d.
    """
    owned = reachable(frozenset(owned_fields(wanted, shape)), manager.subresource, has_status=has_status)
    others = [entry for entry in entries if entry.manager != manager]
    before = next((entry.fields for entry in entries if entry.manager == manager), frozenset())
    kept = live
    if dropped := before - owned:
        # What nobody wants any more goes as a whole: a probe goes with the defaults that were filled in around it.
        held = prefixes(owned.union(*(entry.fields for entry in others))) | {("f:metadata",)}
        kept = without(live, prefixes(dropped) - held, shape)
    merged = merge_applied(kept, wanted, shape)
    if not force:
        changed, _ = _difference(live, merged, shape)
        changed = reachable(changed, manager.subresource, has_status=has_status)
        _refuse_conflicts(others, changed)
    return merged, owned


def _refuse_conflicts(others: Sequence[Entry], changed: Fields) -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{_describe(entry)}"', "field": describe(path)}
        for entry in others
        for path in sorted(entry.fields & changed)
    ]
    if not causes:
        return
    told = "\n".join(f"- {cause['field']}: {cause['message']}" for cause in causes)
    many = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    raise Conflict(
        f"Apply failed with {many}: others own these fields and want them otherwise "
        f"(force takes them over, leaving them out lets the others have them):\n{told}",
        details={"causes": causes},
    )


def _describe(entry: Entry) -> str:
    who = entry.manager
    text = who.name if who.operation == "Apply" else f"{who.name} using {entry.api_version}"
    return f"{text} ({who.subresource})" if who.subresource else text
