"""Build Helm once per version into the user's cache, for the tests of the chart.

`python3 tools/helm/build.py` builds it; `--print` prints where the program is, or would be; `--if-possible` does
nothing without Go, but in CI, where the chart must be tested.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "v3.22.0"


def program() -> Path:
    """The path of the program, built or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "outrider" / "helm" / VERSION / "helm"


def build(path: Path) -> None:
    """Build it beside its place, and move it there when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        flags = f"-s -w -X helm.sh/helm/v3/internal/version.version={VERSION}"
        command = ["go", "install", "-trimpath", "-ldflags", flags, f"helm.sh/helm/v3/cmd/helm@{VERSION}"]
        # Without GOFLAGS: somebody's -mod=vendor would stop it. Without cgo it runs anywhere.
        environment = {**os.environ, "GOBIN": folder, "GOFLAGS": "", "CGO_ENABLED": "0"}
        if code := subprocess.run(command, env=environment, check=False).returncode:
            sys.exit(f"the build failed (go exited with {code}); what it printed is above")
        (Path(folder) / "helm").rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build Helm for the tests of the chart.")
    parser.add_argument("--print", action="store_true", help="print the path of the program, build nothing")
    parser.add_argument("--if-possible", action="store_true", help="without Go do nothing, but in CI")
    path = program()
    arguments = parser.parse_args()
    if arguments.print:
        print(path)
        return
    if path.is_file():
        print(f"Helm {VERSION} is built: {path}")
        return
    if shutil.which("go") is None:
        if arguments.if_possible and not os.environ.get("CI"):
            return
        sys.exit("Building Helm needs Go (https://go.dev/dl/), and there is none on the PATH.")
    print(f"Building Helm {VERSION}: about 2 minutes on 2 cores, once per version ...", flush=True)
    build(path)
    print(f"Helm {VERSION} is built: {path}")


if __name__ == "__main__":
    main()
