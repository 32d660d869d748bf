"""`Api` over HTTP: the same client for the local world and for a cluster.

The only module that knows the client library. lightkube turns the configuration into TLS settings and authentication;
the requests go through its HTTP client (httpx2) directly, because lightkube's own calls know no bookmarks, no
inactivity timeout and no paging that survives an expired continue token, and decode into types of its own.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec
from lightkube.config.client_adapter import ConnectionParams  # noqa: TID251  (this is that module)
from lightkube.config.kubeconfig import SingleConfig  # noqa: TID251
from lightkube.config.models import Cluster, Context, User  # noqa: TID251
from lightkube.core.exceptions import ConfigError  # noqa: TID251

from outrider import __version__
from outrider.kube import wire
from outrider.kube.api import (
    ApiError,
    Expired,
    Kind,
    ListResult,
    PatchType,
    Propagation,
    Unauthorized,
    Unavailable,
    WatchEvent,
)
from outrider.kube.clock import Clock, SystemClock
from outrider.kube.exec_plugin import ExecAuth, ExecCredentials
from outrider.kube.kubeconfig import ClusterConfig, KubeconfigError
from outrider.kube.objects import POD

T = TypeVar("T")

PAGE_SIZE = 500
"""Objects a page of a list: client-go's default."""
ATTEMPTS = 4
"""How often a request is sent that the server asks to repeat later."""
LONGEST_RETRY_AFTER = 30.0
"""Seconds. A server that asks for more is not waited for: the caller decides."""
WATCH_INACTIVITY = 75.0
"""Seconds of silence after which a watch is taken for broken: bookmarks come about once a minute."""
WATCH_OVERTIME = 5.0
"""Seconds that a server may take to end a watch by itself, beyond the time that it was given."""

_PATCH_TYPES: dict[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"


class HttpApi:
    """Implements `outrider.kube.api.Api`. Close it with `close`, or use it as an async context manager."""

    def __init__(
        self,
        config: ClusterConfig,
        *,
        clock: Clock | None = None,
        watch_inactivity: float = WATCH_INACTIVITY,
        watch_overtime: float = WATCH_OVERTIME,
    ) -> None:
        self.config = config
        self._clock = clock or SystemClock()
        self._client = _open_client(config, self._clock)
        self._watch_overtime = watch_overtime
        self._stream_timeout = httpx2.Timeout(self._client.timeout.connect, read=watch_inactivity)

    async def close(self) -> None:
        """Close all connections; watches that are open end."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Reading

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        return wire.decode(kind, await self._send("GET", wire.object_path(kind, namespace, name)))

    async def list(self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "") -> ListResult[T]:
        params = wire.selection(labels, fields)
        try:
            return await self._list_pages(kind, namespace, {**params, "limit": str(PAGE_SIZE)})
        except Expired:  # the pages took longer than the server keeps the state they are of
            return await self._list_pages(kind, namespace, params)

    async def _list_pages(self, kind: Kind[T], namespace: str, params: dict[str, str]) -> ListResult[T]:
        items: list[T] = []
        while True:
            content = await self._send("GET", wire.collection_path(kind, namespace), params=params)
            page, version, token = wire.decode_list(kind, content)
            items += page
            if not token:
                return ListResult(tuple(items), version)
            params = {**params, "continue": token}

    async def watch(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent[T]]:
        params = wire.selection(labels, fields) | {"watch": "true", "allowWatchBookmarks": "true"}
        if resource_version:
            params["resourceVersion"] = resource_version
        if timeout is not None:
            params["timeoutSeconds"] = str(max(1, round(timeout)))
        ends_at = None if timeout is None else asyncio.get_running_loop().time() + timeout + self._watch_overtime
        rest = b""
        chunks = self._stream(wire.collection_path(kind, namespace), params, self._stream_timeout)
        try:
            while (chunk := await _next_chunk(chunks, ends_at)) is not None:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield wire.decode_event(kind, line)
        finally:
            await chunks.aclose()
        if rest.strip():
            raise Unavailable(f"the watch of {kind.plural} at {self.config.server} broke off in the middle of an event")

    async def logs(
        self,
        name: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        timestamps: bool = False,
        since_seconds: int | None = None,
        tail_lines: int | None = None,
    ) -> AsyncIterator[bytes]:
        params = {"container": container} if container else {}
        flags = {"follow": follow, "previous": previous, "timestamps": timestamps}
        params |= {flag: "true" for flag, on in flags.items() if on}
        numbers = {"sinceSeconds": since_seconds, "tailLines": tail_lines}
        params |= {option: str(number) for option, number in numbers.items() if number is not None}
        path = wire.object_path(POD, namespace, name, "log")
        patience = None if follow else self._client.timeout.read  # a program may well say nothing for hours
        timeout = httpx2.Timeout(self._client.timeout.connect, read=patience)
        chunks = self._stream(path, params, timeout)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    # Writing

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, dry_run: bool = False) -> T:
        namespace = (body.get("metadata") or {}).get("namespace") or ""
        path = wire.collection_path(kind, namespace)
        wire.require_namespace(kind, namespace)
        return wire.decode(
            kind, await self._send("POST", path, params=wire.dry_run_parameter(dry_run), body=wire.typed(kind, body))
        )

    async def apply(
        self,
        kind: Kind[T],
        body: Mapping[str, Any],
        *,
        owner: str,
        force: bool = True,
        subresource: str = "",
        dry_run: bool = False,
    ) -> T:
        metadata = body.get("metadata") or {}
        path = wire.object_path(kind, metadata.get("namespace") or "", metadata.get("name") or "", subresource)
        params = {"fieldManager": owner, "force": "true" if force else "false", **wire.dry_run_parameter(dry_run)}
        content = await self._send(
            "PATCH", path, params=params, body=wire.typed(kind, body), content_type=_APPLY, repeatable=True
        )
        return wire.decode(kind, content)

    async def patch(
        self,
        kind: Kind[T],
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        owner: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> T:
        params = {"fieldManager": owner} if owner else {}
        path = wire.object_path(kind, namespace, name, subresource)
        content = await self._send(
            "PATCH",
            path,
            params=params | wire.dry_run_parameter(dry_run),
            body=patch,
            content_type=_PATCH_TYPES[patch_type],
        )
        return wire.decode(kind, content)

    async def patch_status(
        self, kind: Kind[T], name: str, status: Mapping[str, Any], namespace: str = "", *, resource_version: str = ""
    ) -> T:
        patch: dict[str, Any] = {"status": status}
        if resource_version:
            patch["metadata"] = {"resourceVersion": resource_version}
        return await self.patch(kind, name, patch, namespace, subresource="status")

    async def delete(
        self,
        kind: Kind[Any],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> None:
        options = wire.delete_options(uid, grace_seconds, dry_run=dry_run) | {"propagationPolicy": propagation}
        await self._send("DELETE", wire.object_path(kind, namespace, name), body=options)

    async def evict(
        self, name: str, namespace: str, *, grace_seconds: int | None = None, dry_run: bool = False
    ) -> None:
        path = wire.object_path(POD, namespace, name, "eviction")
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": wire.delete_options("", grace_seconds, dry_run=dry_run),
        }
        # A budget's refusal is an answer, not an overload: it is the caller's to judge.
        await self._send("POST", path, params=wire.dry_run_parameter(dry_run), body=body, attempts=1)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
    ) -> bytes:
        """The body that the server answers to any request, such as `GET /version`. Raises `ApiError`s."""
        return await self._send(method, path, params=params, body=body, content_type=content_type)

    # Sending

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        repeatable: bool = False,
        attempts: int = ATTEMPTS,
    ) -> bytes:
        """The body of a good answer; what the server asks to repeat later is repeated, as far as that is safe."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": content_type}
        repeatable = repeatable or method == "GET"
        while True:
            attempts -= 1
            try:
                response = await self._client.request(method, path, params=params, content=content, headers=headers)
            except httpx2.RemoteProtocolError as error:
                # Most often a connection that the server closed just as it was used again.
                if repeatable and attempts > 0:
                    continue
                raise self._unreachable(error) from error
            except (httpx2.HTTPError, OSError) as error:
                raise self._unreachable(error) from error
            except ConfigError as error:
                raise Unauthorized(f"{self.config.source}: {error}") from error
            if response.is_success:
                return response.content
            refusal = self._refusal(response, response.content)
            delay = _repeat_after(refusal, repeatable=repeatable)
            if attempts <= 0 or delay is None:
                raise refusal
            await self._clock.sleep(delay)

    async def _stream(
        self, path: str, params: Mapping[str, str], timeout: httpx2.Timeout
    ) -> AsyncGenerator[bytes, None]:
        """The chunks of a good answer as they come. Closing the generator closes the connection."""
        try:
            async with self._client.stream("GET", path, params=params, timeout=timeout) as response:
                if not response.is_success:
                    raise self._refusal(response, await response.aread())
                async for chunk in response.aiter_bytes():
                    yield chunk
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise self._unreachable(error) from error
        except ConfigError as error:
            raise Unauthorized(f"{self.config.source}: {error}") from error

    def _refusal(self, response: httpx2.Response, content: bytes) -> ApiError:
        error = wire.decode_error(response.status_code, content, response.headers.get("Retry-After"))
        if isinstance(error, Unauthorized):
            error.message = f"{self.config.server} refused the credentials of {self.config.source}: {error.message}"
            error.args = (error.message,)
        return error

    def _unreachable(self, error: Exception) -> Unavailable:
        """What a failed connection means, in words that name the server and say what to do."""
        local = _is_loopback(self.config.server)
        hint = "is it running? `outrider up` starts a local world" if local else "check the network, VPN and proxy"
        cause = str(error) or type(error).__name__
        if isinstance(error, httpx2.TimeoutException):
            cause = f"no answer in time ({type(error).__name__})"
        if "CERTIFICATE" in cause.upper():
            hint = "check certificate-authority and tls-server-name of the cluster"
        origin = f" (from {self.config.source})" if self.config.source else ""
        return Unavailable(f"cannot reach the API server {self.config.server}{origin}: {cause}; {hint}")


async def _next_chunk(chunks: AsyncGenerator[bytes, None], ends_at: float | None) -> bytes | None:
    """The next chunk; None at the end of the stream, or of the time that the server should have kept to itself."""
    try:
        async with asyncio.timeout_at(ends_at):
            return await anext(chunks, None)
    except TimeoutError:
        return None


def _repeat_after(refusal: ApiError, *, repeatable: bool) -> float | None:
    """Seconds after which to send a refused request again; None if it should not be.

    429 is said before a request is looked at, so that any may be repeated. After 5xx it may have been carried out.
    """
    delay = refusal.retry_after
    if delay is None or delay > LONGEST_RETRY_AFTER:
        return None
    return delay if refusal.status == 429 or (refusal.status >= 500 and repeatable) else None


# Connecting


def _open_client(config: ClusterConfig, clock: Clock) -> httpx2.AsyncClient:
    """The HTTP client for a cluster. Raises `KubeconfigError` for certificates that cannot be loaded."""
    loopback = _is_loopback(config.server)
    # As in Go, and so kubectl, no proxy of the environment comes between this machine and itself.
    parameters = ConnectionParams(
        timeout=httpx2.Timeout(60.0, connect=10.0), trust_env=not loopback, proxy=config.proxy_url or None
    )
    try:
        settings = parameters.httpx_params(_library_config(config))
    except (OSError, ValueError, ssl.SSLError) as error:
        raise KubeconfigError(
            f"{config.source}: cannot load the certificates of the cluster or user: {error}"
        ) from error
    if config.exec is not None:
        settings["auth"] = ExecAuth(ExecCredentials(config, config.exec, clock), settings["verify"])
    client = httpx2.AsyncClient(
        **settings,
        headers={"User-Agent": f"outrider/{__version__}", "Accept": "application/json"},
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),  # each watch holds a connection
    )
    if config.tls_server_name:
        client.event_hooks["request"] = [_use_server_name(config.tls_server_name)]
    return client


def _library_config(config: ClusterConfig) -> SingleConfig:
    def text(path: Path | None) -> str | None:
        return str(path) if path is not None else None

    return SingleConfig(
        context_name=config.context,
        context=Context(cluster="", namespace=config.namespace or None),
        cluster=Cluster(
            server=config.server,
            certificate_auth=text(config.certificate_authority),
            certificate_auth_data=config.certificate_authority_data or None,
            # Loading the system's certificates takes longer than most requests; without TLS nobody reads them.
            insecure=config.insecure_skip_tls_verify or config.server.startswith("http://"),
        ),
        user=User(
            username=config.username or None,
            password=config.password or None,
            token=config.token or None,
            token_file=text(config.token_file),
            client_cert=text(config.client_certificate),
            client_cert_data=config.client_certificate_data or None,
            client_key=text(config.client_key),
            client_key_data=config.client_key_data or None,
        ),
    )


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _use_server_name(name: str) -> Callable[[httpx2.Request], Awaitable[None]]:
    async def hook(request: httpx2.Request) -> None:
        request.extensions["sni_hostname"] = name

    return hook
