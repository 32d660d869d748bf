"""Releases as the evidence sees them, for tests: ticks by numbers of failed requests, without chance."""

from collections.abc import Iterable

from outrider.plan.evidence import (
    Counts,
    Indicator,
    PodCounts,
    PodFacts,
    Settings,
    Situation,
    State,
    Tick,
    Verdict,
    advance,
    judge,
)

START = 1_000_000.0
TICK = 5.0
SETTINGS = Settings(limits={"errors": 0.01, "endToEnd": 0.05}, min_bake=600)


def pods(*counts: tuple[float, float], prefix: str = "new", indicator: Indicator = "errors") -> PodCounts:
    """`pods((1, 20), (0, 20))`: two pods, one of which failed one of 20 requests."""
    return {f"{prefix}-{number}": {indicator: Counts(*pair)} for number, pair in enumerate(counts)}


def old(*counts: tuple[float, float], indicator: Indicator = "errors") -> PodCounts:
    return pods(*counts, prefix="old", indicator=indicator)


def after(
    ticks: Iterable[tuple[PodCounts, PodCounts]], settings: Settings = SETTINGS, state: State | None = None
) -> State:
    """The state after ticks of (candidate, stable)."""
    state = State() if state is None else state
    at = START if state.last_tick_at is None else state.last_tick_at
    for candidate, stable in ticks:
        at += TICK
        state = advance(state, Tick(at=at, seconds=TICK, stable=stable, candidate=candidate), settings)
    return state


def pod(number: int = 0, **facts: object) -> PodFacts:
    """`new-0`, ready; `facts` say what is different."""
    usual = {"uid": f"new-{number}", "name": f"llama-new-{number}", "ever_ready": True, "ready": True}
    return PodFacts(**(usual | facts))  # type: ignore[arg-type]


def situation(*facts: PodFacts, **rest: object) -> Situation:
    """v1.3.0 after v1.2.0, whose two pods are ready; `rest` says what is different."""
    usual = {"candidate": "v1.3.0", "stable": "v1.2.0", "stable_ready": 2, "data_age": 2.0, "baked": 100.0}
    return Situation(pods=facts or (pod(),), **(usual | rest))  # type: ignore[arg-type]


def judged(state: State, facts: Situation, later: float = 0.0) -> Verdict:
    """The verdict so many seconds after the last tick."""
    return judge(state, facts, SETTINGS, (START if state.last_tick_at is None else state.last_tick_at) + later)
