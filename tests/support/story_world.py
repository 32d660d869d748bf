"""A local world that tests drive as a user drives it: by running `outrider`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrider.local.folder import WorldFolder, WorldInfo

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "tests" / "golden" / "guide"
DEADLINE = 120.0


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


class LocalWorld:
    """A data folder of its own, and the commands that a user would type."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.prefix: tuple[str, ...] = ()
        """A program, with its arguments, that runs the commands."""
        self.python = sys.executable
        self.folder = WorldFolder(root=home)
        self.env = {
            **{key: value for key, value in os.environ.items() if key != "KUBECONFIG"},
            "OUTRIDER_HOME": str(home),
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
        }

    def outrider(self, *arguments: str, stdin: str = "", code: int | None = 0, timeout: float = DEADLINE) -> Finished:
        """Run a command; fails the test unless it ends with `code` (None: any)."""
        done = subprocess.run(
            [*self.prefix, self.python, "-m", "outrider", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.env,
            timeout=timeout,
            check=False,
        )
        finished = Finished(done.returncode, done.stdout, done.stderr)
        assert code is None or finished.code == code, f"outrider {' '.join(arguments)}: {finished}"
        return finished

    def json(self, *arguments: str) -> Any:
        return json.loads(self.outrider(*arguments, "--output", "json").out)

    def up(self, *arguments: str) -> None:
        self.outrider("up", "--detach", "--gateway-port", "0", "--api-port", "0", *arguments)

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


def wait_for(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Wait for a condition to hold, and return what it returned."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError(f"waited {deadline:.0f} s for: {what}")
