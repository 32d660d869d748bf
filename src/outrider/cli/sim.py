"""`outrider sim`: play what can go wrong, in virtual time, and see whether what is promised holds."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.cli.output import TableOrData, print_documents, print_structured
from outrider.cli.progress import Progress
from outrider.cli.whole_numbers import WHOLE_NUMBER

if TYPE_CHECKING:
    from outrider.sim.incidents import Scenario
    from outrider.sim.run import Outcome

BAR = 24
"""Characters of the progress bar."""


def sim(
    *,
    seed: Annotated[int | None, WHOLE_NUMBER] = None,
    seeds: Annotated[int | None, WHOLE_NUMBER] = None,
    first: Annotated[int, WHOLE_NUMBER] = 1,
    duration: Annotated[str, Parameter(name="--for")] = "5m",
    scenario: Path | None = None,
    crash_everywhere: Annotated[bool, Parameter(negative="")] = False,
    edits: Annotated[int | None, WHOLE_NUMBER] = None,
    shrink: bool | None = None,
    jobs: Annotated[int, WHOLE_NUMBER] = 0,
    save: Path | None = None,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
) -> int:
    """Simulate the operator in a cluster where everything goes wrong, and check what is promised.

    The real operator runs on the local world's store and controllers in virtual time. Crashes, lost and late events,
    conflicts, timeouts, failing pods and nodes, edits, pins and Git come from a seed, so that whatever happens can be
    had again. Nothing outside this process is touched.

    Parameters
    ----------
    seed
        Play the scenario of this seed and print its timeline.
    seeds
        Play so many scenarios on all cores, and stop at the first that breaks a promise.
    first
        The first seed of --seeds or --edits.
    duration
        How long a scenario is, in virtual time: 5m, 2h. Nothing new begins in its last quarter; then all must come
        right.
    scenario
        Play the scenario in this file (JSON), as a failure saves it.
    crash_everywhere
        Install, release, roll back and delete a service once for every call that the operator makes, and kill it right
        after that call.
    edits
        Make so many random edits of specs, in chains, and compare what there is after each with a fresh install.
    shrink
        Look for the shortest scenario that fails in the same way, and save it. Default: yes, but not for --scenario.
    jobs
        How many processes; 0 for one per core.
    save
        Folder for the shortest scenario and the objects of a failure. Default: sim-SEED, here.
    output
        table, json or yaml.
    """
    asked = [seed is not None, seeds is not None, scenario is not None, crash_everywhere, edits is not None]
    if sum(asked) != 1:
        raise CliError(
            "say one of --seed, --seeds, --scenario, --crash-everywhere and --edits: outrider sim --seed 1",
            exit_code=Exit.USAGE,
        )
    seconds = _seconds(duration)
    for option, count in (("--seeds", seeds), ("--edits", edits)):
        if count is not None and count < 1:
            raise CliError(f"{option} {count}: play at least one", exit_code=Exit.USAGE)
    if min(first, seed or 0) < 0:
        raise CliError("seeds are 0 or more: a negative one draws what its opposite does", exit_code=Exit.USAGE)
    if jobs < 0:
        raise CliError(f"--jobs {jobs}: 0 for one per core, or how many", exit_code=Exit.USAGE)
    if seed is not None or scenario is not None:
        return _play_one(seed, seconds, scenario, save, output, shorten=scenario is None if shrink is None else shrink)
    if seeds is not None:
        return _play_many(first, seeds, seconds, jobs, save, output)
    return _crash_everywhere(save, jobs, output) if crash_everywhere else _edit(first, edits or 1, jobs, output)


def _seconds(text: str) -> float:
    from outrider.api.duration import Duration

    try:
        found = Duration.parse(text).seconds
    except ValueError as error:
        raise CliError(f"--for {text}: {error}", exit_code=Exit.USAGE) from error
    if found <= 0:
        raise CliError(f"--for {text}: there must be some time in which things go wrong", exit_code=Exit.USAGE)
    return float(found)


# One


def _play_one(
    seed: int | None, seconds: float, path: Path | None, save: Path | None, output: TableOrData, *, shorten: bool
) -> int:
    from outrider.sim.draw import draw
    from outrider.sim.run import run

    scenario = _read(path) if path is not None else draw(seed or 0, seconds)
    with Progress() as progress:
        progress.show("simulating")
        outcome = run(scenario, tell=True)
    if outcome.violation is not None and shorten:
        return _report(scenario, save, output)
    _print(scenario, outcome, output)
    return Exit.OK if outcome.violation is None else Exit.FAILED


def _read(path: Path) -> "Scenario":
    import msgspec

    from outrider.sim.run import decode_scenario

    try:
        return decode_scenario(path.read_bytes())
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}", exit_code=Exit.NOT_FOUND) from error
    except msgspec.DecodeError as error:
        raise CliError(f"{path} holds no scenario: {error}", exit_code=Exit.INVALID) from error


def _print(scenario: "Scenario", outcome: "Outcome", output: TableOrData) -> None:
    violation = outcome.violation
    if output != "table":
        print_structured(
            {
                "seed": scenario.seed,
                "virtualSeconds": round(outcome.seconds, 3),
                "writes": outcome.writes,
                "writesThatChangedNothing": outcome.idle_writes,
                "operatorProcesses": outcome.starts,
                "violation": None if violation is None else _violation(violation),
                "timeline": [{"at": round(e.at, 3), "who": e.who, "what": e.what} for e in outcome.timeline.entries],
            },
            output,
        )
        return
    for entry in outcome.timeline.entries:
        print(f"{entry.at:10.2f}s  {entry.who:<10}  {entry.what}")
    print()
    if violation is None:
        print(
            f"Seed {scenario.seed}: every promise held for {outcome.seconds:.0f} virtual seconds; {outcome.writes} "
            f"writes by {outcome.starts} {'process' if outcome.starts == 1 else 'processes'} of the operator, "
            f"{outcome.idle_writes} of which changed nothing."
        )
    else:
        print(f"Seed {scenario.seed}: broken at {violation.at:.2f}s: {violation.promise}.\n  {violation.message}")


def _violation(violation: Any) -> dict[str, Any]:
    return {"promise": violation.promise, "at": round(violation.at, 3), "message": violation.message}


# A failure


def _report(scenario: "Scenario", save: Path | None, output: TableOrData) -> int:
    """Find the shortest scenario that fails in the same way, print how it goes, and keep it with the objects."""
    from outrider.sim.run import run
    from outrider.sim.shrink import shrink

    with Progress() as progress:
        progress.show(f"seed {scenario.seed} breaks a promise: looking for the shortest scenario that does")
        shortest = shrink(
            scenario,
            told=lambda runs, best: progress.show(
                f"seed {scenario.seed} breaks a promise: shortest so far {len(best.incidents)} of "
                f"{len(scenario.incidents)} incidents" + (f", after {runs} runs" if sys.stderr.isatty() else "")
            ),
        )
        outcome = run(shortest, tell=True)
    _print(shortest, outcome, output)
    folder = save or Path(f"sim-{scenario.seed}")
    _save(folder, shortest, outcome)
    print(
        f"Kept in {folder}: scenario.json (outrider sim --scenario {folder / 'scenario.json'}) and objects.yaml.",
        file=sys.stderr,
    )
    return Exit.FAILED


def _save(folder: Path, scenario: "Scenario", outcome: "Outcome") -> None:
    import msgspec

    from outrider.cli.output import without_managed_fields

    try:
        folder.mkdir(parents=True, exist_ok=True)
        data = msgspec.json.format(msgspec.json.encode(scenario), indent=2)
        (folder / "scenario.json").write_bytes(data + b"\n")
        with (folder / "objects.yaml").open("w") as file:
            print_documents((without_managed_fields(one) for one in outcome.objects), file)
    except OSError as error:
        raise CliError(f"cannot keep the failure in {folder}: {error.strerror}") from error


# Many


def _play_many(first: int, count: int, seconds: float, jobs: int, save: Path | None, output: TableOrData) -> int:
    from outrider.sim.draw import draw
    from outrider.sim.sweep import sweep

    started, done, virtual, writes, idle = time.monotonic(), 0, 0.0, 0, 0
    failed = None
    with Progress() as progress:
        progress.show(_bar(0, count))
        for played in sweep(range(first, first + count), seconds, jobs=jobs):
            done, virtual = done + 1, virtual + played.seconds
            writes, idle = writes + played.writes, idle + played.idle_writes
            if played.violation is not None:
                failed = played.seed
                break
            if done == count or sys.stderr.isatty() or done * 20 // count != (done - 1) * 20 // count:
                progress.show(_bar(done, count))
    wall = time.monotonic() - started
    if failed is not None:
        return _report(draw(failed, seconds), save, output)
    found = {
        "first": first,
        "seeds": done,
        "violation": None,
        "virtualSeconds": round(virtual),
        "wallSeconds": round(wall, 1),
        "writes": writes,
        "writesThatChangedNothing": idle,
    }
    if output != "table":
        print_structured(found, output)
    else:
        print(
            f"Every promise held in {done} scenarios, seeds {first} to {first + count - 1}: {virtual / 3600:.1f} hours "
            f"of virtual time in {wall:.0f} s ({virtual / wall:,.0f} times as fast), {writes:,} writes."
        )
    return Exit.OK


def _bar(done: int, count: int) -> str:
    filled = BAR * done // count
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {done:,} of {count:,}"


def _crash_everywhere(save: Path | None, jobs: int, output: TableOrData) -> int:
    from outrider.sim.crashes import crash_everywhere, life

    calls = 0
    with Progress() as progress:
        for what, number, outcome in crash_everywhere(jobs=jobs):
            calls += bool(number)
            progress.show(f"{what}: killed after call {number}" if number else what)
            if outcome.violation is not None:
                return _report(life(what, number), save, output)
    found = {"calls": calls, "violation": None}
    if output != "table":
        print_structured(found, output)
    else:
        print(f"Killed after each of the {calls} calls of a service's lives: every promise held.")
    return Exit.OK


def _edit(first: int, count: int, jobs: int, output: TableOrData) -> int:
    from outrider.sim.sweep import Edited, sweep_edits

    done = 0
    results: Iterator[Edited] = sweep_edits(first, count, jobs=jobs)
    with Progress() as progress:
        progress.show(_bar(0, count))
        for edited in results:
            done += edited.edits
            progress.show(_bar(min(done, count), count))
            if edited.difference is not None:
                wrong = edited.difference
                found = {"seed": wrong.seed, "edit": wrong.number, "message": wrong.message, "spec": wrong.spec}
                print_structured(found, "json" if output == "json" else "yaml")
                return Exit.FAILED
    if output != "table":
        print_structured({"edits": done, "first": first, "difference": None}, output)
    else:
        print(f"After each of {done:,} edits there was what a fresh install of the spec makes, and nothing left over.")
    return Exit.OK
