"""Make the virtual environment that the Makefile uses, with Outrider and its development tools in it.

Runs on a bare Python: on Debian, where `venv` is a package of its own, it installs that when it may (as root), and says
what to install when it may not.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path


def ensure_venv_module() -> None:
    """Debian ships Python without ensurepip; without it `python -m venv` makes an environment that has no pip."""
    if importlib.util.find_spec("ensurepip") is not None:
        return
    package = f"python3.{sys.version_info.minor}-venv"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.exit(f"This Python cannot make virtual environments: apt-get install {package}, then try again.")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True)


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is run by whatever Python the user has
        sys.exit(
            f"Outrider needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 ..."
        )
    target = Path(sys.argv[1])
    ensure_venv_module()
    print(f"Installing Outrider and its tools into {target} ...", flush=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    subprocess.run([*pip, "install", "--upgrade", "pip>=25.1"], check=True)
    subprocess.run([*pip, "install", "--group", "dev", "-e", "."], check=True)


if __name__ == "__main__":
    main()
