"""The `outrider` command. It imports as little as it can before it knows what is asked of it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from outrider.cli.commands import SECTIONS, SUBCOMMANDS, top_level_help
from outrider.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from cyclopts import App

    from outrider.kube.api import ApiError


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
            if command.target:
                app.command(command.target, name=command.name, help=command.summary)
            else:
                groups[command.name] = App(name=command.name, help=command.summary)
                app.command(groups[command.name])
    for command in SUBCOMMANDS:
        groups[command.parent].command(command.target, name=command.name, help=command.summary)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. What is wrong is printed; only bugs are raised."""
    from outrider.kube.api import ApiError

    try:
        code = build_app()(list(arguments), exit_on_error=True)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else (Exit.OK if stop.code is None else Exit.USAGE)
    except (CliError, ApiError) as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Nothing is wrong, and nothing more can be written.
        sys.stdout = None
        return Exit.OK
    return int(code) if isinstance(code, int) else Exit.OK


def report(error: "CliError | ApiError") -> int:
    """Print what went wrong and what to do, and return the exit code for it."""
    known = error if isinstance(error, CliError) else as_cli_error(error)
    print(f"error: {known.message}", file=sys.stderr)
    for hint in known.hints:
        print(f"  {hint}", file=sys.stderr)
    return known.exit_code


def as_cli_error(error: "ApiError") -> CliError:
    """What an API server's refusal means to the user of a command."""
    from outrider.kube.api import ApiError, Conflict, Forbidden, Invalid, NotFound, Unauthorized, Unavailable

    causes = [
        f"{cause.get('field', '')}: {cause.get('message', '')}".removeprefix(": ")
        for cause in error.details.get("causes", ())
        if cause.get("message") not in (None, error.message)
    ]
    codes: tuple[tuple[type[ApiError], Exit], ...] = (
        (NotFound, Exit.NOT_FOUND),
        (Invalid, Exit.INVALID),
        (Conflict, Exit.CONFLICT),
        (Unavailable, Exit.UNREACHABLE),
        (Unauthorized, Exit.UNREACHABLE),
        (Forbidden, Exit.FAILED),
    )
    code = next((code for kind, code in codes if isinstance(error, kind)), Exit.FAILED)
    if isinstance(error, Unauthorized):
        causes.append(
            "the server does not accept the credentials of this kubeconfig: log in again, or name another context"
        )
    return CliError(error.message, exit_code=code, hints=causes)


def main() -> None:
    """Entry point of the `outrider` program."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(top_level_help())
        sys.exit(Exit.OK)
    sys.exit(run(arguments))
