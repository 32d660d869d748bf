"""`outrider describe`: all about one object, for a person."""

import asyncio
import base64
import time
from typing import Any

import msgspec

from outrider.api.labels import DEPLOYMENT
from outrider.api.llmdeployment import RollbackStatus
from outrider.api.names import label_value
from outrider.cli.connection import Cluster, Connection, connect
from outrider.cli.errors import Exit
from outrider.cli.objects import one_object
from outrider.cli.output import human_age, print_table, print_yaml, without_managed_fields
from outrider.cli.release_words import drill_text, readiness_text
from outrider.cli.tables import columns_of, dig, event_time, rows
from outrider.kube.api import Kind, NotFound, Object
from outrider.kube.objects import EVENT, POD, SECRET
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN

_EVENTS_SHOWN = 20


def describe(kind: str, name: str | None = None, /, *, cluster: Cluster | None = None) -> int:
    """Tell all about one object: spec, status, conditions, pods, events.

    Parameters
    ----------
    kind
        Kind, or KIND/NAME, or the name of an LLMDeployment.
    name
        Name of the object.
    """
    target, chosen = one_object(kind, name)
    return asyncio.run(_describe(target, chosen, cluster))


async def _describe(kind: Kind[Any], name: str, cluster: Cluster | None) -> int:
    async with connect(cluster) as connection:
        item: Object = await connection.find(kind.into(dict), name)
        if kind == LLM_DEPLOYMENT:
            await _describe_llm_deployment(connection, item)
        else:
            print_yaml(for_people(kind, item))
        await _print_events(connection, kind, item)
    return Exit.OK


def for_people(kind: Kind[Any], item: Object) -> Object:
    """The object without what no person reads, and without what no person should see over somebody's shoulder."""
    shown = without_managed_fields(item)
    if kind != SECRET:
        return shown
    data = {key: f"{_size(value)} bytes" for key, value in (item.get("data") or {}).items()}
    # kubectl keeps a copy of what was applied, Secrets too, in an annotation.
    copy = "kubectl.kubernetes.io/last-applied-configuration"
    kept = {key: value for key, value in (dig(shown, "metadata", "annotations") or {}).items() if key != copy}
    return {**shown, "data": data, "metadata": {**shown["metadata"], "annotations": kept}}


def _size(value: str) -> int:
    try:
        return len(base64.b64decode(value, validate=True))
    except ValueError:
        return len(value)


async def _describe_llm_deployment(connection: Connection, item: Object) -> None:
    metadata, status = item["metadata"], item.get("status", {})
    facts = {
        "Name": metadata["name"],
        "Namespace": metadata["namespace"],
        "Model": status.get("model"),
        "Stage": status.get("stage"),
        "Phase": status.get("phase"),
        "Ready": status.get("ready"),
        "URL": status.get("url"),
        "Version asked for": status.get("desiredVersion"),
        "Version served": status.get("servingVersion"),
        "Stable version": status.get("stableVersion"),
        "Rollback": rollback_text(dig(status, "rollback")),
        "GPUs": status.get("gpus"),
        "p95 latency": status.get("latencyP95"),
        "Error rate": status.get("errorRate"),
        "Cost per hour": status.get("costPerHour"),
        "Ignored fields": ", ".join(status.get("ignoredFields") or []) or "none",
    }
    for title, value in facts.items():
        print(f"{title + ':':<19}{value if value not in (None, '') else '-'}")
    await _print_pin(connection, item)
    _print_spec(item)
    _print_conditions(status.get("conditions") or [])
    selector = f"{DEPLOYMENT}={label_value(metadata['name'])}"
    pods = await connection.api.list(POD.into(dict), metadata["namespace"], labels=selector)
    _print_listed("Pods", POD, list(pods.items))
    revisions = await connection.api.list(MODEL_REVISION.into(dict), metadata["namespace"], labels=selector)
    newest_first = sorted(revisions.items, key=lambda each: -(dig(each, "spec", "sequence") or 0))
    _print_listed("Revisions", MODEL_REVISION, newest_first)


def rollback_text(found: Any) -> str:
    """Where a rollback would go, and how soon it would be there: `to v1.0.0: Warm, about 5 s`."""
    rollback = msgspec.convert(found or {}, RollbackStatus)
    ready, last = readiness_text(rollback), rollback.last_drill
    text = f"to {rollback.target}: {ready}" if ready else rollback.message
    if last is None:
        return text
    of = "" if last.revision == rollback.target_revision else f" ({last.version})"
    return f"{text}; {drill_text(last, time.time())}{of}"


async def _print_pin(connection: Connection, item: Object) -> None:
    metadata = item["metadata"]
    try:
        pin: Object = await connection.api.get(VERSION_PIN.into(dict), metadata["name"], metadata["namespace"])
    except NotFound:
        return
    spec = pin.get("spec", {})
    who, why = spec.get("createdBy") or "somebody", spec.get("reason") or "no reason given"
    print(f"{'Pinned to:':<19}{spec.get('version')} by {who}: {why}")


def _print_spec(item: Object) -> None:
    import yaml

    print("\nSpec:")
    text = yaml.safe_dump(item.get("spec", {}), sort_keys=False, allow_unicode=True, width=110)
    print("".join(f"  {line}\n" for line in text.splitlines()), end="")


def _print_conditions(conditions: list[dict[str, Any]]) -> None:
    print("\nConditions:")
    if not conditions:
        print("  none yet")
        return
    print_table(
        ["  TYPE", "STATUS", "REASON", "MESSAGE"],
        [
            [
                f"  {each.get('type')}",
                str(each.get("status")),
                str(each.get("reason") or "-"),
                str(each.get("message") or "-"),
            ]
            for each in conditions
        ],
    )


def _print_listed(title: str, kind: Kind[Any], items: list[Object]) -> None:
    print(f"\n{title}:")
    if not items:
        print("  none")
        return
    headers, table = rows(columns_of(kind, wide=True), items, time.time(), namespaces=False)
    print_table([f"  {headers[0]}", *headers[1:]], [[f"  {row[0]}", *row[1:]] for row in table])


async def _print_events(connection: Connection, kind: Kind[Any], item: Object) -> None:
    metadata = item["metadata"]
    listed = await connection.api.list(EVENT.into(dict), metadata.get("namespace", ""))
    about = [
        event
        for event in listed.items
        if dig(event, "regarding", "kind") == kind.kind and dig(event, "regarding", "name") == metadata["name"]
    ]
    about.sort(key=lambda event: event_time(event) or 0.0)
    print("\nEvents:")
    if not about:
        print("  none")
        return
    now = time.time()
    table = []
    for event in about[-_EVENTS_SHOWN:]:
        when = event_time(event)
        age = human_age(None if when is None else now - when)
        count = dig(event, "series", "count")
        table.append(
            [
                f"  {age}",
                event.get("type", ""),
                event.get("reason", ""),
                event.get("note", "") + (f" (x{count})" if count else ""),
            ]
        )
    print_table(["  AGE", "TYPE", "REASON", "MESSAGE"], table)
