"""How fast the simulation runs: virtual seconds per second, for one core.

    python bench/sim.py [--seeds 60] [--for 300] [--edits 50]

Prints a table and one line of JSON.
"""

import argparse
import json
import time
from collections.abc import Callable

from outrider.sim.crashes import NAME, SPEC
from outrider.sim.draw import draw
from outrider.sim.edits import edits
from outrider.sim.incidents import Apply, Scenario, SlowLoads
from outrider.sim.run import run

IDLE = Scenario(
    seed=1,
    incidents=(Apply(at=1, deployment=NAME, spec=SPEC), SlowLoads(at=7200, seconds=1, load_seconds=3)),
    load_seconds=3.0,
)
"""Two hours in which a service is installed and serves."""


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """What `work` gives, and the CPU seconds it took: others on the machine disturb those least."""
    began = time.process_time()
    done = work()
    return done, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--for", dest="seconds", type=float, default=300.0, help="virtual seconds of trouble")
    parser.add_argument("--edits", type=int, default=50)
    options = parser.parse_args()
    run(IDLE)  # imports, caches
    idle, idle_cpu = timed(lambda: run(IDLE).seconds)
    trouble, trouble_cpu = timed(lambda: sum(run(draw(seed, options.seconds)).seconds for seed in range(options.seeds)))
    edited, edits_cpu = timed(lambda: float(len(list(edits(1, options.edits)))))
    rows = [
        ("a service that serves, two hours", f"{idle / idle_cpu:,.0f} virtual seconds a second"),
        (f"{options.seeds} scenarios with trouble", f"{trouble / trouble_cpu:,.0f} virtual seconds a second"),
        ("", f"{1000 * trouble_cpu / options.seeds:,.0f} ms a scenario"),
        ("edits, each with a fresh install", f"{1000 * edits_cpu / edited:,.0f} ms an edit"),
    ]
    for what, figure in rows:
        print(f"{what:<36}{figure:>36}")
    print(
        json.dumps(
            {
                "bench": "sim",
                "idle_virtual_seconds_per_second": round(idle / idle_cpu),
                "virtual_seconds_per_second": round(trouble / trouble_cpu),
                "ms_per_scenario": round(1000 * trouble_cpu / options.seeds, 1),
                "ms_per_edit": round(1000 * edits_cpu / edited, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
