r"""Reads Prometheus' text format, of which it decodes only the families that are asked for.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/. A vLLM page has about 600 lines, of which a
tick needs a tenth; lines of other families cost one dictionary look-up.
"""

import re
from collections.abc import Collection
from typing import Literal, cast, get_args

import msgspec

FamilyType = Literal["counter", "gauge", "histogram", "summary", "untyped"]

_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,?)\s*')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


class PrometheusTextError(ValueError):
    """A line of a wanted family cannot be read; the message names the line."""


class Sample(msgspec.Struct, frozen=True):
    """One line. `name` is the family's, or with `_bucket`, `_sum`, `_count`. Labels are text, `le` too."""

    name: str
    labels: dict[str, str]
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
    wanted = {name + part: name for name in families for part in _HISTOGRAM_PARTS} | {name: name for name in families}
    types: dict[str, FamilyType] = {}
    samples: dict[str, list[Sample]] = {}
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: labels may hold its other separators
        if line.startswith("#"):
            _note_type(line, families, types)
            continue
        name = _name(line)
        family = wanted.get(name)
        if family is not None:
            samples.setdefault(family, []).append(_sample(line, name, number))
    return {
        name: Family(name, types.get(name, "untyped"), tuple(samples.get(name, ())))
        for name in dict.fromkeys(families)
        if name in types or name in samples
    }


def _note_type(line: str, families: Collection[str], types: dict[str, FamilyType]) -> None:
    words = line.split(None, 3)
    if len(words) == 4 and words[:2] == ["#", "TYPE"] and words[2] in families:
        known = words[3].strip()
        types[words[2]] = cast("FamilyType", known) if known in get_args(FamilyType) else "untyped"


def _name(line: str) -> str:
    brace = line.find("{")
    if brace >= 0:
        return line[:brace].strip()
    return line.split(None, 1)[0] if line.strip() else ""


def _sample(line: str, name: str, number: int) -> Sample:
    position = line.index(name) + len(name)
    labels: dict[str, str] = {}
    brace = line.find("{", position)
    if brace >= 0:
        position = brace + 1
        while (label := _LABEL.match(line, position)) is not None:
            labels[label[1]] = _unescape(label[2])
            position = label.end()
            if not label[3]:
                break
        closing = line[position:].lstrip()
        if not closing.startswith("}"):
            raise PrometheusTextError(f"line {number}: the labels are not closed: {line[:200]!r}")
        rest = closing[1:]
    else:
        rest = line[position:]
    words = rest.split(None, 1)  # what follows the value is a timestamp or an exemplar
    try:
        return Sample(name, labels, float(words[0]))
    except (IndexError, ValueError):
        raise PrometheusTextError(f"line {number}: no number after the name and labels: {line[:200]!r}") from None


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _UNESCAPED.get(found[1], found[0]), text) if "\\" in text else text
