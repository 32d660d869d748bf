"""The HTTPRoutes: one by host name, one by path.

Requests come by a name of the service (`Host: llama-3-1-8b.production`), or by the Gateway's own address and a path,
`BASE_URL/NAMESPACE/SERVICE/v1/...`, which is what `status.url` says. A route's host names hold for all of its rules,
so these are two objects. The second one takes `/NAMESPACE/SERVICE` away from the path (URLRewrite): model servers know
nothing of it. No gateway does so by itself.

A dot cannot be in the name of a Service, so `SERVICE.path` is nobody's name but this route's.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.names import SUBDOMAIN_LENGTH
from outrider.plan.deployment.render import Body, object_body, signed
from outrider.plan.deployment.snapshot import PlanConfig

API_VERSION = "gateway.networking.k8s.io/v1"


def host_route_body(owner: LLMDeployment, service_name: str, backends: Sequence[Body], config: PlanConfig) -> Body:
    """All requests to one of the service's names."""
    meta = owner.metadata
    body = object_body(API_VERSION, "HTTPRoute", owner, service_name)
    body["spec"] = {
        "parentRefs": [parent_reference(config)],
        "hostnames": hostnames(meta.namespace, meta.name, service_name),
        "rules": [_rule(backends, config)],
    }
    return signed(body)


def route_names(service_name: str) -> tuple[str, str]:
    """Of the routes that lead to the Service: by host and by path."""
    return service_name, path_route_name(service_name)


def path_route_name(service_name: str) -> str:
    return f"{service_name}.path"


def path_route_body(
    owner: LLMDeployment,
    service_name: str,
    backends: Sequence[Body],
    config: PlanConfig,
    base_url: str,
    candidate: str = "",
) -> Body:
    """All requests to the Gateway's own address below `/NAMESPACE/SERVICE`, and below `/NAMESPACE/NAME`; and those to
    the candidate's own Service, below `/NAMESPACE/CANDIDATE`.
    """
    meta = owner.metadata
    body = object_body(API_VERSION, "HTTPRoute", owner, path_route_name(service_name))
    spec: Body = {"parentRefs": [parent_reference(config)]}
    if host := _host_name(base_url):
        spec["hostnames"] = [host]
    prefix = urlsplit(base_url).path.rstrip("/")
    names = dict.fromkeys((service_name, meta.name))
    spec["rules"] = [_path_rule(f"{prefix}/{meta.namespace}/{name}", backends, config) for name in names]
    if candidate:
        only = (service_backend(candidate),)
        spec["rules"].append(_path_rule(f"{prefix}/{meta.namespace}/{candidate}", only, config))
    body["spec"] = spec
    return signed(body)


def service_backend(service_name: str, weight: int = 1) -> Body:
    return {"group": "", "kind": "Service", "name": service_name, "port": labels.HTTP_PORT, "weight": weight}


def pool_backend(pool_name: str) -> Body:
    return {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool_name, "weight": 1}


def hostnames(namespace: str, name: str, service_name: str) -> list[str]:
    """The names that clients inside the cluster may use; with dots too, as the SRE guide does."""
    found = dict.fromkeys(
        f"{host}.{namespace}{suffix}" for host in (service_name, name) for suffix in ("", ".svc", ".svc.cluster.local")
    )
    return [host for host in found if len(host) <= SUBDOMAIN_LENGTH]


def parent_reference(config: PlanConfig) -> Body:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": config.gateway_name}
    return parent | ({"namespace": config.gateway_namespace} if config.gateway_namespace else {})


def _path_rule(prefix: str, backends: Sequence[Body], config: PlanConfig) -> Body:
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": prefix}}],
        "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}],
        **_rule(backends, config),
    }


def _rule(backends: Sequence[Body], config: PlanConfig) -> dict[str, Any]:
    rule: Body = {"backendRefs": [dict(backend) for backend in backends]}
    if config.request_timeout:
        rule["timeouts"] = {"request": config.request_timeout}
    return rule


def _host_name(base_url: str) -> str:
    """The host name of the URL, which a route can name; empty for an address, which it cannot."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    try:
        ip_address(host)
    except ValueError:
        return host if "." in host else ""
    return ""
