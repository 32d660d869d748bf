"""Runs a command in a network namespace of its own, in which pods can have addresses.

python in_namespace.py FOLDER COMMAND [ARGUMENT...]; exit code 75 where there can be no such namespace.
"""

import subprocess
import sys
from pathlib import Path

from outrider.local.controlplane.namespace import NODE_NETWORK, POD_NETWORK, Anchor, NamespaceUnavailable, enter

UNAVAILABLE = 75


def main() -> int:
    folder, *command = sys.argv[1:]
    anchor = Anchor(Path(folder))
    try:
        enter(anchor, [POD_NETWORK, NODE_NETWORK, "10.96.0.0/16"])
    except NamespaceUnavailable as error:
        sys.stdout.write(f"{error}\n")
        return UNAVAILABLE
    try:
        return subprocess.call(command)
    finally:
        anchor.end()


if __name__ == "__main__":
    sys.exit(main())
