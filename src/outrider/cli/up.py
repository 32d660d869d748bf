"""`outrider up`: run a local world."""

import asyncio
import signal
import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.cli.worlds import print_banner, remove_state, start_detached, world_flag, world_folder
from outrider.local.folder import DEFAULT_WORLD, WorldFolder, WorldInUse


def up(
    *,
    nodes: int | None = None,
    gpus_per_node: int = 8,
    engine: Literal["simulator", "vllm"] = "simulator",
    fresh: Annotated[bool, Parameter(negative="")] = False,
    detach: Annotated[bool, Parameter(alias="-d", negative="")] = False,
    world: str = DEFAULT_WORLD,
    gateway_port: int | None = None,
    api_port: int | None = None,
) -> int:
    """Run a local world: a small cluster whose pods are local processes, the operator, and an HTTP gateway.

    It runs until Ctrl-C or `outrider down`. What was applied is kept, and serves again after the next `up`.

    Parameters
    ----------
    nodes
        Number of nodes. Default: 2 with the simulator, 1 with vllm, whose GPUs are this machine's own.
    gpus_per_node
        Simulated GPUs of each node.
    engine
        simulator: model servers that speak vLLM's API and need no GPU. vllm: the `vllm serve` on this machine's PATH.
    fresh
        Forget what an earlier run kept, and start empty.
    detach
        Return when the world is up, and leave it running.
    world
        Name of the world, where several are wanted.
    gateway_port
        Port of the HTTP gateway. Default: 8080 if it is free, else any.
    api_port
        Port of the Kubernetes-style API. Default: 7070 if it is free, else any.
    """
    nodes = (2 if engine == "simulator" else 1) if nodes is None else nodes
    _check(nodes, gpus_per_node, engine)
    _check_ports(gateway_port, api_port)
    folder = world_folder(world)
    if fresh:
        remove_state(folder)
    if detach:
        return _detached(folder, nodes, gpus_per_node, engine, gateway_port, api_port)
    from outrider.local.store import StoreError
    from outrider.local.world import PortTaken, WorldSettings

    settings = WorldSettings(
        nodes=nodes, gpus_per_node=gpus_per_node, engine=engine, gateway_port=gateway_port, api_port=api_port
    )
    try:
        return asyncio.run(_run(folder, settings))
    except WorldInUse as error:
        raise CliError(
            str(error), exit_code=Exit.CONFLICT, hints=(f"end it:  outrider down{world_flag(folder.name)}",)
        ) from error
    except PortTaken as error:
        raise CliError(
            str(error), exit_code=Exit.CONFLICT, hints=(f"choose another:  outrider up {error.option} PORT",)
        ) from error
    except StoreError as error:
        raise CliError(str(error), hints=(f"start empty:  outrider up --fresh{world_flag(folder.name)}",)) from error


def _check_ports(gateway_port: int | None, api_port: int | None) -> None:
    for option, port in (("--gateway-port", gateway_port), ("--api-port", api_port)):
        if port is not None and not 0 <= port <= 65535:
            raise CliError(f"{option} {port}: choose 1 to 65535, or 0 for any that is free", exit_code=Exit.USAGE)


def _check(nodes: int, gpus_per_node: int, engine: str) -> None:
    if not 1 <= nodes <= 64:
        raise CliError(f"--nodes {nodes}: choose 1 to 64", exit_code=Exit.USAGE)
    if not 0 <= gpus_per_node <= 64:
        raise CliError(f"--gpus-per-node {gpus_per_node}: choose 0 to 64", exit_code=Exit.USAGE)
    if engine == "vllm" and nodes > 1 and gpus_per_node > 0:
        raise CliError(
            f"--engine vllm --nodes {nodes}: GPU 0 of every node would be the same card",
            exit_code=Exit.USAGE,
            hints=("use one node:  outrider up --engine vllm --nodes 1 --gpus-per-node N",),
        )


async def _run(folder: WorldFolder, settings: "object") -> int:
    from outrider.cli.operator import local_operator
    from outrider.kube.log import configure_logging
    from outrider.local.world import Running, World, WorldSettings

    assert isinstance(settings, WorldSettings)
    folder.create()
    configure_logging(folder.log)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not stop.is_set():
            print("ending the pods ...", file=sys.stderr, flush=True)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # under nohup the loss of the terminal means nothing
            loop.add_signal_handler(number, end)

    def ready(running: Running) -> None:
        print_banner(running.info, running.seconds["ready"], detached=False)

    world = World(folder, settings, companions=(local_operator,))
    await world.run(stop, on_ready=ready)
    print("the local world has ended; what was applied is kept for the next `outrider up`", flush=True)
    return Exit.OK


def _detached(
    folder: WorldFolder, nodes: int, gpus_per_node: int, engine: str, gateway_port: int | None, api_port: int | None
) -> int:
    options = ["--nodes", str(nodes), "--gpus-per-node", str(gpus_per_node), "--engine", engine]
    options += ["--gateway-port", str(gateway_port)] if gateway_port is not None else []
    options += ["--api-port", str(api_port)] if api_port is not None else []
    info, elapsed = start_detached(folder, options)
    print_banner(info, elapsed, detached=True)
    return Exit.OK
