"""Exit codes, and the error that carries one. Scripts may rely on them; `docs/guide/commands.md` lists them."""

import enum
from collections.abc import Sequence


class Exit(enum.IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    INVALID = 4
    TIMED_OUT = 5
    UNREACHABLE = 6
    CONFLICT = 7
    INTERRUPTED = 130


class CliError(Exception):
    """Something to tell the user: what is wrong, and what to do about it."""

    def __init__(self, message: str, *, exit_code: Exit = Exit.FAILED, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.hints = tuple(hints)
