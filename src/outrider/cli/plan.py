"""`outrider plan`: what Outrider would do, and why, without doing it."""

import asyncio
import sys
import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from outrider.cli.apply import check_all
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.manifests import find_manifests
from outrider.cli.objects import service_name
from outrider.cli.output import PlanOutput, print_documents, print_structured
from outrider.controllers.deployment.gather import gather_live
from outrider.controllers.monitoring.gather import monitor_of
from outrider.controllers.published import published
from outrider.kube.api import Api
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.actions import Apply, Create, Delete, Emit, Evict, PatchStatus, Plan, Scale, SetPodCondition
from outrider.plan.deployment import Snapshot, desired
from outrider.plan.deployment import plan as decide


def plan(
    name: str | None = None,
    /,
    *,
    filename: Annotated[list[str] | None, Parameter(alias="-f", allow_leading_hyphen=True, negative="")] = None,
    output: Annotated[PlanOutput, Parameter(alias="-o")] = "table",
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
        table (sentences), yaml (every object as it should be, as `kubectl diff --filename -` takes them), or the whole
        plan with its reasons: json, or plan (the same as YAML).
    """
    if name is not None and filename:
        raise CliError("say either NAME or --filename, not both", exit_code=Exit.USAGE)
    if name is None and not filename:
        raise CliError("say what to plan: outrider plan NAME, or outrider plan --filename FILE", exit_code=Exit.USAGE)
    return asyncio.run(_plan(name, filename or [], output, cluster))


async def _plan(name: str | None, filenames: list[str], output: PlanOutput, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        targets = await _targets(name, filenames, connection, cluster.namespace if cluster else None)
        config = await published(connection.api)
        snapshots = [
            await gather_live(connection.api, where, each, config, manifest=body) for where, each, body in targets
        ]
        if output == "yaml":
            return await _print_manifests(connection.api, snapshots)
    plans = [(f"{one.namespace}/{one.name}", decide(one, time.time())) for one in snapshots]
    if output in ("json", "plan"):
        built = [{"name": title, **msgspec.to_builtins(found)} for title, found in plans]
        print_structured(built[0] if len(built) == 1 else built, "json" if output == "json" else "yaml")
        return Exit.OK
    for title, found in plans:
        _print(title, found)
    return Exit.OK


Target = tuple[str, str, dict[str, Any] | None]
"""(namespace, name, manifest that takes the stored object's place)"""


async def _targets(
    name: str | None, filenames: list[str], connection: Connection, namespace: str | None
) -> list[Target]:
    if name is not None:
        name = service_name(name)
        await connection.find(LLM_DEPLOYMENT, name)
        return [(connection.namespace, name, None)]
    targets: list[Target] = [
        (checked.body["metadata"]["namespace"], checked.manifest.name, checked.body)
        for checked in check_all(find_manifests(filenames), connection.namespace, namespace)
        if checked.kind == LLM_DEPLOYMENT
    ]
    if not targets:
        raise CliError("the manifests hold no LLMDeployment: there is nothing to plan", exit_code=Exit.INVALID)
    return targets


async def _print_manifests(api: Api, snapshots: list[Snapshot]) -> int:
    """Every object as the operator would apply it, in that order. Nothing is printed when one of them is held."""
    documents, monitors = [], {}
    for snapshot in snapshots:
        found = desired(snapshot, time.time())
        if not found:
            reasons = "; ".join(decide(snapshot, time.time()).because)
            raise CliError(f"{snapshot.namespace}/{snapshot.name}: nothing would be applied: {reasons}")
        documents += [_printable(body) for body in found]
        monitor = await monitor_of(api, snapshot)
        if monitor is not None:
            monitors[snapshot.namespace] = monitor
        if not snapshot.deployment.metadata.uid:
            print(
                f"{snapshot.name} is not stored yet: its objects are printed without their owner reference",
                file=sys.stderr,
            )
    print_documents([*documents, *monitors.values()])
    return Exit.OK


def _printable(body: dict[str, Any]) -> dict[str, Any]:
    """An owner that does not exist yet has no uid, and API servers take no reference without one."""
    metadata = dict(body["metadata"])
    if not all(owner["uid"] for owner in metadata.get("ownerReferences", ())):
        del metadata["ownerReferences"]
    return {**body, "metadata": metadata}


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
        case Scale(name=name, replicas=replicas, why=why):
            return f"scale Deployment {name} to {replicas}: {why}"
        case Create(body=body, why=why):
            return f"create {body['kind']} {body['metadata']['name']}: {why}"
        case Delete(kind=kind, name=name, why=why):
            return f"delete {kind} {name}: {why}"
        case PatchStatus(kind=kind, name=name, why=why):
            return f"note on {kind} {name}: {why}"
        case SetPodCondition(name=name, condition=condition, why=why):
            return f"set {condition.type} of pod {name} to {condition.status}: {why}"
        case Evict(name=name, why=why):
            return f"evict pod {name}: {why}"
        case Emit(reason=reason, note=note):
            return f"event {reason}: {note}"
    raise AssertionError(f"unknown action {action!r}")
