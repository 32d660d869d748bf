"""An engine dies with its GPU: what the simulated GPUs' file says of those that this process was given."""

import os
from collections.abc import Callable, Mapping

from outrider.api.clock import Clock
from outrider.serving.nvidia_smi.state import STATE_VARIABLE, StateError, read_gpus

INTERVAL_SECONDS = 1.0


def lost(environ: Mapping[str, str] = os.environ) -> str:
    """Which of this process's GPUs has fallen off the bus, by its UUID; empty where none is known to have."""
    if not environ.get(STATE_VARIABLE):
        return ""
    try:
        return next((gpu.uuid for gpu in read_gpus(environ) if gpu.lost), "")
    except StateError:  # it is being written, or gone: that says nothing about a GPU
        return ""


async def watch_gpus(clock: Clock, crash: Callable[[str], None]) -> None:
    """End the process, as an engine ends, once a GPU of it is lost. The file is read only where it has changed."""
    path, stamp = os.environ.get(STATE_VARIABLE, ""), 0
    while path:
        seen = _changed(path)
        if seen != stamp:
            stamp = seen
            if uuid := lost():
                crash(f"the loss of {uuid}")
        await clock.sleep(INTERVAL_SECONDS)


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  (as quick as a look-up gets)
    except OSError:
        return 0
