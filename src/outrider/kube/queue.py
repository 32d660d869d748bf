"""A work queue of keys, with the semantics of controller-runtime's priority queue.

* A key waits at most once. Adding it again keeps the higher priority and the earlier time.
* A key is never worked on twice at the same time: what is added meanwhile waits until it is `done`.
* Among keys that are due, the highest priority goes first, and then the longest waiting.
* A key that fails is put back after 5 ms, 10 ms, 20 ms, ... up to 1000 s, until it is forgotten.

Time comes from the injected clock, so the queue works in virtual time as well.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from outrider.kube.clock import Clock
from outrider.kube.metrics import RuntimeMetrics

K = TypeVar("K", bound=Hashable)

RESYNC_PRIORITY = -100
"""For what a list brought: nothing just happened. controller-runtime's `LowPriority`."""
EVENT_PRIORITY = 0
URGENT_PRIORITY = 100
"""For what should overtake ordinary events: a person's edit, a GPU fault."""

CLOCK_TOLERANCE = 1e-6
"""Seconds. A sleep may end that much early; without it the rest would be slept again and again."""


class QueueShutDown(Exception):
    """The queue was shut down: there is nothing more to get."""


@dataclass(frozen=True)
class Backoff:
    """How long a failing key waits: `first` seconds, doubled with each failure in a row, at most `limit` seconds.

    The defaults are those of client-go's per-item rate limiter.
    """

    first: float = 0.005
    limit: float = 1000.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many earlier failures."""
        return min(self.limit, self.first * 2.0 ** min(failures, 64))


DEFAULT_BACKOFF = Backoff()


@dataclass
class _Entry(Generic[K]):
    key: K
    priority: int
    ready_at: float
    """When the key is due, by the clock's `monotonic`; in the past for those due at once."""
    arrival: int
    due: bool = False
    """Whether it is on the heap of due keys (else on that of delayed ones)."""
    stale: bool = False
    """Replaced by a newer entry of the same key; to be skipped when it comes off a heap."""


class WorkQueue(Generic[K]):
    """Keys to work on. For one event loop; `add` and its relatives may be called from any callback of it."""

    def __init__(
        self, clock: Clock, *, name: str = "", backoff: Backoff = DEFAULT_BACKOFF, metrics: RuntimeMetrics | None = None
    ) -> None:
        self._clock = clock
        self._backoff = backoff
        self._entries: dict[K, _Entry[K]] = {}
        self._due: list[tuple[int, int, _Entry[K]]] = []
        self._delayed: list[tuple[float, int, _Entry[K]]] = []
        self._processing: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = 0.0
        self._arrivals = 0
        self._shut_down = False
        self._report = _Report(name, metrics) if metrics is not None else None
        if self._report is not None:
            self._report.in_progress(lambda: [clock.monotonic() - since for since in self._processing.values()])

    def __len__(self) -> int:
        """How many keys are due, those included that are still being worked on."""
        self._promote()
        return sum(entry.due for entry in self._entries.values())

    @property
    def processing(self) -> int:
        """How many keys are being worked on."""
        return len(self._processing)

    def add(self, key: K, priority: int = EVENT_PRIORITY) -> None:
        """The key is to be worked on now."""
        self._add(key, 0.0, priority)

    def add_after(self, key: K, seconds: float, priority: int = EVENT_PRIORITY) -> None:
        """The key is to be worked on in so many seconds, unless it already is to be sooner."""
        if seconds > 0 and self._report:
            self._report.retries.inc()
        self._add(key, seconds, priority)

    def add_rate_limited(
        self, key: K, priority: int = EVENT_PRIORITY, *, at_least: float = 0.0, at_most: float = float("inf")
    ) -> float:
        """The key failed: work on it again after its back-off. Gives the seconds: `at_least` so many, and `at_most` so
        many unless that is less than `at_least`.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(min(self._backoff.delay(failures), at_most), at_least)
        self.add_after(key, delay, priority)
        return delay

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure is again its first."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How many times in a row the key has failed."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key to work on. Call `done` with it afterwards. Raises `QueueShutDown`."""
        key, _ = await self.get_with_priority()
        return key

    async def get_with_priority(self) -> tuple[K, int]:
        """The next key to work on, and the priority it had, with which to put it back."""
        while not self._shut_down:
            self._promote()
            entry = self._take()
            if entry is not None:
                self._processing[entry.key] = self._clock.monotonic()
                return entry.key, entry.priority
            await self._wait()
        raise QueueShutDown

    def done(self, key: K) -> None:
        """The work on the key is over. If the key was added meanwhile it can now be got."""
        started = self._processing.pop(key, None)
        if started is None:
            return
        if self._report:
            self._report.work.observe(self._clock.monotonic() - started)
        entry = self._entries.get(key)
        if entry is not None and entry.due:
            self._push_due(entry)

    def shut_down(self) -> None:
        """Accept and hand out nothing more; whoever waits in `get` gets `QueueShutDown`."""
        self._shut_down = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake(len(self._getters))

    def _add(self, key: K, seconds: float, priority: int) -> None:
        if self._shut_down:
            return
        ready_at = self._clock.monotonic() + max(0.0, seconds)
        old = self._entries.get(key)
        if old is not None:
            ready_at = min(ready_at, old.ready_at)
            priority = max(priority, old.priority)
            if (ready_at, priority) == (old.ready_at, old.priority):
                return
            old.stale = True
        self._arrivals += 1
        arrival = old.arrival if old is not None else self._arrivals
        entry = _Entry(key, priority, ready_at, arrival)
        self._entries[key] = entry
        if old is not None and old.due:
            entry.due = True
            if self._report:
                self._report.left(old.priority)
                self._report.waits(priority)
            self._push_due(entry)
        elif seconds <= 0:
            self._become_due(entry)
        else:
            heapq.heappush(self._delayed, (ready_at, self._arrivals, entry))
            self._arm()

    def _become_due(self, entry: _Entry[K]) -> None:
        entry.due = True
        if self._report:
            self._report.adds.inc()
            self._report.waits(entry.priority)
        self._push_due(entry)

    def _push_due(self, entry: _Entry[K]) -> None:
        if entry.key not in self._processing:
            heapq.heappush(self._due, (-entry.priority, entry.arrival, entry))
            self._wake(1)

    def _promote(self) -> None:
        """Move the delayed keys whose time has come to those that are due."""
        now = self._clock.monotonic() + CLOCK_TOLERANCE
        while self._delayed and (self._delayed[0][2].stale or self._delayed[0][0] <= now):
            entry = heapq.heappop(self._delayed)[2]
            if not entry.stale:
                self._become_due(entry)

    def _take(self) -> _Entry[K] | None:
        while self._due:
            entry = heapq.heappop(self._due)[2]
            if not entry.stale:
                del self._entries[entry.key]
                if self._report:
                    self._report.left(entry.priority)
                    self._report.wait.observe(max(0.0, self._clock.monotonic() - entry.ready_at))
                return entry
        return None

    async def _wait(self) -> None:
        """Wait until there may be a key to get."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._getters.append(future)
        self._arm()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._wake(1)  # the wake-up was meant for whoever can still use it
            raise
        finally:
            with suppress(ValueError):  # it is no longer among them when it was woken
                self._getters.remove(future)

    def _wake(self, getters: int) -> None:
        while getters and self._getters:
            future = self._getters.popleft()
            if not future.done():
                future.set_result(None)
                getters -= 1

    def _arm(self) -> None:
        """Have a timer wake a getter when the next delayed key is due. Without getters there is nobody to wake."""
        if not self._getters or not self._delayed:
            return
        ready_at = self._delayed[0][0]
        if self._timer is not None:
            if self._timer_at <= ready_at:
                return
            self._timer.cancel()
        self._timer_at = ready_at
        self._timer = asyncio.get_running_loop().create_task(self._alarm(ready_at))

    async def _alarm(self, ready_at: float) -> None:
        await self._clock.sleep(max(0.0, ready_at - self._clock.monotonic()))
        self._timer = None
        self._promote()
        self._arm()


class _Report:
    """The metrics of one queue."""

    def __init__(self, name: str, metrics: RuntimeMetrics) -> None:
        self._name = name
        self._metrics = metrics
        self.adds = metrics.adds.labels(name, name)
        self.retries = metrics.retries.labels(name, name)
        self.wait = metrics.waits.labels(name, name)
        self.work = metrics.work.labels(name, name)

    def waits(self, priority: int) -> None:
        self._metrics.depth.labels(self._name, self._name, str(priority)).inc()

    def left(self, priority: int) -> None:
        self._metrics.depth.labels(self._name, self._name, str(priority)).dec()

    def in_progress(self, ages: Callable[[], list[float]]) -> None:
        """Work in progress is measured when somebody reads the metrics."""
        self._metrics.unfinished.labels(self._name, self._name).set_function(lambda: sum(ages()))
        self._metrics.longest.labels(self._name, self._name).set_function(lambda: max(ages(), default=0.0))
