"""What `--help` promises is there, is documented, and costs nothing to print."""

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from outrider.cli import main
from outrider.cli.commands import PASSED_ON, SECTIONS, SUBCOMMANDS, Command, top_level_help
from outrider.cli.errors import Exit
from outrider.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
OURS = [command for section in SECTIONS for command in section.commands if command.target not in ("", PASSED_ON)]
COMMANDS = OURS + list(SUBCOMMANDS)


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
def test_help_says_all_that_the_command_says_of_itself(command, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    module, _, name = command.target.partition(":")
    said = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
    prose = " ".join(said.partition("\nParameters\n")[0].split())
    run([*_title(command).split(), "--help"])
    assert prose in " ".join(capsys.readouterr().out.split())


OUTPUTS = {
    "status": "table, wide, json, yaml",
    "plan": "table, json, yaml, plan",
    "apply": "table, name, json, yaml",
    "get": "table, wide, json, yaml, name",
    "install": "table, json, yaml",
    "upgrade": "table, json, yaml",
}


@pytest.mark.parametrize(("command", "formats"), OUTPUTS.items())
def test_a_command_offers_the_output_formats_that_it_has(command, formats, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run([command, "--help"])
    assert f"[choices: {formats}]" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", COMMANDS, ids=_title)
def test_every_command_is_in_the_user_guide(command) -> None:
    assert f"`outrider {_title(command)}" in (ROOT / "docs" / "guide" / "commands.md").read_text()


@pytest.mark.parametrize("group", ["rollout", "explain"])
def test_the_help_of_a_group_says_what_each_of_its_commands_does(group, capsys) -> None:
    assert run([group, "--help"]) == Exit.OK
    printed = capsys.readouterr().out
    for command in SUBCOMMANDS:
        assert (command.summary in printed) == (command.parent == group)


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
        "heavy = {'cyclopts', 'rich', 'aiohttp', 'msgspec', 'yaml', 'asyncio'} & set(sys.modules)\n"
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


UNTIMELY = {
    "apply": ["apply", "--filename", "-", "--timeout", "soon"],
    "rollback": ["rollback", "x", "--timeout", "soon"],
    "unpin": ["unpin", "x", "--timeout", "soon"],
    "delete": ["delete", "llmd", "x", "--timeout", "soon"],
    "rollout status": ["rollout", "status", "x", "--timeout", "soon"],
    "rollout promote": ["rollout", "promote", "x", "--timeout", "soon"],
    "rollout abort": ["rollout", "abort", "x", "--timeout", "soon"],
    "down": ["down", "--timeout", "soon"],
    "install": ["install", "--timeout", "soon"],
    "upgrade": ["upgrade", "--timeout", "soon"],
    "uninstall": ["uninstall", "--timeout", "soon"],
}


@pytest.mark.parametrize("arguments", UNTIMELY.values(), ids=UNTIMELY.keys())
def test_a_wrong_timeout_is_refused_before_anything_is_done(arguments, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there is none"))
    assert run(arguments) == Exit.USAGE
    assert "--timeout soon: must be a duration" in capsys.readouterr().err


WRONG = {
    "a port beyond the last": (["up", "--api-port", "99999"], "--api-port 99999"),
    "a negative port": (["up", "--gateway-port=-5"], "--gateway-port -5"),
    "the address of no gateway": (["up", "--base-url", "http://x"], "name it with --gateway"),
    "the counters of no gateway": (["up", "--gateway-metrics", "http://x/metrics"], "name it with --gateway"),
    "another gateway where there is none": (["up", "--gateway", "a/b"], "other Gateways need --kubernetes"),
    "a way to a gateway that is no URL": (
        ["up", "--kubernetes", "--gateway", "a/b", "--gateway-inside-url", "traefik:8000"],
        "--gateway-inside-url traefik:8000: must be http://HOST:PORT",
    ),
    "no kind": (["get", ","], "unknown kind ''"),
    "several kinds to watch": (["get", "pods,services", "--watch"], "one kind"),
    "a negative number of lines": (["logs", "x", "--tail=-1"], "--tail -1"),
    "both a name and a file to delete": (["delete", "pod", "x", "--filename", "-"], "not both"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_values_are_usage_errors(arguments, message, capsys, cluster) -> None:
    assert run(arguments) == Exit.USAGE
    assert message in capsys.readouterr().err


def _program(*arguments: str, **settings: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **settings}
    command = [sys.executable, "-m", "outrider", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_error(arguments) -> None:
    with _program(*arguments) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == Exit.OK


def test_help_of_a_command_may_be_asked_for_in_both_ways() -> None:
    said = [
        subprocess.run([sys.executable, "-m", "outrider", *each], capture_output=True, check=True).stdout
        for each in (["help", "rollout", "status"], ["rollout", "status", "--help"])
    ]
    assert said[0] == said[1]


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with _program("up", "--detach", OUTRIDER_HOME=str(tmp_path / "file" / "data")) as program:
        _, told = program.communicate()
    assert program.returncode == Exit.FAILED
    assert told.decode() == f"error: File exists: {tmp_path / 'file'}\n"


def test_a_bug_is_told_in_a_sentence_and_its_trace_when_asked_for(monkeypatch, capsys) -> None:
    def broken(_: object) -> int:
        raise AssertionError("seven is no prime")

    monkeypatch.setattr(main, "run", broken)
    assert main.carry_out(["get"]) == Exit.FAILED
    assert "a mistake in Outrider, not yours: AssertionError: seven is no prime" in capsys.readouterr().err
    monkeypatch.setenv(main.TRACEBACK, "1")
    with pytest.raises(AssertionError):
        main.carry_out(["get"])
