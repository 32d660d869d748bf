"""Two operators that elect a leader, on the local world's store in virtual time, and what may befall one of them."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from operator_world import OperatorWorld
from virtual_kube import LoopClock

from outrider.controllers.operator import Operator
from outrider.kube.api import Unavailable
from outrider.kube.fence import FencedApi
from outrider.kube.lease import LeaderElection, LeaseLost
from outrider.kube.objects import EVENT, LEASE
from outrider.local.store import StoreApi
from outrider.sim.world import NAMESPACE_NAME

Fault = Literal["killed", "stopped", "cut off"]
STOPPED_SECONDS = 40.0
WRITES = {"create", "apply", "patch", "patch_status", "delete", "evict"}


class StoppableClock(LoopClock):
    """The clock of a process that can be stopped: whoever sleeps does not wake meanwhile, and time goes on."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.running.set()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.running.wait()


@dataclass(frozen=True)
class Write:
    at: float
    who: str
    what: str


class Line:
    """One operator's way to the API server. After so many writes of its own the fault happens."""

    def __init__(
        self,
        api: StoreApi,
        name: str,
        clock: StoppableClock,
        writes: list[Write],
        fault: Fault,
        fault_after: int | None,
    ) -> None:
        self.name = name
        self.fault_at: float | None = None
        self._api = api
        self._clock = clock
        self._writes = writes
        self._fault = fault
        self._left = fault_after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)
        if name in {"watch", "logs"}:
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            await self._pass()
            result = await method(*arguments, **options)
            kind = arguments[0]
            if name in WRITES and kind not in (EVENT, LEASE):
                self._count(f"{name} {kind.kind}")
            await self._pass()
            return result

        return call

    def _count(self, what: str) -> None:
        self._writes.append(Write(self._clock.monotonic(), self.name, what))
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._strike()

    def _strike(self) -> None:
        self.fault_at = self._clock.monotonic()
        if self._fault != "cut off":
            self._clock.running.clear()
        if self._fault == "stopped":
            asyncio.get_running_loop().call_later(STOPPED_SECONDS, self._clock.running.set)

    async def _pass(self) -> None:
        if self.fault_at is not None and self._fault == "cut off":
            raise Unavailable("cut off from the API server")
        await self._clock.running.wait()


@dataclass
class Member:
    line: Line
    election: LeaderElection
    task: "asyncio.Task[None] | None" = None
    taken_at: float | None = None
    """When it began to lead."""


@dataclass
class Team:
    """The operators of a world; `writes` is what all of them wrote, in order, but for Events and the Lease."""

    world: OperatorWorld
    writes: list[Write] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)

    def start(self, name: str, *, fault: Fault = "killed", fault_after: int | None = None) -> Member:
        world, clock = self.world, StoppableClock()
        line = Line(StoreApi(world.store, user=name), name, clock, self.writes, fault, fault_after)
        election = LeaderElection(
            line, clock, name="outrider-operator", namespace=NAMESPACE_NAME, identity=name, rng=random.Random(name)
        )
        member = Member(line, election)
        member.task = asyncio.create_task(self._run(member, clock))
        self.members.append(member)
        world.operator_api = cast("Any", self)  # whose writes tell whether it is quiet
        return member

    async def _run(self, member: Member, clock: StoppableClock) -> None:
        line, election = member.line, member.election
        elected = asyncio.Event()

        async def wait_for_turn() -> None:
            await election.acquire()
            member.taken_at = clock.monotonic()
            elected.set()

        operator = Operator(
            line, clock, self.world.config, writer=FencedApi(line, election, clock), elected=wait_for_turn,
            probe=self.world._probe, fetch=self.world._fetch,
        )  # fmt: skip
        running = asyncio.create_task(operator.run())
        try:
            await elected.wait()
            await election.keep()
        except LeaseLost:
            return
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def end(self) -> None:
        for member in self.members:
            assert member.task is not None
            member.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await member.task

    def turns(self) -> list[str]:
        """Who wrote, in order, each turn once."""
        turns: list[str] = []
        for write in self.writes:
            if not turns or turns[-1] != write.who:
                turns.append(write.who)
        return turns
