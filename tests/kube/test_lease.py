"""Leader election in virtual time: who leads, when the next one does, and that never two may write."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_kube import LoopClock, MemoryApi, decode, run_virtually, running, until

from outrider.kube.api import ApiError, Conflict, Forbidden, NotFound, Unavailable
from outrider.kube.fence import FencedApi
from outrider.kube.lease import LeaderElection, LeaseLost, LeaseTimings
from outrider.kube.objects import LEASE, POD

LEASES = LEASE.into(dict)
NAME, NAMESPACE = "outrider-operator", "ns"


class LeaseServer(MemoryApi):
    """Patches hold for the resource version that they name, as on a real server."""

    async def patch(self, kind: Any, name: str, patch: Any, namespace: str = "", **options: Any) -> Any:
        await asyncio.sleep(0.01)
        obj = self._objects.get((kind.plural, f"{namespace}/{name}"))
        if obj is None:
            raise NotFound(f"{name} not found")
        wanted = patch.get("metadata", {}).get("resourceVersion", "")
        if wanted and wanted != obj["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        self.patches.append((name, patch))
        return decode(kind, self.put(kind, name, namespace, spec=patch["spec"]))


class Line:
    """A candidate's connection to the server, which can be cut, slowed, and made to lose answers."""

    def __init__(self, server: LeaseServer) -> None:
        self._server = server
        self.cut = False
        self.delay = 0.0
        """Seconds that a request is on its way."""
        self.lose_answers = False

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(self.delay)
            if self.cut:
                raise Unavailable("cut off")
            answer = await getattr(self._server, name)(*arguments, **options)
            await asyncio.sleep(self.delay)
            if self.lose_answers or self.cut:
                raise Unavailable("the answer got lost")
            return answer

        return call


@dataclass
class Candidate:
    """An operator that, while it leads, writes as fast as it can, and notes when."""

    name: str
    server: LeaseServer
    writes: list[tuple[float, str]]
    clock: Any = field(default_factory=LoopClock)
    line: Line = field(init=False)
    election: LeaderElection = field(init=False)
    lost: bool = False

    def __post_init__(self) -> None:
        self.line = Line(self.server)
        self.election = LeaderElection(
            self.line,
            self.clock,
            name=NAME,
            namespace=NAMESPACE,
            identity=self.name,
            rng=random.Random(self.name),
        )

    async def run(self) -> None:
        await self.election.acquire()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.election.keep())
                group.create_task(self._act())
        except* LeaseLost:
            self.lost = True

    async def _act(self) -> None:
        while True:
            self.election.check()
            self.writes.append((LoopClock().monotonic(), self.name))
            await asyncio.sleep(0.5)


def holder(server: LeaseServer) -> str:
    return str(server._objects[("leases", f"{NAMESPACE}/{NAME}")]["spec"]["holderIdentity"])


def spec(server: LeaseServer) -> dict[str, Any]:
    found: dict[str, Any] = server._objects[("leases", f"{NAMESPACE}/{NAME}")]["spec"]
    return found


def story(body: Callable[[LeaseServer, Callable[[str], Candidate]], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        server = LeaseServer()
        writes: list[tuple[float, str]] = []
        await body(server, lambda name: Candidate(name, server, writes))

    run_virtually(run)


def test_the_first_creates_the_lease_and_renews_it() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a = candidate("a")
        async with running(a.run()):
            await until(lambda: a.election.held)
            first = dict(spec(server))
            assert first["holderIdentity"] == "a"
            assert (first["leaseDurationSeconds"], first["leaseTransitions"]) == (15, 0)
            assert first["acquireTime"] == first["renewTime"]
            await asyncio.sleep(60)
            later = spec(server)
            assert later["acquireTime"] == first["acquireTime"]
            assert later["renewTime"] > first["renewTime"]
            assert later["leaseTransitions"] == 0
            assert 25 <= len(server.patches) <= 31, "one write every two seconds, and no reads"

    story(body)


def test_a_second_waits_and_takes_over_from_one_that_died() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a, b = candidate("a"), candidate("b")
        task = asyncio.ensure_future(a.run())
        await until(lambda: a.election.held)
        async with running(b.run()):
            await asyncio.sleep(101.3)
            assert b.election.holder == "a"
            assert not b.election.held
            task.cancel()
            died = LoopClock().monotonic()
            await until(lambda: b.election.held)
            assert 13 < LoopClock().monotonic() - died < 18
            assert spec(server)["leaseTransitions"] == 1

    story(body)


def test_a_released_lease_is_taken_at_the_next_look() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a, b = candidate("a"), candidate("b")
        task = asyncio.ensure_future(a.run())
        await until(lambda: a.election.held)
        async with running(b.run()):
            await asyncio.sleep(30)
            task.cancel()
            await a.election.release()
            assert holder(server) == ""
            assert not a.election.held, "whoever released it may not write, although it was valid"
            released = LoopClock().monotonic()
            await until(lambda: b.election.held)
            assert LoopClock().monotonic() - released < 2.5
            assert spec(server)["leaseTransitions"] == 1
            await a.election.release()
            assert holder(server) == "b", "releasing what one does not hold changes nothing"

    story(body)


def test_of_several_that_see_a_free_lease_at_once_one_wins() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        server.put(LEASES, NAME, NAMESPACE, spec={"holderIdentity": "", "leaseTransitions": 7})
        several = [candidate(name) for name in "abcd"]
        for one in several:
            one.line.delay = 1.0  # all have looked before the first has written
        async with running(*(one.run() for one in several)):
            await until(lambda: any(one.election.held for one in several))
            for _ in range(50):
                await asyncio.sleep(0.2)
                assert [one.name for one in several if one.election.held] == [holder(server)]
            assert spec(server)["leaseTransitions"] == 8

    story(body)


def test_a_leader_that_is_cut_off_stops_before_another_begins() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a, b = candidate("a"), candidate("b")
        async with running(a.run()):
            await until(lambda: a.election.held)
            async with running(b.run()):
                await asyncio.sleep(20)
                a.line.cut = True
                cut = LoopClock().monotonic()
                await until(lambda: a.lost)
                assert LoopClock().monotonic() - cut <= 10.1
                assert not b.election.held
                await until(lambda: b.election.held)
                assert LoopClock().monotonic() - cut < 18
                last_of_a = max(when for when, name in a.writes if name == "a")
                await asyncio.sleep(5)
                assert min(when for when, name in a.writes if name == "b") > last_of_a + 4

    story(body)


def test_a_hiccup_shorter_than_the_deadline_changes_nothing() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a = candidate("a")
        async with running(a.run()):
            await until(lambda: a.election.held)
            for _ in range(5):
                a.line.cut = True
                await asyncio.sleep(5)
                a.line.cut = False
                await asyncio.sleep(3)
            assert a.election.held
            assert spec(server)["leaseTransitions"] == 0

    story(body)


def test_a_write_whose_answer_got_lost_is_recognised_as_ones_own() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a = candidate("a")
        a.line.lose_answers = True
        async with running(a.run()):
            await asyncio.sleep(1)
            assert holder(server) == "a"
            assert not a.election.held, "it cannot know"
            a.line.lose_answers = False
            await until(lambda: a.election.held)
            assert LoopClock().monotonic() < 10
            a.line.lose_answers = True
            await asyncio.sleep(5)
            a.line.lose_answers = False
            await asyncio.sleep(60)
            assert a.election.held, "a conflict with one's own write is no loss"

    story(body)


def test_a_leader_that_sees_another_name_stops_at_once() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a = candidate("a")
        async with running(a.run()):
            await until(lambda: a.election.held)
            server.put(LEASES, NAME, NAMESPACE, spec={**spec(server), "holderIdentity": "thief"})
            taken = LoopClock().monotonic()
            await until(lambda: a.lost)
            assert LoopClock().monotonic() - taken < 2.5
            assert holder(server) == "thief"

    story(body)


def test_a_lease_deleted_by_hand_is_not_taken_from_a_holder_who_lives() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a, b = candidate("a"), candidate("b")
        async with running(a.run()):
            await until(lambda: a.election.held)
            async with running(b.run()):
                await asyncio.sleep(20)
                server.remove(LEASE, NAME, NAMESPACE)
                await asyncio.sleep(30)
                assert holder(server) == "a"
                assert not b.election.held

    story(body)


@pytest.mark.parametrize("error", [Forbidden("leases is forbidden"), NotFound("namespaces not found")])
def test_what_can_never_succeed_is_said_at_once(error: ApiError) -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        server.write_failures = [error]
        with pytest.raises(type(error)):
            await candidate("a").election.acquire()

    story(body)


def test_an_unreachable_server_is_waited_for() -> None:
    async def body(server: LeaseServer, candidate: Callable[[str], Candidate]) -> None:
        a = candidate("a")
        a.line.cut = True
        async with running(a.run()):
            await asyncio.sleep(300)
            a.line.cut = False
            back = LoopClock().monotonic()
            await until(lambda: a.election.held)
            assert LoopClock().monotonic() - back < 3

    story(body)


TIMINGS = {
    "a deadline as long as the lease": {"duration": 10.0},
    "retries as long as the deadline": {"retry_period": 10.0},
    "no retries": {"retry_period": 0.0},
}


@pytest.mark.parametrize("name", TIMINGS)
def test_timings_that_cannot_work(name: str) -> None:
    with pytest.raises(ValueError, match="must be longer than"):
        LeaseTimings(**TIMINGS[name])


# Two candidates and whatever may happen to them


class FrozenClock(LoopClock):
    """The clock of a process that can be stopped: while it is, whoever sleeps does not wake."""

    def __init__(self) -> None:
        self.frozen_until = 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while (left := self.frozen_until - self.monotonic()) > 0:  # noqa: ASYNC110  (it may be extended)
            await asyncio.sleep(left)


FAULTS = st.lists(
    st.tuples(
        st.floats(0.1, 25.0),
        st.sampled_from(["cut", "mend", "slow", "quick", "lose answers", "freeze", "restart", "release"]),
        st.sampled_from(["a", "b"]),
        st.floats(0.05, 12.0),
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(faults=FAULTS)
def test_never_may_two_write_whatever_happens(faults: list[tuple[float, str, str, float]]) -> None:
    """`held` is asked of all five times a second; a frozen one counts as well, since it may go on at any moment."""

    async def body(server: LeaseServer, _candidate: Callable[[str], Candidate]) -> None:
        generation = 0
        writes: list[tuple[float, str]] = []
        alive: dict[str, tuple[Candidate, asyncio.Task[None]]] = {}
        everyone: list[Candidate] = []

        def start(slot: str) -> None:
            nonlocal generation
            generation += 1
            one = Candidate(f"{slot}-{generation}", server, writes, clock=FrozenClock())
            everyone.append(one)
            alive[slot] = (one, asyncio.ensure_future(one.run()))

        async def watch() -> None:
            while True:
                holders = [one.name for one in everyone if one.election.held]
                assert len(holders) <= 1, f"{holders} may write at {LoopClock().monotonic()}"
                await asyncio.sleep(0.2)

        start("a")
        start("b")
        watching = asyncio.ensure_future(watch())
        for pause, what, slot, amount in faults:
            await asyncio.sleep(pause)
            one, task = alive[slot]
            match what:
                case "cut" | "mend":
                    one.line.cut = what == "cut"
                case "slow" | "quick":
                    one.line.delay = amount if what == "slow" else 0.0
                case "lose answers":
                    one.line.lose_answers = not one.line.lose_answers
                case "freeze":
                    one.clock.frozen_until = LoopClock().monotonic() + 2 * amount
                case "restart" | "release":
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    if what == "release":
                        await one.election.release()
                    start(slot)
            assert not watching.done(), watching.exception()
        # Whatever happened: once it is over, somebody leads.
        for slot, (one, task) in tuple(alive.items()):
            one.line.cut, one.line.delay, one.line.lose_answers = False, 0.0, False
            if task.done():
                start(slot)
        await until(lambda: any(one.election.held for one, _ in alive.values()), 60)
        assert not watching.done(), watching.exception()
        watching.cancel()
        for _, task in alive.values():
            task.cancel()
        await asyncio.gather(watching, *(task for _, task in alive.values()), return_exceptions=True)

    story(body)


# The fence


class Recorder:
    """An Api that takes its time and notes what it was asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*_arguments: Any, **_options: Any) -> str:
            self.calls.append(name)
            await asyncio.sleep(self.seconds)
            self.calls.append(f"{name} done")
            return name

        return call


class Until:
    """A permit until some moment."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def check(self) -> None:
        if not self.seconds_left():
            raise LeaseLost("not held")

    def seconds_left(self) -> float:
        return max(0.0, self.moment - LoopClock().monotonic())


WRITES: dict[str, Callable[[FencedApi], Coroutine[Any, Any, Any]]] = {
    "create": lambda api: api.create(POD, {}),
    "apply": lambda api: api.apply(POD, {}, owner="me"),
    "patch": lambda api: api.patch(POD, "a", {}),
    "patch_status": lambda api: api.patch_status(POD, "a", {}),
    "delete": lambda api: api.delete(POD, "a"),
    "evict": lambda api: api.evict("a", "ns"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_passes_while_the_lease_is_held_and_is_not_even_tried_without_it(name: str) -> None:
    async def run() -> None:
        recorder = Recorder()
        permit = Until(10)
        api = FencedApi(recorder, permit, LoopClock())
        await WRITES[name](api)
        await asyncio.sleep(10)
        with pytest.raises(LeaseLost):
            await WRITES[name](api)
        assert recorder.calls == [name, f"{name} done"]
        await api.get(POD, "a")
        await api.list(POD)
        assert recorder.calls[2:] == ["get", "get done", "list", "list done"]

    run_virtually(run)


def test_a_write_under_way_is_cut_off_when_the_lease_ends_and_not_when_it_is_renewed() -> None:
    async def run() -> None:
        recorder = Recorder(seconds=8)
        permit = Until(5)
        api = FencedApi(recorder, permit, LoopClock())
        with pytest.raises(LeaseLost, match="unknown"):
            await api.delete(POD, "a")
        assert LoopClock().monotonic() == 5
        permit.moment = 10
        renewed = asyncio.ensure_future(api.delete(POD, "a"))
        await asyncio.sleep(3)
        permit.moment = 20
        await renewed
        assert recorder.calls == ["delete", "delete", "delete done"]

    run_virtually(run)
