"""What `--help` promises is there, is documented, and costs nothing to print."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from outrider.cli.commands import SECTIONS, SUBCOMMANDS, Command, top_level_help
from outrider.cli.errors import Exit
from outrider.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [command for section in SECTIONS for command in section.commands if command.target] + list(SUBCOMMANDS)


def _title(command: Command) -> str:
    return f"{command.parent} {command.name}".strip()


@pytest.mark.parametrize("command", COMMANDS, ids=_title)
def test_every_command_exists_and_describes_every_option(command) -> None:
    module, _, name = command.target.partition(":")
    function = getattr(importlib.import_module(module), name)
    documentation = inspect.getdoc(function) or ""
    assert documentation.splitlines()[0].endswith("."), "the first line is a sentence"
    for parameter in inspect.signature(function).parameters:
        if parameter != "cluster":
            assert f"\n{parameter}\n" in documentation, f"{_title(command)} does not say what {parameter} is"


@pytest.mark.parametrize("command", COMMANDS, ids=_title)
def test_every_command_has_help(command, capsys) -> None:
    assert run([*_title(command).split(), "--help"]) == Exit.OK
    assert "Usage: outrider" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=_title)
def test_every_command_is_in_the_user_guide(command) -> None:
    assert f"`outrider {_title(command)}" in (ROOT / "docs" / "guide" / "commands.md").read_text()


def test_top_level_help_names_every_command_and_every_exit_code() -> None:
    text = top_level_help()
    for section in SECTIONS:
        for command in section.commands:
            assert f"\n  {command.name} " in text
    guide = (ROOT / "docs" / "guide" / "commands.md").read_text()
    for code in Exit:
        assert f" {code.value} " in text.replace("\n", " ")
        assert f"| {code.value} |" in guide


def test_top_level_help_imports_neither_the_libraries_nor_the_commands() -> None:
    script = (
        "import sys; sys.argv = ['outrider', '--help']\n"
        "from outrider.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'cyclopts', 'rich', 'aiohttp', 'lightkube', 'msgspec', 'yaml', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_wrong_option_is_a_usage_error_that_names_it(capsys) -> None:
    assert run(["get", "--colour"]) == Exit.USAGE
    captured = capsys.readouterr()
    assert "--colour" in captured.out + captured.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_the_commands(shell, capsys) -> None:
    assert run(["completion", shell]) == Exit.OK
    script = capsys.readouterr().out
    for command in ("rollback", "rollout", "unpin"):
        assert command in script
