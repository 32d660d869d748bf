"""The EndpointSlices of a Service: pure functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from outrider.api.labels import HOST_PORTS
from outrider.kube.objects import Pod, ServicePort
from outrider.local.actors.names import fnv32a, safe_encode
from outrider.local.actors.objects import Service
from outrider.local.actors.pods import FINISHED, has_ready_condition

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS = 100
"""Endpoints in one slice (kube-controller-manager's --max-endpoints-per-slice)."""

Ports = tuple[tuple[str, int, str], ...]
"""(name, port, protocol) of each port that the endpoints of one slice serve."""


def target_port(port: ServicePort, pod: Pod) -> int | None:
    """The port of the pod that a Service's port leads to; None when the pod has no container port of that name."""
    target = port.target_port or port.port
    if isinstance(target, int):
        return _on_host(pod, target)
    for container in pod.spec.containers:
        for named in container.ports:
            if named.name == target and named.protocol == port.protocol:
                return _on_host(pod, named.container_port)
    return int(target) if str(target).isdigit() else None


def _on_host(pod: Pod, port: int) -> int:
    """Where pods share one address, the kubelet has given each container port a free port of the host."""
    try:
        mapped = json.loads(pod.metadata.annotations.get(HOST_PORTS, "{}"))
        return int(mapped.get(str(port), port))
    except (ValueError, TypeError, AttributeError):
        return port


def ports_of(service: Service, pod: Pod) -> Ports:
    found = ((port, target_port(port, pod)) for port in service.spec.ports)
    return tuple((port.name, number, port.protocol) for port, number in found if number is not None)


def endpoint(service: Service, pod: Pod) -> dict[str, Any]:
    """The pod as an endpoint: `ready` while it serves and stays, `serving` also while it terminates."""
    terminating = pod.metadata.deletion_timestamp is not None
    serving = has_ready_condition(pod)
    made: dict[str, Any] = {
        "addresses": [pod.status.pod_ip],
        "conditions": {
            "ready": service.spec.publish_not_ready_addresses or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": pod.metadata.namespace,
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
        },
    }
    if pod.spec.node_name:
        made["nodeName"] = pod.spec.node_name
    return made


def is_endpoint(pod: Pod) -> bool:
    return bool(pod.status.pod_ip) and pod.status.phase not in FINISHED


def slice_bodies(service: Service, pods: Sequence[Pod]) -> dict[str, dict[str, Any]]:
    """All slices of the Service by name: one for each set of ports, and more beyond a hundred endpoints.

    There is always at least one, though it be empty: "no endpoint" is then known and not merely unheard of.
    """
    groups: dict[Ports, list[dict[str, Any]]] = {}
    for pod in sorted(pods, key=lambda each: each.metadata.name):
        if is_endpoint(pod):
            groups.setdefault(ports_of(service, pod), []).append(endpoint(service, pod))
    if not groups:
        groups[tuple((port.name, port.port, port.protocol) for port in service.spec.ports)] = []
    bodies: dict[str, dict[str, Any]] = {}
    for ports, endpoints in groups.items():
        # The name follows from the ports, so that endpoints do not move when others with other ports come and go.
        base = f"{service.metadata.name}-{safe_encode(str(fnv32a(repr(ports).encode())))}"
        for start in range(0, max(1, len(endpoints)), MAX_ENDPOINTS):
            name = f"{base}-{start // MAX_ENDPOINTS}" if start else base
            bodies[name] = _body(service, name, ports, endpoints[start : start + MAX_ENDPOINTS])
    return bodies


def _body(service: Service, name: str, ports: Ports, endpoints: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    metadata = service.metadata
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "labels": {**metadata.labels, SERVICE_NAME: metadata.name, MANAGED_BY: MANAGER},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports],
    }
