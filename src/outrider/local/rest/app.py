"""The REST door: the store behind Kubernetes' paths and JSON, for clients that hold the token.

It is a door to the local world and no Kubernetes: what it does not serve it says so, and names what does.

A browser page cannot drive it: every request needs the bearer token, which no page knows; the Host header must name
this machine, so that a foreign name that resolves to it (DNS rebinding) is refused; and no answer ever carries a CORS
header.
"""

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from outrider.kube.api import ApiError, BadRequest, Forbidden, Unauthorized
from outrider.kube.objects import NAMESPACE, POD
from outrider.local.rest import discovery, handlers, subresources
from outrider.local.rest.parameters import LARGEST_BODY
from outrider.local.rest.statuses import error_response, json_response
from outrider.local.rest.streams import STOPPING
from outrider.local.rest.targets import Target, parse_path, unserved
from outrider.local.store import LogSource, Store
from outrider.local.store.errors import USE_KUBERNETES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PUBLIC = ("/version", "/healthz", "/livez", "/readyz")
"""What needs no token, as with an API server: it tells nothing of the world but that it is there."""

_log = structlog.get_logger("outrider.rest")


def make_app(store: Store, *, token: str, logs: LogSource | None = None) -> web.Application:
    """The application that serves `store` to those who hold `token`. Raises `ValueError` for an empty token.

    `logs` is where the output of containers comes from; without it, logs are not found.
    """
    if not token:
        raise ValueError("the REST door needs a token: without one it would be open to every program and web page here")
    door = _Door(store, token, logs)
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_errors, door.guard])
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop)
    app.router.add_route("*", "/{path:.*}", door.serve)
    return app


async def _stop(app: web.Application) -> None:
    app[STOPPING].set()


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is a Status object, whatever raised it."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error)
    except RecursionError:
        return error_response(BadRequest("the object is nested too deeply"))
    except web.HTTPException as error:
        return error_response(
            ApiError(error.text or error.reason, status=error.status, reason=error.reason.replace(" ", ""))
        )
    except Exception:  # noqa: BLE001  (the last line of defence: a client must get an answer, and the log the reason)
        _log.exception("request failed", method=request.method, path=request.path)
        return error_response(ApiError("an error of the local world's own: its log says more"))


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Door:
    def __init__(self, store: Store, token: str, logs: LogSource | None) -> None:
        self._store = store
        self._token = token.encode()
        self._logs = logs

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_this_machine(request.host):
            raise Forbidden(f"this API is for this machine alone: use 127.0.0.1 or localhost, not {request.host}")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        known = scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)
        if not known and request.path not in _PUBLIC:
            raise Unauthorized("Unauthorized: a bearer token is needed, which the kubeconfig of the local world has")
        return await handler(request)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        found = self._general(request.path.rstrip("/"))
        if found is not None:
            if request.method not in ("GET", "HEAD"):
                raise _wrong_method(request)
            return found
        target = parse_path(self._store, request.rel_url.raw_path)
        if target.subresource:
            return await self._subresource(request, target)
        if not target.name:
            return await self._collection(request, target)
        return await self._object(request, target)

    def _general(self, path: str) -> web.Response | None:
        """What is not about objects."""
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        parts = path.strip("/").split("/")
        match parts:
            case ["version"]:
                return json_response(discovery.version())
            case ["api"]:
                return json_response(discovery.core_versions())
            case ["apis"]:
                return json_response(discovery.group_list(self._store))
            case ["api", version]:
                found = discovery.resource_list(self._store, version)
            case ["apis", group]:
                known = (each for each in discovery.groups(self._store) if each["name"] == group)
                found = next(({"kind": "APIGroup", "apiVersion": "v1", **each} for each in known), None)
            case ["apis", group, version]:
                found = discovery.resource_list(self._store, f"{group}/{version}")
            case _:
                return None
        if found is None:
            raise unserved(path)
        return json_response(found)

    async def _collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        match request.method:
            case "GET" | "HEAD":
                return await handlers.read_collection(request, self._store, target)
            case "POST" if target.namespace or not target.kind.namespaced:
                return await handlers.create_object(request, self._store, target)
        raise _wrong_method(request)

    async def _object(self, request: web.Request, target: Target) -> web.StreamResponse:
        match request.method:
            case "GET" | "HEAD":
                return handlers.get_object(self._store, target)
            case "PUT":
                return await handlers.update_object(request, self._store, target)
            case "PATCH":
                return await handlers.patch_object(request, self._store, target)
            case "DELETE":
                return await handlers.delete_object(request, self._store, target)
        raise _wrong_method(request)

    async def _subresource(self, request: web.Request, target: Target) -> web.StreamResponse:
        rules = self._store.table(target.kind).rules
        match target.subresource, request.method:
            case "status", "GET" | "HEAD" if rules.has_status:
                return handlers.get_object(self._store, target)
            case "status", "PUT" if rules.has_status:
                return await handlers.update_object(request, self._store, target)
            case "status", "PATCH" if rules.has_status:
                return await handlers.patch_object(request, self._store, target)
            case "finalize", "PUT" if target.kind == NAMESPACE:
                return await handlers.update_object(request, self._store, target)
            case "finalize", "PATCH" if target.kind == NAMESPACE:
                return await handlers.patch_object(request, self._store, target)
            case "scale", "GET" | "HEAD" if rules.has_scale:
                return subresources.get_scale(self._store, target)
            case "scale", "PUT" | "PATCH" if rules.has_scale:
                return await subresources.change_scale(request, self._store, target)
            case "eviction", "POST" if target.kind == POD:
                return await subresources.evict_pod(request, self._store, target)
            case "log", "GET" if target.kind == POD:
                return await subresources.read_log(request, self._store, self._logs, target)
        raise unserved(f"{request.method} of {target.kind.plural}/{target.subresource}")


def _wrong_method(request: web.Request) -> ApiError:
    return ApiError(
        f"the local world does not serve {request.method} {request.path}; {USE_KUBERNETES}",
        status=405,
        reason="MethodNotAllowed",
    )
