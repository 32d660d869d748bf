"""Amounts of US dollars as people write them in manifests: `$5000`, `$0.001`, `$5,000`."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

PATTERN = r"^\$([0-9]+|[0-9]{1,3}(,[0-9]{3})+)(\.[0-9]+)?$"
_WHOLE = re.compile(PATTERN, re.ASCII)
_ALLOWED = 'an amount in US dollars, for example "$5000" or "$0.001"'
_LONGEST = 40


@dataclass(frozen=True, order=True)
class Money:
    """An exact amount of US dollars, never negative."""

    dollars: Decimal

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an amount that begins with `$`. Raises ValueError that says what is allowed."""
        if len(text) > _LONGEST or not _WHOLE.fullmatch(text):
            raise ValueError(f"must be {_ALLOWED}")
        return cls(Decimal(text[1:].replace(",", "")))

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read an amount out of JSON: text with `$`, or a bare number of dollars. Raises ValueError."""
        if isinstance(raw, str):
            return cls.parse(raw)
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return cls.parse(f"${Decimal(repr(raw)):f}")
        raise ValueError(f"must be {_ALLOWED}")

    def __str__(self) -> str:
        """`$` and the number in plain digits, as many decimal places as it needs: `$5000`, `$0.001`."""
        return f"${plain(self.dollars)}"


def plain(number: Decimal) -> str:
    """Every digit that counts, none that does not, no exponent: `5000`, `0.001`."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
