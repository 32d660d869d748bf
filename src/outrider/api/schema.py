"""OpenAPI v3 structural schemas, as CustomResourceDefinitions carry them, generated from the struct types.

Rules of the form: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
#specifying-a-structural-schema. No `$ref`; every object in a spec keeps unknown fields, since the status reports them.
"""

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from outrider.api.fields import ANY, NOT_SAYS, SAYS, Leaf, NoneOf, Schema, SchemaOnly
from outrider.api.rules import Rule

KEEP_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
_NOTHING = "\n"
_SCALARS: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True)
class Extra:
    """What a schema says of a type beyond what the type says itself."""

    rules: tuple[Rule, ...] = ()
    """CEL rules."""
    required: tuple[str, ...] = ()
    """Fields without which no object may be stored, although the type has a default for them."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Defaults for the stored object that differ from the type's own."""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lists whose items are told apart by keys, for server-side apply to merge."""


@dataclass(frozen=True)
class Generator:
    """Makes schemas of one flavour."""

    extras: Mapping[type, Extra]
    keep_unknown: bool = False
    """For a spec whose unknown fields must survive to be reported."""
    defaults: bool = False
    """Whether the API server fills in the types' defaults. Not in a spec that people write: their files should stay
    what is stored."""
    describe: bool = False
    """Whether to add the docstrings, read from the source, as descriptions: a field's own, else that of its type."""

    def schema(self, tp: Any) -> Schema:
        """The schema of a type as struct fields are annotated with."""
        origin, args = get_origin(tp), get_args(tp)
        if origin is Annotated:
            return self._annotated(args[0], args[1:])
        if origin in (types.UnionType, typing.Union):
            return self._union(args)
        if origin is Literal:
            return {"type": "string", "enum": list(args)}
        if origin is tuple:
            return {"type": "array", "items": self.schema(args[0]), "x-kubernetes-list-type": "atomic"}
        if origin is dict:
            return self._map(args[1])
        if isinstance(tp, type) and issubclass(tp, msgspec.Struct):
            return self._struct(tp)
        return {"type": _SCALARS[tp]}

    def _annotated(self, base: Any, extras: Sequence[Any]) -> Schema:
        for extra in extras:
            if isinstance(extra, Leaf):
                return dict(extra.schema) | _says(extra)
            if isinstance(extra, SchemaOnly):
                return dict(extra.schema)
        schema = self.schema(base)
        for extra in extras:
            if isinstance(extra, Meta):
                schema |= _bounds(extra, is_list=schema.get("type") == "array")
            if isinstance(extra, NoneOf):
                schema |= {"not": {"enum": list(extra.words)}, NOT_SAYS: extra.refusal}
        return schema

    def _union(self, args: Sequence[Any]) -> Schema:
        members = [arg for arg in args if arg is not type(None)]
        if len(members) > 1:
            return dict(ANY)
        schema = self.schema(members[0])
        return schema | {"nullable": True} if self.defaults and len(args) > 1 else schema

    def _map(self, value: Any) -> Schema:
        if value is Any:
            return {"type": "object", KEEP_UNKNOWN: True}
        return {"type": "object", "additionalProperties": self.schema(value)}

    def _struct(self, tp: type[msgspec.Struct]) -> Schema:
        extra = self.extras.get(tp, Extra())
        texts = field_texts(tp) if self.describe else {}
        properties: Schema = {}
        wanted = list(extra.required)
        for info in msgspec.structs.fields(tp):
            properties[info.encode_name] = self._field(info, extra, texts.get(info.name, ""))
            if info.required:
                wanted.append(info.encode_name)
        schema: Schema = {"type": "object", "properties": properties}
        if self.keep_unknown:
            schema[KEEP_UNKNOWN] = True
        if wanted:
            schema["required"] = wanted
        if self.describe and (text := class_text(tp)):
            schema = {"description": text, **schema}
        if extra.rules:
            schema["x-kubernetes-validations"] = [rule.manifest() for rule in extra.rules]
        return schema

    def _field(self, info: FieldInfo, extra: Extra, text: str) -> Schema:
        schema = self.schema(info.type)
        name = info.encode_name
        if name in extra.lists:
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(extra.lists[name])}
        if name in extra.defaults:
            schema["default"] = extra.defaults[name]
        elif self.defaults and name not in extra.required:
            schema |= _default(info)
        return {"description": text, **{key: schema[key] for key in schema if key != "description"}} if text else schema


def _says(leaf: Leaf) -> Schema:
    """What the parser says of text that it does not take, for whoever checks the pattern to say as well."""
    if "pattern" not in leaf.schema:
        return {}
    try:
        leaf.read(_NOTHING)
    except ValueError as error:
        return {SAYS: str(error)}
    raise AssertionError(f"a line break is taken by the parser of {leaf.schema}")


def _bounds(meta: Meta, *, is_list: bool) -> Schema:
    if is_list:
        return {} if meta.max_length is None else {"maxItems": meta.max_length}
    known = {
        "minimum": meta.ge,
        "maximum": meta.le,
        "pattern": meta.pattern,
        "minLength": meta.min_length,
        "maxLength": meta.max_length,
        SAYS: meta.description if meta.pattern is not None else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _default(info: FieldInfo) -> Schema:
    """Defaults for scalars, and `{}` for structs, so that the defaults inside them apply. Lists stay absent."""
    if isinstance(info.default, bool | int | float | str):
        return {"default": info.default}
    if isinstance(info.default, msgspec.Struct):
        return {"default": {}}
    return {}


@cache
def field_texts(tp: type[msgspec.Struct]) -> dict[str, str]:
    """The docstrings under a struct's fields, by field name, each as one line. Needs the source."""
    definition = _definition(tp)
    texts = {}
    for before, after in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            texts[before.target.id] = " ".join(after.value.value.split())
    return texts


def class_text(tp: type[msgspec.Struct]) -> str:
    """The docstring of a struct as one line, empty if there is none. Needs the source."""
    return " ".join((ast.get_docstring(_definition(tp)) or "").split())


@cache
def _definition(tp: type[msgspec.Struct]) -> ast.ClassDef:
    definition = ast.parse(textwrap.dedent(inspect.getsource(tp))).body[0]
    assert isinstance(definition, ast.ClassDef)
    return definition
