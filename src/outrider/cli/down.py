"""`outrider down`: end the local world and every process in it."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated

from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.cli.progress import Progress
from outrider.cli.worlds import remove_state, world_folder
from outrider.local.folder import DEFAULT_WORLD, WorldFolder, running_worlds

_POLL_SECONDS = 0.05


def down(
    *,
    world: str | None = None,
    timeout: str = "120s",
    forget: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """End the local world and every process in it. What was applied is kept for the next `up`.

    Parameters
    ----------
    world
        Name of the world. Default: the one that is running.
    timeout
        How long to wait for it at most.
    forget
        Delete what it kept, too.
    """
    from outrider.cli.waiting import seconds
    from outrider.local.remains import end_leftovers

    limit = seconds(timeout, "--timeout")
    folder = world_folder(world) if world is not None else _the_running_one()
    stopped = stop_world(folder, limit)
    left = end_leftovers(folder)
    if stopped is None and not left and not forget:
        print(f"the local world {folder.name!r} is not running")
        return Exit.OK
    if stopped is not None:
        print(f"the local world {folder.name!r} has ended ({stopped:.1f} s)")
    if left:
        print(f"ended what a crash had left of {left} container(s)")
    if forget:
        remove_state(folder)
        print("forgot what it kept")
    return Exit.OK


def _the_running_one() -> WorldFolder:
    worlds = running_worlds()
    if len(worlds) > 1:
        names = ", ".join(folder.name for folder in worlds)
        raise CliError(
            f"several worlds are running: {names}",
            exit_code=Exit.USAGE,
            hints=("say which:  outrider down --world NAME",),
        )
    return worlds[0] if worlds else WorldFolder(DEFAULT_WORLD)


def stop_world(folder: WorldFolder, limit: float, *, quiet: bool = False) -> float | None:
    """Ask the process that runs the world to end, and wait until it has; returns the seconds, None if none runs.

    Raises:
        CliError: it is still running after `limit` seconds.
    """
    if not folder.running:
        return None
    with Progress(quiet=quiet) as progress, ExitStack() as stack:
        asked: dict[int, Callable[[], bool]] = {}
        while folder.running or not all(ended() for ended in asked.values()):
            info = folder.info()
            # Without a sign up it is about to be up, and then asked to end; or it is ending by itself.
            if info is not None and info.pid not in asked:
                asked[info.pid] = _ask_to_end(info.pid, stack)
            if progress.elapsed > limit:
                which = f" (process {max(asked)})" if asked else ""
                raise CliError(
                    f"the local world {folder.name!r}{which} is still running after {limit:.0f} s",
                    exit_code=Exit.TIMED_OUT,
                    hints=(f"see why:  {folder.log}",),
                )
            progress.show("ending pods")
            time.sleep(_POLL_SECONDS)
        return progress.elapsed


def _ask_to_end(pid: int, stack: ExitStack) -> Callable[[], bool]:
    """Terminate a process; what is returned tells whether it has ended. The lock of its world goes a moment before it.

    Where the system cannot tell, the lock has to do.
    """
    try:
        if sys.platform != "linux":
            os.kill(pid, signal.SIGTERM)
            return lambda: True
        descriptor = os.pidfd_open(pid)
        stack.callback(os.close, descriptor)
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return lambda: True
    return lambda: bool(select.select([descriptor], [], [], 0)[0])
