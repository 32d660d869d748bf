"""Percentages as people write objectives: `99.9%`."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from outrider.api.money import plain

PATTERN = r"^[0-9]+(\.[0-9]+)?%$"
_WHOLE = re.compile(PATTERN, re.ASCII)
_ALLOWED = 'a percentage from 0% to 100%, for example "99.9%"'
_LONGEST = 40


@dataclass(frozen=True, order=True)
class Percentage:
    """An exact share of a hundred, 0 to 100."""

    percent: Decimal

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a number that ends with `%`. Raises ValueError that says what is allowed."""
        if len(text) > _LONGEST or not _WHOLE.fullmatch(text):
            raise ValueError(f"must be {_ALLOWED}")
        percent = Decimal(text[:-1])
        if percent > 100:
            raise ValueError(f"must be {_ALLOWED}")
        return cls(percent)

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read a percentage out of JSON. Raises ValueError; a bare number is refused: 1 could mean 1% or 100%."""
        if isinstance(raw, str):
            return cls.parse(raw)
        raise ValueError(f"must be {_ALLOWED}, in quotes and with the sign")

    @property
    def ratio(self) -> Decimal:
        """As a share of one: 99.9% is 0.999."""
        return self.percent / 100

    def __str__(self) -> str:
        return f"{plain(self.percent)}%"
