"""`outrider kubectl`: kubectl on the running local world, with whatever arguments it is given."""

import os
import shutil
from pathlib import Path

from outrider.cli.errors import CliError, Exit
from outrider.local.controlplane.programs import ProgramsMissing, find_programs
from outrider.local.folder import WorldFolder, running_worlds


def kubectl(*arguments: str) -> int:
    """Run kubectl on the local world that runs on Kubernetes. Everything after `kubectl` is kubectl's.

    The kubectl is the one that `make kubernetes` built, else that of your PATH. It replaces this process.
    """
    program = _program()
    world = _world()
    environment = {**os.environ, "KUBECONFIG": str(world.kubeconfig)}
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606 - kubectl itself, without a shell


def _world() -> WorldFolder:
    worlds = running_worlds()
    for world in worlds:
        info = world.info()
        if info is not None and info.kubernetes:
            return world
    if worlds:
        raise CliError(
            f"the local world {worlds[0].name!r} has no Kubernetes under it, which kubectl needs",
            exit_code=Exit.UNREACHABLE,
            hints=(
                "start one that has:  outrider down; outrider up --kubernetes",
                "or use:  outrider get, describe, logs",
            ),
        )
    raise CliError(
        "no local world is running", exit_code=Exit.UNREACHABLE, hints=("start one:  outrider up --kubernetes",)
    )


def _program() -> Path:
    try:
        built = find_programs().kubectl
    except ProgramsMissing:
        built = None
    if built is not None:
        return built
    if (found := shutil.which("kubectl")) is None:
        raise CliError("there is no kubectl on the PATH", hints=("build one:  make kubernetes",))
    return Path(found)
