"""From JSON to a typed struct, finding *every* mistake and every unknown field on the way.

msgspec's own decoder stops at the first mistake and skips unknown fields; an author wants the whole list at once. This
walks the same struct types, once compiled into small readers.
"""

import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from outrider.api.errors import INVALID, NOT_SUPPORTED, TYPE_INVALID, FieldError, kind_of, required
from outrider.api.fields import EXACT, INT32, Leaf, NoneOf, whole
from outrider.api.words import closest

S = TypeVar("S", bound=msgspec.Struct)


class _Broken:
    """What a field holds that could not be read. Nothing that holds one leaves `parse_spec`."""


BROKEN = _Broken()

_SHOWN_FIELDS = 4
"""How many fields of an object are named to who wrote something else."""


@dataclass
class Findings:
    """What a walk found besides the values."""

    errors: list[FieldError] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Paths of fields that the types do not know."""
    meant: dict[str, str] = field(default_factory=dict)
    """Unknown paths to the field beside them that their author probably meant."""
    seen: list[str] = field(default_factory=list)
    """Paths of all known fields that were written, parents before children."""


Reader = Callable[[Any, str, Findings], Any]
"""(raw value, its path, findings) -> the value, or BROKEN after an error was noted."""


def read_struct(tp: type[S], raw: Any, path: str, findings: Findings) -> S:
    """Read `raw` into the struct type `tp`. Where `findings.errors` grew, fields of the result may be BROKEN."""
    value: S = compile_reader(tp)(raw, path, findings)
    return value


@cache
def compile_reader(tp: Any) -> Reader:
    """The reader for a type as struct fields are annotated with."""
    origin, args = get_origin(tp), get_args(tp)
    if origin is Annotated:
        return _annotated(args[0], args[1:])
    if origin in (types.UnionType, typing.Union):
        return _union(args)
    if origin is Literal:
        return _one_of(args)
    if origin is tuple:
        return _list(args[0])
    if origin is dict:
        return _object if args[1] is Any else _map(args[1])
    if isinstance(tp, type) and issubclass(tp, msgspec.Struct):
        return _struct(tp)
    return _SCALARS[tp]


def join(path: str, key: str) -> str:
    """The path of a field of the object at `path`: `spec.model`, `spec.resources.requests[nvidia.com/gpu]`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


Advice = Callable[[Any], str]
"""What to do about a value of the wrong type; empty where its kind says it."""


def _wrong(kind: str, advice: Advice = lambda _: "") -> Reader:
    def refuse(raw: Any, path: str, findings: Findings) -> Any:
        hint = "remove the field or give it a value" if raw is None else advice(raw)
        message = f"must be {kind}, not {kind_of(raw)}" + (f": {hint}" if hint else "")
        findings.errors.append(FieldError(path, raw, message, TYPE_INVALID))
        return BROKEN

    return refuse


def _scalar(accepts: Callable[[Any], bool], kind: str, advice: Advice = lambda _: "") -> Reader:
    refuse = _wrong(kind, advice)

    def read(raw: Any, path: str, findings: Findings) -> Any:
        return raw if accepts(raw) else refuse(raw, path, findings)

    return read


def _write_a_number(raw: Any) -> str:
    if isinstance(raw, bool):
        return "yes, no, on and off mean true and false in YAML: write digits"
    if isinstance(raw, float):
        return "write it without decimals"
    if not isinstance(raw, str):
        return ""
    return "write it without quotes" if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", raw) else "write digits, without quotes"


def _write_a_boolean(raw: Any) -> str:
    return "write it without quotes" if str(raw) in ("true", "false") else "write true or false, without quotes"


def _write_text(raw: Any) -> str:
    return "put it in quotes" if isinstance(raw, bool | int | float) else ""


_refuse_integer = _wrong("an integer", _write_a_number)


def _integer(raw: Any, path: str, findings: Findings) -> Any:
    """As an API server reads it: 2.0 is 2."""
    if isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else _refuse_integer(raw, path, findings)


_SCALARS: dict[Any, Reader] = {
    bool: _scalar(lambda raw: isinstance(raw, bool), "true or false", _write_a_boolean),
    int: _integer,
    float: _scalar(lambda raw: isinstance(raw, int | float) and not isinstance(raw, bool), "a number", _write_a_number),
    str: _scalar(lambda raw: isinstance(raw, str), "text", _write_text),
}
_refuse_object = _wrong("an object")
_refuse_list = _wrong("a list", lambda _: 'begin each item with "- "')
_object: Reader = _scalar(lambda raw: isinstance(raw, dict), "an object")


def _annotated(base: Any, extras: Sequence[Any]) -> Reader:
    leaf = next((extra for extra in extras if isinstance(extra, Leaf)), None)
    if leaf is not None:
        return _leaf(leaf)
    inner = compile_reader(base)
    counted = "items" if get_origin(base) is tuple else "characters"
    rules = [rule for extra in extras if isinstance(extra, Meta) for rule in _rules(extra, counted=counted)]
    rules += [(partial(_is_none_of, extra.words), extra.refusal) for extra in extras if isinstance(extra, NoneOf)]

    def read(raw: Any, path: str, findings: Findings) -> Any:
        value = inner(raw, path, findings)
        if value is BROKEN:
            return BROKEN
        broken = [message for holds, message in rules if not holds(value)]
        findings.errors += [FieldError(path, raw, message, INVALID) for message in broken]
        return BROKEN if broken else value

    return read


def _is_none_of(words: Sequence[str], value: Any) -> bool:
    return value not in words


def _rules(meta: Meta, *, counted: str) -> list[tuple[Callable[[Any], bool], str]]:
    """What a value has to keep, each with what is said when it does not. A pattern is told by its description."""
    rules: list[tuple[Callable[[Any], bool], str]] = []
    least, most = meta.ge, meta.le
    if least is not None and most is not None and most not in (INT32, EXACT):
        rules.append((lambda value: least <= value <= most, f"must be from {least} to {most}"))
    else:
        if least is not None:
            rules.append((lambda value: value >= least, f"must be {least} or more"))
        if most is not None:
            rules.append((lambda value: value <= most, f"must be {most} or less"))
    if meta.pattern is not None:
        pattern = whole(meta.pattern)
        told = meta.description or f"must match {meta.pattern}"
        rules.append((lambda value: pattern.search(value) is not None, told))
    if meta.min_length is not None:
        rules.append((lambda value: len(value) >= (meta.min_length or 0), "must not be empty"))
    if meta.max_length is not None:
        rules.append(
            (
                lambda value: len(value) <= (meta.max_length or 0),
                f"must have at most {meta.max_length} {counted}",
            )
        )
    return rules


def _leaf(leaf: Leaf) -> Reader:
    refuse_null = _wrong("a value")

    def read(raw: Any, path: str, findings: Findings) -> Any:
        if raw is None:
            return refuse_null(raw, path, findings)
        try:
            return leaf.read(raw)
        except ValueError as error:
            findings.errors.append(FieldError(path, raw, str(error), INVALID))
            return BROKEN

    return read


def _union(args: Sequence[Any]) -> Reader:
    """`T | None` (None is only the default: null is refused), or a choice of scalars."""
    members = [arg for arg in args if arg is not type(None)]
    if len(members) == 1:
        return compile_reader(members[0])
    readers = [compile_reader(member) for member in members]

    def read(raw: Any, path: str, findings: Findings) -> Any:
        for reader in readers:
            trial = Findings()
            value = reader(raw, path, trial)
            if value is not BROKEN:
                return value
        return _wrong("text or a number")(raw, path, findings)

    return read


def _one_of(allowed: Sequence[Any]) -> Reader:
    def read(raw: Any, path: str, findings: Findings) -> Any:
        if raw in allowed:
            return raw
        message = f"must be one of {', '.join(map(str, allowed))}"
        findings.errors.append(FieldError(path, raw, message, NOT_SUPPORTED))
        return BROKEN

    return read


def _list(item: Any) -> Reader:
    inner = compile_reader(item)

    def read(raw: Any, path: str, findings: Findings) -> Any:
        if not isinstance(raw, list | tuple):
            return _refuse_list(raw, path, findings)
        values = [inner(value, f"{path}[{at}]", findings) for at, value in enumerate(raw)]
        return BROKEN if any(value is BROKEN for value in values) else tuple(values)

    return read


def _map(item: Any) -> Reader:
    inner = compile_reader(item)

    def read(raw: Any, path: str, findings: Findings) -> Any:
        if not isinstance(raw, Mapping):
            return _refuse_object(raw, path, findings)
        values = {str(key): inner(value, join(path, str(key)), findings) for key, value in raw.items()}
        return {key: value for key, value in values.items() if value is not BROKEN}

    return read


def _struct(tp: type[msgspec.Struct]) -> Reader:
    infos: dict[str, tuple[FieldInfo, Reader]] = {
        info.encode_name: (info, compile_reader(info.type)) for info in msgspec.structs.fields(tp)
    }
    some = ", ".join([*list(infos)[:_SHOWN_FIELDS], *(["..."] if len(infos) > _SHOWN_FIELDS else [])])
    refuse = _wrong("an object", lambda _: f"its fields are {some}")

    def read(raw: Any, path: str, findings: Findings) -> Any:
        if not isinstance(raw, Mapping):
            return refuse(raw, path, findings)
        values: dict[str, Any] = {}
        for key, value in raw.items():
            where = join(path, str(key))
            if key not in infos:
                findings.unknown.append(where)
                meant = closest(str(key), [name for name in infos if name not in raw])
                if meant:
                    findings.meant[where] = meant
                continue
            findings.seen.append(where)
            info, reader = infos[key]
            values[info.name] = reader(value, where, findings)
        for name, (info, _) in infos.items():
            if info.required and info.name not in values:
                findings.errors.append(required(join(path, name), "add it"))
                values[info.name] = BROKEN
        return tp(**values)

    return read
