"""Becomes another program that is killed when its parent ends: `tether.py PARENT PROGRAM ARGUMENT...`.

Whoever runs a control plane may be killed at any moment; what it started must not go on without it, holding ports and
the database. Linux only (prctl); elsewhere the program goes on, and the next start says that its ports are taken.
Runs alone, without Outrider's modules: it starts in a few milliseconds.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked to be told
            sys.exit("the parent has already ended")
    os.execv(program, sys.argv[2:])  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main()
