"""`outrider up`: run a local world."""

import asyncio
import contextlib
import errno
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from outrider.api.urls import is_http_url
from outrider.cli.errors import CliError, Exit
from outrider.cli.whole_numbers import WHOLE_NUMBER
from outrider.cli.worlds import print_banner, start_detached, world_flag, world_folder
from outrider.local.folder import DEFAULT_WORLD, WorldFolder, WorldInUse

_ROOM_BYTES = 1024 * 1024
"""Several times what a start writes."""

if TYPE_CHECKING:
    from outrider.local.settings import Running, WorldSettings

    RunWorld = Callable[[asyncio.Event, Callable[[Running], None]], Awaitable[None]]


@dataclass(frozen=True)
class _Gateway:
    """Another Gateway of the cluster, as the command line has it; empty where it names none."""

    name: str
    base_url: str
    inside_url: str
    metrics: tuple[str, ...]

    def options(self) -> list[tuple[str, str]]:
        """What was said of it, as it was said."""
        given = [("--base-url", self.base_url), ("--gateway-inside-url", self.inside_url)]
        return [pair for pair in given if pair[1]] + [("--gateway-metrics", url) for url in self.metrics]


def up(
    *,
    nodes: Annotated[int | None, WHOLE_NUMBER] = None,
    gpus_per_node: Annotated[int, WHOLE_NUMBER] = 8,
    engine: Literal["simulator", "vllm"] = "simulator",
    kubernetes: Annotated[bool, Parameter(negative="")] = False,
    fresh: Annotated[bool, Parameter(negative="")] = False,
    detach: Annotated[bool, Parameter(alias="-d", negative="")] = False,
    world: str = DEFAULT_WORLD,
    gateway_port: Annotated[int | None, WHOLE_NUMBER] = None,
    api_port: Annotated[int | None, WHOLE_NUMBER] = None,
    gateway: str = "",
    base_url: str = "",
    gateway_inside_url: str = "",
    gateway_metrics: Annotated[list[str] | None, Parameter(negative="")] = None,
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
    kubernetes
        Put a real Kubernetes control plane (`make kubernetes`) under the same pods, in a network of its own, so that
        kubectl works. Linux only. Without it a small store stands in for Kubernetes.
    fresh
        Forget what an earlier run kept, and start empty.
    detach
        Return when the world is up, and leave it running.
    world
        Name of the world, where several are wanted.
    gateway_port
        Port of the HTTP gateway. Default: 8080 if it is free, else any.
    api_port
        Port of the Kubernetes-style API. Default: 7070 (with --kubernetes 6443) if it is free, else any.
    gateway
        NAMESPACE/NAME of another Gateway of the cluster (--kubernetes) that routes are written for: one whose
        implementation, such as Traefik, runs in the world. Default: the world's own.
    base_url
        Where that Gateway is reached: `status.url` of an LLMDeployment begins with it.
    gateway_inside_url
        Where it is reached within the world's network, as the operator does for requests of its own through it.
    gateway_metrics
        Metrics page of what implements it, within the world's network. May be repeated: one for each replica.
    """
    nodes = (2 if engine == "simulator" else 1) if nodes is None else nodes
    _check(nodes, gpus_per_node, engine)
    _check_ports(gateway_port, api_port)
    other = _Gateway(gateway, base_url, gateway_inside_url, tuple(gateway_metrics or ()))
    _check_gateway(other, kubernetes=kubernetes)
    folder = world_folder(world)
    _check_room(folder)
    if detach:
        flags = [*(["--kubernetes"] if kubernetes else []), *(["--fresh"] if fresh else [])]
        options = [*_gateway_options(other), *flags]
        return _detached(folder, nodes, gpus_per_node, engine, gateway_port, api_port, options)
    from outrider.local.settings import WorldSettings

    settings = WorldSettings(
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        engine=engine,
        gateway_port=gateway_port,
        api_port=api_port,
        fresh=fresh,
    )
    if kubernetes:
        return _in_foreground(folder, lambda: _run_on_kubernetes(folder, settings, other))
    return _in_foreground(folder, lambda: _run_on_store(folder, settings))


def _in_foreground(folder: WorldFolder, run: "Callable[[], int]") -> int:
    from outrider.local.parts import PortTaken
    from outrider.local.store import StoreError

    try:
        return run()
    except WorldInUse as error:
        raise CliError(
            str(error), exit_code=Exit.CONFLICT, hints=(f"end it:  outrider down{world_flag(folder.name)}",)
        ) from error
    except PortTaken as error:
        again = f"outrider up{world_flag(folder.name)} {error.option}"
        hints = (f"choose another:           {again} PORT", f"or take any that is free:  {again} 0")
        raise CliError(str(error), exit_code=Exit.CONFLICT, hints=hints) from error
    except StoreError as error:
        raise CliError(str(error), hints=(f"start empty:  outrider up --fresh{world_flag(folder.name)}",)) from error


def _check_room(folder: WorldFolder) -> None:
    """A start that fails for want of room could say so nowhere: what it prints may go to the same disk."""
    folder.create()
    try:
        with tempfile.TemporaryFile(dir=folder.path) as file:
            file.write(bytes(_ROOM_BYTES))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        hint = "make room and run it again: what was applied before is kept"
        raise CliError(f"there is no room in {folder.path}: {error.strerror}", hints=(hint,)) from error


def _check_ports(gateway_port: int | None, api_port: int | None) -> None:
    for option, port in (("--gateway-port", gateway_port), ("--api-port", api_port)):
        if port is not None and not 0 <= port <= 65535:
            raise CliError(f"{option} {port}: choose 1 to 65535, or 0 for any that is free", exit_code=Exit.USAGE)


def _check_gateway(other: _Gateway, *, kubernetes: bool) -> None:
    gateway = other.name
    if gateway and not kubernetes:
        raise CliError(f"--gateway {gateway}: other Gateways need --kubernetes", exit_code=Exit.USAGE)
    if gateway and not all(part and "/" not in part for part in gateway.split("/", 1)):
        raise CliError(f"--gateway {gateway}: must be NAMESPACE/NAME or NAME", exit_code=Exit.USAGE)
    for option, url in other.options():
        if not gateway and option == "--base-url":
            raise CliError("--base-url is the address of a Gateway: name it with --gateway", exit_code=Exit.USAGE)
        if not gateway:
            raise CliError(f"{option} is of another Gateway: name it with --gateway", exit_code=Exit.USAGE)
        if option != "--base-url" and not is_http_url(url):
            raise CliError(f"{option} {url}: must be http://HOST:PORT", exit_code=Exit.USAGE)


def _gateway_options(other: _Gateway) -> list[str]:
    named = ["--gateway", other.name] if other.name else []
    return [*named, *(word for pair in other.options() for word in pair)]


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


def _run_on_store(folder: WorldFolder, settings: "WorldSettings") -> int:
    from outrider.cli.local_operator import local_operator
    from outrider.local.world import World

    world = World(folder, settings, companions=(local_operator,))
    return asyncio.run(_run(folder, world.run))


def _run_on_kubernetes(folder: WorldFolder, settings: "WorldSettings", gateway: _Gateway) -> int:
    from outrider.cli.local_operator import local_operator
    from outrider.controllers.config import GatewayConfig
    from outrider.local.controlplane.namespace import NamespaceUnavailable
    from outrider.local.controlplane.plane import ControlPlaneFailed
    from outrider.local.controlplane.programs import ProgramsMissing, find_programs
    from outrider.local.kubernetes_world import INSIDE_URL, KubernetesWorld

    namespace, _, name = gateway.name.rpartition("/")
    other = GatewayConfig(
        name=name,
        namespace=namespace,
        base_url=gateway.base_url.rstrip("/"),
        inside_url=gateway.inside_url,
        metrics_urls=gateway.metrics,
    )
    try:
        operator = partial(local_operator, gateway=other if name else None, inside_url=INSIDE_URL)
        world = KubernetesWorld(folder, settings, find_programs(), companions=(operator,))
        with world.entered():
            return asyncio.run(_run(folder, world.run))
    except (ProgramsMissing, NamespaceUnavailable) as error:
        raise CliError(str(error), hints=error.hints) from error
    except ControlPlaneFailed as error:
        hint = f"all that it said:  {folder.control_plane}/logs"
        raise CliError(
            str(error), hints=(hint, f"start empty:  outrider up --kubernetes --fresh{world_flag(folder.name)}")
        ) from error


async def _run(folder: WorldFolder, run_world: "RunWorld") -> int:
    from outrider.kube.log import configure_logging

    folder.create()
    configure_logging(folder.log)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    up = False

    def end() -> None:
        first = not stop.is_set()
        stop.set()
        if not up:
            running.cancel()  # what has come up so far is taken down again
        elif first:
            with contextlib.suppress(OSError):  # nobody reads any more: the end of a pipe does not keep the world
                print("ending the pods ...", file=sys.stderr, flush=True)

    def ready(world: "Running") -> None:
        nonlocal up
        up = True
        print_banner(world.info, world.seconds["ready"], detached=False)

    running = asyncio.ensure_future(run_world(stop, ready))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # under nohup the loss of the terminal means nothing
            loop.add_signal_handler(number, end)
    try:
        await running
    except asyncio.CancelledError:
        print("the start was given up; what was applied before is kept", file=sys.stderr, flush=True)
        return Exit.INTERRUPTED
    print("the local world has ended; what was applied is kept for the next `outrider up`", flush=True)
    return Exit.OK


def _detached(
    folder: WorldFolder,
    nodes: int,
    gpus_per_node: int,
    engine: str,
    gateway_port: int | None,
    api_port: int | None,
    more: list[str],
) -> int:
    options = ["--nodes", str(nodes), "--gpus-per-node", str(gpus_per_node), "--engine", engine]
    options += ["--gateway-port", str(gateway_port)] if gateway_port is not None else []
    options += ["--api-port", str(api_port)] if api_port is not None else []
    info, elapsed = start_detached(folder, [*options, *more])
    print_banner(info, elapsed, detached=True)
    return Exit.OK
