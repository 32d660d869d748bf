"""Rollback triggers: a comparison with a threshold and a unit, as `">1%"`, `">1000ms"`, `"<10 tokens/sec"`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Self

from outrider.api.money import plain

Operator = Literal[">", ">=", "<", "<="]
Unit = Literal["%", "ms", "s", "tokens/sec"]
OPERATORS: tuple[Operator, ...] = (">", ">=", "<", "<=")
UNITS: tuple[Unit, ...] = ("%", "ms", "s", "tokens/sec")


def pattern_in(units: Sequence[Unit]) -> str:
    """The pattern of triggers that compare in some units."""
    written = "|".join(unit.replace("tokens/sec", "tokens/sec|tokens/second") for unit in units)
    return rf"^[ \t]*(>=|<=|>|<)[ \t]*([0-9]+(\.[0-9]+)?)[ \t]*({written})[ \t]*$"


_WHOLE = re.compile(pattern_in(UNITS), re.ASCII)
_ALLOWED = 'must be an operator (> >= < <=), a number and a unit (% ms s tokens/sec), for example ">1%" or ">1000ms"'
_LONGEST = 60


@dataclass(frozen=True)
class Trigger:
    """True of a measurement that stands on the wrong side of the threshold."""

    operator: Operator
    threshold: Decimal
    """In `unit`."""
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a trigger. Raises ValueError that says what is allowed."""
        found = _WHOLE.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            raise ValueError(_ALLOWED)
        operator = next(known for known in OPERATORS if known == found[1])
        unit = next(known for known in UNITS if known == found[4].replace("/second", "/sec"))
        threshold = Decimal(found[2])
        if unit == "%" and threshold > 100:
            raise ValueError("cannot compare with more than 100%")
        return cls(operator, threshold, unit)

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read a trigger out of JSON. Raises ValueError."""
        if isinstance(raw, str):
            return cls.parse(raw)
        raise ValueError(f"{_ALLOWED}, in quotes")

    @property
    def limit(self) -> float:
        """The threshold in base units: a ratio for %, seconds for times, tokens per second."""
        divisor = {"%": 100, "ms": 1000, "s": 1, "tokens/sec": 1}[self.unit]
        return float(self.threshold / divisor)

    def holds(self, measured: float) -> bool:
        """Whether a measurement in base units (see `limit`) pulls the trigger."""
        return {
            ">": measured > self.limit,
            ">=": measured >= self.limit,
            "<": measured < self.limit,
            "<=": measured <= self.limit,
        }[self.operator]

    def __str__(self) -> str:
        space = " " if self.unit == "tokens/sec" else ""
        return f"{self.operator}{plain(self.threshold)}{space}{self.unit}"
