"""Where a local world keeps its state, and which worlds are running."""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from outrider.kube.files import make_private_folder, remove_unfinished, write_private

DEFAULT_WORLD = "local"
_DELETED_AT_MOST = 100
"""How often a start may find its folder deleted under it before it says so."""
_TOKEN_BYTES = 32
_TOKEN = re.compile("[A-Za-z0-9_-]{43}")
"""So many bytes in URL-safe base64."""


class WorldInUse(Exception):
    """Another process is running this world."""

    def __init__(self, name: str, pid: int | None) -> None:
        self.name = name
        self.pid = pid
        super().__init__(f"the local world {name!r} is already running" + (f" (process {pid})" if pid else ""))


class WorldInfo(msgspec.Struct, frozen=True, rename="camel"):
    """What a running world tells about itself in `world.json`."""

    name: str
    pid: int
    api_url: str
    gateway_url: str
    kubeconfig: str
    version: str
    engine: str
    nodes: int
    gpus_per_node: int
    started_at: str
    kubernetes: str = ""
    """Version of the real control plane; empty where the store stands for one."""
    seconds: dict[str, float] = {}
    """What came up when, in seconds since the start."""
    warnings: list[str] = []
    """What is not as the last run had left it, in sentences."""


def data_root() -> Path:
    """The user's data folder for Outrider: `OUTRIDER_HOME`, else what the system's conventions say.

    Absolute, since pods run in folders of their own. Raises `FileNotFoundError` for a user without a home folder.
    """
    if home := os.environ.get("OUTRIDER_HOME"):
        return Path(home).absolute()
    try:
        user = Path.home()
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "this user has no home folder: set OUTRIDER_HOME", "~") from error
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "outrider"
    return Path(os.environ.get("XDG_DATA_HOME") or user / ".local" / "share").absolute() / "outrider"


class WorldFolder:
    """The folder of one world: its lock, its database, its kubeconfig, its pods' state and logs."""

    def __init__(self, name: str = DEFAULT_WORLD, root: Path | None = None) -> None:
        self.name = name
        self.path = (root or data_root()) / "worlds" / name
        self.database = self.path / "state.sqlite"
        self.kubeconfig = self.path / "kubeconfig"
        self.pods = self.path / "pods"
        self.control_plane = self.path / "kubernetes"
        self.proxy = self.control_plane / "proxy"
        """Holds the URL, with its password, of the HTTP proxy that leads into the network of a world on Kubernetes."""
        self.log = self.path / "outrider.log"
        self.output = self.path / "up.out"
        """What the world printed, where no terminal shows it."""
        self._info = self.path / "world.json"
        self._lock = self.path / "lock"
        self._token = self.path / "token"

    def create(self) -> None:
        """Make the folder, readable by its user only: it holds a token and Secrets."""
        make_private_folder(self.pods)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one process that runs this world. The system drops the lock when the process ends, however it ends.

        What a killed process left is put in order: its sign is taken down, and files it had half written go.

        Raises:
            WorldInUse: another process is.
        """
        with self._lock_taken():
            self.forget_info()
            for beside in (self._info, self._token, self.kubeconfig):
                remove_unfinished(beside)
            yield

    def remove(self, first: Callable[[], object] = lambda: None) -> None:
        """Delete the folder with all that is in it, after `first`; nobody can start the world meanwhile.

        Raises:
            WorldInUse: a process runs the world.
        """
        if self.path.exists():
            with self._lock_taken():
                first()
                # Renamed first: others may be about to make and lock it anew, and would get in the way of each other.
                doomed = self.path.with_name(f".{self.name}.{secrets.token_hex(8)}")
                self.path.rename(doomed)
                shutil.rmtree(doomed)

    def clear(self) -> None:
        """Delete what the world kept. To be called by who has the lock; who waits for the start is not disturbed."""
        for entry in self.path.iterdir():
            if entry == self.log:
                os.truncate(entry, 0)  # it may be open
            elif entry.is_dir():
                shutil.rmtree(entry)
            elif entry != self._lock and not entry.name.startswith(f".{self.output.name}."):
                entry.unlink()
        self.create()

    @contextmanager
    def _lock_taken(self) -> Iterator[None]:
        with ExitStack() as stack:
            while True:
                handle = stack.enter_context(self._open_lock())
                if not _only_owner(handle.fileno()):
                    info = self.info()
                    raise WorldInUse(self.name, info.pid if info else None)
                if _is_at(handle.fileno(), self._lock):
                    break
                handle.close()  # the folder was deleted while it was being locked: it keeps nobody out
            yield

    def _open_lock(self) -> IO[str]:
        for _ in range(_DELETED_AT_MOST):
            # The folder is being deleted. Path.mkdir says "exists" where it went before it was seen to be a folder.
            with suppress(FileNotFoundError, FileExistsError):
                self.create()
                return os.fdopen(os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600))
        self.create()
        return os.fdopen(os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600))

    @property
    def running(self) -> bool:
        """Whether a process runs this world now. Asked of the lock, not of a process number that may be another's."""
        try:
            handle = self._lock.open("r")
        except OSError:
            return False
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(handle, fcntl.LOCK_UN)
            return False

    def token(self) -> str:
        """The bearer token of this world's API, made on first use, and anew where the file is damaged."""
        try:
            token = self._token.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            token = ""
        if not _TOKEN.fullmatch(token):
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            write_private(self._token, token.encode())
        return token

    def info(self) -> WorldInfo | None:
        """What the world said about itself when it last started; None if it never did, or half."""
        try:
            return msgspec.json.decode(self._info.read_bytes(), type=WorldInfo)
        except (OSError, msgspec.DecodeError):
            return None

    def write_info(self, info: WorldInfo) -> None:
        write_private(self._info, json.dumps(msgspec.to_builtins(info), indent=2).encode())

    def forget_info(self) -> None:
        """Take the sign down: the world is no longer to be found."""
        self._info.unlink(missing_ok=True)


def _only_owner(lock: int) -> bool:
    """Take the lock, unless a process that runs the world has it.

    Who only looks whether the world runs shares the lock for a moment, and must not keep it from starting.
    """
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            fcntl.flock(lock, fcntl.LOCK_UN)
        else:
            return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def running_worlds(root: Path | None = None) -> list[WorldFolder]:
    """The worlds that run now, the default one first."""
    base = (root or data_root()) / "worlds"
    names = (
        sorted(
            (entry.name for entry in base.iterdir() if entry.name[0] != "."),
            key=lambda name: (name != DEFAULT_WORLD, name),
        )
        if base.is_dir()
        else []
    )
    folders = [WorldFolder(name, root) for name in names]
    return [folder for folder in folders if folder.running and folder.info() is not None]
