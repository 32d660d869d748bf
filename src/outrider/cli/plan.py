"""`outrider plan`: what Outrider would do, and why, without doing it."""

import asyncio
import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from outrider.cli.apply import check_manifest
from outrider.cli.connection import Cluster, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.manifests import read_manifests
from outrider.cli.objects import service_name
from outrider.cli.output import TableOrData, print_structured
from outrider.controllers.deployment.gather import gather_live
from outrider.controllers.published import published
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.actions import Apply, Create, Delete, Emit, PatchStatus, Plan, SetPodCondition
from outrider.plan.deployment import plan as decide


def plan(
    name: str | None = None,
    /,
    *,
    filename: Annotated[list[str] | None, Parameter(alias="-f", allow_leading_hyphen=True, negative="")] = None,
    output: Annotated[TableOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Show what Outrider would do, and why, without doing it: the very plan that the operator executes.

    Parameters
    ----------
    name
        An LLMDeployment as it is stored now.
    filename
        Manifests as if they were applied now.
    output
        table (sentences), json or yaml (the whole plan with every object).
    """
    if (name is None) == (not filename):
        raise CliError("say what to plan: outrider plan NAME, or outrider plan --filename FILE", exit_code=Exit.USAGE)
    return asyncio.run(_plan(name, filename or [], output, cluster))


async def _plan(name: str | None, filenames: list[str], output: TableOrData, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        targets: list[tuple[str, str, dict[str, Any] | None]] = []
        if name is not None:
            name = service_name(name)
            await connection.find(LLM_DEPLOYMENT, name)
            targets.append((connection.namespace, name, None))
        for manifest in read_manifests(filenames) if filenames else []:
            checked = check_manifest(manifest, connection.namespace, cluster.namespace if cluster else None)
            if checked.kind == LLM_DEPLOYMENT:
                targets.append((checked.body["metadata"]["namespace"], manifest.name, checked.body))
        if not targets:
            raise CliError("the manifests hold no LLMDeployment: there is nothing to plan", exit_code=Exit.INVALID)
        config = await published(connection.api)
        plans = []
        for where, each, body in targets:
            snapshot = await gather_live(connection.api, where, each, config, manifest=body)
            plans.append((f"{where}/{each}", decide(snapshot, time.time())))
    if output in ("json", "yaml"):
        built = [{"name": title, **msgspec.to_builtins(found)} for title, found in plans]
        print_structured(built[0] if len(built) == 1 else built, output)
        return Exit.OK
    for title, found in plans:
        _print(title, found)
    return Exit.OK


def _print(title: str, found: Plan) -> None:
    print(f"{title}:")
    for reason in found.because:
        print(f"  because {reason}")
    if not found.actions:
        print("  nothing to do" + ("" if found.status is None else " but to update the status"))
    for action in found.actions:
        print(f"  {_sentence(action)}")


def _sentence(action: Any) -> str:
    match action:
        case Apply(body=body, why=why):
            return f"apply {body['kind']} {body['metadata']['name']}: {why}"
        case Create(body=body, why=why):
            return f"create {body['kind']} {body['metadata']['name']}: {why}"
        case Delete(kind=kind, name=name, why=why):
            return f"delete {kind} {name}: {why}"
        case PatchStatus(kind=kind, name=name, why=why):
            return f"note on {kind} {name}: {why}"
        case SetPodCondition(name=name, condition=condition, why=why):
            return f"set {condition.type} of pod {name} to {condition.status}: {why}"
        case Emit(reason=reason, note=note):
            return f"event {reason}: {note}"
    raise AssertionError(f"unknown action {action!r}")
