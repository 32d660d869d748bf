"""How a field of a manifest is read: leaf parsers that also know their JSON schema, used in `Annotated[...]`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from outrider.api import duration, model_uri, money, names, percentage, quantity, trigger, version

Schema = dict[str, Any]
"""A piece of an OpenAPI v3 structural schema."""


@dataclass(frozen=True)
class Leaf:
    """A value that has its own way of being written."""

    read: Callable[[Any], Any]
    """From JSON to the value; raises ValueError that says what is allowed."""
    schema: Mapping[str, Any] = field(hash=False)
    """What an API server can check of it."""


@dataclass(frozen=True)
class SchemaOnly:
    """A field's schema where the one of its type would not say what may be written."""

    schema: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class NoneOf:
    """Words that a text may not be."""

    words: tuple[str, ...]
    refusal: str


def whole(pattern: str) -> re.Pattern[str]:
    """A schema's pattern as the API server means it: `$` is the very end, also before a last line break."""
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern), re.ASCII)


INT32 = 2**31 - 1
"""Kubernetes counts pods, seconds, ports and users in 32 bits."""
EXACT = 2**53 - 1
"""The largest bound that a schema may have: an API server reads bounds as floating-point numbers, and refuses every
value of a field whose bound is no integer then."""


def _text(pattern: str, longest: int | None = None) -> Schema:
    return {"type": "string", "pattern": pattern} | ({"maxLength": longest} if longest else {})


INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}

ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True}
"""Values of more than one type, which a structural schema cannot name (a number with decimals, or text): the parser
checks them."""

SAYS = "x-outrider-says"
"""Beside a pattern: what is allowed, in words. A CRD says it by a rule: see `crd.published`."""
NOT_SAYS = "x-outrider-not-says"
"""Beside `not`: the same."""
FORMS = "x-outrider-forms"
"""Patterns for texts that begin in a certain way: [beginning, pattern, what is allowed]. A CRD has rules for them."""


def _read_amount(raw: Any) -> quantity.Quantity:
    amount = quantity.Quantity.from_json(raw)
    if amount.value < 0:
        raise ValueError("must not be negative")
    return amount


QuantityField = Annotated[
    quantity.Quantity,
    Leaf(_read_amount, INT_OR_STRING | {"minimum": 0, "pattern": quantity.NOT_NEGATIVE_PATTERN}),
]
DurationField = Annotated[duration.Duration, Leaf(duration.Duration.from_json, _text(duration.PATTERN, 64))]
MoneyField = Annotated[money.Money, Leaf(money.Money.from_json, ANY)]
PercentageField = Annotated[percentage.Percentage, Leaf(percentage.Percentage.from_json, _text(percentage.PATTERN, 40))]


def trigger_in(*units: trigger.Unit, example: str) -> Leaf:
    """A trigger that compares in one of some units."""

    def read(raw: Any) -> trigger.Trigger:
        found = trigger.Trigger.from_json(raw)
        if found.unit not in units:
            raise ValueError(f'must be in {" or ".join(units)}, for example "{example}"')
        return found

    return Leaf(read, _text(trigger.pattern_in(units), 60))


VersionField = Annotated[version.Version, Leaf(version.Version.from_json, _text(version.PATTERN, 128))]
ModelUriField = Annotated[
    model_uri.ModelUri,
    Leaf(model_uri.ModelUri.from_json, _text(model_uri.PATTERN, 2048) | {FORMS: model_uri.forms()}),
]

_ONE_VERSION = "must name one version: it is what a rollback goes to"
_NO_ONE_VERSION = [version.LATEST, *version.PREVIOUS_STABLE_ALIASES]


def _read_fallback(raw: Any) -> version.Version:
    found = version.Version.from_json(raw)
    if found.text in _NO_ONE_VERSION:
        raise ValueError(_ONE_VERSION)
    return found


FallbackField = Annotated[
    version.Version,
    Leaf(_read_fallback, _text(version.PATTERN, 128) | {"not": {"enum": _NO_ONE_VERSION}, NOT_SAYS: _ONE_VERSION}),
]
LabelValue = Annotated[
    str, Meta(pattern=names.LABEL_VALUE_PATTERN, max_length=names.LABEL_LENGTH, description=names.LABEL_VALUE_RULE)
]


_PERCENT = re.compile(r"[0-9]{1,3}%", re.ASCII)


def read_count_or_percent(raw: Any) -> int | str:
    """A number of pods, or a whole share of them as `25%`. Raises ValueError."""
    if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw <= INT32:
        return raw
    if isinstance(raw, str) and _PERCENT.fullmatch(raw) and int(raw[:-1]) <= 100:
        return raw
    raise ValueError('must be a number of pods or a share of them from "0%" to "100%", for example 1 or "25%"')


CountOrPercent = Annotated[
    int | str,
    Leaf(
        read_count_or_percent,
        INT_OR_STRING | {"minimum": 0, "maximum": INT32, "pattern": r"^([0-9]|[0-9][0-9]|0[0-9][0-9]|100)%$"},
    ),
]


def word_reader(words: tuple[str, ...], refusal: str = "") -> Callable[[Any], str]:
    """Reads one of `words` whatever its case and dashes: `blue-green` is `BlueGreen`. `refusal` begins the message."""
    known = {_fold(word): word for word in words}

    def read(raw: Any) -> str:
        found = known.get(_fold(raw)) if isinstance(raw, str) else None
        if found is None:
            raise ValueError(f"{refusal}must be one of {', '.join(words)}")
        return found

    return read


def _fold(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def word_schema(words: tuple[str, ...]) -> Schema:
    """A pattern that takes `words` in any case, with dashes or underscores where a new word begins."""
    alternatives = []
    for word in words:
        letters = [f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in word]
        starts = [at > 0 and c.isupper() for at, c in enumerate(word)]
        alternatives.append(
            "".join(f"[-_]?{letter}" if new else letter for letter, new in zip(letters, starts, strict=True))
        )
    return {"type": "string", "pattern": f"^({'|'.join(alternatives)})$"}


def words(*allowed: str, refusal: str = "") -> Leaf:
    """A leaf that is one of the allowed words, whatever its case and dashes."""
    return Leaf(word_reader(allowed, refusal), word_schema(allowed))
