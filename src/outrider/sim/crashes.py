"""Lives of a service, with the operator killed after every single call that changes something."""

from collections.abc import Iterable, Iterator

from outrider.sim.deaths import deaths
from outrider.sim.incidents import (
    AnyIncident,
    Apply,
    BadVersion,
    Crash,
    Drill,
    Edit,
    GpuLost,
    Pin,
    Remove,
    Scenario,
    Steer,
    Unpin,
)
from outrider.sim.run import Outcome

NAME = "llama"
SPEC = {
    "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": "v1.0.0"},
    "replicas": 2,
    "resources": {"requests": {"nvidia.com/gpu": "1"}},
}
WATCHED = {**SPEC, "rollback": {"autoRollback": {"enabled": True, "window": "15s"}}}
STANDBY = {"standby": "20s", "autoRollback": {"enabled": True, "minRequests": 5}}
CANARY = {
    **SPEC,
    "rollback": STANDBY,
    "deployment": {"rolloutStrategy": "Canary", "canary": {"steps": [{"weight": 20, "duration": "10s"}]}},
}
BLUE_GREEN = {
    **SPEC,
    "rollback": STANDBY,
    "deployment": {"rolloutStrategy": "BlueGreen", "blueGreen": {"previewDuration": "10s"}},
}
RECREATE = {**SPEC, "deployment": {"rolloutStrategy": "Recreate"}}
LIVES: dict[str, tuple[AnyIncident, ...]] = {
    "install, release, emergency rollback, release again, delete": (
        Apply(at=1, deployment=NAME, spec=SPEC),
        Edit(at=50, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
        Pin(at=100, deployment=NAME, version="previous-stable"),
        Unpin(at=150, deployment=NAME),
        Remove(at=200, deployment=NAME),
    ),
    "install, bad release that is taken back by itself, Git that insists, good release, delete": (
        Apply(at=1, deployment=NAME, spec=WATCHED),
        BadVersion(at=2, seconds=400, version="v1.1.0", how="answers errors"),
        Edit(at=50, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
        Edit(at=150, deployment=NAME, spec={"model": {"version": "v1.1.0"}, "replicas": 1}),
        Edit(at=200, deployment=NAME, spec={"model": {"version": "v1.2.0"}}),
        Remove(at=330, deployment=NAME),
    ),
    "install, release, drill of going back, drill that a release ends, delete": (
        Apply(at=1, deployment=NAME, spec=SPEC),
        Edit(at=50, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
        Drill(at=100, deployment=NAME),
        Drill(at=150, deployment=NAME),
        Edit(at=153, deployment=NAME, spec={"model": {"version": "v1.2.0"}}),
        Remove(at=230, deployment=NAME),
    ),
    "install, release by ending all that is old first, emergency rollback, delete": (
        Apply(at=1, deployment=NAME, spec=RECREATE),
        Edit(at=50, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
        Pin(at=100, deployment=NAME, version="previous-stable"),
        Remove(at=150, deployment=NAME),
    ),
    "install, canary whose GPU is lost, bad canary that is taken back, delete": (
        Apply(at=1, deployment=NAME, spec=CANARY),
        BadVersion(at=2, seconds=400, version="v1.2.0", how="answers errors"),
        Edit(at=50, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
        GpuLost(at=58, deployment=NAME, place=2),
        Edit(at=150, deployment=NAME, spec={"model": {"version": "v1.2.0"}}),
        Remove(at=250, deployment=NAME),
    ),
    "install, blue-green, back while the old one is loaded, release by a person, delete": (
        Apply(at=1, deployment=NAME, spec=BLUE_GREEN),
        Edit(at=50, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
        Pin(at=95, deployment=NAME, version="previous-stable"),
        Unpin(at=150, deployment=NAME),
        Edit(at=160, deployment=NAME, spec={"model": {"version": "v1.2.0"}}),
        Steer(at=172, deployment=NAME, how="promote"),
        Remove(at=250, deployment=NAME),
    ),
}
BY_STEPS = tuple(LIVES)[4:]
"""Those with a version beside the one that serves."""
DOWN_SECONDS = 5.0
MOST_CALLS = 1000
"""A life that takes more calls than this has gone wild."""


def life(what: str, crash_after: int) -> Scenario:
    """One of the lives with the operator killed right after its n-th call that changes something; 0 for no crash."""
    crash = (Crash(at=0.0, calls=crash_after, down_seconds=DOWN_SECONDS),) if crash_after else ()
    return Scenario(seed=1, incidents=(*crash, *LIVES[what]), nodes=1, load_seconds=3.0)


def crash_everywhere(lives: Iterable[str] = tuple(LIVES), *, jobs: int = 0) -> Iterator[tuple[str, int, Outcome]]:
    """Play each life once for each call that there is to die after, and once without: (life, call or 0, outcome), as
    they end. `jobs` at a time; 0 for one per core.

    Raises `RuntimeError` if one never ends.
    """
    for what in lives:
        for number, outcome in deaths(life(what, MOST_CALLS), jobs=jobs):
            if number >= MOST_CALLS:
                raise RuntimeError(f"one life of a service takes more than {MOST_CALLS} calls: {what}")
            yield what, number, outcome
