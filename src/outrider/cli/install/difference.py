"""The difference between an object as it is and as it would be, field by field, in words."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_NOT_COMPARED = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
_LONGEST = 60
"""Characters of a value that are shown."""
_KEYS = ("name", "type", "port", "containerPort", "topologyKey", "mountPath")
"""What tells the items of a list apart, where all of them have it."""
_MISSING = object()


class Field(NamedTuple):
    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is _MISSING:
            return f"{self.path}: added: {_shown(self.after)}"
        if self.after is _MISSING:
            return f"{self.path}: removed: {_shown(self.before)}"
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.after)}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Field]:
    """What a write changes, without what the cluster itself keeps of an object: its status, its versions."""
    return list(_compare(_content(before), _content(after), ""))


def _content(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in item["metadata"].items() if key not in _NOT_COMPARED}
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}


def _compare(before: Any, after: Any, path: str) -> Iterator[Field]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            where = _joined(path, str(key))
            yield from _compare(before.get(key, _MISSING), after.get(key, _MISSING), where)
    elif isinstance(before, list) and isinstance(after, list) and (key := _key_of(before, after)):
        old, new = {item[key]: item for item in before}, {item[key]: item for item in after}
        for name in dict.fromkeys((*old, *new)):
            yield from _compare(old.get(name, _MISSING), new.get(name, _MISSING), f"{path}[{name}]")
    elif isinstance(before, list) and isinstance(after, list) and _scalars(before + after):
        yield from (Field(_readable(path), item, _MISSING) for item in before if item not in after)
        yield from (Field(_readable(path), _MISSING, item) for item in after if item not in before)
        if sorted(before, key=str) == sorted(after, key=str):
            yield Field(_readable(path), before, after)
    else:
        yield Field(_readable(path), before, after)


def _scalars(items: list[Any]) -> bool:
    return not any(isinstance(item, dict | list) for item in items)


def _key_of(before: list[Any], after: list[Any]) -> str | None:
    """The field that names the items of both lists, each only once; None where there is no such field."""
    for key in _KEYS:
        if all(_named_once(items, key) for items in (before, after)):
            return key
    return None


def _named_once(items: list[Any], key: str) -> bool:
    if not all(isinstance(item, dict) and isinstance(item.get(key), str | int) for item in items):
        return False
    return len({item[key] for item in items}) == len(items)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _readable(path: str) -> str:
    """The path without the words of which a CRD's schema has one per level."""
    path = path.replace("schema.openAPIV3Schema.", "")
    return re.sub(r"\.?properties\.", ".", path)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value and value.isprintable() else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
