"""What the built-in kinds must look like: the rules that people and programs run into, not all that Kubernetes has."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from outrider.kube.api import BadRequest, Object
from outrider.kube.objects import LabelSelector
from outrider.kube.selectors import label_selector
from outrider.local.store.errors import Cause, duplicate, forbidden, invalid_value, required
from outrider.local.store.metadata_rules import check_labels, check_name
from outrider.local.store.records import copy

_QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_VARIABLE_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_IMMUTABLE = "field is immutable"


def _is_integer(value: Any, low: int, high: int = 2**31 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _check_replicas(spec: Object) -> list[Cause]:
    replicas = spec.get("replicas")
    good = _is_integer(replicas, 0)
    return [] if good else [invalid_value("spec.replicas", replicas, "must be a whole number, 0 or more")]


def _check_resources(resources: Any, path: str) -> list[Cause]:
    if not isinstance(resources, dict):
        return [invalid_value(path, resources, "must be a map")]
    causes = []
    for part in ("requests", "limits"):
        amounts = resources.get(part) or {}
        if not isinstance(amounts, dict):
            causes.append(invalid_value(f"{path}.{part}", amounts, "must be a map"))
            continue
        for name, amount in amounts.items():
            number = isinstance(amount, int | float) and not isinstance(amount, bool)
            if not number and not (isinstance(amount, str) and _QUANTITY.fullmatch(amount)):
                causes.append(
                    invalid_value(f"{path}.{part}[{name}]", amount, "must be a quantity, such as 2, 500m or 16Gi")
                )
    if not causes:
        causes += _check_extended_resources(resources, path)
    return causes


def _check_extended_resources(resources: Object, path: str) -> list[Cause]:
    """What devices provide cannot be shared out beyond what is asked for, so request and limit are one and the same."""
    limits = resources.get("limits") or {}
    causes = []
    for name, amount in (resources.get("requests") or {}).items():
        if "/" not in name:
            continue
        if name not in limits:
            causes.append(required(f"{path}.limits[{name}]", "extended resources such as GPUs need a limit"))
        elif str(limits[name]) != str(amount):
            causes.append(
                invalid_value(
                    f"{path}.requests[{name}]", amount, f"must be equal to the {name} limit of {limits[name]}"
                )
            )
    return causes


def _check_container(container: Any, path: str) -> list[Cause]:
    if not isinstance(container, dict):
        return [invalid_value(path, container, "must be a map")]
    causes = check_name(container.get("name") or "", "label", f"{path}.name")
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    for number, port in enumerate(container.get("ports") or []):
        if not isinstance(port, dict) or not _is_integer(port.get("containerPort"), 1, 65535):
            causes.append(invalid_value(f"{path}.ports[{number}].containerPort", port, "must be between 1 and 65535"))
    for number, variable in enumerate(container.get("env") or []):
        name = variable.get("name") if isinstance(variable, dict) else None
        if not isinstance(name, str) or not _VARIABLE_NAME.fullmatch(name):
            causes.append(
                invalid_value(f"{path}.env[{number}].name", name, "must be the name of an environment variable")
            )
        elif not isinstance(variable.get("value", ""), str | None):
            causes.append(
                invalid_value(f"{path}.env[{number}].value", variable["value"], "must be text: put it in quotes")
            )
    return causes + _check_resources(container.get("resources") or {}, f"{path}.resources")


def _check_pod_spec(spec: Any, path: str) -> list[Cause]:
    if not isinstance(spec, dict):
        return [required(path)]
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        return [required(f"{path}.containers")]
    causes, seen = [], set()
    for part in ("containers", "initContainers"):
        for number, container in enumerate(spec.get(part) or []):
            causes += _check_container(container, f"{path}.{part}[{number}]")
            name = container.get("name") if isinstance(container, dict) else None
            if isinstance(name, str) and name in seen:
                causes.append(duplicate(f"{path}.{part}[{number}].name", name))
            seen.add(str(name))
    if spec.get("restartPolicy") not in ("Always", "OnFailure", "Never"):
        causes.append(
            invalid_value(f"{path}.restartPolicy", spec.get("restartPolicy"), "must be Always, OnFailure or Never")
        )
    if not _is_integer(spec.get("terminationGracePeriodSeconds"), 0):
        grace = spec.get("terminationGracePeriodSeconds")
        causes.append(
            invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must be a whole number, 0 or more")
        )
    return causes


_POD_MAY_CHANGE = (
    "spec.containers[*].image, spec.initContainers[*].image, spec.activeDeadlineSeconds, "
    "spec.terminationGracePeriodSeconds, "
    "spec.tolerations (only additions), spec.schedulingGates (only removals), and spec.nodeName once"
)


def _unchangeable(spec: Object, other: Object) -> Object:
    """A pod's spec without what may change once it exists, where it changes in the direction that it may."""
    rest: Object = copy(spec)
    rest.pop("activeDeadlineSeconds", None)
    rest.pop("terminationGracePeriodSeconds", None)
    for part in ("containers", "initContainers"):
        for container in rest.get(part) or []:
            if isinstance(container, dict):
                container.pop("image", None)
                container.pop("imagePullPolicy", None)
    if not (spec.get("nodeName") and other.get("nodeName")):
        rest.pop("nodeName", None)
    return rest


def check_pod(new: Object, old: Object | None) -> list[Cause]:
    spec = new.get("spec")
    causes = _check_pod_spec(spec, "spec")
    if causes or old is None or spec == old["spec"] or not isinstance(spec, dict):
        return causes
    before, after = _unchangeable(old["spec"], spec), _unchangeable(spec, old["spec"])
    tolerations, old_tolerations = after.pop("tolerations", []), before.pop("tolerations", [])
    gates, old_gates = after.pop("schedulingGates", []), before.pop("schedulingGates", [])
    moved = old["spec"].get("nodeName") and spec.get("nodeName") != old["spec"].get("nodeName")
    allowed = all(item in tolerations for item in old_tolerations) and all(gate in old_gates for gate in gates)
    if moved or not allowed or before != after:
        fields = ", ".join(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
        return [
            forbidden("spec", f"a pod's spec cannot change ({fields or 'see below'}), except for {_POD_MAY_CHANGE}")
        ]
    return []


def _check_selector(spec: Object) -> list[Cause]:
    selector = spec.get("selector")
    if not isinstance(selector, dict) or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return [required("spec.selector")]
    try:
        parsed = label_selector(msgspec.convert(selector, LabelSelector))
    except (BadRequest, msgspec.ValidationError) as error:
        return [invalid_value("spec.selector", selector, str(error))]
    template = spec.get("template")
    labels = ((template if isinstance(template, dict) else {}).get("metadata") or {}).get("labels") or {}
    causes = check_labels(labels, "spec.template.metadata.labels")
    if not causes and not parsed.matches(labels):
        causes.append(
            invalid_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        )
    return causes


def check_replicated(new: Object, old: Object | None) -> list[Cause]:
    """Deployments and ReplicaSets."""
    spec = new.get("spec")
    if not isinstance(spec, dict):
        return [required("spec")]
    causes = _check_replicas(spec) + _check_selector(spec)
    template = spec.get("template")
    pod = template.get("spec") if isinstance(template, dict) else None
    causes += _check_pod_spec(pod, "spec.template.spec")
    if isinstance(pod, dict) and pod.get("restartPolicy") != "Always":
        causes.append(
            Cause(
                "spec.template.spec.restartPolicy",
                'Unsupported value: supported values: "Always"',
                "FieldValueNotSupported",
            )
        )
    if old is not None and spec.get("selector") != old["spec"].get("selector"):
        causes.append(invalid_value("spec.selector", spec.get("selector"), _IMMUTABLE))
    return causes


def check_service(new: Object, old: Object | None) -> list[Cause]:
    spec = new["spec"]
    ports = spec.get("ports") or []
    causes, names = [], set()
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        causes.append(required("spec.ports"))
    for number, port in enumerate(ports):
        path = f"spec.ports[{number}]"
        if not isinstance(port, dict) or not _is_integer(port.get("port"), 1, 65535):
            causes.append(invalid_value(f"{path}.port", port, "must be between 1 and 65535"))
            continue
        name = port.get("name") or ""
        if len(ports) > 1 and not name:
            causes.append(required(f"{path}.name", "a Service with several ports names each"))
        if name in names:
            causes.append(duplicate(f"{path}.name", name))
        names.add(name)
    if (
        old is not None
        and old["spec"].get("clusterIP") != spec.get("clusterIP")
        and old["spec"].get("type") != "ExternalName"
    ):
        causes.append(invalid_value("spec.clusterIP", spec.get("clusterIP"), _IMMUTABLE))
    return causes


def check_budget(new: Object, _old: Object | None) -> list[Cause]:
    spec = new.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        return [invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")]
    causes = []
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name)
        percentage = isinstance(value, str) and re.fullmatch(r"\d{1,3}%", value) and int(value[:-1]) <= 100
        if value is not None and not percentage and not _is_integer(value, 0):
            causes.append(
                invalid_value(f"spec.{name}", value, "must be a whole number, 0 or more, or a percentage such as 50%")
            )
    return causes


def _check_data(new: Object, old: Object | None) -> list[Cause]:
    """ConfigMaps and Secrets."""
    data = new.get("data") or {}
    if not isinstance(data, dict):
        return [invalid_value("data", data, "must be a map")]
    causes = [
        invalid_value(f"data[{name}]", value, "must be text: put it in quotes")
        for name, value in data.items()
        if not isinstance(value, str)
    ]
    if old is not None and old.get("immutable"):
        causes += [
            forbidden(part, f"{_IMMUTABLE} when `immutable` is set")
            for part in ("data", "binaryData")
            if new.get(part) != old.get(part)
        ]
    return causes


_Check = Callable[[Object, Object | None], list[Cause]]
VALIDATORS: dict[tuple[str, str], _Check] = {
    ("", "Pod"): check_pod,
    ("", "Service"): check_service,
    ("", "ConfigMap"): _check_data,
    ("", "Secret"): _check_data,
    ("apps", "Deployment"): check_replicated,
    ("apps", "ReplicaSet"): check_replicated,
    ("policy", "PodDisruptionBudget"): check_budget,
}
