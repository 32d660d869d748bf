"""kubectl of every version that can talk to the control plane: the one that is built with it, and older ones."""

import os
import platform
import runpy
import shutil
from pathlib import Path

import pytest
from story_world import ROOT, LocalWorld

OLDEST, NEWEST = 29, 36
"""Minor versions of Kubernetes 1. The newest is the control plane's own; kubectl 1.29 is what older runners have."""
MINORS = tuple(range(OLDEST, NEWEST + 1))
ENDS = (OLDEST, NEWEST)
FETCH = ROOT / "tools" / "kubectl" / "fetch.py"


def versions(minors: tuple[int, ...]) -> pytest.MarkDecorator:
    """One test for each version; `kubectl` is the fixture that gives its program."""
    return pytest.mark.parametrize("minor", [pytest.param(minor, id=f"1.{minor}") for minor in minors])


def find_kubectl(minor: int, world: LocalWorld) -> Path:
    """The program of that version; without it the test is skipped, and in CI, where it can be had, it fails."""
    if minor == NEWEST:
        built = world.programs.kubectl
        assert built is not None, f"no kubectl in {world.programs.folder}"
        return built
    fetched: Path = runpy.run_path(str(FETCH))["program"](minor)
    if fetched.is_file():
        return fetched
    for name in (f"kubectl.1.{minor}", f"kubectl-1.{minor}", f"kubectl1.{minor}"):
        if found := shutil.which(name):
            return Path(found)
    if os.environ.get("CI") and platform.system() == "Linux" and platform.machine() == "x86_64":
        pytest.fail(f"CI must have kubectl 1.{minor}: python3 tools/kubectl/fetch.py")
    pytest.skip(f"no kubectl 1.{minor} on this machine: python3 tools/kubectl/fetch.py, or kubectl.1.{minor} on PATH")


class Shell:
    """A shell in which `kubectl` is one version, on the world's cluster: for the guide's lines as they are printed."""

    def __init__(self, world: LocalWorld, program: Path, folder: Path) -> None:
        self.world = world
        programs = folder / "bin"
        programs.mkdir(parents=True)
        (programs / "kubectl").symlink_to(program)
        self.folder = folder
        self.env = {
            "PATH": f"{programs}{os.pathsep}{world.env['PATH']}",
            "KUBECONFIG": world.info.kubeconfig,
        }

    def put(self, name: str, text: str) -> None:
        """Put a program into the shell's folder and, before all others, on its PATH."""
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, line: str, code: int | None = 0, *, stdin: str = "", **env: str) -> str:
        """Run a line of bash; fails the test unless it ends with `code`. Gives what it printed, also on stderr."""
        words = ["bash", "-c", f"exec 2>&1\ncd {self.folder}\n{line}"]
        return self.world.run(words, stdin=stdin, code=code, env={**self.env, **env}).out

    def lines(self, line: str) -> list[list[str]]:
        """What a line printed, as rows of words."""
        return [row.split() for row in self.run(line).splitlines()]
