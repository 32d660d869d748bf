"""The operators of a simulation: real ones, that are killed, stopped and started again as their processes would be."""

import asyncio
import random
from collections.abc import Callable, Iterable

from outrider.controllers.config import GatewayConfig, OperatorConfig
from outrider.controllers.operator import Operator
from outrider.kube.api import Api
from outrider.kube.fence import FencedApi
from outrider.kube.lease import LeaderElection, LeaseLost, LeaseTimings
from outrider.local.store import Store, StoreApi
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import ProbeTarget
from outrider.signals.scrape import ScrapeTarget
from outrider.sim.incidents import ApiTrouble, Crash, Scenario, WatchTrouble
from outrider.sim.kubelet import CUT_OFF
from outrider.sim.line import Line, Observer, StoppableClock
from outrider.sim.world import NAMESPACE_NAME

TIMINGS = LeaseTimings(duration=60.0, renew_deadline=40.0, retry_period=8.0)
"""Four times as patient as they are by default: the lease would else be most of what a simulation does."""
PROBE_TIMEOUT = 5.0
PROBE_SECONDS = 0.1
BACKOFF = 2.0
"""Seconds until a process that ended by itself is started again."""

Between = Callable[[Api], Api]
Strike = Callable[[], bool]
Troubles = Callable[[], Iterable[ApiTrouble | WatchTrouble]]


def takeover_seconds(scenario: Scenario) -> float:
    """How long it takes at most until another operator acts after the leader died."""
    return TIMINGS.duration + 2 * TIMINGS.retry_period if scenario.operators > 1 else 0.0


class OperatorProcess:
    """One replica of the operator: whenever it dies another process takes its place. `run` never returns."""

    def __init__(
        self,
        name: str,
        store: Store,
        rng: random.Random,
        troubles: Troubles,
        observer: Observer,
        answers: Callable[[str], str],
        *,
        elected: bool,
        gateway: bool = True,
        between: Between | None = None,
        strike: Strike = lambda: False,
    ) -> None:
        """`answers` says why the pod with a uid does not answer; empty text if it does. `between` gives what stands
        between the operator and its line, where something does. `strike`: see `Line`.
        """
        self.name = name
        self.starts = 0
        self._store, self._rng, self._troubles, self._observer = store, rng, troubles, observer
        self._answers = answers
        self._elected = elected
        self._gateway = GatewayConfig("outrider", "outrider-system") if gateway else GatewayConfig("", "")
        self._between = between or (lambda line: line)
        self._strike = strike
        self._line: Line | None = None
        self._clock = StoppableClock()
        self._down_seconds = BACKOFF

    async def run(self) -> None:
        while True:
            self.starts += 1
            self._clock, self._down_seconds = StoppableClock(), BACKOFF
            api = StoreApi(self._store, user=self.name)
            line = Line(api, self.name, self._clock, self._rng, self._troubles, self._observer, self._strike)
            self._line = line
            work = asyncio.create_task(self._work(self._between(line), self._clock))
            death = asyncio.create_task(line.crashed.wait())
            try:
                await asyncio.wait([work, death], return_when=asyncio.FIRST_COMPLETED)
            finally:
                line.crashed.set()
                work.cancel()
                death.cancel()
                results = await asyncio.gather(work, death, return_exceptions=True)
            _raise_defect(results[0])
            await asyncio.sleep(self._down_seconds)

    def crash(self, crash: Crash) -> None:
        """Kill the process after so many more calls."""
        if self._line is not None:
            self._line.crash_after(crash.calls)
            self._down_seconds = crash.down_seconds

    def spare(self) -> None:
        """Take back a crash that has not come."""
        if self._line is not None:
            self._line.crash_after(None)

    def stop(self, seconds: float) -> None:
        """The process stands still for so long."""
        clock = self._clock
        clock.running.clear()
        asyncio.get_running_loop().call_later(seconds, clock.running.set)

    async def _work(self, line: Api, clock: StoppableClock) -> None:
        config = OperatorConfig(gateway=self._gateway, identity=f"{self.name}-{self.starts}")
        if not self._elected:
            await Operator(line, clock, config, probe=self._probe, fetch=_fetch, rng=self._rng).run()
            return
        election = LeaderElection(
            line, clock, name="outrider-operator", namespace=NAMESPACE_NAME, identity=config.identity,
            timings=TIMINGS, rng=self._rng,
        )  # fmt: skip
        leads = asyncio.Event()

        async def elected() -> None:
            await election.acquire()
            leads.set()

        operator = Operator(
            line, clock, config, writer=FencedApi(line, election, clock), elected=elected,
            probe=self._probe, fetch=_fetch, rng=self._rng,
        )  # fmt: skip
        running = asyncio.create_task(operator.run())
        try:
            await leads.wait()
            await election.keep()
        except LeaseLost:
            return
        finally:
            running.cancel()
            results = await asyncio.gather(running, return_exceptions=True)
        _raise_defect(results[0])

    async def _probe(self, target: ProbeTarget) -> ProbeResult:
        await asyncio.sleep(PROBE_SECONDS)
        error = self._answers(target.key)
        now = self._clock.now()
        return ProbeResult(ok=not error, at=now, latency_seconds=PROBE_SECONDS, error=error, reached=error != CUT_OFF)


async def _fetch(_target: ScrapeTarget) -> str:
    raise OSError("nobody serves metrics here")


def _raise_defect(result: object) -> None:
    if isinstance(result, Exception) and not isinstance(result, LeaseLost):
        raise result
