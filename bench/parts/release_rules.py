"""The rules that decide about simulated releases. All see the same answers, probes included."""

from collections import deque
from typing import Protocol

from releases import TICK, USUAL_SLOW, Story, Traffic, facts

from outrider.plan.evidence import Counts, Settings, Situation, State, Tick, advance, judge
from outrider.plan.evidence.accusation import log_wealth

WINDOW = 60.0
FEW = 7.5
"""Of the ten newest answers, too few bad ones to take a release back for them."""


class Rule(Protocol):
    name: str

    def decides(self, now: float, tick: Tick) -> bool:
        """Whether the candidate is rolled back after this tick, `now` seconds after it began."""
        ...


def errors(tick: Tick) -> Counts:
    found = [counts.get("errors", Counts()) for counts in tick.candidate.values()]
    return Counts(sum(each.bad for each in found), sum(each.total for each in found))


class Window:
    """What ended within the last minute."""

    def __init__(self) -> None:
        self._ticks: deque[Counts] = deque(maxlen=int(WINDOW / TICK))

    def take(self, tick: Tick) -> Counts:
        self._ticks.append(errors(tick))
        return Counts(sum(each.bad for each in self._ticks), sum(each.total for each in self._ticks))


class Outrider:
    name = "outrider"

    def __init__(self, traffic: Traffic) -> None:
        self._state, self.reason = State(), ""
        # Without margins it never says that a candidate is good, which nobody asks here.
        self._settings = Settings(limits={"errors": 0.01, "endToEnd": 0.05}, margins={})
        self._situation = Situation("v1.3.0", "v1.2.0", facts(traffic), 3, data_age=0.0)

    def decides(self, now: float, tick: Tick) -> bool:
        self._state = advance(self._state, tick, self._settings)
        if self._state.newest.bad < FEW and log_wealth(self._state, self._settings) < self._settings.enough:
            return False  # as judge would find, with more to do: no other way leads to a rollback here
        verdict = judge(self._state, self._situation, self._settings, now)
        self.reason = verdict.reason
        return verdict.kind == "RollBack"


class Threshold:
    """errorRate > 1 % over the last minute, looked at every 15 s, as a rule of Prometheus would be."""

    name = "threshold"

    def __init__(self) -> None:
        self._window = Window()

    def decides(self, now: float, tick: Tick) -> bool:
        share = self._window.take(tick).share
        return now > 0 and now % 15 == 0 and share is not None and share > 0.01


class Argo:
    """Argo Rollouts: interval 60 s, successCondition result[0] >= 0.99, failureLimit 3 (the fourth failed measurement
    aborts, consecutive or not), consecutiveErrorLimit 4 (the fifth one aborts); an empty result is an error, and is
    measured again after 10 s.
    """

    name = "argo"

    def __init__(self) -> None:
        self._window, self._next, self._failed, self._errors = Window(), WINDOW, 0, 0

    def decides(self, now: float, tick: Tick) -> bool:
        share = self._window.take(tick).share
        if now < self._next:
            return False
        self._next = now + (10.0 if share is None else WINDOW)
        self._errors = self._errors + 1 if share is None else 0
        self._failed += share is not None and 1 - share < 0.99
        return self._failed > 3 or self._errors > 4


class Flagger:
    """Flagger: interval 60 s, threshold 5 (failed checks in all, consecutive or not), success rate of at least 99 %;
    no data is a failed check.
    """

    name = "flagger"

    def __init__(self) -> None:
        self._window, self._failed = Window(), 0

    def decides(self, now: float, tick: Tick) -> bool:
        share = self._window.take(tick).share
        if now <= 0 or now % WINDOW:
            return False
        self._failed += share is None or 1 - share < 0.99
        return self._failed >= 5


def rules(traffic: Traffic, story: Story) -> list[Rule]:
    """The other three look at errors alone, so that they have nothing to say about latencies."""
    ours = Outrider(traffic)
    return [ours] if story.slow != USUAL_SLOW else [ours, Threshold(), Argo(), Flagger()]
