"""Requests to one API server: connections, credentials, proxies, repetition, and what a failure means in words.

Of the HTTP client only this module and those it is made of (`authentication`, `exec_plugin`, `tls`) know anything.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from outrider import __version__
from outrider.kube import wire
from outrider.kube.api import ApiError, Unauthorized, Unavailable
from outrider.kube.authentication import Authenticator, Credential, FixedCredential, fixed_or_file
from outrider.kube.clock import Clock
from outrider.kube.exec_plugin import ExecCredentials
from outrider.kube.kubeconfig import ClusterConfig, KubeconfigError
from outrider.kube.metrics import ClientMetrics
from outrider.kube.proxies import is_loopback, proxy_for
from outrider.kube.tls import ClientTls

ATTEMPTS = 4
"""How often a request is sent that the server asks to repeat later."""
LONGEST_RETRY_AFTER = 30.0
"""Seconds. A server that asks for more is not waited for: the caller decides."""
REQUEST_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
"""A server gives up on a request after 60 seconds by itself."""
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60.0)
"""No limit on connections, since each watch holds one; resting ones are closed before servers do so (90 s in Go)."""

Guard = Callable[[], None]
"""Called as a write is about to leave; what it raises stops the write."""


def _socket_options() -> list[tuple[int, int, int]]:
    """Notice within half a minute that the other side is gone without a word, instead of after many minutes."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, name):  # Linux has all of them
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


@dataclass
class _Pool:
    """An HTTP client, and how many requests are using it."""

    client: httpx2.AsyncClient
    uses: int = 0


class Transport:
    """Sends requests to the server of `config`. Raises `KubeconfigError` for certificates that cannot be loaded."""

    def __init__(self, config: ClusterConfig, clock: Clock, metrics: ClientMetrics | None = None) -> None:
        self.config = config
        self._clock = clock
        self._metrics = metrics
        self._host = urlsplit(config.server).netloc
        self._authenticator = _authenticator(config, clock)
        try:
            self._tls = ClientTls(config, clock)
            self._pool = _Pool(self._open())
        except (OSError, ValueError, ssl.SSLError) as error:
            raise KubeconfigError(
                f"{config.source}: cannot load the certificates of the cluster or user: {error}"
            ) from error
        except ImportError as error:
            raise KubeconfigError(
                f"{config.source}: {config.proxy_url} is a SOCKS proxy, which needs one more package: "
                'pip install "httpx2[socks]"'
            ) from error
        self._retired: list[_Pool] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._presented: Credential | None = None

    async def close(self) -> None:
        """Close all connections; streams that are open end."""
        for pool in (self._pool, *self._retired):
            await pool.client.aclose()
        await asyncio.gather(*self._closing)

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        repeatable: bool = False,
        attempts: int = ATTEMPTS,
        guard: Guard | None = None,
    ) -> bytes:
        """The body of a good answer; what the server asks to repeat later is repeated, as far as that is safe."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": content_type}
        repeatable = repeatable or method == "GET"
        while True:
            attempts -= 1
            try:
                async with self._answer(method, path, params, headers, content, guard=guard) as response:
                    answer = await response.aread()
            except httpx2.RemoteProtocolError as error:
                # Most often a connection that the server closed just as it was used again.
                if repeatable and attempts > 0:
                    continue
                raise self._unreachable(error) from error
            except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
                raise self._unreachable(error) from error
            if response.is_success:
                return answer
            refusal = self._refusal(response, answer)
            delay = _repeat_after(refusal, repeatable=repeatable)
            if attempts <= 0 or delay is None:
                raise refusal
            await self._clock.sleep(delay)

    async def stream(
        self, path: str, params: Mapping[str, str], *, silence: float | None
    ) -> AsyncGenerator[bytes, None]:
        """The chunks of a good answer as they come. Closing the generator closes the connection.

        `silence` is the longest pause between chunks, in seconds; None for no limit.
        """
        timeout = httpx2.Timeout(REQUEST_TIMEOUT.connect, read=silence)
        try:
            async with self._answer("GET", path, params, {}, None, timeout=timeout) as response:
                if not response.is_success:
                    raise self._refusal(response, await response.aread())
                async for chunk in response.aiter_bytes():
                    yield chunk
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise self._unreachable(error) from error

    # One request

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        guard: Guard | None = None,
        timeout: httpx2.Timeout = REQUEST_TIMEOUT,
    ) -> AsyncIterator[httpx2.Response]:
        """The head of an answer, whatever it says. A credential that is refused is replaced, once another is there."""
        credential = await self._authenticator.get()
        while True:
            self._present(credential)
            own = {"Authorization": credential.authorization} if credential.authorization else {}
            with self._use() as client:
                request = client.build_request(
                    method, path, params=params, headers={**headers, **own}, content=content, timeout=timeout,
                    extensions=self._extensions(guard),
                )  # fmt: skip
                response = await self._counted(client, request)
                try:
                    if response.status_code != 401:
                        yield response
                        return
                    other = await self._authenticator.get(instead_of=credential)
                    if other is credential:
                        yield response
                        return
                    credential = other
                finally:
                    await response.aclose()

    async def _counted(self, client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        started = self._clock.monotonic()
        code = "<error>"
        try:
            response = await client.send(request, stream=True)
            code = str(response.status_code)
        finally:
            if self._metrics is not None:
                self._metrics.answered(request.method, self._host, code, self._clock.monotonic() - started)
        return response

    def _extensions(self, guard: Guard | None) -> dict[str, Any]:
        extensions: dict[str, Any] = {}
        if self.config.tls_server_name:
            extensions["sni_hostname"] = self.config.tls_server_name
        if guard is not None:

            async def last_look(event: str, _info: Mapping[str, Any]) -> None:
                # After waiting for a connection, and just before the first byte is written.
                if event == "http11.send_request_headers.started":
                    guard()

            guard()
            extensions["trace"] = last_look
        return extensions

    # Connections

    def _present(self, credential: Credential) -> None:
        """Show a plugin's client certificate, or files that were replaced, from now on.

        A connection keeps the identity that it was opened with, so that new connections are needed.
        """
        renewed = self._tls.refresh()
        if credential.certificate and credential is not self._presented:
            self._tls.present(credential.certificate.encode(), credential.key.encode())
            renewed = True
        first, self._presented = self._presented is None, credential
        if not renewed or (first and not self._pool.uses):
            return
        self._retired.append(self._pool)
        self._pool = _Pool(self._open())

    @contextmanager
    def _use(self) -> Iterator[httpx2.AsyncClient]:
        """Count a request on its pool as long as it lasts; a retired pool closes after its last one."""
        pool = self._pool
        pool.uses += 1
        try:
            yield pool.client
        finally:
            pool.uses -= 1
            for retired in [one for one in self._retired if not one.uses]:
                self._retired.remove(retired)
                self._closing.add(task := asyncio.ensure_future(retired.client.aclose()))
                task.add_done_callback(self._closing.discard)

    def _open(self) -> httpx2.AsyncClient:
        config = self.config
        proxy = config.proxy_url or proxy_for(config.server, os.environ) or None
        transport = httpx2.AsyncHTTPTransport(
            verify=self._tls.context, trust_env=False, limits=LIMITS, proxy=proxy, socket_options=_socket_options()
        )
        headers = [("User-Agent", f"outrider/{__version__}"), ("Accept", "application/json"), *config.impersonation]
        return httpx2.AsyncClient(
            base_url=config.server, transport=transport, trust_env=False, timeout=REQUEST_TIMEOUT, headers=headers
        )

    # Failures

    def _refusal(self, response: httpx2.Response, content: bytes) -> ApiError:
        error = wire.decode_error(response.status_code, content, response.headers.get("Retry-After"))
        if isinstance(error, Unauthorized):
            error.message = f"{self.config.server} refused the credentials of {self.config.source}: {error.message}"
            error.args = (error.message,)
        return error

    def _unreachable(self, error: Exception) -> Unavailable:
        """What a failed connection means, in words that name the server and say what to do."""
        local = is_loopback(urlsplit(self.config.server).hostname or "")
        hint = "is it running? `outrider up` starts a local world" if local else "check the network, VPN and proxy"
        cause = str(error) or type(error).__name__
        if isinstance(error, httpx2.TimeoutException):
            cause = f"no answer in time ({type(error).__name__})"
        if "CERTIFICATE" in cause.upper():
            hint = "check certificate-authority and tls-server-name of the cluster"
        origin = f" (from {self.config.source})" if self.config.source else ""
        return Unavailable(f"cannot reach the API server {self.config.server}{origin}: {cause}; {hint}")


def _authenticator(config: ClusterConfig, clock: Clock) -> Authenticator:
    known = fixed_or_file(config, clock)
    if known is not None:
        return known
    return ExecCredentials(config, config.exec, clock) if config.exec is not None else FixedCredential()


def _repeat_after(refusal: ApiError, *, repeatable: bool) -> float | None:
    """Seconds after which to send a refused request again; None if it should not be.

    429 is said before a request is looked at, so that any may be repeated. After 5xx it may have been carried out.
    """
    delay = refusal.retry_after
    if delay is None or delay > LONGEST_RETRY_AFTER:
        return None
    return delay if refusal.status == 429 or (refusal.status >= 500 and repeatable) else None
