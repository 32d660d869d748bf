"""What a running local world takes of its machine, as /proc and the file system tell it."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

MEGABYTE = 2**20


class Sample(msgspec.Struct, frozen=True):
    """One look at the world."""

    seconds: float
    requests: int
    releases: int
    megabytes: float
    """Resident memory of `outrider up`."""
    files: int
    """Its open file descriptors."""
    pods: int
    """Processes of pods: servers, and the shim that each container has."""
    pod_megabytes: float
    """Resident memory of all of them."""
    folder_megabytes: float
    """Size of the world's data folder."""
    folder_files: int


def look(pid: int, home: Path, *, seconds: float, requests: int, releases: int) -> Sample:
    pods = processes_of(home, besides=(pid, os.getpid()))
    paths = [Path(folder, name) for folder, _, names in os.walk(home) for name in names]  # pods' folders come and go
    sizes = [size for path in paths if (size := _size(path)) is not None]
    return Sample(
        seconds=seconds,
        requests=requests,
        releases=releases,
        megabytes=resident(pid) / MEGABYTE,
        files=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        pods=len(pods),
        pod_megabytes=sum(map(resident, pods)) / MEGABYTE,
        folder_megabytes=sum(sizes) / MEGABYTE,
        folder_files=len(sizes),
    )


def processes_of(home: Path, *, besides: Sequence[int]) -> list[int]:
    """All processes that were started for this data folder, by their command line or environment."""
    marker, found = str(home).encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in besides:
            continue
        try:
            if marker in (entry / "cmdline").read_bytes() or marker in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended, or is another user's
    return found


def resident(pid: int) -> int:
    """Bytes; 0 for a process that has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits best (least squares); 0 where all points have one abscissa."""
    count = len(points)
    if count < 2:
        return 0.0
    middle_x, middle_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
