"""Many scenarios, or many chains of edits, on all cores."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import TypeVar

from outrider.sim.draw import draw
from outrider.sim.edits import Difference, edits
from outrider.sim.promises import Violation
from outrider.sim.run import run

T = TypeVar("T")

BATCH_SECONDS = 1200.0
"""Virtual seconds of trouble that a worker plays before it reports: about a second's work, or one scenario."""
AHEAD = 3
"""Batches that each worker has in hand or waiting, so that none is idle and little is lost when it ends early."""
EDITS_IN_A_CHAIN = 50
"""Edits of one spec, one after another. The history of revisions is full after some ten."""


@dataclass(frozen=True)
class Played:
    """What came of one seed."""

    seed: int
    violation: Violation | None
    seconds: float
    """Virtual seconds."""
    writes: int
    idle_writes: int
    starts: int


@dataclass(frozen=True)
class Edited:
    """What came of one chain of edits."""

    seed: int
    edits: int
    difference: Difference | None


def play(seed: int, seconds: float) -> Played:
    """Draw the scenario of a seed and play it."""
    outcome = run(draw(seed, seconds))
    return Played(seed, outcome.violation, outcome.seconds, outcome.writes, outcome.idle_writes, outcome.starts)


def edited(seed: int) -> Edited:
    """Make the edits of a seed, one after another."""
    found = list(edits(seed, EDITS_IN_A_CHAIN))
    return Edited(seed, len(found), found[-1])


def sweep(seeds: Iterable[int], seconds: float, *, jobs: int = 0) -> Iterator[Played]:
    """Play the scenarios of the seeds, as they end. `jobs` processes; 0 for one per core. May be left at any time."""
    return _spread(partial(play, seconds=seconds), seeds, jobs, max(1, int(BATCH_SECONDS / seconds)))


def sweep_edits(first: int, count: int, *, jobs: int = 0) -> Iterator[Edited]:
    """So many edits, in chains that begin with the seed `first`."""
    chains = -(-count // EDITS_IN_A_CHAIN)
    return _spread(edited, range(first, first + chains), jobs, 1)


def _spread(work: Callable[[int], T], seeds: Iterable[int], jobs: int, batch: int) -> Iterator[T]:
    """`batch` seeds at a time. Whoever leaves early ends the workers where they are."""
    jobs = jobs or os.cpu_count() or 1
    rest, others = iter(seeds), set(multiprocessing.active_children())
    # Fresh processes: a fork would take over whatever event loop and threads its parent has.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_depend_on_the_parent)
    pending: set[Future[list[T]]] = set()
    try:
        while True:
            while len(pending) < jobs * AHEAD and (some := tuple(islice(rest, batch))):
                with _interrupts_held():
                    pending.add(pool.submit(_each, work, some))
            if not pending:
                break
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    except BaseException:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown()


def _each(work: Callable[[int], T], seeds: tuple[int, ...]) -> list[T]:
    return [work(seed) for seed in seeds]


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C comes a moment later: processes that are started meanwhile never get to know of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _depend_on_the_parent() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone deals with it. A parent that was killed cannot."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
