"""Strategic merge patch: a merge patch that knows which lists of the built-in kinds are keyed by what.

Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/LIST` and `$deleteFromPrimitiveList/LIST`.
"""

from typing import Any

from outrider.kube.api import BadRequest
from outrider.local.store.shapes import Shape

_ORDER, _REMOVE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def strategic_merge(live: Any, patch: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """`live` with the patch merged into it. Arguments stay as they are. Raises `BadRequest` for a malformed patch."""
    directive = patch.get("$patch")
    plain = {name: value for name, value in patch.items() if not name.startswith("$")}
    if directive == "replace":
        return plain
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequest(f"unknown $patch directive {directive!r}: use replace, delete or merge")
    merged: dict[str, Any] = dict(live) if isinstance(live, dict) else {}
    for name, value in plain.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = strategic_merge(merged.get(name), value, shape.field(name))
        elif isinstance(value, list):
            merged[name] = _merge_list(merged.get(name), value, shape.field(name), patch.get(_ORDER + name))
        else:
            merged[name] = value
    _directives(merged, patch, plain, shape)
    return merged


def _directives(merged: dict[str, Any], patch: dict[str, Any], plain: dict[str, Any], shape: Shape) -> None:
    for name, value in patch.items():
        if name.startswith(_REMOVE):
            field = name.removeprefix(_REMOVE)
            merged[field] = [item for item in merged.get(field) or [] if item not in _listed(name, value)]
        elif name.startswith(_ORDER) and (field := name.removeprefix(_ORDER)) not in plain and field in merged:
            merged[field] = _merge_list(merged[field], [], shape.field(field), value)
        elif name == "$retainKeys":
            for key in merged.keys() - set(_listed(name, value)):
                del merged[key]


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be a list")
    return value


def _merge_list(live: Any, patch: list[Any], shape: Shape, order: Any) -> list[Any]:
    before = live if isinstance(live, list) else []
    if shape.is_set:
        merged = list(before) + [item for item in patch if item not in before]
        return _ordered(merged, patch if order is None else _listed("$setElementOrder", order), before)
    key = shape.strategic_key
    if not key:
        return patch
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    merged_items = _merge_items(before, patch, key, shape.item)
    names = [_key(item, key) for item in (patch if order is None else _listed("$setElementOrder", order))]
    ordered = _ordered(list(merged_items), names, [_key(item, key) for item in before])
    return [merged_items[name] for name in ordered]


def _key(item: Any, key: str) -> Any:
    if not isinstance(item, dict) or item.get(key) is None:
        raise BadRequest(f"an item of a list that is merged by {key!r} needs a {key!r}")
    return item[key]


def _merge_items(before: list[Any], patch: list[Any], key: str, shape: Shape) -> dict[Any, Any]:
    items = {_key(item, key): item for item in before}
    for item in patch:
        name = _key(item, key)
        if item.get("$patch") == "delete":
            items.pop(name, None)
        else:
            items[name] = strategic_merge(items.get(name), item, shape)
    return items


def _ordered(items: list[Any], wanted: list[Any], before: list[Any]) -> list[Any]:
    """The items in the wanted order, and those of which the patch says nothing where they were between them.

    An item that is new to the list goes before those that it is not ordered after: a real server does so too.
    """
    named = [item for item in wanted if item in items]
    rest = [item for item in items if item not in wanted]
    result: list[Any] = []
    while named and rest:
        follows = named[0] in before and before.index(rest[0]) < before.index(named[0])
        result.append(rest.pop(0) if follows else named.pop(0))
    return result + named + rest
