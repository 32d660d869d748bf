"""What the operator process serves over HTTP: `/healthz` and `/readyz` for the kubelet, `/metrics` for Prometheus."""

import ssl
from collections.abc import Callable, Mapping

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from outrider.controllers.process.access import MetricsAccess, Verdict
from outrider.controllers.process.settings import Address

log = structlog.get_logger(__name__)

_REFUSALS: dict[Verdict, tuple[int, str]] = {
    "unauthenticated": (401, "a bearer token that this cluster knows is needed\n"),
    "forbidden": (403, "this account may not get /metrics: bind it to a ClusterRole with that non-resource URL\n"),
    "unknown": (503, "the API server cannot be asked who may read metrics\n"),
}


def health_app(waiting_for: Callable[[], Mapping[str, str]]) -> web.Application:
    """`/healthz` says that the process turns; `/readyz` that its caches are filled, and if not, which are not."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        missing = waiting_for()
        if not missing:
            return web.Response(text="ok\n")
        lines = [f"waiting for {what}: {why}\n" for what, why in missing.items()]
        return web.Response(status=503, text="".join(lines))

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def metrics_app(registry: CollectorRegistry, access: MetricsAccess | None) -> web.Application:
    """`/metrics`, for those whom `access` lets in; for everybody without it."""

    async def metrics(request: web.Request) -> web.Response:
        if access is not None:
            verdict = await access.judge(request.headers.get("Authorization", ""))
            if verdict != "allowed":
                status, text = _REFUSALS[verdict]
                headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
                return web.Response(status=status, text=text, headers=headers)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


class Server:
    """An application at an address. Raises `OSError` where it cannot listen there."""

    def __init__(self, what: str, app: web.Application, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self._what = what
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._tls = tls

    async def start(self) -> None:
        await self._runner.setup()
        host, port = self.address.host or None, self.address.port
        await web.TCPSite(self._runner, host, port, ssl_context=self._tls).start()
        self.address = Address(self.address.host, self._runner.addresses[0][1])
        scheme = "https" if self._tls is not None else "http"
        log.info("serving", what=self._what, address=str(self.address), scheme=scheme)

    async def close(self) -> None:
        await self._runner.cleanup()
