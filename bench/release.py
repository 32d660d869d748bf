"""How soon a bad release is taken back, and how often a good one is, beside three usual rules; all by simulation.

    python bench/release.py [--releases 1000] [--quick] [--processes 2]

Everything is drawn with fixed seeds, so figures are the same on every machine. Times are from the candidate's first bad
answer until the decision, at the end of a tick of 5 s; what it takes to act on it is not part of them. Prints a table
and one line of JSON. See docs/design/0004-evidence.md, "Why not a threshold".
"""

import argparse
import itertools
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "parts"))
from release_rules import rules
from releases import Release, Story, Traffic, clustered

RATES = (0.2, 2, 20, 200)
SHARES = (0.1, 0.5)
CLUSTERING = 0.05
FAULTS = (
    *(Story(f"errors 0.1 % -> {share:.0%}", errors=share) for share in (0.01, 0.05, 0.2, 1.0)),
    *(Story(f"slow 4 % -> {share:.0%}", slow=share) for share in (0.1, 0.2, 0.5)),
    Story("hung", hung=True),
)
ONE_PERCENT = Story("identical, 1 % errors", errors=0.01, usual_errors=0.01)
IDENTICAL = (
    Story("identical, 0.1 % errors"),
    ONE_PERCENT,
    clustered(Story("identical, 0.1 % errors"), CLUSTERING),
    clustered(ONE_PERCENT, CLUSTERING),
)
HEADLINE = (Traffic(20, 0.1), FAULTS[2])
"""2 requests per second on the candidate, 20 % errors."""
MEDIUM = Traffic(20, 0.5)
MORE = (
    (MEDIUM, Story("both 30 % errors for 5 min", errors=0.3, begins=60, ends=360, both=True)),
    (MEDIUM, Story("one of 3 pods, 20 % errors", errors=0.2, one_pod=True)),
    (Traffic(20, 0.1), Story("20 % errors after 8 min", errors=0.2, begins=480, seconds=900)),
    (MEDIUM, Story("20 % errors when alone", errors=0.2, begins=300, stable_until=120)),
    (MEDIUM, Story("identical, alone after 2 min", stable_until=120)),
    (Traffic(0.2, 0.1, probes=0), Story("identical, no probes")),
    *(
        (Traffic(20, share), replace(ONE_PERCENT, name="identical, pods differ for good", lasting=0.01))
        for share in SHARES
    ),
)


@dataclass(frozen=True)
class Cell:
    traffic: Traffic
    story: Story
    rule: str
    fired: float
    """The share of the releases that it took back."""
    seconds: tuple[float, ...]
    """To the decision, of those; in ascending order."""

    def quantile(self, quantile: float) -> float | None:
        return self.seconds[min(len(self.seconds) - 1, int(quantile * len(self.seconds)))] if self.seconds else None


def play(traffic: Traffic, story: Story, releases: int) -> list[Cell]:
    """What each rule does about the same releases."""
    names = [rule.name for rule in rules(traffic, story)]
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(releases):
        release = Release(traffic, story, f"{traffic}/{story.name}/{number}")
        undecided = rules(traffic, story)
        for now, tick in release:
            for rule in [rule for rule in undecided if rule.decides(now, tick)]:
                undecided.remove(rule)
                release.compared = release.compared and rule.name != names[0]
                # Whoever decides before the first bad answer needs no time for it.
                found[rule.name].append(now - (now if release.first_bad is None else release.first_bad))
            if not undecided:
                break
    return [
        Cell(traffic, story, name, len(seconds) / releases, tuple(sorted(seconds))) for name, seconds in found.items()
    ]


HEADER = f"{'requests, candidate':<20}{'story':<36}{'rule':<11}{'taken back':>11}{'p50 s':>8}{'p90 s':>8}{'p99 s':>8}"


def show(cells: list[Cell]) -> None:
    for cell in cells:
        times = [cell.quantile(quantile) for quantile in (0.5, 0.9, 0.99)]
        shown = "".join(f"{'' if each is None or cell.story.identical else round(each):>8}" for each in times)
        print(f"{cell.traffic!s:<20}{cell.story.name:<36}{cell.rule:<11}{cell.fired:>11.1%}{shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=1000, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="5 of each kind, and few kinds")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    kinds = [(Traffic(rate, share), story) for story in (*FAULTS, *IDENTICAL) for rate in RATES for share in SHARES]
    kinds += MORE
    if options.quick:
        kinds = [HEADLINE, (HEADLINE[0], IDENTICAL[0]), (HEADLINE[0], IDENTICAL[2]), MORE[0]]
    count = 5 if options.quick else options.releases
    cells: list[Cell] = []
    print(HEADER)
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        for group in pool.map(play, *zip(*kinds, strict=True), itertools.repeat(count)):
            show(group)
            cells += group
    ours = [cell for cell in cells if cell.rule == "outrider"]
    headline = next(cell for cell in ours if (cell.traffic, cell.story) == HEADLINE)
    alike = [cell for cell in ours if cell.story in IDENTICAL]
    plain = [cell.fired for cell in alike if not cell.story.clustering]
    by_pod = [cell.fired for cell in alike if cell.story.clustering]
    print(
        json.dumps(
            {
                "bench": "release",
                "releases_of_each_kind": count,
                "p50_seconds_2rps_20pct": headline.quantile(0.5),
                "p99_seconds_2rps_20pct": headline.quantile(0.99),
                "rolled_back_share_2rps_20pct": headline.fired,
                "false_rollback_share": sum(plain) / len(plain),
                "false_rollback_share_worst": max(plain),
                "false_rollback_share_clustered": sum(by_pod) / len(by_pod),
                "false_rollback_share_clustered_worst": max(by_pod),
            }
        )
    )


if __name__ == "__main__":
    main()
