"""What the demo prints: what happens, when, and how the traffic fares meanwhile."""

import contextlib
import sys
import time
from collections.abc import Callable

from outrider.cli.demo.traffic import Tally


class Timeline:
    """Lines with the seconds since the demo began. Silent where the result is printed as JSON."""

    def __init__(self, *, quiet: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._now = now
        self._began = now()

    @property
    def elapsed(self) -> float:
        return self._now() - self._began

    def title(self, text: str) -> None:
        if not self._quiet:
            print(f"\n{text}", flush=True)

    def line(self, text: str) -> None:
        if not self._quiet:
            print(f"{self.elapsed:7.1f} s  {text}", flush=True)

    def command(self, text: str) -> None:
        """The command that does what comes next, as a user would type it."""
        if not self._quiet:
            print(f"           $ {text}", flush=True)

    def traffic(self, tally: Tally) -> None:
        good = tally.requests - tally.failed_requests
        self.line(
            f"traffic so far: {tally.requests} requests, {good} answered, {tally.failed_requests} failed; "
            f"{tally.streams} streams, {tally.broken_streams} broken"
        )
        for failure, count in tally.failures.items():
            self.line(f"  {count} x {failure}")

    def error(self, text: str) -> None:
        """Something to be said in any case, on standard error, where a terminal that is gone does no harm."""
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)
