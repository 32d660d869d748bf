"""Merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from collections.abc import Mapping, Sequence
from typing import Any

from outrider.kube.api import ApiError, BadRequest
from outrider.local.store.records import copy


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` with `patch` merged into it: null removes, maps merge, all else replaces. Arguments do not change."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """`target` after all operations. `target` itself is changed, and is of no use when an operation fails.

    Raises `BadRequest` for what is no patch, and an `ApiError` with status 422, as an API server does, for one that
    does not apply: a path that is not there, or a test that fails.
    """
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise BadRequest("a JSON patch is a list of operations")
    for number, operation in enumerate(operations):
        if not isinstance(operation, Mapping) or not isinstance(operation.get("path"), str):
            raise BadRequest(f"operation {number} of the JSON patch needs `op` and `path`")
        target = _operate(target, operation)
    return target


def _operate(target: Any, operation: Mapping[str, Any]) -> Any:
    path = _parse_pointer(operation["path"])
    match operation.get("op"):
        case "add":
            return _add(target, path, copy(_value(operation)))
        case "remove":
            _remove(target, path)
            return target
        case "replace":
            _find(target, path)
            return _replace(target, path, copy(_value(operation)))
        case "move":
            source = _parse_pointer(_source(operation))
            if path[: len(source)] == source and len(path) > len(source):
                raise _unapplicable(f"{operation['from']!r} cannot be moved into itself")
            return _add(target, path, _remove(target, source))
        case "copy":
            return _add(target, path, copy(_find(target, _parse_pointer(_source(operation)))))
        case "test":
            found = _find(target, path)
            if not _equal(found, _value(operation)):
                raise _unapplicable(f"the test of {operation['path']!r} failed")
            return target
        case other:
            raise BadRequest(
                f"unknown operation {other!r} in a JSON patch: use add, remove, replace, move, copy or test"
            )


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise BadRequest(f"operation {operation.get('op')!r} on {operation['path']!r} needs a `value`")
    return operation["value"]


def _source(operation: Mapping[str, Any]) -> str:
    source = operation.get("from")
    if not isinstance(source, str):
        raise BadRequest(f"operation {operation.get('op')!r} on {operation['path']!r} needs a `from`")
    return source


def _unapplicable(why: str) -> ApiError:
    return ApiError(f"the server cannot apply the JSON patch: {why}", status=422, reason="Invalid")


def _parse_pointer(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise BadRequest(f"{pointer!r} is not a JSON pointer: it is empty or begins with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _index(items: list[Any], part: str, *, end: int) -> int:
    if not (part.isascii() and part.isdigit()) or (len(part) > 1 and part[0] == "0") or int(part) >= end:
        raise _unapplicable(f"{part!r} is not an index of a list of {len(items)}")
    return int(part)


def _step(value: Any, part: str) -> Any:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, list):
        return value[_index(value, part, end=len(value))]
    raise _unapplicable(f"there is nothing at {part!r}")


def _find(target: Any, path: list[str]) -> Any:
    for part in path:
        target = _step(target, part)
    return target


def _add(target: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _find(target, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif isinstance(parent, list):
        at = len(parent) if path[-1] == "-" else _index(parent, path[-1], end=len(parent) + 1)
        parent.insert(at, value)
    else:
        raise _unapplicable(f"{path[-1]!r} cannot be added to what is neither a map nor a list")
    return target


def _replace(target: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _find(target, path[:-1])
    parent[path[-1] if isinstance(parent, dict) else int(path[-1])] = value
    return target


def _remove(target: Any, path: list[str]) -> Any:
    if not path:
        raise _unapplicable("the whole object cannot be removed")
    parent = _find(target, path[:-1])
    _step(parent, path[-1])
    return parent.pop(path[-1] if isinstance(parent, dict) else int(path[-1]))
