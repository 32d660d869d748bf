"""What an API server does with a custom resource and its structural schema: drop, default, validate.

Pure functions for the local store. The order is the API server's: prune, default, validate.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from outrider.api.errors import ABSENT, INVALID, NOT_SUPPORTED, TYPE_INVALID, FieldError, required
from outrider.api.fields import FORMS, NOT_SAYS, SAYS, Schema, whole
from outrider.api.rules import rule_for
from outrider.api.schema import KEEP_UNKNOWN
from outrider.api.walk import join

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_IMPLICIT = {"apiVersion", "kind", "metadata"}
"""Fields of every object, known without a schema."""


def prune_object(schema: Schema, value: Any) -> Any:
    """A copy without the fields that the schema neither names nor keeps."""
    return _prune(schema, value, _IMPLICIT)


def _prune(schema: Schema, value: Any, implicit: set[str]) -> Any:
    if isinstance(value, dict):
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if key in implicit and not isinstance(properties.get(key, {}).get("properties"), dict):
                kept[key] = item
            elif key in properties:
                kept[key] = _prune(properties[key], item, set())
            elif isinstance(extra, Mapping):
                kept[key] = _prune(dict(extra), item, set())
            elif schema.get(KEEP_UNKNOWN):
                kept[key] = item
        return kept
    if isinstance(value, list):
        return [_prune(schema.get("items", {KEEP_UNKNOWN: True}), item, set()) for item in value]
    return value


def default_object(schema: Schema, value: Any) -> Any:
    """A copy with the schema's defaults filled in, also within them. A null where none is allowed counts as absent."""
    if isinstance(value, dict):
        return _default_fields(schema, value)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [default_object(schema["items"], item) for item in value]
    return value


def _default_fields(schema: Schema, value: dict[str, Any]) -> dict[str, Any]:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    result = {}
    for key, item in value.items():
        part = properties.get(key, extra if isinstance(extra, Mapping) else None)
        if part is None:
            result[key] = item
        elif item is not None or part.get("nullable"):
            result[key] = default_object(dict(part), item)
    for key, part in properties.items():
        if key not in result and "default" in part:
            result[key] = default_object(part, part["default"])
    return result


def validate_object(schema: Schema, old: Mapping[str, Any] | None, value: Mapping[str, Any]) -> list[FieldError]:
    """Everything in an object that its schema forbids. `old` is the object before the change, None for a new one.

    Raises `rules.UnknownRuleError` for a CEL rule that has no Python function.
    """
    errors: list[FieldError] = []
    _validate(schema, old, value, "", errors)
    return errors


def _validate(schema: Schema, old: Any, value: Any, path: str, errors: list[FieldError]) -> None:
    if value is None:
        if not schema.get("nullable") and ("type" in schema or schema.get("x-kubernetes-int-or-string")):
            errors.append(FieldError(path, None, f"must be of type {_type_name(schema)}, not null", TYPE_INVALID))
        return
    if not _has_type(schema, value):
        errors.append(FieldError(path, value, f"must be of type {_type_name(schema)}", TYPE_INVALID))
        return
    errors.extend(FieldError(path, value, message, reason) for message, reason in _bound_problems(schema, value))
    before = len(errors)
    if isinstance(value, dict):
        _validate_fields(schema, old, value, path, errors)
    elif isinstance(value, list):
        _validate_items(schema, value, path, errors)
    if len(errors) == before:
        _validate_rules(schema, old, value, path, errors)


def _type_name(schema: Schema) -> str:
    return "integer or string" if schema.get("x-kubernetes-int-or-string") else str(schema.get("type"))


def _has_type(schema: Schema, value: Any) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    wanted = schema.get("type")
    if wanted is None:
        return True
    if isinstance(value, bool):
        return bool(wanted == "boolean")
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[wanted])


def _bound_problems(schema: Schema, value: Any) -> list[tuple[str, str]]:
    problems = []
    if "enum" in schema and value not in schema["enum"]:
        problems.append((f"must be one of {', '.join(map(str, schema['enum']))}", NOT_SUPPORTED))
    if "not" in schema and value in schema["not"]["enum"]:
        problems.append((schema[NOT_SAYS], INVALID))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            problems.append((f"must be {schema['minimum']} or more", INVALID))
        if value > schema.get("maximum", value):
            problems.append((f"must be {schema['maximum']} or less", INVALID))
    if isinstance(value, str):
        problems += [(message, INVALID) for message in _text_problems(schema, value)]
    if isinstance(value, list) and len(value) > schema.get("maxItems", len(value)):
        problems.append((f"must have at most {schema['maxItems']} items", INVALID))
    return problems


def _text_problems(schema: Schema, value: str) -> list[str]:
    problems = []
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        problems.append(schema.get(SAYS) or f"must match {schema['pattern']}")
    problems += [
        told
        for beginning, pattern, told in schema.get(FORMS, ())
        if value.startswith(beginning) and not _pattern(pattern).search(value)
    ]
    if len(value) < schema.get("minLength", 0):
        problems.append("must not be empty")
    if len(value) > schema.get("maxLength", len(value)):
        problems.append(f"must have at most {schema['maxLength']} characters")
    return problems


_pattern = cache(whole)


def _validate_fields(schema: Schema, old: Any, value: dict[str, Any], path: str, errors: list[FieldError]) -> None:
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
    errors.extend(required(join(path, name), "add it") for name in schema.get("required", ()) if name not in value)
    before = old if isinstance(old, Mapping) else {}
    for key, item in value.items():
        part = properties.get(key, extra if isinstance(extra, Mapping) else None)
        if part is not None:
            _validate(part, before.get(key), item, join(path, key), errors)


def _validate_items(schema: Schema, value: list[Any], path: str, errors: list[FieldError]) -> None:
    items = schema.get("items")
    if isinstance(items, Mapping):
        for at, item in enumerate(value):
            # Items of a list have no past: which old item an item was is unknown, and no rule of ours asks.
            _validate(dict(items), None, item, f"{path}[{at}]", errors)
    if schema.get("x-kubernetes-list-type") != "map":
        return
    seen = set()
    for at, item in enumerate(value):
        key = tuple(item.get(name) for name in schema["x-kubernetes-list-map-keys"]) if isinstance(item, dict) else ()
        if any(isinstance(part, dict | list) for part in key):
            continue  # its type was refused already, and it is nobody's key
        if key and key in seen:
            errors.append(FieldError(f"{path}[{at}]", dict(item), "is there already: keep one", "FieldValueDuplicate"))
        seen.add(key)


def _validate_rules(schema: Schema, old: Any, value: Any, path: str, errors: list[FieldError]) -> None:
    for line in schema.get("x-kubernetes-validations", ()):
        rule = rule_for(line["rule"])
        if rule.on_change and old is None:
            continue
        if not rule.holds(value, old):
            blamed = join(path, rule.field) if rule.field else path
            found = value.get(rule.field, ABSENT) if rule.field and isinstance(value, dict) else value
            errors.append(FieldError(blamed, found, rule.message, INVALID))
