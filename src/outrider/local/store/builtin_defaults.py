"""What Kubernetes fills in that a manifest leaves out, for the built-in kinds.

Source: pkg/apis/*/v1/defaults.go in k8s.io/kubernetes.

Functions change the object in place. A Service gets `clusterIP: None`: nothing in the local world answers on a virtual
address, so none is invented; the gateway is the way in.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any

from outrider.api.quantity import Quantity
from outrider.kube.api import Object

LOST_NODE_SECONDS = 300
"""kube-apiserver's --default-not-ready-toleration-seconds and --default-unreachable-toleration-seconds."""


def _fill(target: Object, **values: Any) -> None:
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


_MAPS_LEFT_OUT = ("data", "binaryData", "labels", "annotations", "nodeSelector", "limits", "requests", "matchLabels")
_FALSE_LEFT_OUT = ("paused", "unschedulable", "hostNetwork", "hostPID", "hostIPC", "readOnly", "tty", "stdin")
_LISTS_KEPT = ("containers", "endpoints")


def leave_out_empty(obj: Object) -> None:
    """Remove, in place, what Kubernetes' own types do not write when it is empty or false (`omitempty`)."""
    for name, value in list(obj.items()):
        if value is False:
            if name in _FALSE_LEFT_OUT:
                del obj[name]
        elif (value == [] and name not in _LISTS_KEPT) or (value == {} and name in _MAPS_LEFT_OUT):
            del obj[name]
        elif isinstance(value, dict):
            leave_out_empty(value)
        elif isinstance(value, list):
            for item in _maps(value):
                leave_out_empty(item)


def _maps(value: Any) -> Iterable[Object]:
    """The maps in a list; what is none is left for validation to complain about."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _map(parent: Any, name: str) -> Object:
    """The map at a field; an empty one that is not part of the object where there is none."""
    value = parent.get(name) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def _probe(probe: Object) -> None:
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if isinstance(probe.get("httpGet"), dict):
        _fill(probe["httpGet"], path="/", scheme="HTTP")


def _pull_policy(image: Any) -> str:
    name, _, digest = str(image or "").partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "IfNotPresent" if digest or tag not in ("", "latest") else "Always"


def _container(container: Object) -> None:
    _fill(
        container,
        imagePullPolicy=_pull_policy(container.get("image")),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    for port in _maps(container.get("ports")):
        _fill(port, protocol="TCP")
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for variable in _maps(container.get("env")):
        field = _map(_map(variable, "valueFrom"), "fieldRef")
        if field:
            _fill(field, apiVersion="v1")
    for hook in _map(container, "lifecycle").values():
        if isinstance(_map(hook, "httpGet") or None, dict):
            _fill(hook["httpGet"], path="/", scheme="HTTP")
    for amounts in _map(container, "resources").values():
        if isinstance(amounts, dict):
            amounts.update({name: _canonical(amount) for name, amount in amounts.items()})


def _canonical(amount: Any) -> Any:
    """How an API server writes a quantity: `1000m` is `1`. What is none is left for validation to complain about."""
    try:
        return str(Quantity.from_json(amount))
    except ValueError:
        return amount


def _requests(container: Object) -> None:
    """A pod asks for what it is limited to, where it does not say otherwise. A template is left as it is."""
    limits = _map(_map(container, "resources"), "limits")
    if limits and isinstance(container["resources"].get("requests") or {}, dict):
        container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}


def pod_spec(spec: Object) -> None:
    _fill(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    for name in ("containers", "initContainers"):
        for container in _maps(spec.get(name)):
            _container(container)
    for volume in _maps(spec.get("volumes")):
        if isinstance(volume.get("hostPath"), dict):
            _fill(volume["hostPath"], type="")
        if isinstance(volume.get("image"), dict):
            _fill(volume["image"], pullPolicy=_pull_policy(volume["image"].get("reference")))
        for source in ("configMap", "secret", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                _fill(volume[source], defaultMode=0o644)


def _pod(obj: Object) -> None:
    spec = _map(obj, "spec")
    if spec:
        pod_spec(spec)
        _fill(spec, enableServiceLinks=True)
        for part in ("containers", "initContainers"):
            for container in _maps(spec.get(part)):
                _requests(container)


def _prepare_pod(obj: Object) -> None:
    _pod(obj)
    spec = _map(obj, "spec")
    _fill(
        spec,
        priority=0,
        preemptionPolicy="PreemptLowerPriority",
        serviceAccountName="default",
        serviceAccount="default",
    )
    obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}


def _admit_pod(obj: Object) -> None:
    tolerations = _map(obj, "spec").setdefault("tolerations", [])
    if isinstance(tolerations, list):
        tolerations += _tolerations_of_lost_nodes(tolerations)


def _tolerations_of_lost_nodes(given: list[Any]) -> list[Object]:
    """Pods stay on a node for five minutes after it was lost (the DefaultTolerationSeconds admission plugin)."""
    taints = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return [
        {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_NODE_SECONDS}
        for taint in taints
        if not any(_tolerates(toleration, taint) for toleration in _maps(given))
    ]


def _tolerates(toleration: Object, taint: str) -> bool:
    return toleration.get("key") in (taint, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def quality_of_service(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from the CPU and memory that the containers ask for."""
    asked = [
        (
            _map(_map(container, "resources"), "requests").get(name),
            _map(_map(container, "resources"), "limits").get(name),
        )
        for part in ("containers", "initContainers")
        for container in _maps(spec.get(part))
        for name in ("cpu", "memory")
    ]
    if all(request is None and limit is None for request, limit in asked):
        return "BestEffort"
    return "Guaranteed" if all(limit is not None and request == limit for request, limit in asked) else "Burstable"


def _template(spec: Object) -> None:
    template = _map(spec, "template")
    inner = _map(template, "spec")
    if inner:
        pod_spec(inner)


def _deployment(obj: Object) -> None:
    spec = _map(obj, "spec")
    _fill(obj, status={})
    if not spec:
        return
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    strategy = _map(spec, "strategy")
    _fill(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _fill(strategy, rollingUpdate={})
        if isinstance(strategy["rollingUpdate"], dict):
            _fill(strategy["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _template(spec)


def _replica_set(obj: Object) -> None:
    spec = _map(obj, "spec")
    _fill(obj, status={})
    if isinstance(obj["status"], dict):
        _fill(obj["status"], replicas=0)
    if spec:
        _fill(spec, replicas=1)
        _template(spec)


def _service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not isinstance(spec, dict):
        return
    _fill(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    if spec["type"] != "ExternalName":
        _fill(spec, clusterIP="None", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
        spec["clusterIPs"] = [spec["clusterIP"]]
    for port in _maps(spec.get("ports")):
        _fill(port, protocol="TCP", targetPort=port.get("port"))


def _prepare_budget(obj: Object) -> None:
    obj["status"] = dict.fromkeys(("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"), 0)


def _secret(obj: Object) -> None:
    _fill(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        encoded = {name: base64.b64encode(str(value).encode()).decode() for name, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _endpoint_slice(obj: Object) -> None:
    for port in _maps(obj.get("ports")):
        _fill(port, name="", protocol="TCP")


def _namespace(obj: Object) -> None:
    labels = obj["metadata"].setdefault("labels", {})
    if isinstance(labels, dict):
        labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def _prepare_namespace(obj: Object) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _prepare_service(obj: Object) -> None:
    obj["status"] = {"loadBalancer": {}}


_Change = Callable[[Object], None]
DEFAULTS: dict[tuple[str, str], _Change] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
}
"""Applied on every write."""
ADMIT: dict[tuple[str, str], _Change] = {("", "Pod"): _admit_pod}
"""Applied on every write, after it is clear who owns what."""
PREPARE: dict[tuple[str, str], _Change] = {
    ("", "Namespace"): _prepare_namespace,
    ("", "Pod"): _prepare_pod,
    ("", "Service"): _prepare_service,
    ("policy", "PodDisruptionBudget"): _prepare_budget,
}
"""Applied at creation."""
