"""Every command of the tutorial, run as a reader would run it, prints what the tutorial says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from story_world import ROOT, LocalWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(minutes=3),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """(command, expected lines) of every console block."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def matches(expected: list[str], printed: str) -> bool:
    """Whether the output is what is expected, where `...` stands for any text, also for several lines."""
    pattern = r"\s*".join(
        re.escape(line.strip()).replace(r"\.\.\.", r".*?").replace(r"\ ", r"\s+") for line in expected
    )
    return re.fullmatch(pattern + r"\s*", printed.strip(), flags=re.DOTALL) is not None


def test_every_command_of_the_tutorial_prints_what_it_says(world: LocalWorld, tmp_path: Path) -> None:
    workplace = tmp_path / "outrider"
    workplace.mkdir()
    (workplace / "examples").symlink_to(ROOT / "examples")
    environment = dict(world.env)
    variables = ""
    steps = blocks((ROOT / "docs" / "guide" / "tutorial.md").read_text())
    assert len(steps) > 20
    for command, expected in steps:
        if world.base == "kubernetes":  # as the tutorial says
            command = command.replace("outrider up --detach", "outrider up --kubernetes --detach")
        if command in ("make install", 'export PATH="$PWD/.venv/bin:$PATH"'):
            assert Path(sys.executable).parent.as_posix() in environment["PATH"]  # the fixture has done it
            continue
        done = subprocess.run(
            ["bash", "-c", f"{variables}\n{command}"],
            cwd=workplace,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if re.match(r"^[A-Z]+=", command):
            variables += command + "\n"
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        if expected:
            assert matches(expected, done.stdout), f"$ {command}\nprinted:\n{done.stdout}\nexpected:\n" + "\n".join(
                expected
            )
