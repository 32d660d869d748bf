"""A local world that tests drive as a user drives it: by running `outrider`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane import programs_or_skip

from outrider.local.folder import WorldFolder, WorldInfo

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "tests" / "golden" / "guide"
DEADLINE = 120.0
BASES = ("local", "kubernetes")
"""What keeps the objects of a world: the store of the local world, or a Kubernetes control plane."""


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


class LocalWorld:
    """A data folder of its own, and the commands that a user would type.

    On Kubernetes it needs the programs of the control plane: without them the test is skipped, and fails in CI.
    """

    def __init__(self, home: Path, base: str = "local") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.base = base
        self.prefix: tuple[str, ...] = ()
        """A program, with its arguments, that runs the commands."""
        self.python = sys.executable
        self.gateway_port = 0
        """Where the gateway listens after `up`; 0 for any free port, another one after every `up`."""
        self.folder = WorldFolder(root=home)
        self.env = {
            **{key: value for key, value in os.environ.items() if key != "KUBECONFIG"},
            "OUTRIDER_HOME": str(home),
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
        }
        if base == "kubernetes":
            # Its home is not the user's, whose cache has them.
            self.programs = programs_or_skip()
            self.env["KUBEBUILDER_ASSETS"] = str(self.programs.folder)

    def outrider(self, *arguments: str, stdin: str = "", code: int | None = 0, timeout: float = DEADLINE) -> Finished:
        """Run a command; fails the test unless it ends with `code` (None: any)."""
        words = [*self.prefix, self.python, "-m", "outrider", *arguments]
        return self.run(words, stdin=stdin, code=code, timeout=timeout)

    def kubectl(self, *arguments: str, code: int | None = 0) -> Finished:
        """Run the kubectl of the control plane's version, on a world that is on Kubernetes."""
        assert self.programs.kubectl is not None, f"no kubectl in {self.programs.folder}"
        words = [str(self.programs.kubectl), *arguments]
        return self.run(words, code=code, env={"KUBECONFIG": self.info.kubeconfig})

    def run(
        self,
        words: list[str],
        *,
        stdin: str = "",
        code: int | None = 0,
        timeout: float = DEADLINE,
        env: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run a program in the world's environment; fails the test unless it ends with `code` (None: any)."""
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            env={**self.env, **(env or {})},
            timeout=timeout,
            check=False,
        )
        finished = Finished(done.returncode, done.stdout, done.stderr)
        assert code is None or finished.code == code, f"{' '.join(words)}: {finished}"
        return finished

    def json(self, *arguments: str) -> Any:
        return json.loads(self.outrider(*arguments, "--output", "json").out)

    def up(self, *arguments: str) -> None:
        on = ("--kubernetes",) if self.base == "kubernetes" else ()
        options = ("--detach", "--gateway-port", str(self.gateway_port), "--api-port", "0", *on)
        self.outrider("up", *options, *arguments, timeout=2 * DEADLINE)  # it gives up by itself before

    def empty(self) -> None:
        """Bring a world on Kubernetes back to how it came up; returns when the pods are gone."""
        self.kubectl("uncordon", "--selector=kubernetes.io/hostname")
        # In the foreground: an LLMDeployment goes when its last pod has gone.
        self.kubectl("delete", "llmdeployments,versionpins", "--all", "--all-namespaces", "--cascade=foreground")
        self.kubectl("delete", "configmaps", "--all-namespaces", "--field-selector=metadata.name!=kube-root-ca.crt")

    @property
    def info(self) -> WorldInfo:
        info = self.folder.info()
        assert info is not None
        return info

    def get(self, name: str, namespace: str = "production", kind: str = "llmd") -> dict[str, Any]:
        found: dict[str, Any] = self.json("get", kind, name, "--namespace", namespace)
        return found

    def condition(self, name: str, kind: str, namespace: str = "production") -> dict[str, Any]:
        conditions = self.get(name, namespace).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def processes(self) -> list[tuple[int, str]]:
        """Every process that was started for this world, by its data folder in the command line or environment."""
        found = []
        marker = str(self.home).encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state != "Z" and (marker in command or marker in environment):
                found.append((int(entry.name), command.replace(b"\0", b" ").decode(errors="replace")))
        return found


@contextmanager
def ended(world: LocalWorld) -> Iterator[None]:
    """End the world afterwards, in whatever state it is: a process that is left is a failure."""
    try:
        yield
    finally:
        world.outrider("down", "--timeout", "90s", code=None)
        wait_for(lambda: not world.processes(), f"no process left, but there are {world.processes()}", deadline=20)


def wait_for(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Wait for a condition to hold, and return what it returned."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError(f"waited {deadline:.0f} s for: {what}")
