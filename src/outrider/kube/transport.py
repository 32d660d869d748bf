"""Requests to one API server: connections, credentials, proxies, repetition, and what a failure means in words."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from outrider import __version__
from outrider.kube import wire
from outrider.kube.api import ApiError, Unauthorized, Unavailable
from outrider.kube.authentication import Authenticator, Credential, FixedCredential, fixed_or_file
from outrider.kube.clock import Clock
from outrider.kube.exec_plugin import ExecCredentials
from outrider.kube.kubeconfig import ClusterConfig, KubeconfigError
from outrider.kube.proxies import is_loopback, proxy_for
from outrider.kube.tls import ClientTls

if TYPE_CHECKING:  # prometheus_client costs every command 20 ms, and none has metrics
    from outrider.kube.metrics import ClientMetrics

ATTEMPTS = 4
"""How often a request is sent that the server asks to repeat later."""
LONGEST_RETRY_AFTER = 30.0
"""Seconds. A server that asks for more is not waited for: the caller decides."""
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""A server gives up on a request after 60 seconds by itself."""
KEEPALIVE_SECONDS = 60.0
"""Resting connections are closed before servers do so (after 90 s in Go)."""

Guard = Callable[[], None]
"""Called as a write is about to leave; what it raises stops the write."""


_NOTICE_DEATH = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000))
"""Notice within half a minute that the other side is gone without a word, instead of after many minutes."""


def _make_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _NOTICE_DEATH:
        if hasattr(socket, name):  # Linux has all of them
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


async def _last_look(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    """Ask the guard once more: there is a connection, and the request's first byte is about to be written."""
    if context.trace_request_ctx is not None:
        context.trace_request_ctx()


@dataclass
class _Pool:
    """Connections that were opened with one identity, and how many requests are using them."""

    session: aiohttp.ClientSession
    uses: int = 0


class Transport:
    """Sends requests to the server of `config`. Raises `KubeconfigError` for certificates that cannot be loaded."""

    def __init__(self, config: ClusterConfig, clock: Clock, metrics: "ClientMetrics | None" = None) -> None:
        self.config = config
        self._clock = clock
        self._metrics = metrics
        self._host = urlsplit(config.server).netloc
        self._authenticator = _authenticator(config, clock)
        self._proxy = config.proxy_url or proxy_for(config.server, os.environ)
        if self._proxy and urlsplit(self._proxy).scheme not in ("http", "https"):
            scheme = urlsplit(self._proxy).scheme  # not all of it: there may be a password in it
            raise KubeconfigError(f"{config.source}: {scheme} proxies are not supported: use an HTTP proxy")
        try:
            self._tls = ClientTls(config, clock)
        except (OSError, ValueError, ssl.SSLError) as error:
            raise KubeconfigError(
                f"{config.source}: cannot load the certificates of the cluster or user: {error}"
            ) from error
        self._pool: _Pool | None = None
        self._closed = False
        self._retired: list[_Pool] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._presented: Credential | None = None

    async def close(self) -> None:
        """Close all connections; streams that are open end."""
        self._closed = True
        for pool in (self._pool, *self._retired):
            if pool is not None:
                await pool.session.close()
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
                    answer = await response.read()
                if self._metrics is not None:
                    self._metrics.exchanged(method, self._host, len(content or b""), len(answer))
            except aiohttp.ServerDisconnectedError as error:
                # Most often a connection that the server closed just as it was used again.
                if repeatable and attempts > 0:
                    continue
                raise self._unreachable(error) from error
            except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError, too
                raise self._unreachable(error) from error
            if response.ok:
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
        try:
            async with self._answer("GET", path, params, {}, None, silence=silence) as response:
                if not response.ok:
                    raise self._refusal(response, await response.read())
                async for chunk in response.content.iter_any():
                    if self._metrics is not None:
                        self._metrics.watched(self._host, len(chunk))
                    yield chunk
        except (aiohttp.ClientError, OSError) as error:
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
        silence: float | None = SILENCE_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The head of an answer, whatever it says. A credential that is refused is replaced, once another is there."""
        credential = await self._authenticator.get()
        while True:
            self._present(credential)
            own = {"Authorization": credential.authorization} if credential.authorization else {}
            with self._use() as session:
                if guard is not None:
                    guard()
                response = await self._counted(
                    session, method, self._url(path, params), headers={**headers, **own}, data=content, guard=guard,
                    silence=silence,
                )  # fmt: skip
                try:
                    if response.status != 401:
                        yield response
                        return
                    other = await self._authenticator.get(instead_of=credential)
                    if other is credential:
                        yield response
                        return
                    credential = other
                finally:
                    response.close()  # which keeps the connection if all was read

    async def _counted(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        data: bytes | None,
        guard: Guard | None,
        silence: float | None,
    ) -> aiohttp.ClientResponse:
        started = self._clock.monotonic()
        code = "<error>"
        try:
            response = await session.request(
                method,
                url,
                headers=headers,
                data=data,
                proxy=self._proxy or None,
                allow_redirects=False,
                server_hostname=self.config.tls_server_name or None,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence),
                trace_request_ctx=guard,
            )
            code = str(response.status)
        finally:
            if self._metrics is not None:
                self._metrics.answered(method, self._host, code, self._clock.monotonic() - started)
        return response

    def _url(self, path: str, params: Mapping[str, str] | None) -> URL:
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        return URL(f"{self.config.server}{path}{query}", encoded=True)

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
        if not renewed or self._pool is None or (first and not self._pool.uses):
            return
        self._retired.append(self._pool)
        self._pool = None

    @contextmanager
    def _use(self) -> Iterator[aiohttp.ClientSession]:
        """Count a request on its pool as long as it lasts; a retired pool closes after its last one."""
        if self._closed:
            raise Unavailable(f"the connection to {self.config.server} has been closed")
        pool = self._pool = self._pool or _Pool(self._open())
        pool.uses += 1
        try:
            yield pool.session
        finally:
            pool.uses -= 1
            for retired in [one for one in self._retired if not one.uses]:
                self._retired.remove(retired)
                self._closing.add(task := asyncio.ensure_future(retired.session.close()))
                task.add_done_callback(self._closing.discard)

    def _open(self) -> aiohttp.ClientSession:
        # No limit on connections, since each watch holds one.
        connector = aiohttp.TCPConnector(
            ssl=self._tls.context, limit=0, keepalive_timeout=KEEPALIVE_SECONDS, socket_factory=_make_socket
        )
        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(_last_look)
        headers = CIMultiDict([("User-Agent", f"outrider/{__version__}"), ("Accept", "application/json")])
        headers.extend(self.config.impersonation)
        return aiohttp.ClientSession(
            connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[tracing]
        )

    # Failures

    def _refusal(self, response: aiohttp.ClientResponse, content: bytes) -> ApiError:
        error = wire.decode_error(response.status, content, response.headers.get("Retry-After"))
        if isinstance(error, Unauthorized):
            error.message = f"{self.config.server} refused the credentials of {self.config.source}: {error.message}"
            error.args = (error.message,)
        return error

    def _unreachable(self, error: Exception) -> Unavailable:
        """What a failed connection means, in words that name the server and say what to do."""
        local = is_loopback(urlsplit(self.config.server).hostname or "")
        hint = "is it running? `outrider up` starts a local world" if local else "check the network, VPN and proxy"
        cause = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            cause = f"no answer in time ({type(error).__name__})"
        if "CERTIFICATE" in cause.upper():
            hint = "check certificate-authority and tls-server-name of the cluster"
            if "expired" in cause or "not yet valid" in cause:
                hint = "renew the server's certificate, and see that this machine's clock is right"
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
