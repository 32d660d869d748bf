"""`outrider delete`: delete objects by name or by manifest."""

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.manifests import namespace_of, read_manifests
from outrider.cli.objects import kind_of_manifest, one_object, split_target
from outrider.cli.waiting import seconds, wait_until_gone
from outrider.kube.api import Kind, NotFound, Propagation
from outrider.kube.resources import find_kind


def delete(
    kind: str | None = None,
    name: str | None = None,
    /,
    *more: str,
    filename: Annotated[list[str] | None, Parameter(alias="-f", allow_leading_hyphen=True, negative="")] = None,
    dry_run: bool = False,
    wait: bool = True,
    timeout: str = "120s",
    cascade: str = "background",
    ignore_not_found: Annotated[bool, Parameter(negative="")] = False,
    cluster: Cluster | None = None,
) -> int:
    """Delete objects. Deleting an LLMDeployment ends its pods and its history with it.

    Parameters
    ----------
    kind
        Kind, or KIND/NAME, or the name of an LLMDeployment.
    name
        Name of the object.
    more
        More names of the same kind.
    filename
        Delete the objects of these manifests.
    dry_run
        Say what would be deleted, and delete nothing.
    wait
        Wait until the objects are gone.
    timeout
        How long to wait at most.
    cascade
        background, foreground or orphan: what happens to the objects that these own.
    ignore_not_found
        An object that does not exist is as good as deleted.
    """
    if filename and kind is not None:
        raise CliError("say either KIND NAME or --filename, not both", exit_code=Exit.USAGE)
    if not filename and kind is None:
        raise CliError("say what to delete: outrider delete KIND NAME, or --filename FILE", exit_code=Exit.USAGE)
    propagation = _propagation(cascade)
    seconds(timeout, "--timeout")
    return asyncio.run(
        _delete(
            kind,
            [part for part in (name, *more) if part],
            filename,
            dry_run,
            wait,
            timeout,
            propagation,
            ignore_not_found,
            cluster,
        )
    )


def _propagation(word: str) -> Propagation:
    match word.lower():
        case "background" | "true":
            return "Background"
        case "foreground":
            return "Foreground"
        case "orphan" | "false":
            return "Orphan"
    raise CliError(f"--cascade {word}: must be one of background, foreground, orphan", exit_code=Exit.USAGE)


async def _delete(
    kind: str | None,
    names: list[str],
    filename: list[str] | None,
    dry_run: bool,
    wait: bool,
    timeout: str,
    propagation: Propagation,
    ignore_not_found: bool,
    cluster: Cluster | None,
) -> int:
    async with connect(cluster) as connection:
        targets = _targets(connection, kind, names, filename, cluster.namespace if cluster else None)
        for target, name, namespace in targets:
            await _delete_one(connection, target, name, namespace, dry_run, propagation, ignore_not_found)
        if wait and not dry_run:
            for target, name, namespace in targets:
                await wait_until_gone(connection.api, target, name, namespace, timeout=timeout)
    return Exit.OK


def _targets(
    connection: Connection, kind: str | None, names: list[str], filename: list[str] | None, explicit: str | None
) -> list[tuple[Kind[Any], str, str]]:
    if kind is None:
        found = []
        for manifest in read_manifests(filename or ()):
            known = kind_of_manifest(manifest)
            namespace = namespace_of(manifest, known, connection.namespace, explicit)
            found.append((known, manifest.name, namespace))
    else:
        word, first = split_target(kind, names[0] if names else None)
        target, name = one_object(word, first)
        others = names[1:] if find_kind(word) is not None else names
        found = [(target, each, connection.namespace) for each in (name, *others)]
    return [(target, name, namespace if target.namespaced else "") for target, name, namespace in found]


async def _delete_one(
    connection: Connection,
    kind: Kind[Any],
    name: str,
    namespace: str,
    dry_run: bool,
    propagation: Propagation,
    ignore_not_found: bool,
) -> None:
    try:
        await connection.api.delete(kind, name, namespace, propagation=propagation, dry_run=dry_run)
    except NotFound:
        if not ignore_not_found:
            raise await replace(connection, namespace=namespace or connection.namespace).not_here(kind, name) from None
        return
    print(f"{kind.singular}/{name} deleted{' (dry run)' if dry_run else ''}", flush=True)
