"""`outrider status`: how every LLM service is doing, on one screen."""

import asyncio
import sys
import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from outrider.api.labels import GPU_RESOURCE
from outrider.api.llmdeployment import DrillStatus
from outrider.api.meta import parse_time
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import Exit
from outrider.cli.objects import service_name
from outrider.cli.output import WideOrData, human_age, print_structured, print_table
from outrider.cli.release_words import about, drill_text
from outrider.cli.tables import dig
from outrider.kube.api import Forbidden, Object, Unavailable
from outrider.kube.objects import NODE
from outrider.kube.resources import LLM_DEPLOYMENT

_REFRESH_SECONDS = 1.0


def status(
    name: str | None = None,
    /,
    *,
    all_namespaces: Annotated[bool, Parameter(alias="-A")] = True,
    watch: Annotated[bool, Parameter(alias="-w", negative="")] = False,
    output: Annotated[WideOrData, Parameter(alias="-o")] = "table",
    cluster: Cluster | None = None,
) -> int:
    """Show how every LLM service is doing. Exit code 1 if one of them is not Ready.

    Parameters
    ----------
    name
        Only this LLMDeployment.
    all_namespaces
        Services of all namespaces (unless --namespace names one).
    watch
        Show it again every second, until interrupted.
    output
        table, wide, json or yaml.
    """
    name = None if name is None else service_name(name)
    everywhere = all_namespaces and not (cluster and cluster.namespace) and name is None
    return asyncio.run(_status(name, everywhere, watch, output, cluster))


async def _status(name: str | None, everywhere: bool, watch: bool, output: WideOrData, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        while True:
            try:
                report = await _gather(connection, name, everywhere)
            except Unavailable as error:
                if not watch:
                    raise
                report = {"unreachable": error.message, "services": [], "nodes": None}
            if watch and sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            _print(report, connection, output, everywhere=everywhere)
            if not watch:
                return Exit.OK if all(service["ready"] for service in report["services"]) else Exit.FAILED
            await asyncio.sleep(_REFRESH_SECONDS)


async def _gather(connection: Connection, name: str | None, everywhere: bool) -> dict[str, Any]:
    raw = LLM_DEPLOYMENT.into(dict)
    if name is not None:
        listed = [await connection.find(raw, name)]
    else:
        listed = list((await connection.api.list(raw, "" if everywhere else connection.namespace)).items)
    services = [
        _service(item)
        for item in sorted(listed, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))
    ]
    return {"services": services, "nodes": await _nodes(connection)}


async def _nodes(connection: Connection) -> dict[str, int] | None:
    """The nodes and GPUs of the whole cluster, whichever services are asked about; None for who may not see them."""
    try:
        nodes = (await connection.api.list(NODE)).items
        everyone = (await connection.api.list(LLM_DEPLOYMENT.into(dict))).items
    except Forbidden:
        return None
    ready = [node for node in nodes if any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)]
    return {
        "ready": len(ready),
        "total": len(nodes),
        "gpus": sum(int(node.status.allocatable.get(GPU_RESOURCE, "0")) for node in ready),
        "gpusUsed": sum(int(dig(item, "status", "gpus") or 0) for item in everyone),
    }


def _service(item: Object) -> dict[str, Any]:
    found = item.get("status", {})
    conditions = {condition["type"]: condition for condition in found.get("conditions") or []}
    ready = conditions.get("Ready", {})
    current = (found.get("observedGeneration") or 0) >= item["metadata"].get("generation", 0)
    return {
        "namespace": item["metadata"]["namespace"],
        "name": item["metadata"]["name"],
        "phase": found.get("phase", "Pending"),
        "ready": ready.get("status") == "True" and current,
        "replicas": found.get("ready", "0/0"),
        "asked": found.get("desiredVersion", "<none>"),
        "serving": found.get("servingVersion", "<none>"),
        "stable": found.get("stableVersion", "<none>"),
        "pinned": bool(found.get("pinned")),
        "gpus": int(found.get("gpus") or 0),
        "latencyP95": found.get("latencyP95", "<unknown>"),
        "errorRate": found.get("errorRate", "<unknown>"),
        "costPerHour": found.get("costPerHour", "<unknown>"),
        "url": found.get("url", "<none>"),
        "rollback": {
            "target": dig(found, "rollback", "target") or "<none>",
            "readiness": dig(found, "rollback", "readiness") or None,
            "estimatedSeconds": dig(found, "rollback", "estimatedSeconds"),
            "lastDrill": dig(found, "rollback", "lastDrill"),
        },
        "message": (dig(conditions, "CapacityAvailable", "message") if _lacks(conditions) else ready.get("message"))
        or "",
    }


def _lacks(conditions: dict[str, Any]) -> bool:
    return bool(dig(conditions, "CapacityAvailable", "status") == "False")


def _print(report: dict[str, Any], connection: Connection, output: WideOrData, *, everywhere: bool) -> None:
    if output in ("json", "yaml"):
        print_structured(report, output)
        return
    if report.get("unreachable"):
        print(f"cannot be reached: {report['unreachable']}")
        return
    print(_headline(report["nodes"], connection))
    services = report["services"]
    if not services:
        where = "" if everywhere else f" in namespace {connection.namespace}"
        print(f"no LLM services{where} yet. Apply one:  outrider apply --filename examples/llama-3.1-8b.yaml --wait")
        return
    headers = ["NAMESPACE", "NAME", "PHASE", "READY", "ASKED", "SERVING", "STABLE", "GPUS", "P95", "ERRORS", "$/H"]
    wide = output == "wide"
    table = [
        [
            each["namespace"],
            each["name"],
            each["phase"],
            each["replicas"],
            each["asked"],
            each["serving"] + (" (pinned)" if each["pinned"] else ""),
            each["stable"],
            str(each["gpus"]),
            each["latencyP95"],
            each["errorRate"],
            each["costPerHour"],
            *([_rollback(each["rollback"]), each["url"]] if wide else []),
        ]
        for each in services
    ]
    print_table(headers + (["ROLLBACK", "URL"] if wide else []), table)
    for each in services:
        if not each["ready"] and each["message"]:
            print(f"{each['namespace']}/{each['name']}: {each['message']}")


def _rollback(found: dict[str, Any]) -> str:
    """`v1.0.0 (Warm, about 5 s)`, and the last drill: `v1.0.0 (Cold, about 60 s; drilled 3h ago: back in 42 s)`."""
    if not found["readiness"]:
        return str(found["target"])
    told = [f"{found['readiness']}, {about(found['estimatedSeconds'])}"]
    if found["lastDrill"]:
        told.append(drill_text(msgspec.convert(found["lastDrill"], DrillStatus), time.time()))
    return f"{found['target']} ({'; '.join(told)})"


def _headline(nodes: dict[str, int] | None, connection: Connection) -> str:
    parts = [connection.description]
    if nodes is not None:
        ready, used = (
            f"{nodes['ready']} of {nodes['total']} nodes ready",
            f"{nodes['gpusUsed']} of {nodes['gpus']} GPUs used",
        )
        parts = [f"{connection.description}: {ready}, {used}"]
    started = None if connection.world is None else parse_time(connection.world.started_at)
    if started is not None:
        parts.append(f"up for {human_age(time.time() - started)}")
    return "; ".join(parts)
