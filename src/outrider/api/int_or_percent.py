"""Kubernetes' IntOrString where it means "this many, or this share of": `maxSurge: 25%`, `minAvailable: 1`."""

import re

_PERCENT = re.compile(r"\s*(\d+)%\s*")


def resolve(value: int | str, total: int, *, round_up: bool) -> int:
    """How many of `total` a value such as `2`, `"2"` or `"25%"` means; a share that does not come out even is rounded.

    Raises ValueError for any other text.
    """
    if isinstance(value, int):
        return value
    if match := _PERCENT.fullmatch(value):
        share = int(match[1]) * total
        return -(-share // 100) if round_up else share // 100
    if value.strip().isdigit():
        return int(value)
    raise ValueError(f"{value!r} is neither a whole number nor a percentage such as 25%")
