"""Kubernetes quantities (`500m`, `16Gi`, `1e3`), exact, printed in Kubernetes' canonical form.

Grammar and canonical form: k8s.io/apimachinery/pkg/api/resource/quantity.go.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, total_ordering
from typing import Any, Literal, Self

Format = Literal["binary", "decimal", "exponent"]

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
"""Powers of 1024."""
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
"""Powers of 10."""
_BINARY_NAME = {power: suffix for suffix, power in _BINARY.items()}
_DECIMAL_NAME = {power: suffix for suffix, power in _DECIMAL.items()}

PATTERN = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
"""The pattern that Kubernetes itself publishes for quantities; the exact check is the parser's."""
NOT_NEGATIVE_PATTERN = PATTERN.replace("[+-]?[0-9.]", "[+]?[0-9.]")
_NUMBER = re.compile(r"^([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3}|[A-Za-z]{0,2})$", re.ASCII)
_ALLOWED = 'a quantity, for example "500m", "4", "16Gi" or "1.5"'
_LONGEST = 64
_FINEST = Fraction(1, 10**9)


@total_ordering
@dataclass(frozen=True, eq=False)
class Quantity:
    """An exact amount. Equal by value: `1Gi == 1024Mi`. Finer than a billionth is rounded up, as Kubernetes does."""

    value: Fraction
    format: Format = "decimal"
    """The family of suffixes that it was written with, which it is printed with too."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a quantity. Raises ValueError that says what is allowed."""
        return cls(*_read(text))

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read a quantity out of JSON: text, or a bare number as YAML gives it for `cpu: 4`. Raises ValueError."""
        if isinstance(raw, str):
            return cls.parse(raw)
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return cls.parse(repr(raw))
        raise ValueError(f"must be {_ALLOWED}")

    def __str__(self) -> str:
        """Kubernetes' canonical form: no fraction, the largest suffix that loses nothing."""
        if self.value == 0:
            return "0"
        if self.format == "binary" and abs(self.value) >= 1024 and self.value.denominator == 1:
            return _print_binary(int(self.value))
        return _print_decimal(self.value, self.format)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: "Quantity") -> bool:
        return self.value < other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum, printed as the left side is; zero on the left leaves that choice to the right."""
        return Quantity(self.value + other.value, self.format if self.value else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value - other.value, self.format)

    def __mul__(self, times: int) -> "Quantity":
        return Quantity(self.value * times, self.format)

    @property
    def whole(self) -> int:
        """The amount as an integer, rounded up: bytes of memory, number of GPUs."""
        return -int(-self.value // 1)


ZERO = Quantity(Fraction(0))


def of_bytes(count: int) -> Quantity:
    """That many bytes, printed with binary suffixes."""
    return Quantity(Fraction(count), "binary")


@lru_cache(1024)
def _read(text: str) -> tuple[Fraction, Format]:
    """The amount and its family of suffixes; remembered, since few different ones are read again and again."""
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError(f"must be {_ALLOWED}")
    sign, digits, suffix = found.groups()
    number = _fraction(digits)
    number = -number if sign == "-" else number
    if suffix in _BINARY:
        return _round_up(number * 1024 ** _BINARY[suffix]), "binary"
    if suffix in _DECIMAL:
        return _round_up(number * Fraction(10) ** _DECIMAL[suffix]), "decimal"
    if suffix[0] in "eE" and len(suffix) > 1:
        return _round_up(number * Fraction(10) ** int(suffix[1:])), "exponent"
    raise ValueError(f"has the unknown suffix {suffix!r}: use one of {', '.join([*_BINARY, *filter(None, _DECIMAL)])}")


def _fraction(digits: str) -> Fraction:
    whole, _, decimals = digits.partition(".")
    return Fraction(int((whole + decimals) or "0"), 10 ** len(decimals))


def _round_up(value: Fraction) -> Fraction:
    """Away from zero to a whole number of billionths."""
    steps = abs(value) / _FINEST
    rounded = -(-steps.numerator // steps.denominator) * _FINEST
    return -rounded if value < 0 else rounded


def _print_binary(value: int) -> str:
    power = 0
    while power < max(_BINARY.values()) and value % 1024 == 0:
        value //= 1024
        power += 1
    return f"{value}{_BINARY_NAME.get(power, '')}"


def _print_decimal(value: Fraction, form: Format) -> str:
    power = -9
    number = int(value * 10**9)
    while number % 1000 == 0 and (power < max(_DECIMAL.values()) or form == "exponent"):
        number //= 1000
        power += 3
    if form == "exponent":
        return f"{number}e{power}" if power else str(number)
    return f"{number}{_DECIMAL_NAME[power]}"
