"""`outrider demo`: Outrider's main job, shown on this machine."""

import asyncio
import dataclasses
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from outrider.cli.connection import Cluster, connect
from outrider.cli.demo.story import Result, Story
from outrider.cli.demo.timeline import Timeline
from outrider.cli.down import stop_world
from outrider.cli.errors import Exit
from outrider.cli.output import print_json
from outrider.cli.worlds import interrupted_by_termination, remove_state, start_detached
from outrider.local.folder import WorldFolder, WorldInfo, running_worlds

_WORLD = "demo"
_STOP_SECONDS = 60.0


def demo(
    *,
    exit: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002 - the name of the option
    output: Annotated[Literal["table", "json"], Parameter(alias="-o")] = "table",
) -> int:
    """See a model served, released, and taken back by itself and by hand, under traffic, in a local world of its own.

    On a terminal the world stays up afterwards, with commands to try, until Ctrl-C.

    Parameters
    ----------
    exit
        End the world when the story ends. Always so where there is no terminal.
    output
        table: the story as it happens. json: one object with what was measured.
    """
    stay = not exit and sys.stdout.isatty() and output == "table"
    timeline = Timeline(quiet=output == "json")
    folder = WorldFolder(_WORLD)
    remove_state(folder)
    with interrupted_by_termination():
        try:
            timeline.line("starting a local world: a small cluster whose pods are processes on this machine")
            _show(folder, timeline, stay=stay, output=output)
        except KeyboardInterrupt:
            timeline.error("\nending the local world ...")
            raise
        finally:
            stop_world(folder, _STOP_SECONDS, quiet=True)
            remove_state(folder)
    return Exit.OK


def _show(folder: WorldFolder, timeline: Timeline, *, stay: bool, output: str) -> None:
    info, seconds = start_detached(folder, ["--gateway-port", "0", "--api-port", "0"], quiet=True)
    timeline.line(f"it is up after {seconds:.1f} s: {info.nodes} nodes with {info.gpus_per_node} simulated GPUs each")
    result = asyncio.run(_play(folder, timeline))
    if output == "json":
        print_json(dataclasses.asdict(result))
    if stay:
        _stay(info, folder, timeline)


async def _play(folder: WorldFolder, timeline: Timeline) -> Result:
    async with connect(Cluster(kubeconfig=folder.kubeconfig)) as connection:
        return await Story(connection.api, folder.kubeconfig, timeline).play()


def _stay(info: WorldInfo, folder: WorldFolder, timeline: Timeline) -> None:
    name, namespace = "llama-3.1-8b-prod", "production"
    print(
        f"""
The world is still up. In another terminal, try:
{_settings(folder)}  outrider status --watch
  outrider describe {name} --namespace {namespace}
  outrider rollout history {name} --namespace {namespace}
  outrider unpin {name} --namespace {namespace}      # follow the spec again: the bad version
  outrider rollback {name} --namespace {namespace}
  outrider logs {name} --namespace {namespace} --tail 5
  curl {info.gateway_url}/{namespace}/llama-3-1-8b-prod/v1/models

Ctrl-C ends it.""",
        flush=True,
    )
    try:
        while folder.running:
            time.sleep(0.5)
    except KeyboardInterrupt:
        timeline.error("\nending the local world ...")


def _settings(folder: WorldFolder) -> str:
    """What another terminal has to be told first, so that the commands are found and mean this world."""
    lines = []
    program = Path(sys.argv[0]).absolute()
    if shutil.which(program.name) is None and program.name == "outrider":
        lines.append(f'  export PATH="{program.parent}:$PATH"\n')
    if os.environ.get("KUBECONFIG") or [world.name for world in running_worlds()] != [folder.name]:
        lines.append(f'  export KUBECONFIG="{folder.kubeconfig}"\n')
    return "".join(lines)
