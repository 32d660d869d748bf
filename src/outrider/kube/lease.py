"""Leader election on a `coordination.k8s.io/v1` Lease, with client-go's semantics, and what it takes to trust it.

The holder writes its name and the time into the Lease every `retry_period`. A candidate that has seen the Lease
unchanged for `duration` takes it. No wall clock is ever compared: the candidate measures, by its own steady clock,
since when *it* has seen no change; the times in the Lease are for people. Every write is conditional on the resource
version that was read, so that of several candidates one wins.

The holder counts from the *start* of its last good renewal and stops at `renew_deadline`, which is shorter than
`duration`: whoever takes over has seen the renewal later than it was sent, and waits longer. `check` says at any moment
whether the lease is surely held. A process that was stopped (SIGSTOP, a paused machine) and goes on finds by it that
time has passed, before it has noticed anything else: the clock must be one that goes on meanwhile, as
`kube.clock.SystemClock` does.

What cannot be excluded: a write that was sent while the lease was held may reach the API server after somebody else has
taken it, delayed by the network for longer than `duration - renew_deadline`. It is harmless: writes are applies of what
a field should be, creations of objects with fixed names, or patches and deletions conditional on the version or uid
that they were decided on. A late one is refused, or says what was true a few seconds before, and the new leader, who
looks at every object when it begins, puts that right.

Not covered either: somebody who deletes the Lease by hand. A candidate that knew its holder still waits; one that
starts just then does not.
"""

import random
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import structlog

from outrider.api.meta import format_time
from outrider.kube.api import AlreadyExists, Api, ApiError, Conflict, Forbidden, NotFound, Object
from outrider.kube.clock import Clock
from outrider.kube.metadata import metadata_of
from outrider.kube.objects import LEASE
from outrider.kube.waiting import within

T = TypeVar("T")

JITTER = 0.2
"""Candidates wait up to so much longer than `retry_period`, so that several do not ask at the same moments."""

log = structlog.get_logger(__name__)

_LEASE = LEASE.into(dict)


class LeaseLost(ApiError):
    """The lease is not surely held by this process, so that it may not write."""

    status, reason = 409, "LeaseLost"


@dataclass(frozen=True)
class LeaseTimings:
    """Seconds; the defaults are client-go's. Raises `ValueError` for what could not work."""

    duration: float = 15.0
    """How long a candidate must have seen no change before it takes the lease."""
    renew_deadline: float = 10.0
    """How long after its last renewal the holder may act."""
    retry_period: float = 2.0
    """How often the holder renews, and candidates look."""

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.retry_period * (1 + JITTER) > 0:
            raise ValueError(
                f"the lease duration ({self.duration:g} s) must be longer than the renew deadline "
                f"({self.renew_deadline:g} s), and that longer than {1 + JITTER:g} retry periods "
                f"({self.retry_period:g} s each)"
            )


class LeaderElection:
    """One candidate. `identity` must be unique to the process: a restarted one is another.

    `api` is asked for nothing but the Lease `namespace/name`; give it connections of its own where others may be slow.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        *,
        name: str,
        namespace: str,
        identity: str,
        timings: LeaseTimings | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.identity = identity
        self.timings = timings or LeaseTimings()
        self._api = api
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  (jitter is no secret)
        self._lease: Object | None = None
        """The Lease as it was seen last, or as our own last write left it."""
        self._changed_at = 0.0
        """When it was first seen so, by our steady clock."""
        self._renewed_at: float | None = None
        """When the request was begun that took or renewed the lease last; None while it is not ours."""

    # What others ask

    @property
    def holder(self) -> str:
        """The identity that the Lease named when it was seen last; empty for none."""
        return str(self._spec().get("holderIdentity") or "")

    @property
    def held(self) -> bool:
        """Whether the lease is surely ours at this moment."""
        return self.seconds_left() > 0

    def seconds_left(self) -> float:
        """For how long it will surely be ours without another renewal; 0 when it is not."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self.timings.renew_deadline - self._clock.monotonic())

    def check(self) -> None:
        """Raises `LeaseLost` unless the lease is surely ours at this moment."""
        if not self.held:
            raise LeaseLost(f"{self.identity} does not hold the lease {self.namespace}/{self.name}: nothing is written")

    # What a candidate does

    async def acquire(self) -> None:
        """Wait until the lease is ours; while the API server is away, for as long as that takes.

        Raises `Forbidden` or `NotFound` when the very first look shows that it can never be: a missing permission, or
        a missing namespace.
        """
        told = None
        looked = False
        while True:
            try:
                if await self._attempt():
                    log.info("this process leads", lease=f"{self.namespace}/{self.name}", identity=self.identity)
                    return
                looked = True
            except (ApiError, TimeoutError) as error:
                if isinstance(error, Forbidden | NotFound) and not looked:
                    raise
                log.warning("cannot look at the lease", error=f"{type(error).__name__}: {error}")
            if self.holder not in ("", self.identity, told):
                told = self.holder
                log.info("another process leads", lease=f"{self.namespace}/{self.name}", holder=told)
            await self._clock.sleep(self._pause())

    async def keep(self) -> NoReturn:
        """Renew the lease for as long as it can be renewed. Raises `LeaseLost` once it cannot."""
        while True:
            await self._clock.sleep(min(self.timings.retry_period, self.seconds_left()))
            if not self.held:
                raise self._lost("it could not be renewed in time")
            try:
                ours = await self._attempt()
            except (ApiError, TimeoutError) as error:
                log.warning(
                    "cannot renew the lease", error=f"{type(error).__name__}: {error}", seconds_left=self.seconds_left()
                )
                continue
            if not ours and self.holder != self.identity:
                self._renewed_at = None
                raise self._lost(f"{self.holder or 'nobody'} holds it")

    async def release(self) -> None:
        """Give the lease up, so that a candidate takes it at its next look. Nothing may be written any more.

        Does nothing when it is not ours. What goes wrong costs the successor the rest of the lease, and is logged.
        """
        if not self.held:
            self._renewed_at = None
            return
        self._renewed_at = None
        spec = {**self._spec(), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
        try:
            await self._bounded(self._write(spec))
        except (ApiError, TimeoutError) as error:
            log.warning("cannot release the lease", error=f"{type(error).__name__}: {error}")
        else:
            log.info("the lease is released", lease=f"{self.namespace}/{self.name}")

    # One attempt

    async def _attempt(self) -> bool:
        """Take or renew the lease if that is possible now; whether it is ours afterwards."""
        if self.holder == self.identity:  # most often nobody has touched it since
            try:
                return await self._take()
            except (Conflict, NotFound) as error:
                log.info("the lease was changed by somebody else", error=str(error))
        try:
            await self._look()
        except NotFound:
            if self.holder != self.identity and self._taken():
                return False  # somebody deleted it, and its holder has not noticed yet
            return await self._create()
        if self.holder != self.identity and self._taken():
            return False
        try:
            return await self._take()
        except Conflict:  # somebody else was faster
            return False

    async def _look(self) -> None:
        lease = await self._bounded(self._api.get(_LEASE, self.name, self.namespace))
        known = self._lease
        if known is None or _version(known) != _version(lease):
            self._lease = lease
            self._changed_at = self._clock.monotonic()

    def _taken(self) -> bool:
        """Whether somebody held the lease when it was seen last, and has not been silent for its whole duration."""
        if not self.holder:
            return False
        duration = float(self._spec().get("leaseDurationSeconds") or self.timings.duration)
        return self._changed_at + duration > self._clock.monotonic()

    async def _take(self) -> bool:
        """Write our name, or a new time beside it. Raises `Conflict` when somebody else has written meanwhile."""
        spec = self._spec()
        ours = self.holder == self.identity
        transitions = int(spec.get("leaseTransitions") or 0)
        started = self._clock.monotonic()
        now = self._time()
        await self._bounded(
            self._write(
                {
                    "holderIdentity": self.identity,
                    "leaseDurationSeconds": round(self.timings.duration),
                    "acquireTime": spec.get("acquireTime") if ours else now,
                    "renewTime": now,
                    "leaseTransitions": transitions if ours else transitions + 1,
                }
            )
        )
        self._renewed_at = started
        return True

    async def _create(self) -> bool:
        started = self._clock.monotonic()
        now = self._time()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self.timings.duration),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        }
        try:
            lease: Object = await self._bounded(self._api.create(_LEASE, body))
        except AlreadyExists:
            return False
        self._lease = lease
        self._changed_at = self._clock.monotonic()
        self._renewed_at = started
        return True

    async def _write(self, spec: Object) -> None:
        assert self._lease is not None
        patch = {"metadata": {"resourceVersion": metadata_of(self._lease).resource_version}, "spec": spec}
        lease: Object = await self._api.patch(_LEASE, self.name, patch, self.namespace)
        self._lease = lease
        self._changed_at = self._clock.monotonic()

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        """A request may take half of the deadline, so that there is time for a second; client-go does the same."""
        return await within(self._clock, self.timings.renew_deadline / 2, work)

    def _pause(self) -> float:
        """Seconds until a candidate looks again: no longer than the present holder's lease lasts."""
        period = self.timings.retry_period
        pause = period * (1 + JITTER * self._rng.random())
        if self.holder and self._taken():
            duration = float(self._spec().get("leaseDurationSeconds") or self.timings.duration)
            ends_in = self._changed_at + duration - self._clock.monotonic()
            pause = min(pause, ends_in + period * JITTER * self._rng.random())
        return max(pause, 0.05)

    def _spec(self) -> Object:
        return (self._lease or {}).get("spec") or {}

    def _time(self) -> str:
        return format_time(self._clock.now(), micro=True)

    def _lost(self, why: str) -> LeaseLost:
        return LeaseLost(f"{self.identity} has lost the lease {self.namespace}/{self.name}: {why}")


def _version(lease: Object) -> tuple[str, str]:
    metadata = metadata_of(lease)
    return metadata.uid, metadata.resource_version
