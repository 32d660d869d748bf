"""Durations as Go and Kubernetes write them (`1m30s`, `500ms`), plus days (`30d`), exact to the nanosecond."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

_NANOSECONDS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "ns": 1,
}
PATTERN = r"^0$|^([0-9]+(\.[0-9]+)?(d|h|ms|m|s|us|µs|ns))+$"
_WHOLE = re.compile(PATTERN, re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(d|h|ms|m|s|us|µs|ns)", re.ASCII)
_ALLOWED = 'a duration, for example "30s", "1m30s", "500ms" or "30d"'
_LONGEST = 64
_PRINTED = ("d", "h", "m")


@dataclass(frozen=True, order=True)
class Duration:
    """A length of time, never negative."""

    nanoseconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration. Raises ValueError that says what is allowed."""
        if text.isdecimal() and text.isascii() and text != "0":
            raise ValueError(f'has no unit: write "{text}s" for seconds')
        if len(text) > _LONGEST or not _WHOLE.fullmatch(text):
            raise ValueError(f"must be {_ALLOWED}")
        exact = sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text))
        if exact != int(exact):
            raise ValueError("is finer than a nanosecond: write fewer decimal places")
        return cls(int(exact))

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read a duration out of JSON. Raises ValueError; a bare number is refused, since it has no unit."""
        if isinstance(raw, str):
            return cls.parse(raw)
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            raise ValueError(f'has no unit: write "{raw}s" for seconds')  # noqa: TRY004 - ValueError is the parsers' contract
        raise ValueError(f"must be {_ALLOWED}")

    @classmethod
    def of_seconds(cls, seconds: int) -> Self:
        return cls(seconds * _NANOSECONDS["s"])

    @property
    def seconds(self) -> float:
        return self.nanoseconds / _NANOSECONDS["s"]

    def __str__(self) -> str:
        """Compact, largest unit first, without parts that are zero: `30d`, `1h30m`, `1.5s`, `500ms`."""
        rest, text = self.nanoseconds, ""
        for unit in _PRINTED:
            count, rest = divmod(rest, _NANOSECONDS[unit])
            text += f"{count}{unit}" if count else ""
        if rest:
            unit = "s" if text else next(unit for unit in ("s", "ms", "us", "ns") if rest >= _NANOSECONDS[unit])
            number = (Decimal(rest) / _NANOSECONDS[unit]).normalize()
            text += f"{number:f}{unit}"
        return text or "0s"
