"""`outrider uninstall`: take the operator away, and leave every model serving."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from outrider.cli.connection import Cluster, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.install.changes import Change, belonging, remove
from outrider.cli.install.found import Found, look, refuse_helm, refuse_local_world
from outrider.cli.waiting import seconds, wait_until_gone
from outrider.kube.api import Api, Forbidden, Kind, NotFound
from outrider.kube.installed import CLUSTER_ROLE, CUSTOM_RESOURCE_DEFINITION
from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, LEASE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN
from outrider.plan.install.manifests import api_objects
from outrider.plan.install.objects import NAME
from outrider.plan.install.permissions import CONFIG_MAP_NAME, LEASE_NAME
from outrider.plan.install.settings import DEFAULT_NAMESPACE

_NAMES_SHOWN = 10


def uninstall(
    *,
    remove_crds: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    timeout: str = "120s",
    cluster: Cluster | None = None,
) -> int:
    """Take the operator away. Every LLMDeployment stays, and every model goes on serving.

    Without an operator nothing is released, watched or rolled back, and a new pod does not become ready; installed
    again, it goes on where it was. The namespace stays as well, for other things may be in it.

    Parameters
    ----------
    remove_crds
        Also remove the CustomResourceDefinitions. Refused while there are LLMDeployments: they, and all their pods,
        would go with them.
    yes
        Do not ask whether it is meant.
    dry_run
        Say what would be removed, and remove nothing.
    timeout
        How long to wait at most for the operator's pods to end.
    """
    seconds(timeout, "--timeout")
    namespace = (cluster.namespace if cluster is not None else None) or DEFAULT_NAMESPACE
    return asyncio.run(_uninstall(namespace, cluster, timeout, remove_crds=remove_crds, yes=yes, dry_run=dry_run))


async def _uninstall(
    namespace: str, cluster: Cluster | None, timeout: str, *, remove_crds: bool, yes: bool, dry_run: bool
) -> int:
    async with connect(cluster) as connection:
        api = connection.api
        refuse_local_world(connection)
        found = await look(api, namespace)
        refuse_helm(found, "uninstall")
        going = await _going(api, namespace)
        services = await _services(api)
        if remove_crds:
            _refuse_while_used(found, services)
            going += await _shared(api)
        if not going:
            where = [f"it is in namespace {name}:  --namespace {name}" for name in found.elsewhere]
            raise CliError(f"Outrider is not installed in namespace {namespace}", exit_code=Exit.NOT_FOUND, hints=where)
        if dry_run or not yes:
            _show(going, dry_run=dry_run)
        await _tell(api, services, remove_crds=remove_crds)
        if dry_run:
            return Exit.OK
        if not yes:
            confirm(f"Remove these {len(going)} objects?")
        await _take_away(api, going, namespace, timeout)
    return Exit.OK


async def _going(api: Api, namespace: str) -> list[Change]:
    """The objects of the installation, and the two that its operator made itself."""
    going = await belonging(api, namespace)
    own: tuple[tuple[Kind[Any], str], ...] = (
        (CONFIG_MAP.into(dict), CONFIG_MAP_NAME),
        (LEASE.into(dict), LEASE_NAME),
    )
    for kind, name in own:
        try:
            await api.get(kind, name, namespace)
        except NotFound:
            continue
        going.append(Change(kind, name, namespace, "removed"))
    return going


async def _services(api: Api) -> list[str] | None:
    """All LLMDeployments as NAMESPACE/NAME; None where they may not be listed."""
    try:
        listed = await api.list(LLM_DEPLOYMENT)
    except NotFound:
        return []
    except Forbidden:
        return None
    return sorted(one.metadata.key for one in listed.items)


def _refuse_while_used(found: Found, services: list[str] | None) -> None:
    """Raise CliError while removing the CRDs would end a model or another operator's work."""
    if found.elsewhere:
        raise CliError(
            f"the CRDs are also those of the installation in namespace {', '.join(found.elsewhere)}",
            exit_code=Exit.CONFLICT,
        )
    if services is None:
        raise CliError("you may not list LLMDeployments everywhere, so nobody knows what removing the CRDs would end")
    if services:
        raise CliError(
            f"there {_are(len(services))} in the cluster: with the CRDs they would be deleted, and every pod of "
            "theirs would end",
            exit_code=Exit.CONFLICT,
            hints=(*_some(services), "delete them first, if that is what you want, or leave out --remove-crds"),
        )


def _are(number: int) -> str:
    return "is 1 LLMDeployment" if number == 1 else f"are {number} LLMDeployments"


def _some(names: Sequence[str]) -> list[str]:
    more = len(names) - _NAMES_SHOWN
    return [*names[:_NAMES_SHOWN], *([f"and {more} more"] if more > 0 else [])]


async def _shared(api: Api) -> list[Change]:
    """The CRDs and the roles for people, as far as they are there. CRDs last: they take their objects with them."""
    kinds = {kind.kind: kind for kind in (CUSTOM_RESOURCE_DEFINITION, CLUSTER_ROLE)}
    found = []
    for body in reversed(api_objects()):
        kind, name = kinds[body["kind"]].into(dict), body["metadata"]["name"]
        try:
            await api.get(kind, name)
        except NotFound:
            continue
        found.append(Change(kind, name, "", "removed"))
    return found


def _show(going: Sequence[Change], *, dry_run: bool) -> None:
    for change in going:
        print(f"{change.label} {'removed (dry run)' if dry_run else 'would be removed'}")


async def _tell(api: Api, services: list[str] | None, *, remove_crds: bool) -> None:
    """What else goes, and what stays."""
    if remove_crds:
        for kind in (MODEL_REVISION, VERSION_PIN):
            if number := await _count(api, kind):
                print(f"{number} {kind.plural} go with the CRDs: they belong to no LLMDeployment")
    elif services:
        print(f"{len(services)} LLMDeployments stay, and serve as they do now:")
        for name in _some(services):
            print(f"    {name}")


async def _count(api: Api, kind: Kind[Any]) -> int:
    try:
        return len((await api.list(kind.into(dict))).items)
    except NotFound:
        return 0


def confirm(question: str) -> None:
    """Ask, and raise CliError unless the answer is yes. Where nobody can answer, `--yes` has to be said."""
    if not sys.stdin.isatty():
        raise CliError("this removes things: say --yes, or try it with --dry-run", exit_code=Exit.USAGE)
    print(f"{question} [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CliError("nothing was removed", exit_code=Exit.FAILED)


async def _take_away(api: Api, going: Sequence[Change], namespace: str, timeout: str) -> None:
    """The operator first, while it still may give its lease back; then everything else.

    Raises:
        CliError: a pod of the operator did not end in time. Everything else is gone by then, its rights as well.
    """
    late: CliError | None = None
    for change in (one for one in going if one.kind == DEPLOYMENT):
        # In the foreground, so that it is gone only when its pods are.
        await api.delete(change.kind, change.name, change.namespace, propagation="Foreground")
        try:
            await wait_until_gone(api, DEPLOYMENT, NAME, namespace, timeout=timeout)
        except CliError as error:
            late = error
        else:
            print(f"{change.label} removed", flush=True)
    others = [one for one in going if one.kind != DEPLOYMENT]
    for change in others:
        await remove(api, change)
    for change in others:
        if change.kind == CUSTOM_RESOURCE_DEFINITION:  # it takes its objects with it, and goes after them
            await wait_until_gone(api, CUSTOM_RESOURCE_DEFINITION, change.name, "", timeout=timeout)
        print(f"{change.label} removed", flush=True)
    if late is not None:
        raise CliError(
            late.message,
            exit_code=late.exit_code,
            hints=(
                "a pod of it does not end, perhaps on a node that is gone; it has no rights any more, and goes with it",
            ),
        )
