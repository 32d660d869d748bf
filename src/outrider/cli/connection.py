"""Which cluster a command talks to: what kubectl would choose, else the running local world."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import KubeconfigError, load_kubeconfig
from outrider.local.folder import running_worlds


@Parameter(name="*")
@dataclass(frozen=True)
class Cluster:
    """Where to look. The defaults are kubectl's; without any kubeconfig, the running local world."""

    kubeconfig: Path | None = None
    """Path of a kubeconfig file."""
    context: str | None = None
    """Context of the kubeconfig to use."""
    namespace: Annotated[str | None, Parameter(alias="-n")] = None
    """Namespace to look in."""


@dataclass(frozen=True)
class Connection:
    """An open connection and the namespace that commands without `--namespace` mean."""

    api: HttpApi
    namespace: str
    description: str
    """The cluster in words, for messages."""


def kubeconfig_paths(cluster: Cluster) -> tuple[list[Path], str]:
    """The kubeconfig files to read, and in words what they are.

    `--kubeconfig`, `KUBECONFIG` and `--context` mean a cluster; else the local world that runs; else `~/.kube/config`.
    """
    if cluster.kubeconfig is not None:
        return [cluster.kubeconfig], str(cluster.kubeconfig)
    if named := os.environ.get("KUBECONFIG"):
        return [Path(part) for part in named.split(os.pathsep) if part], "KUBECONFIG"
    default = Path.home() / ".kube" / "config"
    if cluster.context is None:
        worlds = running_worlds()
        if worlds:
            return [worlds[0].kubeconfig], f"local world {worlds[0].name!r}"
    if default.exists():
        return [default], "~/.kube/config"
    raise CliError(
        "there is no cluster to talk to: no local world is running, and there is no kubeconfig",
        exit_code=Exit.UNREACHABLE,
        hints=("start a local world:  outrider up", "or name a cluster:    export KUBECONFIG=..."),
    )


@asynccontextmanager
async def connect(cluster: Cluster | None) -> AsyncIterator[Connection]:
    """Open the connection that the options, the environment and the running worlds mean, and close it afterwards."""
    chosen = cluster or Cluster()
    paths, description = kubeconfig_paths(chosen)
    try:
        config = load_kubeconfig(paths, context=chosen.context)
    except KubeconfigError as error:
        raise CliError(str(error), exit_code=Exit.UNREACHABLE) from error
    api = HttpApi(config)
    try:
        yield Connection(api=api, namespace=chosen.namespace or config.namespace or "default", description=description)
    finally:
        await api.close()
