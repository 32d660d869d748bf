"""`outrider rollback` and `outrider unpin`: back to a version that worked, in one command, held by a VersionPin."""

import asyncio
import getpass
import os
import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from outrider.api.labels import API_VERSION, CLI_FIELD_OWNER
from outrider.api.llmdeployment import NONE, LLMDeployment
from outrider.api.modelrevision import ModelRevision
from outrider.cli import drill as drills
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.objects import service_name
from outrider.cli.output import TableOrData, print_structured
from outrider.cli.release_words import drill_text, readiness_text
from outrider.cli.rollout import revisions_of
from outrider.cli.waiting import seconds, wait_until_ready
from outrider.kube.api import NotFound
from outrider.kube.resources import LLM_DEPLOYMENT, VERSION_PIN


def rollback(
    name: str,
    /,
    *,
    to: str | None = None,
    reason: str = "",
    wait: bool = True,
    timeout: str | None = None,
    drill: Annotated[bool, Parameter(negative="")] = False,
    cancel: Annotated[bool, Parameter(negative="")] = False,
    dry_run: bool = False,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Go back to a version that worked, now, and stay there whatever Git applies until `outrider unpin`.

    The whole revision comes back: model, engine image, arguments and quantization.

    With --drill nothing goes back: one pod of the version is started beside the service, out of all traffic, and has to
    answer a real completion; then it goes again. It proves that the version would come back, and how soon.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    to
        Version (v1.2.0), revision number or hash from `outrider rollout history`. Default: the last that worked.
    reason
        Why, for those who read the history.
    wait
        Wait until the version serves again; with --drill, until the drill has ended.
    timeout
        How long to wait at most. Default: 300s; with --drill 600s.
    drill
        Only prove that the version would come back.
    cancel
        With --drill: end the one that is under way.
    dry_run
        Say where it would go, and change nothing.
    output
        table, json or yaml.
    """
    until = timeout if timeout is not None else ("600s" if drill else "300s")
    seconds(until, "--timeout")
    _refuse_contradictions(drill=drill, cancel=cancel, to=to, reason=reason)
    if not drill:
        return asyncio.run(_rollback(service_name(name), to, reason, wait, until, dry_run, output, cluster))
    order = drills.Order(service_name(name), wait, until, dry_run, output)
    return asyncio.run(drills.cancel(order, cluster) if cancel else _drill(order, to, cluster))


def _refuse_contradictions(*, drill: bool, cancel: bool, to: str | None, reason: str) -> None:
    """Raises CliError for options that mean nothing together."""
    if cancel and not drill:
        raise CliError("--cancel ends a drill: give --drill, too", exit_code=Exit.USAGE)
    if cancel and to is not None:
        raise CliError("--cancel ends the drill that is under way: leave out --to", exit_code=Exit.USAGE)
    if drill and reason:
        raise CliError("--reason is for those who read the history, and a drill is not in it", exit_code=Exit.USAGE)


async def _drill(order: drills.Order, to: str | None, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, order.name)
        revisions = await revisions_of(connection.api, order.name, connection.namespace)
        return await drills.begin(order, choose_target(item, revisions, to), item, connection.api)


async def _rollback(
    name: str,
    to: str | None,
    reason: str,
    wait: bool,
    timeout: str,
    dry_run: bool,
    output: TableOrData,
    cluster: Cluster | None,
) -> int:
    structured = output in ("json", "yaml")
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, name)
        target = choose_target(item, await revisions_of(connection.api, name, connection.namespace), to)
        before = item.status.effective_version
        if not structured:
            facts = [f"revision {target.spec.sequence}", target.status.state, *_readiness(item, target)]
            print(f"{name}: {before} -> {target.spec.version} ({', '.join(facts)})", flush=True)
        body = pin_body(item, target, reason)
        await connection.api.apply(VERSION_PIN, body, owner=CLI_FIELD_OWNER, dry_run=dry_run)
        elapsed = None
        if wait and not dry_run:
            _, elapsed = await wait_until_ready(
                connection.api,
                name,
                connection.namespace,
                timeout=timeout,
                also=lambda now: now.status.pinned and now.status.effective_revision == target.spec.hash,
                quiet=structured,
            )
    rollback, hash_ = item.status.rollback, target.spec.hash
    known, drilled = rollback.target_revision == hash_, rollback.last_drill
    result = {
        "name": name,
        "from": before,
        "to": target.spec.version,
        "revision": target.spec.sequence,
        "hash": hash_,
        "readiness": rollback.readiness if known else None,
        "estimatedSeconds": rollback.estimated_seconds if known else None,
        "lastDrill": msgspec.to_builtins(drilled) if drilled is not None and drilled.revision == hash_ else None,
        "dryRun": dry_run,
        "seconds": None if elapsed is None else round(elapsed, 3),
    }
    if structured:
        print_structured(result, output)
    elif dry_run:
        print("dry run: nothing was changed")
    else:
        unpin_command = f"outrider unpin {name} --namespace {connection.namespace}"
        print(f"pinned. When Git says version: {target.spec.version} as well, lift the pin:  {unpin_command}")
    return Exit.OK


def _readiness(item: LLMDeployment, target: ModelRevision) -> list[str]:
    """How soon the target would be back, where the status tells it of this very revision."""
    rollback = item.status.rollback
    told = readiness_text(rollback) if rollback.target_revision == target.spec.hash else ""
    last = rollback.last_drill
    drilled = drill_text(last, time.time()) if last is not None and last.revision == target.spec.hash else ""
    return [one for one in (told, drilled) if one]


def choose_target(item: LLMDeployment, revisions: list[ModelRevision], to: str | None) -> ModelRevision:
    """The revision to go back to: what `to` names, else what the operator says is the last that worked.

    Raises:
        CliError: there is none, several answer to the name, or it is the one that serves already.
    """
    if to is None:
        wanted = item.status.rollback.target_revision
        found = [revision for revision in revisions if wanted and revision.spec.hash == wanted]
        if not found:
            history = f"outrider rollout history {item.metadata.name} --namespace {item.metadata.namespace}"
            raise CliError(
                f"{item.metadata.name} has no earlier version that worked",
                exit_code=Exit.NOT_FOUND,
                hints=(f"see its history:  {history}", "name one:         --to VERSION"),
            )
        return found[0]
    found = [each for each in revisions if to in (each.spec.version, each.spec.hash, str(each.spec.sequence))]
    if not found:
        known = ", ".join(f"{each.spec.version} ({each.spec.sequence})" for each in revisions) or "none"
        raise CliError(
            f"{item.metadata.name} has no revision {to!r}", exit_code=Exit.NOT_FOUND, hints=(f"it has: {known}",)
        )
    if len(found) > 1:
        choices = ", ".join(f"{each.spec.sequence} ({each.spec.hash})" for each in found)
        raise CliError(
            f"{to!r} names several revisions", exit_code=Exit.USAGE, hints=(f"say which by number: {choices}",)
        )
    if found[0].spec.hash == item.status.effective_revision and item.status.pinned:
        raise CliError(f"{item.metadata.name} is already pinned to {found[0].spec.version}", exit_code=Exit.CONFLICT)
    return found[0]


def pin_body(item: LLMDeployment, target: ModelRevision, reason: str) -> dict[str, Any]:
    """The VersionPin that holds the LLMDeployment on `target` and rejects what serves now."""
    rejected = item.status.effective_revision
    return {
        "apiVersion": API_VERSION,
        "kind": "VersionPin",
        "metadata": {"name": item.metadata.name, "namespace": item.metadata.namespace},
        "spec": {
            "deployment": item.metadata.name,
            "version": target.spec.version,
            "revision": target.spec.hash,
            **({"rejects": rejected} if rejected and rejected != target.spec.hash else {}),
            **({"reason": reason} if reason else {}),
            "createdBy": _who(),
        },
    }


def _who() -> str:
    """The user's name, for those who read the pin. In a container there may be a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def unpin(
    name: str,
    /,
    *,
    wait: bool = True,
    timeout: str = "600s",
    dry_run: bool = False,
    cluster: Cluster | None = None,
) -> int:
    """Lift a rollback: delete the pin, so that the version in the spec is served again.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    wait
        Wait until the version in the spec serves.
    timeout
        How long to wait at most.
    dry_run
        Say which version would be served, and change nothing.
    """
    seconds(timeout, "--timeout")
    return asyncio.run(_unpin(service_name(name), wait, timeout, dry_run, cluster))


async def _unpin(name: str, wait: bool, timeout: str, dry_run: bool, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        item = await connection.find(LLM_DEPLOYMENT, name)
        pin = await _existing_pin(connection, name)
        wanted = item.status.desired_version
        print(
            f"{name}: {pin} -> {wanted if wanted != NONE else 'what the spec says'}{' (dry run)' if dry_run else ''}",
            flush=True,
        )
        await connection.api.delete(VERSION_PIN, name, connection.namespace, dry_run=dry_run)
        if wait and not dry_run:
            await wait_until_ready(
                connection.api, name, connection.namespace, timeout=timeout, also=lambda now: not now.status.pinned
            )
    return Exit.OK


async def _existing_pin(connection: Connection, name: str) -> str:
    try:
        pin = await connection.api.get(VERSION_PIN, name, connection.namespace)
    except NotFound:
        raise CliError(f"{name} is not pinned in namespace {connection.namespace}", exit_code=Exit.NOT_FOUND) from None
    return pin.spec.version or pin.spec.revision
