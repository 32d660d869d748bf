"""What containers use of the machine: CPU time and memory of their processes, as the system counts them (/proc)."""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from outrider.api.meta import Instant
from outrider.kube.clock import Clock
from outrider.local.kubelet.leftovers import programs

SAMPLE_SECONDS = 5.0
"""How often is measured; a cluster's own metrics are 15 s old or more."""


@dataclass(frozen=True)
class ContainerKey:
    """One container on one node. `uid` is its pod's."""

    node: str
    uid: str
    container: str


@dataclass(frozen=True)
class Usage:
    """What one container uses."""

    cpu: float
    """Cores, on average over the window."""
    cpu_seconds: float
    """CPU time since it was first seen."""
    memory: int
    """Bytes in memory (resident set) of all its processes, what they share counted for each."""
    at: Instant
    window: float
    """Seconds."""


@dataclass
class _Process:
    """One process as it was last seen."""

    started: float
    """Seconds since boot."""
    cpu: float
    """Seconds."""
    memory: int


@dataclass
class _Total:
    """One container's count."""

    seconds: float = 0.0
    processes: dict[tuple[int, float], float] = field(default_factory=dict)
    """CPU seconds of each process, by number and start."""


class UsageMonitor:
    """Measures all containers of the pods in `folder`, whatever their nodes. Elsewhere than on Linux it finds none."""

    def __init__(self, folder: Path, clock: Clock, *, interval: float = SAMPLE_SECONDS) -> None:
        self._folder = folder.absolute()
        self._clock = clock
        self._interval = interval
        self._totals: dict[ContainerKey, _Total] = {}
        self._usage: dict[ContainerKey, Usage] = {}
        self._sampled = 0.0
        """Seconds since boot at which the last sample was taken."""

    @property
    def containers(self) -> Mapping[ContainerKey, Usage]:
        """The containers that ran when they were last measured."""
        return self._usage

    async def run(self) -> None:
        """Measure again and again, until cancelled."""
        while True:
            await self.measure()
            await self._clock.sleep(self._interval)

    async def measure(self) -> None:
        """Measure now."""
        processes = await asyncio.to_thread(_sample, self._folder)
        self._count(processes, _since_boot())

    def _count(self, processes: Mapping[tuple[Path, int], _Process], now: float) -> None:
        by_container: dict[ContainerKey, dict[int, _Process]] = {}
        for (run, pid), process in processes.items():
            key = self._key(run)
            if key is not None:
                by_container.setdefault(key, {})[pid] = process
        self._totals = {key: self._totals.get(key) or _Total() for key in by_container}
        self._usage = {key: self._of(self._totals[key], found, now) for key, found in by_container.items()}
        self._sampled = now

    def _of(self, total: _Total, found: Mapping[int, _Process], now: float) -> Usage:
        known = total.processes
        total.processes = {(pid, process.started): process.cpu for pid, process in found.items()}
        # A process that was not there before has used all its time since: it is younger than the last sample.
        spent = sum(max(0.0, cpu - known.get(name, 0.0)) for name, cpu in total.processes.items())
        total.seconds += spent
        begun = min(process.started for process in found.values())
        window = max(0.01, now - max(self._sampled, begun) if known else now - begun)
        memory = sum(process.memory for process in found.values())
        return Usage(spent / window, total.seconds, memory, self._clock.now(), window)

    def _key(self, run: Path) -> ContainerKey | None:
        """PODS/NODE/UID/CONTAINER/ATTEMPT."""
        try:
            node, uid, container, _ = run.relative_to(self._folder).parts
        except ValueError:
            return None
        return ContainerKey(node, uid, container)


def _sample(folder: Path) -> dict[tuple[Path, int], _Process]:
    found = {}
    for pid, run in programs(folder).items():
        process = _read(pid)
        if process is not None:
            found[run, pid] = process
    return found


def _read(pid: int) -> _Process | None:
    """One process, from /proc/PID/stat (proc(5)); None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    cpu = (int(fields[11]) + int(fields[12])) / ticks
    return _Process(int(fields[19]) / ticks, cpu, int(fields[21]) * page)


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
