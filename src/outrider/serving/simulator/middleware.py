"""What surrounds every endpoint: counting, logging, errors as JSON, keys, and who may see `/admin/config`."""

import asyncio
import hmac
import ipaddress
import logging
import time
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from outrider.serving.simulator.flags import Flags
from outrider.serving.simulator.http_metrics import EXCLUDED, NO_HANDLER, HttpMetrics
from outrider.serving.simulator.protocol import ApiError, error_body

logger = logging.getLogger("simulator")
access_logger = logging.getLogger("simulator.access")

ADMIN_PATH = "/admin/config"
GUARDED_PREFIXES = ("/v1", "/v2", "/inference")
"""What `--api-key` protects in vLLM; everything else stays open."""


class InFlight:
    """The requests being answered, and whether the server is shutting down."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[object]] = set()
        self.draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> "asyncio.Task[object] | None":
        task = asyncio.current_task()
        if task is not None:
            self.tasks.add(task)
            self._idle.clear()
        return task

    def end(self, task: "asyncio.Task[object] | None") -> None:
        if task is not None:
            self.tasks.discard(task)
        if not self.tasks:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Until no request is being answered."""
        await self._idle.wait()


def observing(metrics: HttpMetrics, flags: Flags, in_flight: InFlight) -> Middleware:
    """Count and log each request when its answer has ended."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        task = in_flight.begin()
        began = time.monotonic()
        # A client that goes away leaves no status of its own: what was begun, or would have been, counts.
        status, size = 200, 0
        try:
            response = await handler(request)
            status, size = response.status, response.content_length or 0
        except asyncio.CancelledError:
            _log_access(request, flags, "the client closed the connection")
            raise
        else:
            _log_access(request, flags, str(status))
            return response
        finally:
            in_flight.end(task)
            path = _handler_of(request)
            if path not in EXCLUDED and path != ADMIN_PATH:
                metrics.observe(
                    handler=path,
                    method=request.method,
                    status=status,
                    seconds=time.monotonic() - began,
                    request_bytes=request.content_length or 0,
                    response_bytes=size,
                )

    return observe


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error has OpenAI's body, also those that no endpoint made."""
    try:
        return await handler(request)
    except ApiError as error:
        if error.status >= 500:
            logger.error(  # noqa: TRY400 - an answer that was meant, its message says all
                "%s %s failed with %d: %s", request.method, request.path, error.status, error.message
            )
        return _json(error.status, error.body())
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _json(error.status, error_body(error.status, error.reason, kind=error.reason), allow)
    except Exception:
        logger.exception("ERROR in %s %s", request.method, request.path)
        return _json(500, error_body(500, "Internal server error", kind="InternalServerError"))


def guarding(keys: tuple[str, ...]) -> Middleware:
    """Ask for one of `keys` as vLLM does, and keep `/admin/config` to this machine."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == ADMIN_PATH and not is_loopback(request.remote):
            raise ApiError(403, f"{ADMIN_PATH} only answers to this machine")
        if keys and request.path.startswith(GUARDED_PREFIXES) and request.method != "OPTIONS":
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            known = [hmac.compare_digest(given.encode(), key.encode()) for key in keys]
            if scheme.lower() != "bearer" or not any(known):
                return _json(401, b'{"error":"Unauthorized"}')
        return await handler(request)

    return guard


def finishing_headers(
    flags: Flags, in_flight: InFlight
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal handler that adds the headers of every answer just before it is sent."""

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "outrider-simulator"
        if flags.enable_request_id_headers:
            response.headers["X-Request-Id"] = request.headers.get("X-Request-Id") or uuid.uuid4().hex
        if in_flight.draining:
            # Or the client would send its next request into a connection that is about to be closed.
            response.headers["Connection"] = "close"
            response.force_close()

    return add_headers


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _handler_of(request: web.Request) -> str:
    """The route's path, also where only the method is wrong; `none` for a path that there is no route for."""
    resource = request.match_info.route.resource
    if resource is not None:
        return resource.canonical
    known = {resource.canonical for resource in request.app.router.resources()}
    return request.path if request.path in known else NO_HANDLER


def _log_access(request: web.Request, flags: Flags, outcome: str) -> None:
    if flags.disable_uvicorn_access_log or request.path in flags.disable_access_log_for_endpoints:
        return
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    host, port = peer[:2] if peer else (request.remote or "-", 0)
    access_logger.info('%s:%s - "%s %s HTTP/1.1" %s', host, port, request.method, request.path_qs, outcome)


def is_loopback(peer: str | None) -> bool:
    """Whether an address is this machine's own: 127.0.0.0/8, where pods of the local world live too, or ::1."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
