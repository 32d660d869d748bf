"""A local world for a benchmark, that is gone afterwards."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def outrider(home: Path, *arguments: str) -> None:
    """Run a command on the world in `home`. Raises `subprocess.CalledProcessError` unless it succeeds."""
    environment = {**os.environ, "OUTRIDER_HOME": str(home), "HOME": str(home)}
    environment.pop("KUBECONFIG", None)
    subprocess.run([sys.executable, "-m", "outrider", *arguments], env=environment, check=True, capture_output=True)


@contextmanager
def running_world() -> Iterator[Path]:
    """The home of a world that is up, on any free ports."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        outrider(home, "up", "--detach", "--gateway-port", "0", "--api-port", "0")
        try:
            yield home
        finally:
            outrider(home, "down")
