"""Kubernetes objects for the gateway's tests, short to write."""

from typing import Any

import msgspec

from outrider.api.labels import DEPLOYMENT, MODEL_VERSION, REVISION
from outrider.kube.objects import EndpointSlice, Service
from outrider.local.gateway.endpoints import PodMeta
from outrider.local.gateway.matching import Route


def service(name: str, namespace: str = "production", ports: dict[str, int] | None = None) -> Service:
    listed = [{"name": key, "port": port, "targetPort": "http"} for key, port in (ports or {"http": 8080}).items()]
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": listed}}, Service)


def slice_of(
    service_name: str,
    endpoints: dict[str, tuple[str, int]],
    *,
    namespace: str = "production",
    unready: tuple[str, ...] = (),
    terminating: tuple[str, ...] = (),
    serving: bool | None = None,
    port_names: tuple[str, ...] = ("http",),
) -> list[EndpointSlice]:
    """One slice per endpoint, since here each has its own port; `endpoints` maps a pod's uid to address and port."""
    return [
        msgspec.convert(
            {
                "metadata": {
                    "name": f"{service_name}-{uid}",
                    "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": service_name},
                },
                "ports": [{"name": name, "port": port} for name in port_names],
                "endpoints": [
                    {
                        "addresses": [address],
                        "conditions": {
                            "ready": uid not in unready + terminating,
                            "terminating": uid in terminating,
                            **({} if serving is None else {"serving": serving}),
                        },
                        "targetRef": {"kind": "Pod", "name": uid, "uid": uid},
                    }
                ],
            },
            EndpointSlice,
        )
        for uid, (address, port) in endpoints.items()
    ]


def pod(uid: str, revision: str, version: str = "v1", deployment: str = "chat", *, going: bool = False) -> PodMeta:
    metadata: dict[str, Any] = {
        "name": uid,
        "namespace": "production",
        "uid": uid,
        "labels": {DEPLOYMENT: deployment, REVISION: revision, MODEL_VERSION: version},
    }
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return msgspec.convert({"metadata": metadata}, PodMeta)


def route(
    name: str,
    *,
    rules: list[dict[str, Any]],
    hostnames: tuple[str, ...] = (),
    namespace: str = "production",
    created: str = "2026-01-01T00:00:00Z",
) -> Route:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
            "spec": {"hostnames": list(hostnames), "rules": rules},
        },
        Route,
    )


def to(*backends: tuple[str, int], **match: Any) -> dict[str, Any]:
    """A rule with weighted Services and at most one match."""
    refs = [{"name": name, "port": 8080, "weight": weight} for name, weight in backends]
    return {"backendRefs": refs} | ({"matches": [match]} if match else {})


def prefix(value: str) -> dict[str, str]:
    return {"type": "PathPrefix", "value": value}


def exact(value: str) -> dict[str, str]:
    return {"type": "Exact", "value": value}
