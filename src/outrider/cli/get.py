"""`outrider get`: list objects, or show one."""

import asyncio
import contextlib
import time
from typing import Annotated, Any

from cyclopts import Parameter

from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import CliError, Exit
from outrider.cli.objects import kinds_named, split_target
from outrider.cli.output import OutputFormat, print_structured, print_table, without_managed_fields
from outrider.cli.tables import columns_of, event_time, rows
from outrider.kube.api import Expired, Kind, Object, Unavailable


def get(
    kind: str = "llmdeployments",
    name: str | None = None,
    /,
    *,
    all_namespaces: Annotated[bool, Parameter(alias="-A", negative="")] = False,
    selector: Annotated[str, Parameter(alias="-l")] = "",
    output: Annotated[OutputFormat, Parameter(alias="-o")] = "table",
    watch: Annotated[bool, Parameter(alias="-w", negative="")] = False,
    cluster: Cluster | None = None,
) -> int:
    """List objects, or show one.

    Parameters
    ----------
    kind
        A kind such as llmdeployments (llmd), modelrevisions (mrev), versionpins, pods, nodes, services, events;
        several with commas; `all` for what belongs to LLM services.
    name
        Only the object of this name.
    all_namespaces
        Objects of all namespaces.
    selector
        Label selector, such as app.kubernetes.io/name=llm-deployment.
    output
        table, wide, json, yaml or name.
    watch
        Go on printing a line for every change, until interrupted.
    """
    word, chosen = split_target(kind, name)
    return asyncio.run(_get(word, chosen, all_namespaces, selector, output, watch, cluster))


async def _get(
    word: str,
    name: str | None,
    all_namespaces: bool,
    selector: str,
    output: OutputFormat,
    watch: bool,
    cluster: Cluster | None,
) -> int:
    kinds = kinds_named(word)
    if watch and len(kinds) > 1:
        raise CliError("--watch follows one kind: name one", exit_code=Exit.USAGE)
    async with connect(cluster) as connection:
        namespace = "" if all_namespaces else connection.namespace
        found: list[tuple[Kind[Any], list[Object], str]] = []
        for kind in kinds:
            items, version = await _fetch(connection, kind, name, namespace, selector)
            found.append((kind, items, version))
        _print(found, output, single=name is not None, namespaces=all_namespaces, where=namespace)
        if watch:
            kind, _, version = found[0]
            await _watch(connection, kind, name, namespace, selector, version, output, all_namespaces)
    return Exit.OK


async def _fetch(
    connection: Connection, kind: Kind[Any], name: str | None, namespace: str, selector: str
) -> tuple[list[Object], str]:
    raw = kind.into(dict)
    scope = namespace if kind.namespaced else ""
    if name is not None and scope == namespace and (scope or not kind.namespaced):
        item: Object = await connection.find(raw, name)
        return [item], str(item["metadata"].get("resourceVersion", ""))
    fields = f"metadata.name={name}" if name else ""
    listed = await connection.api.list(raw, scope, labels=selector, fields=fields)
    items = sorted(listed.items, key=lambda item: _order(kind, item))
    if name is not None and not items:
        raise CliError(f'{kind.plural} "{name}" not found in any namespace', exit_code=Exit.NOT_FOUND)
    return items, listed.resource_version


def _order(kind: Kind[Any], item: Object) -> tuple[Any, ...]:
    if kind.kind == "Event":
        return (event_time(item) or 0.0,)
    return (item["metadata"].get("namespace", ""), item["metadata"]["name"])


def _print(
    found: list[tuple[Kind[Any], list[Object], str]],
    output: OutputFormat,
    *,
    single: bool,
    namespaces: bool,
    where: str,
) -> None:
    if output in ("json", "yaml"):
        items = [
            without_managed_fields({"apiVersion": kind.api_version, "kind": kind.kind, **item})
            for kind, listed, _ in found
            for item in listed
        ]
        print_structured(
            items[0] if single and len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}, output
        )
        return
    if not any(items for _, items, _ in found):
        names = ", ".join(kind.plural for kind, _, _ in found)
        place = f" in namespace {where}" if where and found[0][0].namespaced else ""
        print(f"No {names} found{place}.")
    first = True
    for kind, items, _ in found:
        if not items:
            continue
        if output == "name":
            for item in items:
                print(f"{_label(kind)}/{item['metadata']['name']}")
            continue
        if not first:
            print()
        first = False
        columns = columns_of(kind, wide=output == "wide")
        headers, table = rows(columns, items, time.time(), namespaces=namespaces and kind.namespaced)
        if len(found) > 1:
            at = headers.index("NAME") if "NAME" in headers else 0
            table = [[*row[:at], f"{kind.singular}/{row[at]}", *row[at + 1 :]] for row in table]
        print_table(headers, table)


def _label(kind: Kind[Any]) -> str:
    return kind.singular + (f".{kind.group}" if kind.group else "")


async def _watch(
    connection: Connection,
    kind: Kind[Any],
    name: str | None,
    namespace: str,
    selector: str,
    version: str,
    output: OutputFormat,
    namespaces: bool,
) -> None:
    raw = kind.into(dict)
    fields = f"metadata.name={name}" if name else ""
    scope = namespace if kind.namespaced else ""
    columns = columns_of(kind, wide=output == "wide")
    while True:
        try:
            events = connection.api.watch(raw, scope, labels=selector, fields=fields, resource_version=version)
            async with contextlib.aclosing(events) as stream:  # type: ignore[type-var]
                async for event in stream:
                    version = event.resource_version
                    if event.type == "BOOKMARK":
                        continue
                    if output in ("json", "yaml"):
                        print_structured(without_managed_fields(event.object), output)
                        continue
                    _, table = rows(columns, [event.object], time.time(), namespaces=namespaces and kind.namespaced)
                    print("   ".join(table[0]) + ("   (deleted)" if event.type == "DELETED" else ""), flush=True)
        except Expired:
            version = (await connection.api.list(raw, scope, labels=selector, fields=fields)).resource_version
        except Unavailable:
            await asyncio.sleep(1)
