"""`outrider up`: run a local world."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.cli.progress import Progress
from outrider.local.folder import DEFAULT_WORLD, WorldFolder, WorldInfo, WorldInUse

_START_TIMEOUT_SECONDS = 60.0


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
    folder = WorldFolder(_valid_name(world))
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
            str(error), exit_code=Exit.CONFLICT, hints=(f"end it:  outrider down{_flag(folder.name)}",)
        ) from error
    except PortTaken as error:
        raise CliError(
            str(error), exit_code=Exit.CONFLICT, hints=(f"choose another:  outrider up {error.option} PORT",)
        ) from error
    except StoreError as error:
        raise CliError(str(error), hints=(f"start empty:  outrider up --fresh{_flag(folder.name)}",)) from error


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


def _valid_name(name: str) -> str:
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise CliError(f"--world {name!r}: use letters, digits, - and _", exit_code=Exit.USAGE)
    return name


def _flag(name: str) -> str:
    return "" if name == DEFAULT_WORLD else f" --world {name}"


def remove_state(folder: WorldFolder) -> None:
    """Forget a world that is not running, and end what a crash of it may have left.

    Raises:
        CliError: it is running.
    """
    if folder.running:
        info = folder.info()
        raise CliError(
            f"the local world {folder.name!r} is running" + (f" (process {info.pid})" if info else ""),
            exit_code=Exit.CONFLICT,
            hints=(f"end it first:  outrider down{_flag(folder.name)}",),
        )
    if folder.path.exists():
        from outrider.local.kubelet import end_all_containers

        end_all_containers(folder.pods)
        shutil.rmtree(folder.path)


async def _run(folder: WorldFolder, settings: "object") -> int:
    from outrider.cli.operator import local_operator
    from outrider.kube.log import configure_logging
    from outrider.local.world import Running, World, WorldSettings

    assert isinstance(settings, WorldSettings)
    folder.create()
    configure_logging(folder.log)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)

    def ready(running: Running) -> None:
        print_banner(running.info, running.seconds)

    world = World(folder, settings, companions=(local_operator,))
    await world.run(stop, on_ready=ready)
    print("the local world has ended; what was applied is kept for the next `outrider up`", flush=True)
    return Exit.OK


def print_banner(info: WorldInfo, seconds: dict[str, float] | None = None) -> None:
    """What a user needs to know of a world that is up."""
    took = f" in {seconds['ready']:.1f} s" if seconds else ""
    gpus = info.nodes * info.gpus_per_node
    print(
        f"The local world {info.name!r} is up{took}: {info.nodes} nodes, {gpus} GPUs (simulated), engine {info.engine}."
    )
    print(f"  gateway     {info.gateway_url}")
    print(f"  kubeconfig  {info.kubeconfig}")
    print("  try         outrider apply --filename examples/llama-3.1-8b.yaml --wait")
    print(f"  end it      Ctrl-C, or outrider down{_flag(info.name)}", flush=True)


def _detached(
    folder: WorldFolder, nodes: int, gpus_per_node: int, engine: str, gateway_port: int | None, api_port: int | None
) -> int:
    options = ["--nodes", str(nodes), "--gpus-per-node", str(gpus_per_node), "--engine", engine]
    options += ["--gateway-port", str(gateway_port)] if gateway_port is not None else []
    options += ["--api-port", str(api_port)] if api_port is not None else []
    info, elapsed = start_detached(folder, options)
    print_banner(info, {"ready": elapsed})
    return Exit.OK


def start_detached(folder: WorldFolder, options: list[str], *, quiet: bool = False) -> tuple[WorldInfo, float]:
    """Start a world in a process of its own and wait until it is up; returns what it says and the seconds it took.

    Raises:
        CliError: it did not come up; says what it printed.
    """
    folder.create()
    if folder.running:
        raise CliError(f"the local world {folder.name!r} is already running", exit_code=Exit.CONFLICT)
    folder.forget_info()
    output = folder.path / "up.out"
    with output.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - this very program, with options that were checked
            [sys.executable, "-m", "outrider", "up", "--world", folder.name, *options],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    with Progress(quiet=quiet) as progress:
        while progress.elapsed < _START_TIMEOUT_SECONDS:
            info = folder.info()
            if info is not None and info.pid == process.pid:
                return info, progress.elapsed
            if process.poll() is not None:
                raise CliError(f"the local world did not come up:\n{_tail(output)}")
            progress.show("starting the local world")
            time.sleep(0.05)
    process.terminate()
    raise CliError(
        f"the local world did not come up within {_START_TIMEOUT_SECONDS:.0f} s:\n{_tail(output)}",
        exit_code=Exit.TIMED_OUT,
    )


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
