"""Plays one scenario and says whether a promise was broken."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from outrider.kube.api import Kind, Object
from outrider.kube.objects import EVENT, LEASE
from outrider.local.store.history import Change
from outrider.sim.incidents import (
    AnyIncident,
    ApiTrouble,
    Apply,
    BadVersion,
    Crash,
    DeletePod,
    Drill,
    Edit,
    GpuLost,
    Meddle,
    NodeLost,
    Pin,
    PodFault,
    Remove,
    Retry,
    Scenario,
    SlowLoads,
    Steer,
    Stop,
    Unpin,
    WatchTrouble,
    describe,
)
from outrider.sim.logs import captured
from outrider.sim.loop import Deadlock, run_virtually
from outrider.sim.operators import Between, OperatorProcess, Strike, takeover_seconds
from outrider.sim.promises import Promises, Violation
from outrider.sim.settled import awaits_evidence, unseen, unsettled
from outrider.sim.timeline import Timeline
from outrider.sim.truth import Truth
from outrider.sim.world import World

WINDOW = 60.0
"""Seconds that anybody may be behind the truth when nothing is in trouble: the operator's answers to probes count for
half of it, a rollout that was begun goes on."""
SETTLE_SECONDS = 3600.0
"""Virtual seconds in which all must be as asked for once the trouble is over; the slowest scenarios need a quarter."""
QUIET_SECONDS = 150.0
"""Seconds without a write of the operator that count as quiet: twice as long as an answer to a probe counts."""
QUIET_LOOKS = 20
"""So often is quiet looked for: the numbers of releases that are held are written ever more rarely."""
WRITES_OF_WAITING = 3
"""In so long a time, where a release waits for better evidence: when each version last served, and what was counted."""
LOOK_SECONDS = 5.0
FAULTY_SECONDS = 60.0
"""For which a pod without its GPU may be there before it is made anew: a drill, or another pod, may come first."""
NOTICE_SECONDS = 120.0
"""Virtual seconds after the trouble until all that is asked for must have been seen: a silent watch is found dead after
70 s, a failed write is tried again within 30 s."""
WRITES_PER_NEWS, WRITES_ANYHOW = 2.5, 10
"""Measured over 200 seeds: 1.2 writes in the median for each thing that happened, 1.9 at most."""
NEWS_OF_A_START, NEWS_OF_A_TROUBLE, NEWS_OF_A_FAULT = 4, 4, 4
"""In each service that has it, a fault of good pods is seen, is too much, passes, and is remembered no longer."""
IDLE_PER_TROUBLE = 5
"""Measured likewise: 3 at most, most of them repeated after a time-out."""


@dataclass
class Outcome:
    """What came of a scenario."""

    violation: Violation | None
    seconds: float
    """Virtual seconds that it took."""
    writes: int
    """Calls of the operators that are meant to change something, but for Events and Leases."""
    idle_writes: int
    """Those of them that changed nothing."""
    starts: int
    """Processes of the operator."""
    timeline: Timeline
    taken_back: frozenset[str] = frozenset()
    """Versions that were rolled back by themselves, of whichever service."""
    objects: list[Object] = field(default_factory=list)
    """All objects at the moment of the violation, where they were asked for."""


def run(
    scenario: Scenario, *, tell: bool = False, between: Between | None = None, strike: Strike = lambda: False
) -> Outcome:
    """Play a scenario to its end or to the first broken promise. With `tell` the timeline and the objects are kept.

    `between` puts something between the operators and their API: a saboteur, to see that the promises are watched.
    `strike` is asked after each call of an operator that a `Crash` is to kill later whether it dies already.
    """
    with captured() as crashes:
        game = _Game(scenario, tell=tell, between=between, strike=strike)
        try:
            return run_virtually(lambda: game.play(crashes))
        except Deadlock as error:
            return game.outcome(Violation("somebody is always awake", game.now, str(error)))


class _Game:
    def __init__(self, scenario: Scenario, *, tell: bool, between: Between | None, strike: Strike) -> None:
        self.scenario = scenario
        self._between, self._strike = between, strike
        self.now = 0.0
        self._tell = tell
        self._timeline = Timeline(tell)
        self._troubles: list[ApiTrouble | WatchTrouble] = []
        self._truth = Truth(_window(scenario))
        self._promises = Promises(self._truth)
        self._processes: list[OperatorProcess] = []
        self._writes = self._idle = 0
        self._version = 0
        self._last_writer = ""
        self._world: World | None = None
        self._playing: set[asyncio.Task[None]] = set()

    # Observer of the operators' writes

    def writing(self, who: str) -> None:
        self._promises.writer = self._last_writer = who
        self._version = self.world.store.version

    def wrote(self, who: str, call: str, kind: Kind[Any], name: str, refusal: str) -> None:
        self._promises.writer = ""
        if kind in (EVENT, LEASE):
            return
        self._writes += 1
        idle = not refusal and self.world.store.version == self._version
        self._idle += idle
        outcome = f" ({refusal})" if refusal else " (nothing changed)" if idle else ""
        self._timeline.add(_now(), who, f"{call} {kind.kind} {name}{outcome}")

    @property
    def world(self) -> World:
        if self._world is None:
            raise RuntimeError("the game has not begun")
        return self._world

    # Playing

    async def play(self, crashes: list[str]) -> Outcome:
        scenario = self.scenario
        async with World(
            nodes=scenario.nodes, gpus=scenario.gpus, load_seconds=scenario.load_seconds, seed=scenario.seed
        ) as self._world:
            self._world.observe(self._changed)
            self._world.refused = lambda why: self._timeline.add(_now(), "scenario", f"refused: {why}")
            running = asyncio.create_task(self._operators())
            try:
                violation = await self._until_violated(running, crashes)
            finally:
                running.cancel()
                for task in self._playing:
                    task.cancel()
                await asyncio.gather(running, *self._playing, return_exceptions=True)
            self.now = _now()
            return self.outcome(violation)

    def outcome(self, violation: Violation | None) -> Outcome:
        starts = sum(process.starts for process in self._processes)
        objects = self._objects() if self._tell and violation is not None and self._world is not None else []
        taken_back = frozenset().union(*(service.ever_taken_back for service in self._truth.services.values()))
        return Outcome(violation, self.now, self._writes, self._idle, starts, self._timeline, taken_back, objects)

    def _changed(self, kind: Kind[Any], change: Change, obj: Object) -> None:
        self._promises.check(kind, change, obj)
        self._truth.follow(kind, change, obj)
        self._timeline.changed(_now(), kind, change, obj)

    async def _operators(self) -> None:
        scenario = self.scenario
        self._processes = [
            OperatorProcess(
                f"operator-{number}" if scenario.operators > 1 else "operator",
                self.world.store, random.Random(f"{scenario.seed}-{number}"),  # noqa: S311
                self._current_troubles, self, self.world.kubelet.answers,
                elected=scenario.operators > 1, gateway=scenario.gateway, between=self._between, strike=self._strike,
            )
            for number in range(scenario.operators)
        ]  # fmt: skip
        async with asyncio.TaskGroup() as group:
            for process in self._processes:
                group.create_task(process.run())

    def _current_troubles(self) -> list[ApiTrouble | WatchTrouble]:
        if self._troubles:
            now = _now()
            self._troubles = [one for one in self._troubles if now < one.until]
        return self._troubles

    async def _until_violated(self, running: "asyncio.Task[None]", crashes: list[str]) -> Violation | None:
        phases = asyncio.create_task(self._phases())
        try:
            while True:
                await asyncio.wait([phases, running], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                self._promises.look(_now())
                if self._promises.broken:
                    return self._promises.broken[0]
                if crashes:
                    return Violation("no reconcile crashes", _now(), crashes[0])
                if running.done():
                    return Violation("the operator never ends by itself", _now(), repr(running.exception()))
                if phases.done():
                    return phases.result()
        finally:
            phases.cancel()
            await asyncio.gather(phases, return_exceptions=True)

    async def _phases(self) -> Violation | None:
        for incident in self.scenario.incidents:
            await asyncio.sleep(max(0.0, incident.at - _now()))
            self._timeline.add(_now(), "scenario", describe(incident))
            self._start(incident)
        await asyncio.sleep(max(0.0, self.scenario.ends - _now()))
        for process in self._processes:
            process.spare()
        self._timeline.add(_now(), "scenario", "the trouble is over")
        return await self._notice() or await self._settle() or await self._quieten() or self._wasted()

    async def _notice(self) -> Violation | None:
        """Soon after the trouble the operator has seen what is asked for, whatever it is going to take."""
        end = _now() + NOTICE_SECONDS + (takeover_seconds(self.scenario))
        while late := list(unseen(self.world.store)):
            if _now() > end:
                return Violation("soon after the trouble what is asked for is seen", _now(), "; ".join(late))
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _settle(self) -> Violation | None:
        end = _now() + SETTLE_SECONDS
        while why := list(unsettled(self.world.store, self._truth)):
            if _now() > end:
                return Violation("in the end all is as it was asked for", _now(), "; ".join(why))
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _quieten(self) -> Violation | None:
        """All is well: now nothing more is written, and all stays well."""
        for _ in range(QUIET_LOOKS):
            before = self._writes
            await asyncio.sleep(QUIET_SECONDS)
            few = WRITES_OF_WAITING if awaits_evidence(self.world.store, self._truth) else 0
            if self._writes - before <= few:
                why = list(unsettled(self.world.store, self._truth))
                return Violation("what is well stays well", _now(), "; ".join(why)) if why else None
        message = f"still {self._writes - before} writes in {QUIET_SECONDS:g} s, with nothing to do"
        return Violation("in the end there is quiet", _now(), message)

    def _wasted(self) -> Violation | None:
        """No more was written than what happened explains."""
        starts = sum(process.starts for process in self._processes)
        troubles = sum(isinstance(one, _MORE_WRITES) for one in self.scenario.incidents)
        happened = self._truth.news + NEWS_OF_A_START * starts + NEWS_OF_A_TROUBLE * troubles
        if self._writes > WRITES_PER_NEWS * happened + WRITES_ANYHOW:
            message = f"{self._writes} writes, and {self._truth.news} things happened to pods and wishes"
            return Violation("no more writes than what happened explains", _now(), message)
        if self._idle > IDLE_PER_TROUBLE * (troubles + starts):
            message = f"{self._idle} writes changed nothing, with {troubles} troubles and {starts} starts"
            return Violation("few writes that change nothing", _now(), message)
        return None

    # What happens

    def _start(self, incident: AnyIncident) -> None:
        task = asyncio.create_task(self._do(incident))
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def _do(self, incident: AnyIncident) -> None:
        if isinstance(incident, _DELAYING):
            self._truth.hinder(incident.until)
        if isinstance(incident, ApiTrouble | WatchTrouble):
            self._troubles.append(incident)
        elif isinstance(incident, Crash):
            self._process().crash(incident)
        elif isinstance(incident, Stop):
            self._process().stop(incident.seconds)
        elif isinstance(incident, BadVersion | PodFault | GpuLost | NodeLost | SlowLoads):
            await self._break(incident)
        else:
            await self._people_do(incident)

    async def _people_do(
        self, incident: Apply | Edit | Remove | Pin | Unpin | Meddle | DeletePod | Steer | Retry | Drill
    ) -> None:
        world = self.world
        match incident:
            case Apply():
                await world.apply(incident)
            case Edit():
                await world.edit(incident)
            case Remove():
                await world.remove(incident.deployment)
            case Pin():
                await world.pin(incident)
            case Unpin():
                await world.unpin(incident.deployment)
            case Meddle():
                self._truth.disturb(incident.deployment)
                await world.meddle(incident)
            case DeletePod():
                self._truth.disturb(incident.deployment)
                await world.delete_pod(incident.deployment, incident.place)
            case _:
                await self._people_steer(incident)

    async def _people_steer(self, incident: Steer | Retry | Drill) -> None:
        match incident:
            case Steer():
                self._truth.steered(incident)
                await self.world.steer(incident)
            case Retry():
                if await self.world.retry(incident.deployment):
                    self._truth.retried(incident.deployment)
            case Drill():
                self._truth.news += await self.world.drill(incident.deployment)

    async def _break(self, incident: BadVersion | PodFault | GpuLost | NodeLost | SlowLoads) -> None:
        kubelet = self.world.kubelet
        if isinstance(incident, SlowLoads):
            self._truth.longest_load = max(self._truth.longest_load, incident.load_seconds)
            kubelet.slow(incident)
            return
        if isinstance(incident, GpuLost):
            self._lose_gpu(incident)
            return
        self._truth.faults_until(incident.until)
        if isinstance(incident, NodeLost):
            await kubelet.lose(incident, f"node-{incident.node % self.scenario.nodes}")
        elif isinstance(incident, PodFault):
            uid = self.world.pod_at(incident.deployment, incident.place)
            if uid:
                self._truth.blame(kubelet.pods[uid].version, incident.until, incident.deployment)
                self._truth.news += NEWS_OF_A_FAULT
            kubelet.fault(incident, uid or "nobody")
        else:
            self._truth.blame(incident.version, incident.until)
            having = {pod.deployment for pod in kubelet.pods.values() if pod.version == incident.version}
            self._truth.news += NEWS_OF_A_FAULT * len(having)
            kubelet.fault(incident)

    def _lose_gpu(self, incident: GpuLost) -> None:
        """Nobody is to blame: whoever takes the version back for it breaks a promise."""
        if uid := self.world.pod_at(incident.deployment, incident.place):
            self._truth.disturb(incident.deployment)
            self._truth.faults_until(incident.at + FAULTY_SECONDS)
            self.world.kubelet.lose_gpu(uid)

    def _process(self) -> OperatorProcess:
        """The one that acts, as far as anybody can tell: whoever wrote last, else the first."""
        return next((one for one in self._processes if one.name == self._last_writer), self._processes[0])

    def _objects(self) -> list[Object]:
        store = self.world.store
        return [
            record.object() for kind in store.kinds if kind not in (EVENT, LEASE) for record in store.table(kind).all()
        ]


def _window(scenario: Scenario) -> float:
    """How many seconds the operator may be late: twice as long as it is kept from seeing or acting at a stretch, and
    where several elect a leader, as long as a lost lease takes to pass on.
    """
    kept = [one.until - one.at for one in scenario.incidents if isinstance(one, _DELAYING)]
    kept += [one.down_seconds for one in scenario.incidents if isinstance(one, Crash)]
    return WINDOW + 2 * max(kept, default=0.0) + takeover_seconds(scenario)


_DELAYING = (ApiTrouble, WatchTrouble, Stop, NodeLost)
"""What keeps the operator from seeing or acting."""


_MORE_WRITES = (ApiTrouble, WatchTrouble, Stop, Meddle)
"""What costs writes that neither wishes nor pods explain."""


def _now() -> float:
    return asyncio.get_running_loop().time()


def decode_scenario(data: bytes) -> Scenario:
    """A scenario as it was written down. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=Scenario)
