"""A wrong command line, said as every other error is: what is wrong, what is allowed, where to read more."""

from typing import TYPE_CHECKING, get_args

from outrider.api.words import closest
from outrider.cli.commands import SECTIONS, SUBCOMMANDS
from outrider.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from cyclopts import CycloptsError

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "Path": "a path"}


def usage_error(error: "CycloptsError") -> CliError:
    """What cyclopts found wrong with a command line, in our words."""
    from cyclopts import exceptions

    error.verbose = False
    command = " ".join(("outrider", *(error.command_chain or ())))
    match error:
        case exceptions.UnknownCommandError():
            return _unknown_command(error, command)
        case exceptions.UnknownOptionError():
            written = (error.token.keyword or error.token.value).partition("=")[0]
            known = [name for argument in error.argument_collection if argument.parse for name in argument.names]
            message, meant = f"unknown option {written}", closest(written, known)
        case exceptions.UnusedCliTokensError():
            words = " ".join(error.unused_tokens or ())
            message, meant = f"nothing is to be made of: {words}", ""
        case exceptions.MissingArgumentError() if error.argument is not None:
            written = error.keyword or error.argument.name
            named = written if written.startswith("-") else written.lstrip("-").upper()
            wanting = "needs a value after it" if error.keyword else "is missing"
            message, meant = f"{named} {wanting}", ""
        case exceptions.RepeatArgumentError():
            message, meant = f"{error.token.keyword} is given more than once: keep one", ""
        case exceptions.CoercionError() if error.msg is None and error.token is not None:
            message, meant = _wrong_value(error)
        case _:
            message, meant = " ".join(str(error).split()), ""
    hints = [f"did you mean {meant}?"] if meant else []
    return CliError(message, exit_code=Exit.USAGE, hints=(*hints, f"see:  {command} --help"))


def _unknown_command(error: "CycloptsError", command: str) -> CliError:
    word = (error.unused_tokens or [""])[0]
    parent = " ".join(error.command_chain or ())
    known = [
        each.name
        for each in (*(one for section in SECTIONS for one in section.commands), *SUBCOMMANDS)
        if each.parent == parent
    ]
    meant = closest(word, known if not word.startswith("-") else ["--help", "--version"])
    what = "option" if word.startswith("-") else "command"
    hints = [f"did you mean {meant}?"] if meant else [f"there are: {', '.join(known)}"]
    return CliError(
        f"unknown {what} {word}" if what == "option" else f'unknown command "{word}"',
        exit_code=Exit.USAGE,
        hints=(*hints, f"see:  {command} --help"),
    )


def _wrong_value(error: "CycloptsError") -> tuple[str, str]:
    from cyclopts import exceptions

    assert isinstance(error, exceptions.CoercionError)
    assert error.token is not None
    name = error.token.keyword or (error.argument.name.lstrip("-").upper() if error.argument else "")
    choices = [str(choice) for choice in get_args(error.target_type)]
    if choices:
        allowed = f"one of {', '.join(choices)}"
    else:
        word = getattr(error.target_type, "__name__", str(error.target_type))
        allowed = _KINDS.get(word, word)
    return f"{name} {error.token.value}: must be {allowed}", closest(error.token.value, choices)
