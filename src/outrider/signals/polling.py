"""Looking at many targets again and again, and remembering the latest answer of each.

A controller never waits for it: it says which targets it cares about, takes what is known now, and is woken when the
answer has changed.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from outrider.api.clock import Clock


class HasKey(Protocol):
    """A target says where to look; its key (a pod's uid) says whose answer it is."""

    @property
    def key(self) -> str: ...


TargetT = TypeVar("TargetT", bound=HasKey)
ResultT = TypeVar("ResultT")

OnChange = Callable[[str], None]
"""Called with the owner whose answer has changed. It runs in the event loop and must not block or raise."""


class _Watched(Generic[TargetT, ResultT]):
    def __init__(self, owner: str, target: TargetT) -> None:
        self.owner = owner
        self.target = target
        self.result: ResultT | None = None
        self.began_at = self.taken_at = -math.inf
        """When the look that gave the result began, and when it ended."""
        self.pace: asyncio.Task[None] | None = None
        """Starts the looks, which outlive it: another pace must not cost the answer that is under way."""
        self.looks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        for task in (self.pace, *self.looks):
            if task is not None:
                task.cancel()


class Poller(Generic[TargetT, ResultT]):
    """Looks at every watched target, at once and then `pause(result)` seconds after each look, `concurrency` at a time.

    `look(target, before)` turns whatever goes wrong into a result; `before` is the target's last one, however old.
    A result older than `stale_after` seconds is unknown (None).
    `changed(before, after)` decides whether `on_change` is called with the target's owner.
    The targets of owners in a hurry (`hurry`) are looked at on the beat, `hurried_concurrency` at a time.
    """

    def __init__(
        self,
        clock: Clock,
        look: Callable[[TargetT, ResultT | None], Awaitable[ResultT]],
        *,
        pause: Callable[[ResultT], float],
        changed: Callable[[ResultT | None, ResultT], bool],
        stale_after: float,
        concurrency: int,
        hurried_concurrency: int = 1,
        on_change: OnChange | None = None,
        on_forget: Callable[[str], None] | None = None,
    ) -> None:
        """`on_forget` is called with the key of a target of which nothing is known any more, also when it moved."""
        self._clock = clock
        self._look = look
        self._pause = pause
        self._changed = changed
        self._stale_after = stale_after
        self._on_change = on_change
        self._on_forget = on_forget
        self._slots = asyncio.Semaphore(concurrency)
        # Slots of their own: many hung targets of one owner in a hurry must not hold up all others.
        self._hurried_slots = asyncio.Semaphore(hurried_concurrency)
        self._beats: dict[str, float] = {}
        self._watched: dict[str, _Watched[TargetT, ResultT]] = {}
        self._keys_of: dict[str, set[str]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Look until cancelled. Targets may be set before and while it runs."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for watched in self._watched.values():
                    self._start(watched)
                await asyncio.Event().wait()
            finally:
                self._group = None

    def watch(self, owner: str, targets: Sequence[TargetT]) -> Mapping[str, ResultT | None]:
        """From now on `owner` cares about exactly these targets: new ones are looked at at once, others are forgotten.

        Returns what is known now, by key; None where nothing is. A target that has moved is a new one.
        """
        keys = {target.key for target in targets}
        for key in self._keys_of.pop(owner, set()) - keys:
            if self._watched[key].owner == owner:  # else another owner has taken it over
                self._forget(key)
        if keys:
            self._keys_of[owner] = keys
        for target in targets:
            known = self._watched.get(target.key)
            if known is None or known.target != target or known.owner != owner:
                self._forget(target.key)
                watched: _Watched[TargetT, ResultT] = _Watched(owner, target)
                self._watched[target.key] = watched
                self._start(watched)
        return {target.key: self.latest(target.key) for target in targets}

    def hurry(self, owner: str, beat: float | None) -> None:
        """From now on begin a look at each of the owner's targets every `beat` seconds, however long a look takes, so
        that they overlap; None: as slowly as usual again. What is known and what is under way stays.

        Where looks overlap, the result is that of the one that began last, of those that have ended.
        """
        if beat == self._beats.get(owner):
            return
        if beat is None:
            self._beats.pop(owner)
        else:
            self._beats[owner] = beat
        for key in self._keys_of.get(owner, ()):
            watched = self._watched[key]
            if watched.owner == owner and watched.pace is not None:
                watched.pace.cancel()
                self._start(watched)

    def latest(self, key: str) -> ResultT | None:
        """The newest result of a target; None while there is none, or when it is stale: unknown is a value."""
        watched = self._watched.get(key)
        if watched is None or watched.result is None:
            return None
        return watched.result if self._clock.monotonic() - watched.taken_at <= self._stale_after else None

    def _forget(self, key: str) -> None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            watched.stop()
            if self._on_forget is not None:
                self._on_forget(key)

    def _start(self, watched: _Watched[TargetT, ResultT]) -> None:
        if self._group is not None:
            beat = self._beats.get(watched.owner)
            pace = self._after_each_other(watched) if beat is None else self._on_the_beat(watched, beat)
            watched.pace = self._group.create_task(pace)

    async def _after_each_other(self, watched: _Watched[TargetT, ResultT]) -> None:
        if watched.looks:  # of the hurry that is over
            await asyncio.wait(watched.looks)
        if watched.result is not None:
            rest = watched.taken_at + self._pause(watched.result) - self._clock.monotonic()
            await self._clock.sleep(max(0.0, rest))
        while True:
            await asyncio.wait([await self._begin(watched, self._slots)])
            if watched.result is not None:
                await self._clock.sleep(self._pause(watched.result))

    async def _on_the_beat(self, watched: _Watched[TargetT, ResultT], beat: float) -> None:
        while True:
            await self._begin(watched, self._hurried_slots)
            await self._clock.sleep(beat)

    async def _begin(self, watched: _Watched[TargetT, ResultT], slots: asyncio.Semaphore) -> asyncio.Task[None]:
        """Wait for a slot, and begin a look that gives it back."""
        await slots.acquire()
        assert self._group is not None, "targets are looked at inside run()"
        look = self._group.create_task(self._look_once(watched))
        watched.looks.add(look)
        look.add_done_callback(watched.looks.discard)
        look.add_done_callback(lambda _: slots.release())  # also of a task that is cancelled before it begins
        return look

    async def _look_once(self, watched: _Watched[TargetT, ResultT]) -> None:
        began_at = self._clock.monotonic()
        result = await self._look(watched.target, watched.result)
        if began_at < watched.began_at:
            return  # a look that began later has told already how it is
        before = self.latest(watched.target.key)
        watched.result, watched.began_at, watched.taken_at = result, began_at, self._clock.monotonic()
        if self._on_change is not None and self._changed(before, result):
            self._on_change(watched.owner)
