"""A file system of a few megabytes of its own, in a mount namespace of its own: to fill, and to make read-only."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path

import pytest
from story_world import LocalWorld

from outrider.local.folder import WorldFolder


class SmallDisk:
    """Mounted at `path` for the processes that `prefix` starts; others reach its files by `seen`."""

    def __init__(self, path: Path, keeper: int) -> None:
        self.path = path
        self.prefix = ("nsenter", f"--mount=/proc/{keeper}/ns/mnt")
        self.seen = Path(f"/proc/{keeper}/root{path}")
        self._filler = self.seen / "filler"

    def world(self) -> LocalWorld:
        """A world whose data folder is on the disk."""
        world = LocalWorld(self.path)
        world.prefix = self.prefix
        world.folder = WorldFolder(root=self.seen)
        return world

    def fill(self) -> None:
        """Until not one byte more finds room."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12, 1):
                with pytest.raises(OSError, match="No space left on device"):
                    _write_for_ever(filler, bytes(size))

    def make_room(self) -> None:
        self._filler.unlink()

    def mount_again(self, option: str) -> None:
        """`ro` or `rw`."""
        subprocess.run([*self.prefix, "mount", "-o", f"remount,{option}", str(self.path)], check=True)


def _write_for_ever(file: RawIOBase, block: bytes) -> None:
    while file.write(block):
        continue


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """One that goes with its last process. Skips the test where this user may not mount one."""
    path.mkdir(parents=True)
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs '{path}' && echo mounted && exec cat"
    words = ["unshare", "--mount", "sh", "-c", mount]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stderr is not None
            if keeper.stdout.readline() != b"mounted\n":
                pytest.skip(f"no mount namespace with a tmpfs for this user: {keeper.stderr.read().decode().strip()}")
            yield SmallDisk(path, keeper.pid)
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()  # its end
