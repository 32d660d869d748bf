"""The world's own network: a network namespace in which every pod has an address, for this process and its children.

Within the namespace whole ranges of addresses are local (AnyIP), so that any process may listen on any of them, without
a bridge and without setting up each one. Nothing but loopback is in it: what runs inside reaches nothing outside.
Sockets belong to the namespace in which they were made, so that listening sockets made before entering go on serving
the host. Linux only. As an ordinary user it takes a user namespace too, in which that user is root. A mount namespace
lets single files of the system be others in there, such as `/etc/resolv.conf`, and leaves all else as it is.
"""

import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from outrider.kube.files import make_private_folder, write_private
from outrider.local.controlplane import anchor

POD_NETWORK = "10.244.0.0/16"
NODE_NETWORK = "192.168.77.0/24"
WORLD_ADDRESS = "192.168.77.250"
"""Where the world's own process serves the cluster: no node is numbered so high."""
MARKER = "OUTRIDER_WORLD_FOLDER"
"""In the environment of the anchor: whose it is."""
LOCK_DESCRIPTOR = 3
HIGH_DESCRIPTOR = 10
END_SECONDS = 5.0

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000


def node_address(number: int) -> str:
    """The address of node `number`, counted from 1."""
    return str(ipaddress.IPv4Network(NODE_NETWORK)[number])


class NamespaceUnavailable(Exception):
    """Neither this system nor this user can have a network namespace; `hints` say what would help."""

    def __init__(self, message: str, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.hints = tuple(hints)


class Anchor:
    """The process that keeps the namespace between two lives of a world. Its lock and number lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = folder / "anchor.lock"
        self._number = folder / "anchor.pid"

    def find(self) -> int | None:
        """The process, if it lives: the lock says so, not a number that may be another's by now."""
        try:
            handle = os.open(self._lock, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with contextlib.suppress(OSError, ValueError):
                return int(self._number.read_text())
        finally:
            os.close(handle)
        return None

    def start(self) -> int:
        """Start it in the namespace of this process."""
        make_private_folder(self._folder)
        opened = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        lock = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
        os.close(opened)
        try:
            # The lock belongs to the open file, which the anchor inherits: it is held for as long as the anchor lives.
            fcntl.flock(lock, fcntl.LOCK_EX)
            argv = [sys.executable, "-I", "-S", anchor.__file__]
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, lock, LOCK_DESCRIPTOR),
            ]
            pid = os.posix_spawn(sys.executable, argv, {MARKER: str(self._folder)}, file_actions=actions, setsid=True)
            write_private(self._number, str(pid).encode())
        finally:
            os.close(lock)
        return pid

    def end(self) -> bool:
        """End it, and with it the namespace once nothing else is in there. Tells whether it lived."""
        pid = self.find()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        while self.find() is not None and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.01)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return True


def enter(anchor: Anchor, networks: Sequence[str]) -> bool:
    """Move this process into the world's namespaces, making them if they are not there. Tells whether they were.

    To be called before any thread is started: a process with threads cannot change its user and mount namespaces.

    Raises:
        NamespaceUnavailable: the system or the user cannot have one.
    """
    if sys.platform != "linux":
        raise NamespaceUnavailable(
            "a real control plane needs Linux: pods get addresses in a network namespace",
            ["run Outrider in a Linux virtual machine, or the local world without --kubernetes:  outrider up"],
        )
    if (pid := anchor.find()) is not None:
        _join(pid)
        return True
    _separate()
    _set_up(networks)
    anchor.start()
    return False


def show_files(files: Mapping[Path, Path]) -> None:
    """Within the world, let each file of the system (the key) be another one (the value), by a bind mount.

    To be called once, by the process that made the namespaces. A file that the system does not have is left out.

    Raises:
        OSError: the system does not allow it; what runs in the world then sees its files as they are.
    """
    for shown, source in files.items():
        if shown.exists():
            _call("mount", os.fsencode(source), os.fsencode(shown), None, _MS_BIND, None)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int | bytes | None) -> None:
    if getattr(_libc(), function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _join(pid: int) -> None:
    """Enter the namespaces of another process of ours."""
    if _differs(pid, "user"):
        _set_namespace(pid, "user", _CLONE_NEWUSER)
    _set_namespace(pid, "net", _CLONE_NEWNET)
    if _differs(pid, "mnt"):
        folder = Path.cwd()
        _set_namespace(pid, "mnt", _CLONE_NEWNS)
        os.chdir(folder)  # entering it has led to its root


def _differs(pid: int, kind: str) -> bool:
    return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino != Path(f"/proc/self/ns/{kind}").stat().st_ino


def _set_namespace(pid: int, kind: str, flag: int) -> None:
    handle = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
    try:
        _call("setns", handle, flag)
    except OSError as error:
        raise NamespaceUnavailable(f"cannot enter the world's {kind} namespace: {error.strerror}") from error
    finally:
        os.close(handle)


def _separate() -> None:
    """Namespaces of our own; with one of users around them where that takes rights that we lack."""
    with contextlib.suppress(PermissionError):
        _call("unshare", _CLONE_NEWNET | _CLONE_NEWNS)
        _keep_mounts_to_ourselves()
        return
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        _keep_mounts_to_ourselves()
    except OSError as error:
        raise NamespaceUnavailable(f"cannot make a network namespace: {error.strerror}", _advice(error)) from error


def _keep_mounts_to_ourselves() -> None:
    """What is mounted in the world is not seen outside; what the system mounts later is seen in the world."""
    _call("mount", None, b"/", None, _MS_REC | _MS_SLAVE, None)


def _advice(error: OSError) -> list[str]:
    if error.errno not in (errno.EPERM, errno.EACCES):
        return ["the kernel must offer user and network namespaces (CONFIG_USER_NS, CONFIG_NET_NS)"]
    return [
        "Ubuntu restricts user namespaces:  sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        "within a container, its engine must allow unshare; as root the network namespace alone is enough",
        "or run the local world without a real control plane:  outrider up",
    ]


def _set_up(networks: Sequence[str]) -> None:
    program = shutil.which("ip", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/sbin")
    if program is None:
        raise NamespaceUnavailable(
            "the program `ip` is missing, which sets up the world's network", ["install it:  apt-get install iproute2"]
        )
    for command in (["link", "set", "lo", "up"], *(["route", "add", "local", each, "dev", "lo"] for each in networks)):
        done = subprocess.run([program, *command], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise NamespaceUnavailable(f"`ip {' '.join(command)}` failed: {done.stderr.strip()}")
