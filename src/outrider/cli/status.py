"""`outrider status`: how every LLM service is doing, on one screen."""

import asyncio
import sys
import time
from typing import Annotated, Any

from cyclopts import Parameter

from outrider.api.labels import GPU_RESOURCE
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import Exit
from outrider.cli.output import OutputFormat, human_age, print_structured, print_table
from outrider.cli.tables import dig
from outrider.kube.api import Object, Unavailable
from outrider.kube.objects import NODE
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.folder import running_worlds

_REFRESH_SECONDS = 1.0


def status(
    name: str | None = None,
    /,
    *,
    all_namespaces: Annotated[bool, Parameter(alias="-A")] = True,
    watch: Annotated[bool, Parameter(alias="-w", negative="")] = False,
    output: Annotated[OutputFormat, Parameter(alias="-o")] = "table",
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
    everywhere = all_namespaces and not (cluster and cluster.namespace) and name is None
    return asyncio.run(_status(name, everywhere, watch, output, cluster))


async def _status(
    name: str | None, everywhere: bool, watch: bool, output: OutputFormat, cluster: Cluster | None
) -> int:
    async with connect(cluster) as connection:
        while True:
            try:
                report = await _gather(connection, name, everywhere)
            except Unavailable as error:
                if not watch:
                    raise
                report = {"unreachable": error.message, "services": [], "nodes": {}}
            if watch and sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            _print(report, connection, output)
            if not watch:
                return Exit.OK if all(service["ready"] for service in report["services"]) else Exit.FAILED
            await asyncio.sleep(_REFRESH_SECONDS)


async def _gather(connection: Connection, name: str | None, everywhere: bool) -> dict[str, Any]:
    scope = "" if everywhere else connection.namespace
    raw = LLM_DEPLOYMENT.into(dict)
    listed = [await connection.api.get(raw, name, scope)] if name else (await connection.api.list(raw, scope)).items
    nodes = (await connection.api.list(NODE)).items
    ready = [node for node in nodes if any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)]
    gpus = sum(int(node.status.allocatable.get(GPU_RESOURCE, "0")) for node in ready)
    services = [
        _service(item)
        for item in sorted(listed, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))
    ]
    return {
        "services": services,
        "nodes": {
            "ready": len(ready),
            "total": len(nodes),
            "gpus": gpus,
            "gpusUsed": sum(service["gpus"] for service in services),
        },
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
        "message": (dig(conditions, "CapacityAvailable", "message") if _lacks(conditions) else ready.get("message"))
        or "",
    }


def _lacks(conditions: dict[str, Any]) -> bool:
    return bool(dig(conditions, "CapacityAvailable", "status") == "False")


def _print(report: dict[str, Any], connection: Connection, output: OutputFormat) -> None:
    if output in ("json", "yaml"):
        print_structured(report, output)
        return
    if report.get("unreachable"):
        print(f"cannot be reached: {report['unreachable']}")
        return
    nodes = report["nodes"]
    ready, used = (
        f"{nodes['ready']} of {nodes['total']} nodes ready",
        f"{nodes['gpusUsed']} of {nodes['gpus']} GPUs used",
    )
    print(f"{connection.description}: {ready}, {used}{_world()}")
    services = report["services"]
    if not services:
        print("no LLM services yet. Apply one:  outrider apply --filename examples/llama-3.1-8b.yaml --wait")
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
            *([each["url"]] if wide else []),
        ]
        for each in services
    ]
    print_table(headers + (["URL"] if wide else []), table)
    for each in services:
        if not each["ready"] and each["message"]:
            print(f"{each['namespace']}/{each['name']}: {each['message']}")


def _world() -> str:
    worlds = running_worlds()
    info = worlds[0].info() if worlds else None
    started = None
    if info is not None:
        from outrider.api.meta import parse_time

        started = parse_time(info.started_at)
    return f"; up for {human_age(time.time() - started)}" if started is not None else ""
