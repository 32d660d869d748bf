"""`outrider down`: end the local world and every process in it."""

import contextlib
import os
import signal
import time
from typing import Annotated

from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.cli.progress import Progress
from outrider.cli.worlds import end_leftovers, remove_state, world_folder
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
    asked: int | None = None
    with Progress(quiet=quiet) as progress:
        while folder.running:
            info = folder.info()
            # Without a sign up it is about to be up, and then asked to end; or it is ending by itself.
            if info is not None and info.pid != asked:
                asked = info.pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(info.pid, signal.SIGTERM)
            if progress.elapsed > limit:
                which = f" (process {asked})" if asked is not None else ""
                raise CliError(
                    f"the local world {folder.name!r}{which} is still running after {limit:.0f} s",
                    exit_code=Exit.TIMED_OUT,
                    hints=(f"see why:  {folder.log}",),
                )
            progress.show("ending pods")
            time.sleep(_POLL_SECONDS)
        return progress.elapsed
