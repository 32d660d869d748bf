"""Which columns each kind is shown with: for Outrider's own kinds the printer columns of their CRDs, as in kubectl."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from outrider.api.columns import printer_columns
from outrider.api.labels import GPU_PRODUCT, GPU_RESOURCE, MODEL_VERSION, REVISION
from outrider.api.meta import Instant, parse_time
from outrider.cli.output import human_age
from outrider.kube.api import Kind, Object
from outrider.kube.resources import CUSTOM


class Column(NamedTuple):
    title: str
    cell: Callable[[Object, Instant], str]
    wide: bool = False
    """Only with `--output wide`."""


def dig(value: Any, *path: str) -> Any:
    """The value at a path of keys; None where there is none."""
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _at(*path: str, default: str = "<none>") -> Callable[[Object, Instant], str]:
    def cell(item: Object, _: Instant) -> str:
        found = dig(item, *path)
        return default if found is None or found == "" else str(found)

    return cell


def _age(item: Object, now: Instant) -> str:
    created = parse_time(dig(item, "metadata", "creationTimestamp"))
    return human_age(None if created is None else now - created)


def _ready_pods(item: Object, _: Instant) -> str:
    return f"{dig(item, 'status', 'readyReplicas') or 0}/{dig(item, 'spec', 'replicas') or 0}"


def _pod_ready(item: Object, _: Instant) -> str:
    statuses = dig(item, "status", "containerStatuses") or []
    return f"{sum(bool(status.get('ready')) for status in statuses)}/{len(dig(item, 'spec', 'containers') or [])}"


def pod_status(item: Object, _: Instant = 0) -> str:
    """What kubectl's STATUS column says: Terminating, the reason that a container waits for, or the phase."""
    if dig(item, "metadata", "deletionTimestamp"):
        return "Terminating"
    for status in dig(item, "status", "containerStatuses") or []:
        state = status.get("state", {})
        reason = dig(state, "waiting", "reason") or dig(state, "terminated", "reason")
        if reason:
            return str(reason)
    return str(dig(item, "status", "reason") or dig(item, "status", "phase") or "Unknown")


def _restarts(item: Object, _: Instant) -> str:
    return str(sum(status.get("restartCount", 0) for status in dig(item, "status", "containerStatuses") or []))


def _node_status(item: Object, _: Instant) -> str:
    conditions = {condition["type"]: condition["status"] for condition in dig(item, "status", "conditions") or []}
    ready = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    return f"{ready},SchedulingDisabled" if dig(item, "spec", "unschedulable") else ready


def _ports(item: Object, _: Instant) -> str:
    ports = dig(item, "spec", "ports") or []
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _budget(key: str) -> Callable[[Object, Instant], str]:
    return _at("spec", key, default="N/A")


def _hostnames(item: Object, _: Instant) -> str:
    return ",".join(dig(item, "spec", "hostnames") or []) or "<none>"


def _backends(item: Object, _: Instant) -> str:
    backends = [backend for rule in dig(item, "spec", "rules") or [] for backend in rule.get("backendRefs", [])]
    return ",".join(f"{backend['name']}={backend.get('weight', 1)}" for backend in backends) or "<none>"


def _endpoints(item: Object, _: Instant) -> str:
    ready = [endpoint for endpoint in item.get("endpoints") or [] if dig(endpoint, "conditions", "ready") is not False]
    return ",".join(address for endpoint in ready for address in endpoint.get("addresses", [])) or "<none>"


def _event_object(item: Object, _: Instant) -> str:
    return f"{str(dig(item, 'regarding', 'kind') or '').lower()}/{dig(item, 'regarding', 'name') or ''}"


def _event_count(item: Object, _: Instant) -> str:
    return str(dig(item, "series", "count") or 1)


def event_time(item: Object) -> Instant | None:
    """When an Event last happened."""
    last = parse_time(dig(item, "series", "lastObservedTime"))
    return last or parse_time(item.get("eventTime")) or parse_time(dig(item, "metadata", "creationTimestamp"))


def _event_age(item: Object, now: Instant) -> str:
    when = event_time(item)
    return human_age(None if when is None else now - when)


_NAME = Column("NAME", _at("metadata", "name"))
_AGE = Column("AGE", _age)

_BUILT_IN: dict[str, tuple[Column, ...]] = {
    "Pod": (
        _NAME,
        Column("READY", _pod_ready),
        Column("STATUS", pod_status),
        Column("RESTARTS", _restarts),
        _AGE,
        Column("VERSION", _at("metadata", "labels", MODEL_VERSION), wide=True),
        Column("REVISION", _at("metadata", "labels", REVISION), wide=True),
        Column("IP", _at("status", "podIP"), wide=True),
        Column("NODE", _at("spec", "nodeName"), wide=True),
    ),
    "Node": (
        _NAME,
        Column("STATUS", _node_status),
        Column("GPUS", _at("status", "allocatable", GPU_RESOURCE, default="0")),
        _AGE,
        Column("GPU-PRODUCT", _at("metadata", "labels", GPU_PRODUCT), wide=True),
    ),
    "Deployment": (
        _NAME,
        Column("READY", _ready_pods),
        Column("UP-TO-DATE", _at("status", "updatedReplicas", default="0")),
        Column("AVAILABLE", _at("status", "availableReplicas", default="0")),
        _AGE,
    ),
    "ReplicaSet": (
        _NAME,
        Column("DESIRED", _at("spec", "replicas", default="0")),
        Column("CURRENT", _at("status", "replicas", default="0")),
        Column("READY", _at("status", "readyReplicas", default="0")),
        _AGE,
    ),
    "Service": (_NAME, Column("TYPE", _at("spec", "type", default="ClusterIP")), Column("PORTS", _ports), _AGE),
    "EndpointSlice": (_NAME, Column("ENDPOINTS", _endpoints), _AGE),
    "HTTPRoute": (_NAME, Column("BACKENDS", _backends), _AGE, Column("HOSTNAMES", _hostnames, wide=True)),
    "PodDisruptionBudget": (
        _NAME,
        Column("MIN-AVAILABLE", _budget("minAvailable")),
        Column("MAX-UNAVAILABLE", _budget("maxUnavailable")),
        Column("ALLOWED-DISRUPTIONS", _at("status", "disruptionsAllowed", default="0")),
        _AGE,
    ),
    "ConfigMap": (_NAME, Column("DATA", lambda item, _: str(len(item.get("data") or {}))), _AGE),
    "Secret": (
        _NAME,
        Column("TYPE", _at("type", default="Opaque")),
        Column("DATA", lambda item, _: str(len(item.get("data") or {}))),
        _AGE,
    ),
    "Lease": (_NAME, Column("HOLDER", _at("spec", "holderIdentity")), _AGE),
    "Event": (
        Column("LAST-SEEN", _event_age),
        Column("TYPE", _at("type", default="Normal")),
        Column("REASON", _at("reason")),
        Column("OBJECT", _event_object),
        Column("COUNT", _event_count),
        Column("MESSAGE", _at("note")),
    ),
    "Namespace": (_NAME, _AGE),
    "Gateway": (_NAME, Column("CLASS", _at("spec", "gatewayClassName")), _AGE),
}


def _custom_columns(kind: Kind[Any]) -> tuple[Column, ...]:
    columns = [_NAME]
    for column in printer_columns(kind.kind):
        path = tuple(column["jsonPath"].strip(".").split("."))
        cell = _age if column["type"] == "date" else _at(*path)
        columns.append(Column(column["name"].upper(), cell, wide=column.get("priority", 0) > 0))
    return tuple(columns)


def columns_of(kind: Kind[Any], *, wide: bool) -> tuple[Column, ...]:
    """The columns that a kind is listed with."""
    columns = _custom_columns(kind) if kind in CUSTOM else _BUILT_IN.get(kind.kind, (_NAME, _AGE))
    return tuple(column for column in columns if wide or not column.wide)


def rows(
    columns: Sequence[Column], items: Sequence[Object], now: Instant, *, namespaces: bool
) -> tuple[list[str], list[list[str]]]:
    """Headers and cells; with the namespace in front where objects of all namespaces are listed."""
    headers = (["NAMESPACE"] if namespaces else []) + [column.title for column in columns]
    table = [
        ([dig(item, "metadata", "namespace") or "<none>"] if namespaces else [])
        + [column.cell(item, now) for column in columns]
        for item in items
    ]
    return headers, table
