"""Many scenarios on many processes: left early, or killed, nothing of them stays."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outrider.sim.sweep import sweep

PATIENCE = 60.0
PLAYING = """
import multiprocessing
import signal
from outrider.sim.sweep import sweep

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored
    for _ in sweep(range(1, 100_000), 300.0, jobs=2):
        print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
"""


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def playing(path: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """A program in the midst of a sweep, in a process group of its own, and its workers."""
    command = [sys.executable, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as program:
        try:
            assert program.stdout is not None
            yield program, [int(pid) for pid in program.stdout.readline().split()]
        finally:
            program.kill()


def test_whoever_leaves_a_sweep_early_leaves_no_process() -> None:
    results = sweep(range(1, 1000), 1200.0, jobs=2)
    next(results)
    assert multiprocessing.active_children()
    results.close()  # type: ignore[attr-defined]  # a generator
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_the_workers_of_a_program_that_was_ended_end_with_it(how: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "playing.py"
    path.write_text(PLAYING)
    with playing(path) as (program, workers):
        assert len(workers) == 2
        os.killpg(program.pid, how) if how == signal.SIGINT else program.send_signal(how)  # Ctrl-C reaches all of them
        _, said = program.communicate(timeout=PATIENCE)
        until = time.monotonic() + PATIENCE
        while any(is_there(pid) for pid in workers):
            assert time.monotonic() < until, "workers go on without their parent"
            time.sleep(0.05)
    assert said.count("Traceback") == (how == signal.SIGINT), said
    assert said.strip().endswith("KeyboardInterrupt" if how == signal.SIGINT else ""), "and nothing else is said"
