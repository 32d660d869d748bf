"""`outrider rollout pause`, `resume`, `promote`, `skip` and `abort`: people steer a release that is under way."""

import asyncio
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from outrider.api.labels import CLI_FIELD_OWNER
from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus
from outrider.api.modelrevision import ModelRevision
from outrider.api.names import revision_name
from outrider.cli import steering
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.objects import service_name
from outrider.cli.output import TableOrData, print_structured
from outrider.cli.waiting import seconds, wait_until
from outrider.kube.api import Api, Conflict, NotFound
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION

_ATTEMPTS = 5
"""How often it is looked anew when the revision was changed between the look and the write."""


class Command(NamedTuple):
    """One wish, as the command line says it."""

    verb: str
    name: str
    judge: steering.Judge
    output: TableOrData
    dry_run: bool
    timeout: str = ""
    """How long to wait for what was asked for; empty: not at all."""


def rollout_pause(
    name: str,
    /,
    *,
    dry_run: bool = False,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Hold a release where it is, until `outrider rollout resume`.

    It goes on being watched, and is taken back if it is worse.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    dry_run
        Say what would be paused, and change nothing.
    output
        table, json or yaml.
    """
    return asyncio.run(_steer(Command("pause", service_name(name), steering.pause, output, dry_run), cluster))


def rollout_resume(
    name: str,
    /,
    *,
    dry_run: bool = False,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Let a release go on that was paused.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    dry_run
        Say what would go on, and change nothing.
    output
        table, json or yaml.
    """
    return asyncio.run(_steer(Command("resume", service_name(name), steering.resume, output, dry_run), cluster))


def rollout_skip(
    name: str,
    /,
    *,
    dry_run: bool = False,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """End the present step of a canary or blue-green release, as if its time were over.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    dry_run
        Say which step would end, and change nothing.
    output
        table, json or yaml.
    """
    return asyncio.run(_steer(Command("skip", service_name(name), steering.skip, output, dry_run), cluster))


def rollout_promote(
    name: str,
    /,
    *,
    wait: bool = True,
    timeout: str = "600s",
    dry_run: bool = False,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Give the new version of a canary or blue-green release all traffic, without the steps that are left.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    wait
        Wait until it has all traffic, or is rolled back.
    timeout
        How long to wait at most.
    dry_run
        Say what would be promoted, and change nothing.
    output
        table, json or yaml.
    """
    seconds(timeout, "--timeout")
    until = timeout if wait else ""
    order = Command("promote", service_name(name), steering.promote, output, dry_run, until)
    return asyncio.run(_steer(order, cluster))


def rollout_abort(
    name: str,
    /,
    *,
    wait: bool = True,
    timeout: str = "300s",
    dry_run: bool = False,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Take back a release that is under way. The spec may stay: the version is not released again until a retry.

    Parameters
    ----------
    name
        Name of the LLMDeployment.
    wait
        Wait until the version before it has all traffic again.
    timeout
        How long to wait at most.
    dry_run
        Say what would be taken back, and change nothing.
    output
        table, json or yaml.
    """
    seconds(timeout, "--timeout")
    until = timeout if wait else ""
    order = Command("abort", service_name(name), steering.abort, output, dry_run, until)
    return asyncio.run(_steer(order, cluster))


async def _steer(command: Command, cluster: Cluster | None) -> int:
    structured = command.output in ("json", "yaml")
    async with connect(cluster) as connection:
        release, order, candidate = await ask(connection, command)
        if not structured:
            print(order.told + (" (dry run)" if command.dry_run and order.annotations else ""), flush=True)
            for note in order.notes:
                print(f"  {note}", flush=True)
        elapsed = None
        if command.timeout and not command.dry_run:
            elapsed = await _wait(connection.api, command, release, connection.namespace)
    if structured:
        print_structured(_result(command, release, order, candidate, elapsed), command.output)
    return Exit.OK


async def ask(connection: Connection, command: Command) -> tuple[ReleaseStatus, steering.Order, ModelRevision]:
    """Judge the wish by what is there now, and write it down if that is still there; else look anew.

    Raises:
        CliError: it is refused.
        Conflict: the revision is changed faster than it can be looked at.
    """
    for attempt in range(_ATTEMPTS):
        item = await connection.find(LLM_DEPLOYMENT, command.name)
        release = steering.under_way(item)
        candidate = await _candidate(connection.api, item, release)
        order = command.judge(item, release, candidate)
        try:
            if order.annotations:
                await _write(connection.api, candidate, order, dry_run=command.dry_run)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return release, order, candidate
    raise AssertionError("the last attempt returns or raises")


async def _write(api: Api, candidate: ModelRevision, order: steering.Order, *, dry_run: bool) -> None:
    metadata = candidate.metadata
    guard = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
    patch = {"metadata": {**guard, "annotations": order.annotations}}
    name, namespace = metadata.name, metadata.namespace
    await api.patch(MODEL_REVISION, name, patch, namespace, owner=CLI_FIELD_OWNER, dry_run=dry_run)


async def _candidate(api: Api, item: LLMDeployment, release: ReleaseStatus) -> ModelRevision:
    namespace = item.metadata.namespace
    try:
        return await api.get(MODEL_REVISION, revision_name(item.metadata.name, release.revision), namespace)
    except NotFound:
        raise CliError(
            f"{item.metadata.name}: the revision of {release.version}, which is being released, is gone",
            exit_code=Exit.NOT_FOUND,
            hints=(f"see what is left:  outrider rollout history {item.metadata.name} --namespace {namespace}",),
        ) from None


async def _wait(api: Api, command: Command, release: ReleaseStatus, namespace: str) -> float:
    """Seconds until what was asked for has happened."""

    def promoted(item: LLMDeployment) -> str:
        done = steering.has_all_traffic(item, release.revision)
        return f"{command.name}: {release.version} has all traffic" if done else ""

    def taken_back(item: LLMDeployment) -> str:
        done = steering.is_taken_back(item, release)
        return f"{command.name}: {release.stable_version} has all traffic again" if done else ""

    if command.verb == "abort":
        reached, lost = taken_back, steering.why_never_taken_back
    else:
        reached, lost = promoted, steering.why_never_promoted
    _, elapsed = await wait_until(
        api,
        command.name,
        namespace,
        timeout=command.timeout,
        reached=reached,
        lost=lambda item: lost(item, release),
        quiet=command.output != "table",
    )
    return elapsed


def _result(
    command: Command, release: ReleaseStatus, order: steering.Order, candidate: ModelRevision, elapsed: float | None
) -> dict[str, Any]:
    return {
        "name": command.name,
        "action": command.verb,
        "version": release.version,
        "revision": candidate.spec.sequence,
        "hash": release.revision,
        "stableVersion": release.stable_version,
        "stableHash": release.stable_revision,
        "strategy": release.strategy,
        "stage": release.stage,
        "step": release.step,
        "steps": len(release.steps),
        "weight": release.weight,
        "changed": bool(order.annotations) and not command.dry_run,
        "dryRun": command.dry_run,
        "message": order.told,
        "notes": list(order.notes),
        "seconds": None if elapsed is None else round(elapsed, 3),
    }
