"""The Helm that tools/helm/build.py built."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ("--kube-version", "1.36.3")
"""Helm built by hand takes a cluster that it cannot ask for an ancient one unless it is told."""


def helm_or_skip() -> str:
    """The path of Helm. CI must have it; elsewhere its absence is a visible skip."""
    asked = [sys.executable, str(ROOT / "tools" / "helm" / "build.py"), "--print"]
    program = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    if not program.is_file():
        if os.environ.get("CI"):
            pytest.fail("CI must have Helm: python3 tools/helm/build.py")
        pytest.skip("no Helm on this machine: python3 tools/helm/build.py builds it (needs Go)")
    return str(program)
