"""Sets of fields: what a manager owns, what a write changed, and how `metadata.managedFields` writes it down.

A path is a tuple of steps in the notation of FieldsV1: `f:NAME` a field, `k:{KEYS}` an item of a keyed list, `v:VALUE`
a member of a set. Only leaves are members of a set of fields, and the items of keyed lists, so that an item can be
owned apart from what it holds; and, to whoever made them by a write that is no apply, maps and lists that were not
there before. The algebra is that of sigs.k8s.io/structured-merge-diff.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from outrider.local.store.records import decode, encode, same
from outrider.local.store.shapes import Shape

Path = tuple[str, ...]
Fields = frozenset[Path]

_PRESENT = True
"""Stands for the value of an item of a list, or of a map or list that is looked into: that it is there."""


def item_step(item: Any, shape: Shape) -> str | None:
    """The step to an item of a keyed list or a set; None where the item does not have what tells it apart."""
    if shape.is_set:
        return None if isinstance(item, dict | list) else "v:" + encode(item).decode()
    if not isinstance(item, dict):
        return None
    keys = {}
    for key in sorted(shape.keys):
        value = item.get(key, shape.key_defaults.get(key))
        if value is None or isinstance(value, dict | list):
            return None
        keys[key] = value
    return "k:" + encode(keys).decode()


def steps_of(items: list[Any], shape: Shape) -> dict[str, Any] | None:
    """The items of a list by their steps; None where the list can only be taken as one whole.

    That is so for a list without keys, and for one whose items repeat or lack a key: such lists exist (an environment
    variable may be given twice), and must not be torn apart.
    """
    if not (shape.keys or shape.is_set):
        return None
    found: dict[str, Any] = {}
    for item in items:
        step = item_step(item, shape)
        if step is None or step in found:
            return None
        found[step] = item
    return found


def _children(value: Any, shape: Shape) -> Iterator[tuple[str, Any, Shape]] | None:
    """The parts that are owned one by one; None for a leaf."""
    if isinstance(value, dict) and value and not shape.atomic:
        return ((f"f:{name}", part, shape.field(name)) for name, part in value.items())
    if isinstance(value, list) and value:
        items = steps_of(value, shape)
        if items is not None:
            return ((step, item, shape.item) for step, item in items.items())
    return None


def _collect(value: Any, shape: Shape, path: Path, into: dict[Path, Any], *, containers: bool) -> None:
    is_item = bool(path) and not path[-1].startswith("f:")
    children = None if is_item and path[-1].startswith("v:") else _children(value, shape)
    if is_item:
        into[path] = _PRESENT
        if shape.atomic:
            into[path] = value
            return
    elif children is None:
        into[path] = _PRESENT if containers and value == {} and not shape.atomic else value
    elif containers and not shape.always:
        into[path] = _PRESENT
    for step, part, part_shape in children or ():
        _collect(part, part_shape, (*path, step), into, containers=containers)


def leaves(obj: Mapping[str, Any], shape: Shape, *, containers: bool = False) -> dict[Path, Any]:
    """Every member path of an object, with the value that is compared to tell whether it changed.

    With `containers` also the maps and lists that are looked into, but for those that are always there.
    """
    found: dict[Path, Any] = {}
    for name, part in obj.items():
        _collect(part, shape.field(name), (f"f:{name}",), found, containers=containers)
    return found


def compare(old: Mapping[Path, Any], new: Mapping[Path, Any]) -> tuple[Fields, Fields]:
    """The fields that are new or differ, and those that are gone."""
    changed = frozenset(
        path for path, value in new.items() if path not in old or not (old[path] is value or same(old[path], value))
    )
    return changed, frozenset(old.keys() - new.keys())


def below(fields: Iterable[Path], top: str) -> Fields:
    """The fields under the top-level field `top`."""
    return frozenset(path for path in fields if path[0] == f"f:{top}")


def prefixes(fields: Iterable[Path]) -> set[Path]:
    """The fields and everything that they are in."""
    return {path[:length] for path in fields for length in range(1, len(path) + 1)}


# FieldsV1, the form in which a set of fields is kept in an object. Objects of a kind have few different sets: all pods
# of a template share theirs, and one object has the same from write to write. So both ways remember what they did.

_SETS_REMEMBERED = 512
"""6 KB each on average, up to 30 KB for the largest pods."""


@lru_cache(_SETS_REMEMBERED)
def to_fields_v1(fields: Fields) -> msgspec.Raw:
    """The set as FieldsV1, encoded."""
    tree: dict[str, Any] = {}
    for path in sorted(fields):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    for path in fields:
        node = tree
        for step in path:
            node = node[step]
        if node:
            node["."] = {}
    return msgspec.Raw(encode(tree))


def from_fields_v1(tree: Mapping[str, Any] | msgspec.Raw) -> Fields:
    return _from_json(encode(tree))


@lru_cache(_SETS_REMEMBERED)
def _from_json(data: bytes) -> Fields:
    found: set[Path] = set()

    def walk(node: Mapping[str, Any], path: Path) -> None:
        if path and (not node or "." in node):
            found.add(path)
        for step, part in node.items():
            if step != ".":
                walk(part, (*path, step))

    walk(decode(data), ())
    return frozenset(found)


def describe(path: Path) -> str:
    """A path as Kubernetes prints it: `.spec.template.spec.containers[name="server"].image`."""
    text = ""
    for step in path:
        sort, _, rest = step.partition(":")
        if sort == "f":
            text += f".{rest}"
        elif sort == "v":
            text += f"[={rest}]"
        else:
            text += (
                "[" + ",".join(f"{key}={encode(value).decode()}" for key, value in decode(rest.encode()).items()) + "]"
            )
    return text
