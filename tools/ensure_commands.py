"""See to it that the programs that some tests use are there: install them where possible, else say what is missing.

Usage: ensure_commands.py COMMAND...
In CI a missing program is a failure; on a user's machine its tests are skipped, visibly.
"""

import os
import shutil
import subprocess
import sys


def main() -> None:
    missing = [command for command in sys.argv[1:] if shutil.which(command) is None]
    if missing and shutil.which("apt-get") is not None and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True)
        missing = [command for command in missing if shutil.which(command) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}; tests that need them are skipped", file=sys.stderr)
        if os.environ.get("CI"):
            sys.exit(1)


if __name__ == "__main__":
    main()
