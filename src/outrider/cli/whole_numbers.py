"""Whole numbers on the command line: cyclopts would round `--seed 1.5` to 2 and say nothing."""

from collections.abc import Sequence
from typing import Any

from cyclopts import CoercionError, Parameter, Token


def _read(_: Any, tokens: Sequence[Token]) -> int:
    """Raises `CoercionError`."""
    (token,) = tokens
    text = token.value.strip()
    if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal()):
        raise CoercionError(token=token, target_type=int)
    return int(text)


WHOLE_NUMBER = Parameter(converter=_read, n_tokens=1)
"""To annotate a parameter with: `Annotated[int, WHOLE_NUMBER]`."""
