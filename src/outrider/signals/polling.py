"""Looking at many targets again and again, and remembering the latest answer of each.

A controller never waits for it: it says which targets it cares about, takes what is known now, and is woken when the
answer has changed.
"""

import asyncio
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
        self.taken_at = 0.0
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Poller(Generic[TargetT, ResultT]):
    """Looks at every watched target, at once and then every `pause(result)` seconds, `concurrency` at a time.

    `look(target, before)` turns whatever goes wrong into a result; `before` is the target's last one, however old.
    A result older than `stale_after` seconds is unknown (None).
    `changed(before, after)` decides whether `on_change` is called with the target's owner.
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
        on_change: OnChange | None = None,
    ) -> None:
        self._clock = clock
        self._look = look
        self._pause = pause
        self._changed = changed
        self._stale_after = stale_after
        self._on_change = on_change
        self._slots = asyncio.Semaphore(concurrency)
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

    def latest(self, key: str) -> ResultT | None:
        """The newest result of a target; None while there is none, or when it is stale: unknown is a value."""
        watched = self._watched.get(key)
        if watched is None or watched.result is None:
            return None
        return watched.result if self._clock.monotonic() - watched.taken_at <= self._stale_after else None

    def age(self, key: str) -> float | None:
        """Seconds since the newest result of a target was taken, however old; None where there is none."""
        watched = self._watched.get(key)
        if watched is None or watched.result is None:
            return None
        return self._clock.monotonic() - watched.taken_at

    def _forget(self, key: str) -> None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            watched.stop()

    def _start(self, watched: _Watched[TargetT, ResultT]) -> None:
        if self._group is not None:
            watched.task = self._group.create_task(self._keep_looking(watched))

    async def _keep_looking(self, watched: _Watched[TargetT, ResultT]) -> None:
        while True:
            async with self._slots:
                result = await self._look(watched.target, watched.result)
            before = self.latest(watched.target.key)
            watched.result, watched.taken_at = result, self._clock.monotonic()
            if self._on_change is not None and self._changed(before, result):
                self._on_change(watched.owner)
            await self._clock.sleep(self._pause(result))
