"""Probes of one running container: startup first, then readiness and liveness side by side."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from outrider.kube.clock import Clock
from outrider.local.kubelet.handlers import Handlers, Outcome, Target

ProbeKind = Literal["startup", "readiness", "liveness"]


@dataclass(frozen=True, kw_only=True)
class ProbeTimes:
    """A probe's numbers, with Kubernetes' defaults. Times are seconds."""

    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, probe: Mapping[str, Any]) -> "ProbeTimes":
        return cls(
            initial_delay=float(probe.get("initialDelaySeconds") or 0),
            period=float(probe.get("periodSeconds") or 10),
            timeout=float(probe.get("timeoutSeconds") or 1),
            success_threshold=int(probe.get("successThreshold") or 1),
            failure_threshold=int(probe.get("failureThreshold") or 3),
        )


class ProbeCounter:
    """Turns single outcomes into a verdict: it changes after so many equal outcomes in a row."""

    def __init__(self, times: ProbeTimes, *, verdict: bool | None) -> None:
        self.verdict = verdict
        """True or False; None while it is unknown."""
        self._times = times
        self._last: bool | None = None
        self._in_a_row = 0

    def record(self, ok: bool) -> bool:
        """Count an outcome. Tells whether it reached its threshold, so that it is the verdict, newly or still."""
        self._in_a_row = self._in_a_row + 1 if ok == self._last else 1
        self._last = ok
        threshold = self._times.success_threshold if ok else self._times.failure_threshold
        if self._in_a_row < threshold:
            return False
        self.verdict = ok
        return True


@dataclass
class ProbeState:
    """What the probes of a run have found so far."""

    started: bool
    ready: bool


class ContainerProbes:
    """Probes one run of a container until cancelled.

    `changed()` is called whenever `state` has changed; `failed(message)` for every failure that counts;
    `unhealthy(kind, message)` when the container must be restarted.
    """

    def __init__(
        self,
        container: Mapping[str, Any],
        target: Target,
        handlers: Handlers,
        clock: Clock,
        *,
        until_ready: float,
        changed: Callable[[], None],
        failed: Callable[[str], None],
        unhealthy: Callable[[ProbeKind, str], None],
        before: ProbeState | None = None,
    ) -> None:
        """`before` is what was known of this same run before the kubelet was restarted."""
        self._probes: dict[ProbeKind, Mapping[str, Any]] = {
            "startup": container.get("startupProbe") or {},
            "readiness": container.get("readinessProbe") or {},
            "liveness": container.get("livenessProbe") or {},
        }
        self._target = target
        self._handlers = handlers
        self._clock = clock
        self._until_ready = until_ready
        self._changed = changed
        self._failed = failed
        self._unhealthy = unhealthy
        started = not self._probes["startup"]
        self.state = before or ProbeState(started, started and not self._probes["readiness"])

    async def run(self, running_for: float = 0.0) -> None:
        """Probe. `running_for` is how many seconds the container has been running already."""
        if not self.state.started:
            await self._repeat("startup", running_for)
        async with asyncio.TaskGroup() as group:
            for kind in ("readiness", "liveness"):
                if self._probes[kind]:
                    group.create_task(self._repeat(kind, running_for))

    async def _repeat(self, kind: ProbeKind, running_for: float) -> None:
        """Probe periodically; a startup probe ends with its first verdict, a liveness probe with its first failure.

        Until the first success there are quick probes in between, whose failures do not count.
        """
        probe = self._probes[kind]
        times = ProbeTimes.of(probe)
        counter = ProbeCounter(times, verdict=self.state.ready if kind == "readiness" else None)
        seen_success = kind == "liveness" or (kind == "readiness" and self.state.ready)
        await self._clock.sleep(max(0.0, times.initial_delay - running_for))
        next_counted = self._clock.monotonic()
        while True:
            counts = self._clock.monotonic() >= next_counted
            outcome = await self._handlers.run(probe, self._target, times.timeout)
            if counts:
                next_counted = self._clock.monotonic() + times.period
            seen_success = seen_success or outcome.ok
            if (counts or outcome.ok) and self._judge(kind, counter, outcome):
                return
            quick = self._until_ready if not seen_success else times.period
            await self._clock.sleep(min(quick, max(0.0, next_counted - self._clock.monotonic())))

    def _judge(self, kind: ProbeKind, counter: ProbeCounter, outcome: Outcome) -> bool:
        """Count an outcome and act on the verdict. Tells whether this probe is over."""
        decided = counter.record(outcome.ok)
        if not outcome.ok:
            self._failed(f"{kind.capitalize()} probe failed: {outcome.message}")
        if not decided:
            return False
        if kind == "readiness":
            self._set(ready=outcome.ok)
            return False
        if not outcome.ok:
            self._unhealthy(kind, f"failed {kind} probe")
            return True
        if kind == "startup":
            self._set(started=True, ready=not self._probes["readiness"])
            return True
        return False

    def _set(self, *, ready: bool, started: bool | None = None) -> None:
        new = ProbeState(self.state.started if started is None else started, ready)
        if new != self.state:
            self.state = new
            self._changed()
