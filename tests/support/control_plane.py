"""A real control plane for tests: without pods, on free ports of loopback, in a process of its own."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.kubeconfig import ClusterConfig, load_kubeconfig
from outrider.local.controlplane.programs import Programs, ProgramsMissing, find_programs

START_SECONDS = 120.0
AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""


def programs_or_skip() -> Programs:
    """The control plane's programs; without them the test is skipped, visibly, and in CI it fails."""
    try:
        return find_programs()
    except ProgramsMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have a control plane: {error}")
        pytest.skip(f"no Kubernetes control plane on this machine: {'; '.join(error.hints)}")


@dataclass(frozen=True)
class RunningPlane:
    """A control plane that is up. Whoever has its kubeconfig may do everything."""

    folder: Path
    programs: Programs
    supervisor: int
    """The process that runs it."""

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def config(self) -> ClusterConfig:
        """For `HttpApi`."""
        return load_kubeconfig([self.kubeconfig])

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the kubectl that came with the control plane."""
        assert self.programs.kubectl is not None
        done = subprocess.run(
            [str(self.programs.kubectl), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)},
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def audit(self) -> list[dict[str, Any]]:
        """Every request that has been answered so far, oldest first: `audit.k8s.io/v1` events at level Metadata."""
        lines = (self.folder / "audit.log").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def running_plane(folder: Path, *options: str) -> Iterator[RunningPlane]:
    """A control plane in a new folder, ended at the end."""
    programs = programs_or_skip()
    folder.mkdir(parents=True, exist_ok=True)
    policy = folder / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    argv = [sys.executable, "-m", "outrider.local.controlplane", str(folder), "--audit-policy", str(policy), *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            _wait_until_ready(process)
            yield RunningPlane(folder, programs, process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    printed = b""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 1.0)
        chunk = os.read(process.stdout.fileno(), 65536) if readable else b""
        printed += chunk
        if b"ready:" in printed:
            return
        if readable and not chunk:
            break
    pytest.fail(f"the control plane did not come up: {printed.decode(errors='replace')}")
