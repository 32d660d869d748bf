"""A no-op operator over 1,000, 4,000 and 10,000 LLMDeployments: ours, and the same on kopf in the same run.

Both watch the objects of one API server (the local world's, in a process of its own) and note each that they are given.
Measured are the seconds from the start of the process until every object was handled once; then each object is changed
once, as fast as the API server can, and handled again: events per second, and the CPU time that one event costs. Memory
is the most that was resident. Ours has a cache of all objects that any handler can read. Kopf's only such cache is its
index; it is measured with it and, at every size, without.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from outrider.kube.kubeconfig import write_kubeconfig

KOPF = "kopf==1.45.2"
COUNTS = (1000, 4000, 10000)
MOST_INDEXED = 4000
"""Kopf's index is not ready within minutes beyond this."""
PATIENCE_SECONDS = 300.0
TOKEN = "bench"
CONTENDERS = Path(__file__).parent / "contenders"
OURS = CONTENDERS / "noop_ours.py"


class Row(msgspec.Struct):
    """What one operator needed for so many objects."""

    operator: str
    count: int
    seconds: float
    events_per_second: float
    microseconds_per_event: float
    """CPU time."""
    megabytes: float


@contextlib.contextmanager
def running(argv: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def numbers_of(process: subprocess.Popen[str]) -> list[float]:
    """The next line of numbers that a process prints; empty if it took too long, and was ended for it."""
    assert process.stdout is not None
    timer = threading.Timer(PATIENCE_SECONDS, process.kill)
    timer.start()
    line = process.stdout.readline()
    if not line and timer.is_alive():
        sys.exit(f"{process.args!r} ended with status {process.wait()}")
    timer.cancel()
    return [float(word) for word in line.split()]


def measure(operator: str, argv: list[str], count: int, folder: Path) -> Row | None:
    """None where not all objects were handled in time."""
    with running([sys.executable, str(OURS), "--serve", "--count", str(count)], stdin=subprocess.PIPE) as server:
        (port,) = numbers_of(server)
        kubeconfig = folder / "kubeconfig"
        write_kubeconfig(kubeconfig, server=f"http://127.0.0.1:{port:.0f}", token=TOKEN)
        argv = [*argv, "--kubeconfig", str(kubeconfig), "--count", str(count)]
        begun = time.monotonic()
        with running(argv, env={**os.environ, "KUBECONFIG": str(kubeconfig)}) as process:  # kopf looks there
            if not (first := numbers_of(process)):
                return None
            assert server.stdin is not None
            server.stdin.write("change\n")
            server.stdin.flush()
            (changing,) = numbers_of(server)
            if not (second := numbers_of(process)):
                return None
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            return Row(
                operator=operator,
                count=count,
                seconds=first[1] - begun,
                events_per_second=count / (second[1] - changing),
                microseconds_per_event=(second[2] - first[2]) / count * 1e6,
                megabytes=int(peak.split()[1]) / 1024,
            )


def kopf_python() -> Path:
    """The interpreter of an environment that has kopf and nothing else, made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "outrider" / "bench" / KOPF
    python = cache / "bin" / "python"
    if not python.exists():
        print(f"installing {KOPF} into {cache} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", KOPF], check=True)
    return python


def contenders(count: int, python: Path) -> Iterator[tuple[str, list[str]]]:
    yield "outrider", [sys.executable, str(OURS)]
    kopf = [str(python), str(CONTENDERS / "noop_kopf.py")]
    if count <= MOST_INDEXED:
        yield "kopf, with cache", [*kopf, "--cache"]
    yield "kopf, no cache", kopf


def show(rows: list[Row]) -> None:
    print(f"{'objects':>8}  {'operator':<18}{'all handled s':>14}{'events/s':>10}{'CPU us/event':>14}{'MB':>6}")
    for row in rows:
        print(
            f"{row.count:>8,}  {row.operator:<18}{row.seconds:>14.2f}{row.events_per_second:>10,.0f}"
            f"{row.microseconds_per_event:>14.0f}{row.megabytes:>6.0f}"
        )


def summary(rows: list[Row]) -> dict[str, float]:
    """Seconds and megabytes of ours, and how much longer kopf took, for each size where both were measured."""
    by_name = {(row.operator, row.count): row for row in rows}
    found: dict[str, float] = {}
    for row in rows:
        if row.operator != "outrider":
            continue
        found[f"seconds_{row.count}"] = round(row.seconds, 3)
        found[f"memory_mb_{row.count}"] = round(row.megabytes, 1)
        found[f"microseconds_per_event_{row.count}"] = round(row.microseconds_per_event, 1)
        for name, key in (("kopf, with cache", "kopf_ratio"), ("kopf, no cache", "kopf_without_cache_ratio")):
            if other := by_name.get((name, row.count)):
                found[f"{key}_{row.count}"] = round(other.seconds / row.seconds, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="how many objects")
    arguments = parser.parse_args()
    python, rows = kopf_python(), []
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.counts:
            for operator, argv in contenders(count, python):
                print(f"  {operator}, {count:,} objects", file=sys.stderr, flush=True)
                if row := measure(operator, argv, count, Path(folder)):
                    rows.append(row)
                else:
                    print(f"  not done in {PATIENCE_SECONDS:.0f} s", file=sys.stderr, flush=True)
    show(rows)
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
