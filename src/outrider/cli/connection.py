"""Which cluster a command talks to: what kubectl would choose, else the running local world."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.kube.api import ApiError, Kind, NotFound
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import KubeconfigError, load_kubeconfig
from outrider.local.folder import WorldInfo, running_worlds

T = TypeVar("T")


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
    world: WorldInfo | None = None
    """What the local world says about itself, where it was chosen because it runs."""

    async def find(self, kind: Kind[T], name: str) -> T:
        """The object of this name, in the namespace of the connection.

        Raises:
            CliError: there is none; says where there is one.
        """
        try:
            return await self.api.get(kind, name, self.namespace if kind.namespaced else "")
        except NotFound:
            raise await self.not_here(kind, name) from None

    async def not_here(self, kind: Kind[Any], name: str) -> CliError:
        """What to tell about an object that is not where it was looked for."""
        message = f'{kind.plural} "{name}" not found'
        command = f"outrider get {kind.plural}"
        if not kind.namespaced:
            return CliError(message, exit_code=Exit.NOT_FOUND, hints=(f"see which there are:  {command}",))
        try:
            listed = await self.api.list(kind.into(dict), "", fields=f"metadata.name={name}")
        except ApiError:  # who may look into one namespace only is told of that one only
            elsewhere = []
        else:
            elsewhere = sorted(str(item["metadata"].get("namespace", "")) for item in listed.items)
        hints = [f"it is in namespace {each}:  --namespace {each}" for each in elsewhere]
        hints = hints or [f"see which there are:  {command} --all-namespaces"]
        return CliError(f"{message} in namespace {self.namespace}", exit_code=Exit.NOT_FOUND, hints=hints)


def kubeconfig_paths(cluster: Cluster) -> tuple[list[Path], str, WorldInfo | None]:
    """The kubeconfig files to read, in words what they are, and the local world if it is one.

    `--kubeconfig`, `KUBECONFIG` and `--context` mean a cluster; else the local world that runs; else `~/.kube/config`.
    """
    if cluster.kubeconfig is not None:
        return [cluster.kubeconfig], str(cluster.kubeconfig), None
    if named := os.environ.get("KUBECONFIG"):
        return [Path(part) for part in named.split(os.pathsep) if part], "KUBECONFIG", None
    default = Path.home() / ".kube" / "config"
    if cluster.context is None:
        worlds = running_worlds()
        if worlds:
            return [worlds[0].kubeconfig], f"local world {worlds[0].name!r}", worlds[0].info()
    if default.exists():
        return [default], "~/.kube/config", None
    if cluster.context is not None:
        raise CliError(
            f"there is no context {cluster.context}: there is no kubeconfig (~/.kube/config, KUBECONFIG)",
            exit_code=Exit.UNREACHABLE,
            hints=("name the file that has it:  --kubeconfig FILE", "or leave --context out, for the local world"),
        )
    raise CliError(
        "there is no cluster to talk to: no local world is running, and there is no kubeconfig",
        exit_code=Exit.UNREACHABLE,
        hints=("start a local world:  outrider up", "or name a cluster:    export KUBECONFIG=..."),
    )


@asynccontextmanager
async def connect(cluster: Cluster | None) -> AsyncIterator[Connection]:
    """Open the connection that the options, the environment and the running worlds mean, and close it afterwards."""
    chosen = cluster or Cluster()
    paths, description, world = kubeconfig_paths(chosen)
    try:
        config = load_kubeconfig(paths, context=chosen.context)
        api = HttpApi(config)
    except KubeconfigError as error:
        raise CliError(str(error), exit_code=Exit.UNREACHABLE) from error
    try:
        namespace = chosen.namespace or config.namespace or "default"
        yield Connection(api=api, namespace=namespace, description=description, world=world)
    finally:
        await api.close()
