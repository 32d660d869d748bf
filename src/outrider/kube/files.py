"""Files that hold secrets."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Make a folder with every folder above it that is missing, each for its owner only (0700). Raises `OSError`."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            # `mkdir(parents=True, mode=...)` would give the mode to the last one only.
            folder.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Put `content` at `path`, readable by its owner only (0600), whole or not at all.

    It is written beside `path`, brought to disk and renamed, so that no reader ever sees half of it. A missing folder
    is made (0700). Raises `OSError`.
    """
    make_private_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what a killed `write_private(path, ...)` left; nobody may be writing `path` now. Raises `OSError`."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)
