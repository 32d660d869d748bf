"""One life with the operator killed after every call, without playing again what comes before the call.

The life is played once. At each call the process forks: the child plays on with an operator that has just died, and
tells what came of it; its parent goes on to the next call.
"""

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait

from outrider.sim.incidents import Scenario
from outrider.sim.run import Outcome, run

Death = tuple[int, Outcome]
"""After which call, counted from one, and what came of it; 0 for the life in which nobody is killed."""


class DeathError(RuntimeError):
    """A process that plays such lives ended without a word."""


def deaths(life: Scenario, *, jobs: int = 0) -> Iterator[Death]:
    """Play the life once for each call after which its operator may be killed, as they end, and once to its end. It has
    to begin with a `Crash` after more calls than there are.

    `jobs` processes at a time; 0 for one per core. Raises `DeathError`.
    """
    # A fresh process: forks take over whatever event loop and threads their parent has.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_play, args=(life, jobs or os.cpu_count() or 1, sender), daemon=True)
    process.start()
    sender.close()
    try:
        while (found := _received(receiver)) is not None:
            yield found
            if found[0] == 0:
                return
        process.join()
        raise DeathError(f"the process that plays ended with {process.exitcode}; what it said is above")
    finally:
        process.kill()
        process.join()
        receiver.close()


def _received(receiver: Connection) -> Death | None:
    try:
        found: Death = pickle.loads(receiver.recv_bytes())  # noqa: S301 - of our own child
    except EOFError:
        return None
    return found


def _play(life: Scenario, jobs: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; one deals with it
    forks = _Forks(jobs, sender)
    outcome = run(life, strike=forks.strike)
    forks.report(outcome)


class _Forks:
    """The process that plays the life, or after a fork one of its children."""

    def __init__(self, jobs: int, sender: Connection) -> None:
        self._jobs, self._sender = jobs, sender
        self._calls = 0
        self._is_child = False
        self._running: dict[Connection, int] = {}
        """The children by what they tell."""

    def strike(self) -> bool:
        """Whether the operator dies now: in the child it does."""
        self._calls += 1
        while len(self._running) >= self._jobs:
            self._collect()
        receiver, sender = multiprocessing.Pipe(duplex=False)
        loop = asyncio.get_running_loop()
        child = os.fork()
        if child:
            sender.close()
            self._running[receiver] = child
            return False
        for other in (receiver, self._sender, *self._running):
            other.close()
        self._running, self._sender, self._is_child = {}, sender, True
        asyncio._set_running_loop(loop)  # noqa: SLF001 - asyncio forgets it at a fork, and this one goes on
        return True

    def report(self, outcome: Outcome) -> None:
        """Tell what came of it. Never returns in a child."""
        if self._is_child:
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
                self._sender.send_bytes(pickle.dumps((self._calls, outcome)))
            os._exit(0)
        while self._running:
            self._collect()
        self._sender.send_bytes(pickle.dumps((0, outcome)))

    def _collect(self) -> None:
        """Pass on what the children tell that have something to tell. Raises `DeathError`."""
        for receiver in wait(list(self._running)):
            assert isinstance(receiver, Connection), "it was put there"
            child = self._running.pop(receiver)
            try:
                told = receiver.recv_bytes()
            except EOFError:
                raise DeathError(f"the child {child} ended without a word") from None
            finally:
                receiver.close()
                os.waitpid(child, 0)
            self._sender.send_bytes(told)
