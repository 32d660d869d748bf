"""The kubelet's HTTPS API: what a real API server asks of a node when kubectl asks for logs, exec and port-forward.

Paths: https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/kubelet/server/server.go
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import structlog
from aiohttp import web

from outrider.kube.api import ApiError
from outrider.local.kubelet.kubelet import Kubelet
from outrider.local.kubelet.server.commands import attach_to, exec_command
from outrider.local.kubelet.server.logs import container_logs
from outrider.local.kubelet.server.lookup import KUBELET
from outrider.local.kubelet.server.portforward import port_forward
from outrider.local.kubelet.server.stats import USAGE, resource_metrics, summary
from outrider.local.kubelet.usage import UsageMonitor
from outrider.local.tls_server import TlsServer

ADMINISTRATORS = "system:masters"
API_SERVER = "kube-apiserver-kubelet-client"
"""The usual name of the certificate with which an API server calls kubelets."""
CLIENTS: web.AppKey[Collection[str]] = web.AppKey("clients", Collection)
UNDER_WAY: web.AppKey[set["asyncio.Task[Any]"]] = web.AppKey("under_way", set["asyncio.Task[Any]"])
"""What is being done for clients."""

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(kubelet: Kubelet, usage: UsageMonitor, clients: Collection[str]) -> web.Application:
    """The API of one node, for clients whose certificates have these common names, or are administrators'."""
    app = web.Application(middlewares=[_known_clients_only, _errors_as_text])
    app[KUBELET] = kubelet
    app[USAGE] = usage
    app[CLIENTS] = clients
    app[UNDER_WAY] = set()
    app.on_shutdown.append(_end_all)
    pod = "{namespace}/{pod}"
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/pods", _pods)
    app.router.add_get("/stats/summary", summary)
    app.router.add_get("/metrics/resource", resource_metrics)
    app.router.add_get(f"/containerLogs/{pod}/{{container}}", container_logs)
    for method in ("GET", "POST"):
        app.router.add_route(method, f"/exec/{pod}/{{container}}", exec_command)
        app.router.add_route(method, f"/attach/{pod}/{{container}}", attach_to)
        app.router.add_route(method, f"/portForward/{pod}", port_forward)
    return app


class KubeletServer(TlsServer):
    """Serves a kubelet's API at its node's address, as long as it is entered as a context."""

    def __init__(
        self,
        kubelet: Kubelet,
        usage: UsageMonitor,
        context: ssl.SSLContext,
        *,
        clients: Collection[str] = (API_SERVER,),
        address: str | None = None,
        port: int | None = None,
    ) -> None:
        """`usage` is what `/stats` tells of; somebody must run it. `context` holds the serving certificate, and the
        authority whose client certificates are accepted.

        The node's own address and port are where an API server looks for it; another `address` and `port` (0: any free
        one) are for tests and for relays.

        Raises:
            ValueError: the context does not demand client certificates. Who may call this API runs commands here.
        """
        super().__init__(
            make_app(kubelet, usage, clients),
            context,
            what="the kubelet's API",
            address=kubelet.node.address if address is None else address,
            port=kubelet.node.kubelet_port if port is None else port,
            # Without cancellation a log that is followed, of a container that is silent, would outlive its reader.
            handler_cancellation=True,
        )


@web.middleware
async def _known_clients_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A certificate of the cluster's authority is not enough: other nodes and users of the cluster have one as well."""
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    name, groups = subject_of(certificate or {})
    if ADMINISTRATORS not in groups and name not in request.app[CLIENTS]:
        log.warning("a client was refused", client=name, groups=sorted(groups), path=request.path)
        return web.Response(status=403, text=f"Forbidden (user={name}, path={request.path})\n")
    return await handler(request)


def subject_of(certificate: dict[str, Any]) -> tuple[str, set[str]]:
    """The user and the groups that a client certificate names, as Kubernetes reads it."""
    entries = [entry for part in certificate.get("subject") or () for entry in part]
    name = next((value for key, value in entries if key == "commonName"), "")
    return name, {value for key, value in entries if key == "organizationName"}


@web.middleware
async def _errors_as_text(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A kubelet says what is wrong in plain text; the API server makes a Status of it."""
    task = asyncio.current_task()
    assert task is not None
    request.app[UNDER_WAY].add(task)
    try:
        return await handler(request)
    except ApiError as error:
        return web.Response(status=error.status, text=error.message)
    finally:
        request.app[UNDER_WAY].discard(task)


async def _end_all(app: web.Application) -> None:
    """Commands end with the server that runs them: it waits until they have."""
    under_way = app[UNDER_WAY]
    tasks = list(under_way)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _pods(request: web.Request) -> web.Response:
    """The pods of this node as it knows them."""
    items = [{**pod.context.pod, "apiVersion": "v1", "kind": "Pod"} for pod in request.app[KUBELET].pods]
    return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
