"""The `outrider` command. It imports as little as it can before it knows what is asked of it."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from outrider.cli.commands import PASSED_ON, SECTIONS, SUBCOMMANDS, group_help, top_level_help
from outrider.cli.errors import CliError, Exit, as_cli_error

if TYPE_CHECKING:
    from cyclopts import App

    from outrider.kube.api import ApiError

TRACEBACK = "OUTRIDER_TRACEBACK"
"""Environment variable that makes a bug print its stack trace."""


def build_app() -> "App":
    """The command line, with every command registered by name and none imported."""
    from cyclopts import App

    from outrider import __version__

    app = App(
        name="outrider",
        version=__version__,
        help_format="plaintext",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    groups: dict[str, App] = {}
    for section in SECTIONS:
        for command in section.commands:
            if command.target == PASSED_ON:
                continue
            if command.target:
                # Without `help` here: the command's own text says more than its summary.
                app.command(command.target, name=command.name)
            else:
                groups[command.name] = App(name=command.name, help=group_help(command))
                app.command(groups[command.name])
    for command in SUBCOMMANDS:
        groups[command.parent].command(command.target, name=command.name)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. What is wrong is printed; only bugs are raised."""
    from outrider.kube.api import ApiError

    try:
        if arguments[0] == "kubectl":
            from outrider.cli.kubectl import kubectl

            return kubectl(*arguments[1:])
        code = _call(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else (Exit.OK if stop.code is None else Exit.USAGE)
    except (CliError, ApiError) as error:
        return report(error)
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal itself may be what has gone
            print("interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        return report(CliError(": ".join(str(part) for part in (error.strerror or error, error.filename) if part)))
    return int(code) if isinstance(code, int) else Exit.OK


def _call(arguments: Sequence[str]) -> Any:
    """What the command returns.

    Raises:
        CliError: the command line is wrong.
    """
    from cyclopts import CycloptsError

    try:
        return build_app()(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from outrider.cli.usage import usage_error

        raise usage_error(error) from error


def report(error: "CliError | ApiError") -> int:
    """Print what went wrong and what to do, and return the exit code for it."""
    known = error if isinstance(error, CliError) else as_cli_error(error)
    print(f"error: {known.message}", file=sys.stderr)
    for hint in known.hints:
        print(f"  {hint}", file=sys.stderr)
    return known.exit_code


def main() -> None:
    """Entry point of the `outrider` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal's character set lacks is written as an escape, instead of ending the command.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = carry_out(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Nothing is wrong, and nothing more can be written: not even what is
        # still in the buffer, which Python would try at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    sys.exit(code)


def carry_out(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code, also where Outrider itself is wrong."""
    if not arguments or list(arguments) in (["-h"], ["--help"], ["help"]):
        print(top_level_help())
        return Exit.OK
    if arguments[0] in ("-h", "--help", "help"):
        arguments = [*arguments[1:], "--help"]
    try:
        return run(arguments)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        return report(
            CliError(
                f"this is a mistake in Outrider, not yours: {what}",
                hints=(f"to report it, run it again with {TRACEBACK}=1: that prints where it happened",),
            )
        )
