"""What needs addresses that other machines would have: the tests of the folder `inside`, in a network namespace."""

import os
import subprocess
import sys
from pathlib import Path

import in_namespace
import pytest
from control_plane import programs_or_skip

INSIDE = Path(__file__).parent / "inside"
VARIABLE = "OUTRIDER_TESTS_INSIDE"
"""Set for the tests that run inside."""


@pytest.mark.parametrize("name", sorted(path.name for path in INSIDE.glob("test_*.py")))
def test_inside(name: str, tmp_path: Path) -> None:
    programs_or_skip()
    pytest_inside = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE / name)]
    done = subprocess.run(
        [sys.executable, str(Path(in_namespace.__file__)), str(tmp_path / "anchor"), *pytest_inside],
        env={**os.environ, VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode == in_namespace.UNAVAILABLE and not os.environ.get("CI"):
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
