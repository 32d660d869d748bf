"""Becomes a command in a container: `python -I -S launch.py PARENT TTY DIRECTORY COMMAND [ARGUMENT...]`.

A process of its own for what can only be done between fork and exec: it dies with the kubelet that started it, makes
the terminal its own, and tells the client what kept the command from running, with the exit codes that shells use: 127
for a command that is not there, 126 for one that cannot be executed. Standard library only, and few modules of it.
"""

import ctypes
import errno
import fcntl
import os
import signal
import sys
import termios

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def reason(number: int) -> str:
    return "executable file not found in $PATH" if number == errno.ENOENT else os.strerror(number)


def main() -> None:
    parent, terminal, directory, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(NOT_EXECUTABLE)  # the kubelet died before it could be followed
    if terminal == "1":
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Python ignores these, and what is ignored stays so through exec.
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    code = NOT_EXECUTABLE
    try:
        os.chdir(directory)
        os.umask(0o022)
        os.execvp(command[0], command)  # noqa: S606  (running it is the purpose)
    except OSError as error:
        code = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
        os.write(2, f'exec: "{command[0]}": {reason(error.errno or 0)}\n'.encode())
    except ValueError as error:  # a zero byte in a word
        os.write(2, f"exec: {error}\n".encode())
    os._exit(code)


if __name__ == "__main__":
    main()
