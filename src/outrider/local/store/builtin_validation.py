"""What the built-in kinds must look like: the rules that people and programs run into, not all that Kubernetes has."""

import base64
import ipaddress
import re
from collections.abc import Callable
from typing import Any

import msgspec

from outrider.kube.api import BadRequest, Object
from outrider.kube.objects import LabelSelector
from outrider.kube.selectors import label_selector
from outrider.local.store.container_validation import (
    PROTOCOLS,
    check_choice,
    check_container,
    check_port,
    check_unique,
    is_integer,
)
from outrider.local.store.errors import Cause, duplicate, forbidden, invalid_value, required
from outrider.local.store.metadata_rules import check_labels, check_name
from outrider.local.store.records import copy

_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_PERCENT = re.compile(r"[0-9]+%")
_TLS_KEYS = ("tls.crt", "tls.key")
_IMMUTABLE = "field is immutable"


def _check_replicas(spec: Object) -> list[Cause]:
    replicas = spec.get("replicas")
    good = is_integer(replicas, 0)
    return [] if good else [invalid_value("spec.replicas", replicas, "must be a whole number, 0 or more")]


def _check_placement(spec: Object, path: str) -> list[Cause]:
    """How a pod runs, and where."""
    causes = check_choice(f"{path}.restartPolicy", spec.get("restartPolicy"), "Always", "OnFailure", "Never")
    causes += check_choice(
        f"{path}.dnsPolicy", spec.get("dnsPolicy"), "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"
    )
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not is_integer(deadline, 1):
        causes.append(invalid_value(f"{path}.activeDeadlineSeconds", deadline, "must be 1 or more"))
    if spec.get("hostname"):
        causes += check_name(spec["hostname"], "label", f"{path}.hostname")
    causes += check_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    for number, toleration in enumerate(spec.get("tolerations") or []):
        if isinstance(toleration, dict):
            field = f"{path}.tolerations[{number}].operator"
            causes += check_choice(field, toleration.get("operator") or None, "Equal", "Exists")
    return causes + check_unique(f"{path}.volumes", spec.get("volumes"), "name")


def _check_pod_spec(spec: Any, path: str) -> list[Cause]:
    if not isinstance(spec, dict):
        return [required(path)]
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        return [required(f"{path}.containers")]
    causes, seen = _check_placement(spec, path), set()
    volumes = frozenset(str(each.get("name")) for each in spec.get("volumes") or [] if isinstance(each, dict))
    for part in ("containers", "initContainers"):
        for number, container in enumerate(spec.get(part) or []):
            causes += check_container(container, f"{path}.{part}[{number}]", volumes)
            name = container.get("name") if isinstance(container, dict) else None
            if isinstance(name, str) and name in seen:
                causes.append(duplicate(f"{path}.{part}[{number}].name", name))
            seen.add(str(name))
    if not is_integer(spec.get("terminationGracePeriodSeconds"), 0):
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


def _check_strategy(spec: Object) -> list[Cause]:
    """How a Deployment replaces its pods; of a ReplicaSet, only when a pod counts."""
    causes = [
        invalid_value(f"spec.{name}", spec[name], "must be greater than or equal to 0")
        for name in ("minReadySeconds", "revisionHistoryLimit")
        if spec.get(name) is not None and not is_integer(spec[name], 0)
    ]
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int) and deadline <= (spec.get("minReadySeconds") or 0):
        causes.append(invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    strategy = spec.get("strategy")
    if not isinstance(strategy, dict):
        return causes
    causes += check_choice("spec.strategy", strategy.get("type"), "Recreate", "RollingUpdate")
    rolling = strategy.get("rollingUpdate")
    if not isinstance(rolling, dict):
        return causes
    if strategy.get("type") == "Recreate":
        return [
            *causes,
            forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is Recreate"),
        ]
    for name in ("maxSurge", "maxUnavailable"):
        if not _is_number_or_percent(rolling.get(name)):
            why = "must be a whole number, 0 or more, or a percentage such as 25%"
            causes.append(invalid_value(f"spec.strategy.rollingUpdate.{name}", rolling.get(name), why))
    if all(rolling.get(name) in (0, "0%") for name in ("maxSurge", "maxUnavailable")):
        why = "may not be 0 when `maxSurge` is 0"
        causes.append(invalid_value("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], why))
    return causes


def _is_number_or_percent(value: Any) -> bool:
    return is_integer(value, 0) or (isinstance(value, str) and bool(_PERCENT.fullmatch(value)))


def check_replicated(new: Object, old: Object | None) -> list[Cause]:
    """Deployments and ReplicaSets."""
    spec = new.get("spec")
    if not isinstance(spec, dict):
        return [required("spec")]
    causes = _check_replicas(spec) + _check_selector(spec) + _check_strategy(spec)
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
    causes = check_choice("spec.type", spec.get("type"), "ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    causes += check_choice("spec.sessionAffinity", spec.get("sessionAffinity"), "ClientIP", "None")
    causes += check_labels(spec.get("selector"), "spec.selector")
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        causes.append(required("spec.ports"))
    for number, port in enumerate(ports):
        causes += _check_service_port(port, f"spec.ports[{number}]", several=len(ports) > 1)
    named = [port for port in ports if isinstance(port, dict) and port.get("name")]
    causes += check_unique("spec.ports", named, "name") + check_unique("spec.ports", ports, "protocol", "port")
    if (
        old is not None
        and old["spec"].get("clusterIP") != spec.get("clusterIP")
        and old["spec"].get("type") != "ExternalName"
    ):
        causes.append(invalid_value("spec.clusterIP", spec.get("clusterIP"), _IMMUTABLE))
    return causes


def _check_service_port(port: Any, path: str, *, several: bool) -> list[Cause]:
    if not isinstance(port, dict) or not is_integer(port.get("port"), 1, 65535):
        return [invalid_value(f"{path}.port", port, "must be between 1 and 65535")]
    causes = check_choice(f"{path}.protocol", port.get("protocol"), *PROTOCOLS)
    if several and not port.get("name"):
        causes.append(required(f"{path}.name", "a Service with several ports names each"))
    return causes + check_port(f"{path}.targetPort", port.get("targetPort"))


def check_budget(new: Object, _old: Object | None) -> list[Cause]:
    spec = new.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        return [invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")]
    causes = []
    try:
        label_selector(msgspec.convert(spec.get("selector") or {}, LabelSelector))
    except (BadRequest, msgspec.ValidationError) as error:
        causes.append(invalid_value("spec.selector", spec["selector"], str(error)))
    policy = spec.get("unhealthyPodEvictionPolicy")
    causes += check_choice("spec.unhealthyPodEvictionPolicy", policy, "AlwaysAllow", "IfHealthyBudget")
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name)
        percentage = isinstance(value, str) and re.fullmatch(r"\d{1,3}%", value) and int(value[:-1]) <= 100
        if value is not None and not percentage and not is_integer(value, 0):
            causes.append(
                invalid_value(f"spec.{name}", value, "must be a whole number, 0 or more, or a percentage such as 50%")
            )
    return causes


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value == "" or base64.b64decode(value, validate=True))
    except ValueError:
        return False


def _check_data(new: Object, old: Object | None) -> list[Cause]:
    """ConfigMaps and Secrets."""
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    if not isinstance(data, dict) or not isinstance(binary, dict):
        return [invalid_value("data", data, "must be a map")]
    causes = [
        invalid_value(f"data[{name}]", value, "must be text: put it in quotes")
        for name, value in data.items()
        if not isinstance(value, str)
    ]
    for part, values in (("data", data), ("binaryData", binary)):
        causes += [
            invalid_value(f"{part}[{name}]", name, "a key is made of letters, digits, '-', '_' and '.'")
            for name in values
            if not _DATA_KEY.fullmatch(name)
        ]
    causes += [
        invalid_value(f"binaryData[{name}]", value, "must be base64")
        for name, value in binary.items()
        if not _is_base64(value)
    ]
    causes += [invalid_value(f"data[{name}]", name, "is in `binaryData` too") for name in data.keys() & binary.keys()]
    if old is not None and old.get("immutable"):
        parts = [part for part in ("data", "binaryData") if new.get(part) != old.get(part)]
        parts += [] if new.get("immutable") else ["immutable"]
        causes += [forbidden(part, f"{_IMMUTABLE} when `immutable` is set") for part in parts]
    return causes


def check_secret(new: Object, old: Object | None) -> list[Cause]:
    causes = _check_data(new, old)
    if causes:
        return causes
    data = new.get("data") or {}
    causes = [
        invalid_value(f"data[{name}]", "<secret>", "must be base64: `stringData` takes plain text")
        for name, value in data.items()
        if not _is_base64(value)
    ]
    if new.get("type") == "kubernetes.io/tls":
        causes += [required(f"data[{name}]") for name in _TLS_KEYS if name not in data]
    if old is not None and new.get("type") != old.get("type"):
        causes.append(invalid_value("type", new.get("type"), _IMMUTABLE))
    return causes


def check_endpoint_slice(new: Object, old: Object | None) -> list[Cause]:
    """Addresses may be loopback's: the local world's are, where a real cluster's must not be."""
    kind = new.get("addressType")
    if not kind:
        return [required("addressType")]
    causes = check_choice("addressType", kind, "IPv4", "IPv6", "FQDN")
    if old is not None and kind != old.get("addressType"):
        causes.append(invalid_value("addressType", kind, _IMMUTABLE))
    for number, endpoint in enumerate(new.get("endpoints") or []):
        addresses = endpoint.get("addresses") if isinstance(endpoint, dict) else None
        if not addresses:
            causes.append(required(f"endpoints[{number}].addresses"))
        causes += [
            invalid_value(f"endpoints[{number}].addresses[{at}]", address, f"must be an {kind} address")
            for at, address in enumerate(addresses or [])
            if kind != "FQDN" and not _is_address(address, 4 if kind == "IPv4" else 6)
        ]
    return causes + check_unique("ports", new.get("ports"), "name")


def _is_address(text: Any, version: int) -> bool:
    try:
        return ipaddress.ip_address(str(text)).version == version
    except ValueError:
        return False


def check_lease(new: Object, _old: Object | None) -> list[Cause]:
    seconds = (new.get("spec") or {}).get("leaseDurationSeconds")
    good = seconds is None or is_integer(seconds, 1)
    return [] if good else [invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0")]


def check_node(new: Object, _old: Object | None) -> list[Cause]:
    taints = (new.get("spec") or {}).get("taints") or []
    causes = check_unique("spec.taints", taints, "key", "effect")
    for number, taint in enumerate(taints):
        if isinstance(taint, dict):
            effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
            causes += check_choice(f"spec.taints[{number}].effect", taint.get("effect") or "", *effects)
    return causes


_Check = Callable[[Object, Object | None], list[Cause]]
VALIDATORS: dict[tuple[str, str], _Check] = {
    ("", "Pod"): check_pod,
    ("", "Service"): check_service,
    ("", "ConfigMap"): _check_data,
    ("", "Secret"): check_secret,
    ("", "Node"): check_node,
    ("discovery.k8s.io", "EndpointSlice"): check_endpoint_slice,
    ("coordination.k8s.io", "Lease"): check_lease,
    ("apps", "Deployment"): check_replicated,
    ("apps", "ReplicaSet"): check_replicated,
    ("policy", "PodDisruptionBudget"): check_budget,
}
