"""`outrider install` and `outrider upgrade`."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from outrider import __version__
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.install.changes import ask, carry_out, left_over, show
from outrider.cli.install.found import (
    Found,
    look,
    lost_fields,
    refuse_helm,
    refuse_local_world,
    refuse_second_operator,
)
from outrider.cli.install.options import Chosen, settings_of
from outrider.cli.install.ready import wait_for_operator
from outrider.cli.output import print_structured
from outrider.cli.waiting import seconds
from outrider.kube.api import Object
from outrider.plan.install.manifests import crds, manifests
from outrider.plan.install.pages import documents
from outrider.plan.install.settings import DEFAULT_IMAGE, DEFAULT_NAMESPACE, Installation

Manifests = Literal["table", "json", "yaml"]


@dataclass(frozen=True)
class Run:
    """How to go about it."""

    dry_run: bool
    wait: bool
    timeout: str
    diff: bool
    force_conflicts: bool
    accept_lost_fields: bool


def install(
    *,
    settings: Chosen | None = None,
    crds_only: bool = False,
    dry_run: bool = False,
    diff: bool = False,
    wait: bool = True,
    timeout: str = "300s",
    force_conflicts: bool = False,
    accept_lost_fields: bool = False,
    output: Annotated[Manifests, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Install Outrider into a cluster: CRDs, roles, and the operator in namespace outrider-system.

    The API server is asked about every object before the first one is changed. What would change is printed.

    Parameters
    ----------
    settings
        What is installed.
    crds_only
        Only the CustomResourceDefinitions.
    dry_run
        Let the server check everything and change nothing.
    diff
        Show every field that changes, however many there are.
    wait
        Wait until the operator is ready.
    timeout
        How long to wait at most, such as 90s or 10m.
    force_conflicts
        Take over fields that somebody else has set.
    accept_lost_fields
        Also install CRDs that lack fields which the installed ones have. What objects hold in them is lost.
    output
        table, or yaml or json: print the manifests, for kubectl apply --server-side -f -, and touch no cluster.
    """
    seconds(timeout, "--timeout")
    chosen = settings_of(settings or Chosen())
    namespace = _namespace(cluster)
    bodies = crds() if crds_only else manifests(chosen, namespace)
    if output != "table":
        return _print(bodies, output)
    how = Run(dry_run, wait and not crds_only, timeout, diff, force_conflicts, accept_lost_fields)
    return asyncio.run(_install(bodies, chosen, namespace, how, cluster, crds_only=crds_only))


def upgrade(
    *,
    settings: Chosen | None = None,
    dry_run: bool = False,
    diff: bool = False,
    wait: bool = True,
    timeout: str = "300s",
    force_conflicts: bool = False,
    accept_lost_fields: bool = False,
    output: Annotated[Manifests, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Bring an installation to this version of Outrider, or to other settings. Models go on serving meanwhile.

    What the options do not name stays as it was installed. What would change is printed.

    Parameters
    ----------
    settings
        What is to be different.
    dry_run
        Let the server check everything and change nothing.
    diff
        Show every field that changes, however many there are.
    wait
        Wait until the operator is ready.
    timeout
        How long to wait at most, such as 90s or 10m.
    force_conflicts
        Take over fields that somebody else has set.
    accept_lost_fields
        Also install CRDs that lack fields which the installed ones have. What objects hold in them is lost.
    output
        table, or yaml or json: print the manifests and change nothing.
    """
    seconds(timeout, "--timeout")
    how = Run(dry_run, wait, timeout, diff, force_conflicts, accept_lost_fields)
    return asyncio.run(_upgrade(settings or Chosen(), _namespace(cluster), how, output, cluster))


def _namespace(cluster: Cluster | None) -> str:
    """Of the installation: not that of the kubeconfig's context, where people work."""
    return (cluster.namespace if cluster is not None else None) or DEFAULT_NAMESPACE


def _print(bodies: list[Object], output: Manifests) -> int:
    if output == "yaml":
        print(documents(bodies), end="")
    else:
        print_structured({"apiVersion": "v1", "kind": "List", "items": bodies}, output)
    return Exit.OK


async def _install(
    bodies: list[Object], settings: Installation, namespace: str, how: Run, cluster: Cluster | None, *, crds_only: bool
) -> int:
    async with connect(cluster) as connection:
        refuse_local_world(connection)
        found = await look(connection.api, namespace)
        if not crds_only:
            refuse_helm(found, "upgrade")
            refuse_second_operator(found, settings)
            _refuse_other_version(found)
        return await _bring(connection, bodies, found, how, operator=not crds_only)


def _refuse_other_version(found: Found) -> None:
    if found.version not in ("", __version__):
        raise CliError(
            f"Outrider {found.version} is installed in namespace {found.namespace}",
            exit_code=Exit.CONFLICT,
            hints=(f"to bring it to {__version__}:  outrider upgrade --namespace {found.namespace}",),
        )


async def _upgrade(chosen: Chosen, namespace: str, how: Run, output: Manifests, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        refuse_local_world(connection)
        found = await look(connection.api, namespace)
        if found.deployment is None:
            raise _not_installed(found)
        refuse_helm(found, "upgrade")
        settings = _upgraded(chosen, found)
        refuse_second_operator(found, settings)
        bodies = manifests(settings, namespace)
        if output != "table":
            return _print(bodies, output)
        if found.version != __version__:
            print(f"Outrider {found.version} -> {__version__}")
        return await _bring(connection, bodies, found, how, operator=True)


def _not_installed(found: Found) -> CliError:
    where = [f"it is in namespace {name}:  --namespace {name}" for name in found.elsewhere]
    return CliError(
        f"Outrider is not installed in namespace {found.namespace}",
        exit_code=Exit.NOT_FOUND,
        hints=where or ["install it:  outrider install"],
    )


def _upgraded(chosen: Chosen, found: Found) -> Installation:
    """The settings as they were installed, with what is to be different, and the image of this version."""
    base = msgspec.structs.replace(found.settings or Installation(), image=found.image)
    settings = settings_of(chosen, base)
    if settings.image != found.image or chosen.image is not None:
        return settings
    return msgspec.structs.replace(settings, image=next_image(found.image, found.version))


def next_image(image: str, version: str) -> str:
    """The image of this version in the repository that the installed one is from.

    Raises:
        CliError: which one that is cannot be told from the name of the installed one.
    """
    if version == __version__:
        return image
    if image.endswith(f":{version}"):
        return f"{image.removesuffix(version)}{__version__}"
    raise CliError(
        f"the installed image is {image}: name that of version {__version__}",
        exit_code=Exit.USAGE,
        hints=(f"for example:  --image {DEFAULT_IMAGE}",),
    )


async def _bring(connection: Connection, bodies: list[Object], found: Found, how: Run, *, operator: bool) -> int:
    """Ask, show, apply, wait."""
    api = connection.api
    lost = await lost_fields(api, bodies)
    if lost and not how.accept_lost_fields:
        raise CliError(
            "the installed CRDs are newer: with those of this version, this would be lost",
            exit_code=Exit.CONFLICT,
            hints=[*map(str, lost), "to go back all the same:  --accept-lost-fields"],
        )
    changes = await ask(api, bodies, found, force_conflicts=how.force_conflicts)
    if operator:
        changes += await left_over(api, bodies, found.namespace)
    show(changes, dry_run=how.dry_run, all_fields=how.diff)
    if how.dry_run:
        return Exit.OK
    await carry_out(api, changes, force_conflicts=how.force_conflicts)
    if how.wait and operator:
        await wait_for_operator(api, found.namespace, how.timeout)
    return Exit.OK
