r"""Label and field selectors: Kubernetes' syntax, and which objects match.

    app=web,tier!=cache,env in (prod, staging),region notin (eu),gpu,!legacy,rank>3
    metadata.name=x,spec.nodeName!=y

Bad input raises `BadRequest` with a message that says where and what was expected. The grammar is that
of `labels.Parse` and `fields.ParseSelector` in k8s.io/apimachinery, with empty values (`a=`) and escapes (`\,`, `\=`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from outrider.kube.api import BadRequest, Kind
from outrider.kube.objects import LabelSelector

Operator = Literal["=", "!=", "in", "notin", "exists", "!", ">", "<"]

_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_TOKEN = re.compile(r"\s*(?P<token>==|!=|[=!<>(),]|[^\s=!<>(),]+)")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_OPERATORS: dict[str, Operator] = {"=": "=", "==": "=", "!=": "!=", "in": "in", "notin": "notin", ">": ">", "<": "<"}
_EXPRESSION_OPERATORS: dict[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True)
class Requirement:
    """One condition on the labels; a selector is met when all of its requirements are."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """As in Kubernetes, a missing label meets `!=` and `notin`."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case ">" | "<":
                if value is None or not _INTEGER.fullmatch(value):
                    return False
                number, bound = int(value), int(self.values[0])
                return number > bound if self.operator == ">" else number < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True)
class Selector:
    """A label selector. Its text form means the same to a server, and is the empty text for everything."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """Matches no object at all, as a `LabelSelector` that is missing does."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        if self.nothing:  # the syntax has no word for it, but a contradiction will do
            return "nothing,!nothing"
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def parse_label_selector(text: str) -> Selector:
    """The selector that `text` means; the empty text matches everything. Raises `BadRequest`."""
    if not text.strip():
        return EVERYTHING
    return Selector(tuple(_Parser(text).requirements()))


def label_selector(selector: LabelSelector | None) -> Selector:
    """The selector of an object's `LabelSelector`: an empty one matches everything, a missing one nothing.

    Raises `BadRequest` for an operator that there is not, or one that has the wrong number of values.
    """
    if selector is None:
        return NOTHING
    requirements = [_checked(key, "=", (value,)) for key, value in sorted(selector.match_labels.items())]
    for expression in selector.match_expressions:
        operator = _EXPRESSION_OPERATORS.get(expression.operator)
        if operator is None:
            allowed = ", ".join(_EXPRESSION_OPERATORS)
            raise BadRequest(f"{expression.operator!r} is not a label selector operator: use one of {allowed}")
        requirements.append(_checked(expression.key, operator, expression.values))
    return Selector(tuple(requirements))


def _checked(key: str, operator: Operator, values: tuple[str, ...]) -> Requirement:
    prefix, slash, name = key.rpartition("/")
    good_prefix = not slash or (len(prefix) <= 253 and _PREFIX.fullmatch(prefix))
    if not (good_prefix and len(name) <= 63 and _NAME.fullmatch(name)):
        raise BadRequest(
            f"invalid label key {key!r}: it must be a name of at most 63 letters, digits, '-', '_' and '.', "
            "that begins and ends with a letter or digit, perhaps with a DNS prefix as in 'example.com/name'"
        )
    if operator in ("in", "notin") and not values:
        raise BadRequest(f"{operator!r} on label {key!r} needs at least one value")
    if operator in ("exists", "!") and values:
        raise BadRequest(f"whether label {key!r} exists takes no values")
    for value in values:
        if operator in (">", "<") and not _INTEGER.fullmatch(value):
            raise BadRequest(f"label {key!r} can only be compared by {operator!r} with an integer, not {value!r}")
        if value and not (len(value) <= 63 and _NAME.fullmatch(value)):
            raise BadRequest(
                f"invalid value {value!r} for label {key!r}: it must be empty, or at most 63 letters, digits, "
                "'-', '_' and '.', and begin and end with a letter or digit"
            )
    return Requirement(key, operator, values)


class _Parser:
    """Recursive descent over the tokens of a label selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [match["token"] for match in _TOKEN.finditer(text)]
        self._at = 0

    def requirements(self) -> Iterable[Requirement]:
        yield self._requirement()
        while self._peek():
            self._expect(",")
            yield self._requirement()

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return _checked(self._word("a label key"), "!", ())
        key = self._word("a label key")
        if self._peek() in ("", ","):
            return _checked(key, "exists", ())
        operator = _OPERATORS.get(self._peek())
        if operator is None:
            raise self._error("one of =, ==, !=, in, notin, <, >")
        self._next()
        values = self._values() if operator in ("in", "notin") else (self._value(),)
        return _checked(key, operator, values)

    def _values(self) -> tuple[str, ...]:
        self._expect("(")
        values = [self._value()]
        while self._peek() == ",":
            self._next()
            values.append(self._value())
        self._expect(")")
        return () if values == [""] else tuple(values)

    def _value(self) -> str:
        """A value, which may be empty: then what follows it ends the requirement or the next value."""
        return "" if self._peek() in ("", ",", ")") else self._word("a label value")

    def _word(self, what: str) -> str:
        if not self._peek() or self._peek() in ("==", "!=", *"=!<>(),"):
            raise self._error(what)
        return self._next()

    def _expect(self, token: str) -> None:
        if self._peek() != token:
            raise self._error(repr(token))
        self._next()

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _error(self, expected: str) -> BadRequest:
        found = repr(self._peek()) if self._peek() else "its end"
        return BadRequest(f"unable to parse the label selector {self._text!r}: found {found}, expected {expected}")


@dataclass(frozen=True)
class FieldRequirement:
    """One field, as a dotted path into the object's JSON, that is or is not `value`."""

    path: str
    equal: bool
    value: str

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return (field_value(obj, self.path) == self.value) == self.equal

    def __str__(self) -> str:
        return f"{self.path}{'=' if self.equal else '!='}{_escaped(self.value)}"


@dataclass(frozen=True)
class FieldSelector:
    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether an object, as decoded JSON, meets all requirements."""
        return all(requirement.matches(obj) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


SELECTABLE_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets": ("status.replicas",),
    "events": (
        "reason", "type", "reportingController", "regarding.kind", "regarding.namespace", "regarding.name",
        "regarding.uid", "regarding.apiVersion", "regarding.resourceVersion", "regarding.fieldPath",
    ),
}  # fmt: skip
"""Fields by plural of the kind, beyond `metadata.name` and `metadata.namespace`, that API servers select by."""


def parse_field_selector(text: str, kind: Kind[Any] | None = None) -> FieldSelector:
    """The selector that `text` means; empty means everything. Raises `BadRequest`.

    With a `kind`, also for a field that an API server does not support for it.
    """
    requirements = tuple(_field_requirement(term, text) for term in re.findall(r"(?:\\.|[^,\\]|\\$)+", text))
    if kind is not None:
        allowed = ("metadata.name", "metadata.namespace", *SELECTABLE_FIELDS.get(kind.plural, ()))
        for requirement in requirements:
            if requirement.path not in allowed:
                can = f"{kind.plural} can be selected by {', '.join(allowed)}"
                raise BadRequest(f"field label not supported: {requirement.path}; {can}")
    return FieldSelector(requirements)


_ABSENT = {"spec.unschedulable": "false", "spec.hostNetwork": "false", "status.replicas": "0"}
"""What a field that JSON leaves out is for a selector, where that is not the empty text."""


def field_value(obj: Mapping[str, Any], path: str) -> str:
    """The field at a dotted path, as a selector sees it: text; empty where there is none; `true` or `false`."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return _ABSENT.get(path, "") if value is None else str(value)


def _escaped(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def _field_requirement(term: str, text: str) -> FieldRequirement:
    match = re.match(r"(?P<path>(?:\\.|[^=!\\])*)(?P<operator>!=|==|=)(?P<value>.*)", term, re.DOTALL)
    if match is None or not match["path"]:
        raise BadRequest(f"invalid field selector {text!r}: {term!r} is not FIELD=VALUE or FIELD!=VALUE")
    value = match["value"]
    if not re.fullmatch(r"(?:\\[\\,=]|[^\\=])*", value):
        raise BadRequest(
            f"invalid field selector {text!r}: in the value {value!r} "
            r"a backslash is written as '\\', a comma as '\,' and an equals sign as '\='"
        )
    return FieldRequirement(match["path"], match["operator"] != "!=", re.sub(r"\\(.)", r"\1", value))
