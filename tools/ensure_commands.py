"""See to it that the programs that some tests use are there: install them where possible, else say what is missing.

Usage: ensure_commands.py COMMAND[=PACKAGE]...
In CI a missing program is a failure; on a user's machine its tests are skipped, visibly.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable


def absent(commands: Iterable[str]) -> list[str]:
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/sbin"
    return [command for command in commands if shutil.which(command, path=path) is None]


def main() -> None:
    packages = {command: package or command for command, _, package in (word.partition("=") for word in sys.argv[1:])}
    missing = absent(packages)
    if missing and shutil.which("apt-get") is not None and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", *(packages[each] for each in missing)], check=True)
        missing = absent(packages)
    if missing:
        print(f"not installed: {', '.join(missing)}; tests that need them are skipped", file=sys.stderr)
        if os.environ.get("CI"):
            sys.exit(1)


if __name__ == "__main__":
    main()
