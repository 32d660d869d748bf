"""What a container of a pod must look like (pkg/apis/core/validation in k8s.io/kubernetes)."""

import re
from typing import Any

from outrider.api.quantity import Quantity
from outrider.kube.api import Object
from outrider.local.store.errors import Cause, duplicate, invalid_value, required
from outrider.local.store.metadata_rules import check_name

PROTOCOLS = ("TCP", "UDP", "SCTP")
_VARIABLE_NAME = re.compile(r"[ -<>-~]+")
"""Printable ASCII but for `=`."""
_FIELD_PATHS = re.compile(
    r"metadata\.(name|namespace|uid|labels\['.*'\]|annotations\['.*'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(podIP|podIPs|hostIP|hostIPs)"
)
_PROBE_NUMBERS = (
    "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
)  # fmt: skip
_HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")


def is_integer(value: Any, low: int, high: int = 2**31 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def check_choice(field: str, value: Any, *allowed: str) -> list[Cause]:
    """A word that is one of a few; None where a default or nothing stands for it."""
    if value is None or value in allowed:
        return []
    told = ", ".join(f'"{each}"' for each in allowed)
    shown = invalid_value(field, value, "").message.removesuffix(": ").removeprefix("Invalid value: ")
    return [Cause(field, f"Unsupported value: {shown}: supported values: {told}", "FieldValueNotSupported")]


def check_port_name(field: str, name: Any) -> list[Cause]:
    """At most 15 lower case letters, digits and single dashes, with a letter among them (IANA_SVC_NAME)."""
    good = isinstance(name, str) and len(name) <= 15 and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    if good and re.search("[a-z]", name):
        return []
    why = "must be at most 15 lower case letters, digits and single dashes, with a letter among them"
    return [invalid_value(field, name, why)]


def check_port(field: str, port: Any) -> list[Cause]:
    """A number, or the name of a port."""
    if isinstance(port, str):
        return check_port_name(field, port)
    return [] if is_integer(port, 1, 65535) else [invalid_value(field, port, "must be between 1 and 65535")]


def check_container(container: Any, path: str, volumes: frozenset[str]) -> list[Cause]:
    if not isinstance(container, dict):
        return [invalid_value(path, container, "must be a map")]
    name, field = container.get("name"), f"{path}.name"
    causes = check_name(name, "label", field) if name else [required(field)]
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    causes += check_choice(
        f"{path}.imagePullPolicy", container.get("imagePullPolicy"), "Always", "IfNotPresent", "Never"
    )
    causes += _check_words(container, path)
    for number, port in enumerate(container.get("ports") or []):
        causes += _check_container_port(port, f"{path}.ports[{number}]")
    named = [port for port in container.get("ports") or [] if isinstance(port, dict) and port.get("name")]
    causes += check_unique(f"{path}.ports", named, "name")
    for number, variable in enumerate(container.get("env") or []):
        causes += _check_variable(variable, f"{path}.env[{number}]")
    for number, mount in enumerate(container.get("volumeMounts") or []):
        if isinstance(mount, dict) and mount.get("name") not in volumes:
            causes.append(
                Cause(f"{path}.volumeMounts[{number}].name", f"Not found: {mount.get('name')!r}", "FieldValueNotFound")
            )
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            causes += _check_probe(container[name], f"{path}.{name}", only_once=name != "readinessProbe")
    causes += _check_lifecycle(container.get("lifecycle"), f"{path}.lifecycle")
    return causes + check_resources(container.get("resources") or {}, f"{path}.resources")


def _check_words(container: Object, path: str) -> list[Cause]:
    causes = []
    for name in ("args", "command"):
        words = container.get(name)
        if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            causes.append(invalid_value(f"{path}.{name}", words, "must be a list of text: put numbers in quotes"))
    return causes


def _check_container_port(port: Any, path: str) -> list[Cause]:
    number = port.get("containerPort") if isinstance(port, dict) else None
    if not isinstance(port, dict) or not number:
        return [required(f"{path}.containerPort")]
    causes = (
        []
        if is_integer(number, 1, 65535)
        else [invalid_value(f"{path}.containerPort", number, "must be between 1 and 65535")]
    )
    if port.get("name"):
        causes += check_port_name(f"{path}.name", port["name"])
    return causes + check_choice(f"{path}.protocol", port.get("protocol"), *PROTOCOLS)


def _check_variable(variable: Any, path: str) -> list[Cause]:
    name = variable.get("name") if isinstance(variable, dict) else None
    if not isinstance(variable, dict) or not name:
        return [required(f"{path}.name")]
    if not isinstance(name, str) or not _VARIABLE_NAME.fullmatch(name):
        return [invalid_value(f"{path}.name", name, "must be the name of an environment variable")]
    value, source = variable.get("value"), variable.get("valueFrom")
    if not isinstance(value, str | None):
        return [invalid_value(f"{path}.value", value, "must be text: put it in quotes")]
    if value and source:
        return [invalid_value(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")]
    field = source.get("fieldRef") if isinstance(source, dict) else None
    named = field.get("fieldPath") if isinstance(field, dict) else None
    if field and not (isinstance(named, str) and _FIELD_PATHS.fullmatch(named)):
        return [
            invalid_value(f"{path}.valueFrom.fieldRef.fieldPath", named, "must be a field of a pod that can be read")
        ]
    return []


def _check_probe(probe: Object, path: str, *, only_once: bool) -> list[Cause]:
    handlers = [name for name in _HANDLERS if probe.get(name) is not None]
    if not handlers:
        return [required(path, "must specify a handler type")]
    causes = []
    for name in ("httpGet", "tcpSocket"):
        if isinstance(probe.get(name), dict):
            causes += check_port(f"{path}.{name}.port", probe[name].get("port"))
    for name in _PROBE_NUMBERS:
        if probe.get(name) is not None and not is_integer(probe[name], 0):
            causes.append(invalid_value(f"{path}.{name}", probe[name], "must be greater than or equal to 0"))
    if only_once and probe.get("successThreshold", 1) != 1:
        causes.append(invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    return causes


def _check_lifecycle(lifecycle: Any, path: str) -> list[Cause]:
    causes = []
    for name, hook in (lifecycle or {}).items() if isinstance(lifecycle, dict | None) else ():
        sleep = hook.get("sleep") if isinstance(hook, dict) else None
        if isinstance(sleep, dict) and not is_integer(sleep.get("seconds"), 0):
            causes.append(invalid_value(f"{path}.{name}.sleep", sleep.get("seconds"), "must be 0 or more seconds"))
    return causes


def check_resources(resources: Any, path: str) -> list[Cause]:
    if not isinstance(resources, dict):
        return [invalid_value(path, resources, "must be a map")]
    causes: list[Cause] = []
    amounts: dict[str, dict[str, Quantity]] = {}
    for part in ("limits", "requests"):
        given = resources.get(part) or {}
        if not isinstance(given, dict):
            return [*causes, invalid_value(f"{path}.{part}", given, "must be a map")]
        amounts[part] = {}
        for name, amount in given.items():
            field = f"{path}.{part}[{name}]"
            try:
                quantity = amounts[part][name] = Quantity.from_json(amount)
            except ValueError:
                causes.append(invalid_value(field, amount, "must be a quantity, such as 2, 500m or 16Gi"))
                continue
            if quantity.value < 0:
                causes.append(invalid_value(field, str(quantity), "must be greater than or equal to 0"))
            elif "/" in name and quantity.value.denominator != 1:
                causes.append(invalid_value(field, str(quantity), "must be an integer"))
    return causes or _check_against_limits(amounts, path)


def _check_against_limits(amounts: dict[str, dict[str, Quantity]], path: str) -> list[Cause]:
    """Nothing asks for more than it may have; and of a device, which is not shared, for exactly that."""
    causes = []
    limits = amounts["limits"]
    for name, amount in amounts["requests"].items():
        if "/" in name and name not in limits:
            causes.append(required(f"{path}.limits", f"extended resources such as {name} need a limit"))
        elif "/" in name and limits[name] != amount:
            causes.append(
                invalid_value(f"{path}.requests", str(amount), f"must be equal to the {name} limit of {limits[name]}")
            )
        elif name in limits and amount > limits[name]:
            causes.append(
                invalid_value(
                    f"{path}.requests", str(amount), f"must be less than or equal to {name} limit of {limits[name]}"
                )
            )
    return causes


def check_unique(path: str, items: Any, *fields: str) -> list[Cause]:
    """No two maps of a list have the same values in all of these fields."""
    causes, seen = [], set()
    for number, item in enumerate(items or []):
        if not isinstance(item, dict):
            continue
        key = tuple(str(item.get(field)) for field in fields)
        if key in seen:
            causes.append(duplicate(f"{path}[{number}]" + (f".{fields[0]}" if len(fields) == 1 else ""), " ".join(key)))
        seen.add(key)
    return causes
