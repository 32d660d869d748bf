"""`metrics.k8s.io` as an aggregated API: what `kubectl top` shows and horizontal pod autoscalers read.

The real API server decides who may read what, and passes requests on with a client certificate of its front proxy:
whoever has none is refused. API: https://github.com/kubernetes/metrics/blob/v0.36.3/pkg/apis/metrics/v1beta1/types.go
"""

import base64
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from outrider.api.meta import format_time
from outrider.kube.api import ApiError, Forbidden, NotFound
from outrider.kube.selectors import parse_field_selector, parse_label_selector
from outrider.local.kubelet import Kubelet
from outrider.local.kubelet.podusage import PodUsage, node_usage, pod_usages
from outrider.local.kubelet.usage import Usage, UsageMonitor
from outrider.local.rest.statuses import error_response
from outrider.local.tls_server import TlsServer

GROUP = "metrics.k8s.io"
GROUP_VERSION = f"{GROUP}/v1beta1"
SERVICE, NAMESPACE = "metrics-server", "kube-system"
SERVER_NAMES = (f"{SERVICE}.{NAMESPACE}.svc", f"{SERVICE}.{NAMESPACE}.svc.cluster.local")
"""What the serving certificate must be for."""
FRONT_PROXY = "front-proxy-client"
_VERBS = ["get", "list"]

Object = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MetricsApi(TlsServer):
    """Serves the metrics of the nodes of some kubelets, as long as it is entered as a context."""

    def __init__(
        self,
        kubelets: Sequence[Kubelet],
        usage: UsageMonitor,
        context: ssl.SSLContext,
        *,
        address: str,
        port: int = 0,
        clients: Collection[str] = (FRONT_PROXY,),
    ) -> None:
        """`usage` must be run by somebody. `context` holds a certificate for `SERVER_NAMES`, and the front proxy's
        authority; `clients` are the common names of its certificates that may ask.

        Raises:
            ValueError: the context does not demand client certificates: then nobody could tell who asks.
        """
        self._kubelets = kubelets
        self._usage = usage
        self._clients = frozenset(clients)
        super().__init__(self._app(), context, what="the metrics API", address=address, port=port)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        base = f"/apis/{GROUP_VERSION}"
        routes: dict[str, Handler] = {
            f"/apis/{GROUP}": _group,
            base: _resources,
            f"{base}/nodes": self._list_nodes,
            f"{base}/nodes/{{name}}": self._get_node,
            f"{base}/pods": self._list_pods,
            f"{base}/namespaces/{{namespace}}/pods": self._list_pods,
            f"{base}/namespaces/{{namespace}}/pods/{{name}}": self._get_pod,
        }
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only the front proxy is let in; what is wrong is told as a Status."""
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        names = {
            value for part in (certificate or {}).get("subject") or () for key, value in part if key == "commonName"
        }
        try:
            if not names & self._clients:
                raise Forbidden("only the API server's front proxy may ask for metrics here")
            return await handler(request)
        except ApiError as error:
            return error_response(error)
        except web.HTTPNotFound:
            return error_response(NotFound(f"the path {request.path} is not served"))

    async def _list_nodes(self, request: web.Request) -> web.Response:
        nodes = [self._node_metrics(kubelet) for kubelet in self._kubelets if kubelet.registered.is_set()]
        return _list("NodeMetricsList", _selected(request, nodes))

    async def _get_node(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        for kubelet in self._kubelets:
            if kubelet.node.name == name and kubelet.registered.is_set():
                return web.json_response(_typed("NodeMetrics", self._node_metrics(kubelet)))
        raise _not_found("nodes", name)

    async def _list_pods(self, request: web.Request) -> web.Response:
        return _list("PodMetricsList", _selected(request, self._pods(request.match_info.get("namespace", ""))))

    async def _get_pod(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        for pod in self._pods(namespace):
            if pod["metadata"]["name"] == name:
                return web.json_response(_typed("PodMetrics", pod))
        raise _not_found("pods", f"{namespace}/{name}")

    def _node_metrics(self, kubelet: Kubelet) -> Object:
        usage = node_usage(kubelet, self._usage, time.time())
        return {
            "metadata": _metadata({"name": kubelet.node.name, "labels": dict(kubelet.labels)}, usage),
            **_window(usage),
            "usage": _amounts(usage),
        }

    def _pods(self, namespace: str) -> list[Object]:
        found = [usage for kubelet in self._kubelets for usage in pod_usages(kubelet, self._usage)]
        wanted = [usage for usage in found if namespace in ("", usage.pod["metadata"].get("namespace"))]
        return [_pod_metrics(usage) for usage in wanted]


def _pod_metrics(usage: PodUsage) -> Object:
    metadata = usage.pod["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "labels") if metadata.get(key)}
    total = usage.total
    containers = [{"name": name, "usage": _amounts(each)} for name, each in sorted(usage.containers.items())]
    return {"metadata": _metadata(kept, total), **_window(total), "containers": containers}


def _metadata(known: Mapping[str, Any], usage: Usage) -> Object:
    return {**known, "creationTimestamp": format_time(usage.at)}


def _window(usage: Usage) -> Object:
    return {"timestamp": format_time(usage.at), "window": f"{usage.window:.3f}s"}


def _amounts(usage: Usage) -> dict[str, str]:
    """As metrics-server writes them: billionths of a core, and KiB."""
    return {"cpu": f"{round(usage.cpu * 1e9)}n", "memory": f"{usage.memory // 1024}Ki"}


def _selected(request: web.Request, items: Iterable[Object]) -> list[Object]:
    """Those that the request selects. Raises `BadRequest` for a selector that cannot be read."""
    labels = parse_label_selector(request.query.get("labelSelector", ""))
    fields = parse_field_selector(request.query.get("fieldSelector", ""))
    return [item for item in items if labels.matches(item["metadata"].get("labels") or {}) and fields.matches(item)]


def _typed(kind: str, item: Object) -> Object:
    return {"kind": kind, "apiVersion": GROUP_VERSION, **item}


def _list(kind: str, items: list[Object]) -> web.Response:
    return web.json_response({"kind": kind, "apiVersion": GROUP_VERSION, "metadata": {}, "items": items})


def _not_found(plural: str, name: str) -> NotFound:
    return NotFound(f'{plural}.{GROUP} "{name}" not found')


async def _group(_: web.Request) -> web.Response:
    version = {"groupVersion": GROUP_VERSION, "version": "v1beta1"}
    group = {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version}
    return web.json_response(group)


async def _resources(_: web.Request) -> web.Response:
    resources = [
        {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": _VERBS}
        for plural, namespaced, kind in (("nodes", False, "NodeMetrics"), ("pods", True, "PodMetrics"))
    ]
    body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": resources}
    return web.json_response(body)


def registration(address: str, port: int, authority: bytes) -> list[Object]:
    """What to apply so that the API server finds and trusts this API: it is served at this address, and `authority` is
    the PEM certificate of who signed its serving certificate.
    """
    metadata = {"name": SERVICE, "namespace": NAMESPACE}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port, "protocol": "TCP"}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": SERVICE}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
        api_service(authority),
        {
            # Whoever may view a namespace may see what its pods use, as with metrics-server.
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {
                "name": "system:aggregated-metrics-reader",
                "labels": {
                    f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")
                },
            },
            "rules": [{"apiGroups": [GROUP], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}],
        },
    ]


def api_service(authority: bytes) -> Object:
    """The APIService that sends requests for the group to the Service."""
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta1.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": "v1beta1",
            "service": {"name": SERVICE, "namespace": NAMESPACE, "port": 443},
            "caBundle": base64.b64encode(authority).decode(),
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
