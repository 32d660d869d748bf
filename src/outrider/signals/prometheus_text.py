r"""Reads Prometheus' text format, of which it decodes only the families that are asked for.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/. A vLLM page has about 600 lines, of which a
tick needs a tenth; lines of other families cost one dictionary look-up.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, cast, get_args

import msgspec

FamilyType = Literal["counter", "gauge", "histogram", "summary", "untyped"]

_REST = re.compile(r'[ \t]*(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]*([^ \t{}]+)')
"""Labels and value; what follows is a timestamp or an exemplar."""
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,\s*|$)')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


class PrometheusTextError(ValueError):
    """A line of a wanted family cannot be read; the message names the line."""


class Sample(msgspec.Struct, frozen=True):
    """One line. `name` is the family's, or with `_bucket`, `_sum`, `_count`. Labels are text, `le` too."""

    name: str
    labels: Mapping[str, str]
    value: float


class Family(msgspec.Struct, frozen=True):
    name: str
    type: FamilyType
    samples: tuple[Sample, ...]


def parse(text: str, families: Collection[str]) -> dict[str, Family]:
    """The families with these names, by name; those that the text does not mention are left out.

    A family of which there is only the TYPE line is there, without samples: it is known, and nothing was counted yet.
    Raises `PrometheusTextError`.
    """
    owners = {name + part: name for name in families for part in _HISTOGRAM_PARTS} | {name: name for name in families}
    samples: dict[str, list[Sample]] = {name: [] for name in families}
    types: dict[str, FamilyType] = {}
    for line in _lines_of(frozenset(families)).finditer(text):
        typed, name = line[1], line[3]
        if typed is not None:
            known = line[2].strip()
            types[typed] = cast("FamilyType", known) if known in get_args(FamilyType) else "untyped"
            continue
        sample = _sample(name, line[4])
        if sample is None:
            number = text.count("\n", 0, line.start()) + 1
            raise PrometheusTextError(f"line {number}: not a name, labels and a number: {line[0][:200]!r}")
        samples[owners[name]].append(sample)
    return {
        name: Family(name, types.get(name, "untyped"), tuple(found))
        for name, found in samples.items()
        if found or name in types
    }


@lru_cache(maxsize=64)
def _lines_of(families: frozenset[str]) -> "re.Pattern[str]":
    """Finds the lines of these families, and no others, without a step in Python for each line of the page."""
    names = "|".join(re.escape(name) for name in sorted(families))
    parts = "|".join(_HISTOGRAM_PARTS)
    return re.compile(
        rf"^(?:# TYPE ({names})[ \t]+([^\n]*)|[ \t]*((?:{names})(?:{parts})?)(?![a-zA-Z0-9_:])([^\n]*))$", re.MULTILINE
    )


def _sample(name: str, rest: str) -> Sample | None:
    found = _REST.match(rest)
    labels = _labels(found[1] or "") if found is not None else None
    if found is None or labels is None:
        return None
    try:
        return Sample(name, labels, float(found[2]))
    except ValueError:
        return None


@lru_cache(maxsize=2048)  # the same labels come again at every scrape, and mostly from every pod: saves 2 us for each
def _labels(text: str) -> Mapping[str, str] | None:
    """The labels between the braces; None where they cannot be read."""
    labels: dict[str, str] = {}
    position, end = 0, len(text.rstrip())
    while position < end:
        label = _LABEL.match(text, position)
        if label is None:
            return None
        labels[label[1]] = _unescape(label[2])
        position = label.end()
    return MappingProxyType(labels)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _UNESCAPED.get(found[1], found[0]), text) if "\\" in text else text
