"""Exit codes, and the error that carries one. Scripts may rely on them; `docs/guide/commands.md` lists them."""

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.kube.api import ApiError


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
    LEASE_LOST = 8
    INTERRUPTED = 130


class CliError(Exception):
    """Something to tell the user: what is wrong, and what to do about it."""

    def __init__(self, message: str, *, exit_code: Exit = Exit.FAILED, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.hints = tuple(hints)


def as_cli_error(error: "ApiError") -> CliError:
    """What an API server's refusal means to the user of a command."""
    from outrider.kube.api import (
        AlreadyExists,
        ApiError,
        Conflict,
        Forbidden,
        Invalid,
        NotFound,
        Unauthorized,
        Unavailable,
    )

    known = [cause for cause in error.details.get("causes", ()) if cause.get("message")]
    message, together, _ = error.message.partition(": [")
    several = bool(together) and isinstance(error, Invalid) and len(known) > 1  # the server has them all in one line
    message = message if several else error.message
    causes = [
        f"{cause.get('field', '')}: {cause['message']}".removeprefix(": ")
        for cause in known
        if str(cause["message"]) not in message
    ]
    codes: tuple[tuple[type[ApiError], Exit], ...] = (
        (NotFound, Exit.NOT_FOUND),
        (Invalid, Exit.INVALID),
        (Conflict, Exit.CONFLICT),
        (AlreadyExists, Exit.CONFLICT),
        (Unavailable, Exit.UNREACHABLE),
        (Unauthorized, Exit.UNREACHABLE),
        (Forbidden, Exit.FAILED),
    )
    code = next((code for kind, code in codes if isinstance(error, kind)), Exit.FAILED)
    if isinstance(error, Unauthorized):
        causes.append(
            "the server does not accept the credentials of this kubeconfig: log in again, or name another context"
        )
    if isinstance(error, NotFound) and error.details.get("kind") == "namespaces" and error.details.get("name"):
        body = f'{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{error.details["name"]}"}}}}'
        causes.append(f"create it:  echo '{body}' | outrider apply --filename -")
    return CliError(message, exit_code=code, hints=causes)


def all_of(errors: Sequence[CliError], what: str) -> CliError:
    """One error that tells every one of several; `what` says what they are about. One stands for itself."""
    if len(errors) == 1:
        return errors[0]
    lines = [line for error in errors for line in (error.message, *(f"  {hint}" for hint in error.hints))]
    return CliError(f"{what}, {len(errors)} are refused", exit_code=errors[0].exit_code, hints=lines)
