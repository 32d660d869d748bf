"""The reverse proxy: one request in, one request to a pod, one answer back, chunk by chunk.

Three rules keep it honest:

* Only what was never sent is sent elsewhere. A pod that got a request and died may have acted on it: 502.
* An answer that a pod broke off is broken off for the client too; it never looks complete.
* A client that goes away ends its request at the pod, so that no GPU generates for nobody.
"""

from dataclasses import dataclass
from typing import Self

import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict

from outrider.api.labels import PROBE_HEADER, REQUEST_ID_HEADER, REVISION_HEADER
from outrider.kube.clock import Clock
from outrider.local.gateway.answers import bad_gateway, no_route, not_ready, refusal
from outrider.local.gateway.compiled import Rule
from outrider.local.gateway.headers import end_to_end, forwarded, request_id
from outrider.local.gateway.matching import host_of
from outrider.local.gateway.metrics import CLIENT_CLOSED_REQUEST, GatewayMetrics, Series
from outrider.local.gateway.pool import Endpoint
from outrider.local.gateway.routes import Found, Identity, RoutingTable
from outrider.local.gateway.upstream import (
    BrokenError,
    NoAnswerError,
    NotSentError,
    Upstream,
    UpstreamResponse,
    reset_on_close,
)

ATTEMPTS = 3
"""Endpoints that a request is offered to, as long as it could not be sent."""
REST_SECONDS = 1.0
"""An endpoint that refused a connection is the last choice for so long: it has the fewest requests in flight, and would
otherwise be asked first again and again."""
UNMATCHED = Identity("", "unmatched")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Exchange:
    """What is needed to send a request, to as many endpoints as it takes."""

    request: web.Request
    rule: Rule
    target: str
    headers: CIMultiDict[str]
    body: bytes | None
    """The whole body where it had come already; else it is streamed."""
    probe: bool
    began: float

    @property
    def id(self) -> str:
        return self.headers[REQUEST_ID_HEADER]


class Proxy:
    """Sends requests to the pods that the routing table names. Use it as an async context manager."""

    def __init__(self, table: RoutingTable, metrics: GatewayMetrics, clock: Clock) -> None:
        self._table = table
        self._metrics = metrics
        self._clock = clock
        self._upstream = Upstream()
        self._resting: dict[Endpoint, float] = {}

    async def __aenter__(self) -> Self:
        await self._upstream.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._upstream.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request with what a pod says, or with why no pod can."""
        began = self._clock.monotonic()
        headers = request.headers
        authority, target = authority_and_target(request)
        if headers.get(hdrs.UPGRADE, "").lower() == "websocket" or request.method in ("CONNECT", "TRACE"):
            answer = refusal(
                501, "not_implemented", "This gateway passes on HTTP requests, no WebSocket, CONNECT or TRACE."
            )
            return self._refuse(answer, UNMATCHED, request_id(headers), began, probe=PROBE_HEADER in headers)
        path, question, query = target.partition("?")
        host = host_of(authority)
        found = self._table.find(host, path, request.method, headers)
        if found is None:
            answer = no_route(host, path, self._table.known())
            return self._refuse(answer, UNMATCHED, request_id(headers), began, probe=PROBE_HEADER in headers)
        return await self._forward(_exchange(request, found, question + query, authority, began))

    async def _forward(self, exchange: _Exchange) -> web.StreamResponse:
        tried: list[Endpoint] = []
        why = ""
        while len(tried) < ATTEMPTS:
            endpoint = self._choose(exchange.rule, tried)
            if endpoint is None:
                break
            try:
                return await self._send(exchange, endpoint)
            except NotSentError as failure:
                tried.append(endpoint)
                self._resting[endpoint] = self._clock.monotonic() + REST_SECONDS
                why = f"none of {len(tried)} pods took the connection, the last one: {failure}"
        answer = not_ready(why or self._table.why_none(exchange.rule))
        # Where pods were tried it is their revision that failed, though none of them ever saw the request.
        identity = self._table.identity(exchange.rule, tried[-1] if tried else None)
        return self._refuse(answer, identity, exchange.id, exchange.began, probe=exchange.probe)

    def _choose(self, rule: Rule, tried: list[Endpoint]) -> Endpoint | None:
        if not self._resting and not tried:
            return self._table.choose(rule)
        now = self._clock.monotonic()
        self._resting = {endpoint: until for endpoint, until in self._resting.items() if until > now}
        return self._table.choose(rule, {*self._resting, *tried}) or self._table.choose(rule, tried)

    async def _send(self, exchange: _Exchange, endpoint: Endpoint) -> web.StreamResponse:
        """Send the request to one endpoint and its answer to the client. Raises `NotSentError`."""
        identity = self._table.identity(exchange.rule, endpoint)
        series = self._metrics.series(identity, probe=exchange.probe)
        code: str | None = CLIENT_CLOSED_REQUEST  # unless it comes to an end here
        endpoint.begin()
        series.begin()
        try:
            async with self._upstream.ask(
                exchange.request, endpoint.base_url + exchange.target, exchange.headers, exchange.body
            ) as answer:
                response = _response(exchange, answer, identity)
                code = await self._relay(exchange, answer, response, series)
        except NotSentError:
            code = None
            series.not_sent()
            raise
        except NoAnswerError as failure:
            log.info("no answer from a pod", url=endpoint.base_url, request=exchange.id, error=str(failure))
            response = bad_gateway(f"{endpoint.base_url}: {failure}")
            response.headers[REQUEST_ID_HEADER] = exchange.id
            code = "502"
            series.unanswered()
        finally:
            endpoint.end()
            series.end(code, self._clock.monotonic() - exchange.began)
        return response

    async def _relay(
        self, exchange: _Exchange, answer: UpstreamResponse, response: web.StreamResponse, series: Series
    ) -> str:
        """Pass the answer on as it comes; gives the code to count it under."""
        if isinstance(response, web.Response):
            return str(response.status)  # it is complete, and is written when the handler returns
        try:
            await response.prepare(exchange.request)
            chunk = await answer.next_chunk()
            if answer.is_event_stream:
                series.first_chunk(self._clock.monotonic() - exchange.began)
            while chunk:
                await response.write(chunk)
                chunk = await answer.next_chunk()
            await response.write_eof()
        except BrokenError as failure:
            log.info("a pod broke off its answer", url=answer.url, request=exchange.id, error=str(failure))
            series.broken()
            _break_off(exchange.request)
        except ConnectionError:
            return CLIENT_CLOSED_REQUEST
        return str(response.status)

    def _refuse(
        self, answer: web.Response, identity: Identity, identifier: str, began: float, *, probe: bool
    ) -> web.Response:
        answer.headers[REQUEST_ID_HEADER] = identifier
        series = self._metrics.series(identity, probe=probe)
        series.begin()
        series.end(str(answer.status), self._clock.monotonic() - began)
        return answer


def authority_and_target(request: web.BaseRequest) -> tuple[str, str]:
    """Host (with port) and path with query, as they were sent. An absolute URL in the request line wins over `Host`."""
    target = request.raw_path
    if target.startswith("http://"):
        authority, slash, path = target.removeprefix("http://").partition("/")
        return authority, slash + path
    return request.headers.get(hdrs.HOST, ""), target


def _exchange(request: web.Request, found: Found, query: str, authority: str, began: float) -> _Exchange:
    headers = end_to_end(request.headers)
    forwarded(headers, client=request.remote or "", host=authority, identity=request_id(request.headers))
    content = request.content
    return _Exchange(
        request=request,
        rule=found.rule,
        target=found.path + query,
        headers=headers,
        body=content.read_nowait(-1) if request.body_exists and content.is_eof() else None,
        probe=PROBE_HEADER in request.headers,
        began=began,
    )


def _response(exchange: _Exchange, answer: UpstreamResponse, identity: Identity) -> web.StreamResponse:
    """The answer to the client: one write where the pod's answer is here as a whole, else a stream."""
    headers = end_to_end(answer.headers)
    headers[REQUEST_ID_HEADER] = exchange.id
    if identity.revision:
        headers[REVISION_HEADER] = identity.revision
    whole = answer.whole_body() if exchange.request.method != hdrs.METH_HEAD else None
    if whole:
        headers.popall(hdrs.CONTENT_LENGTH, None)
        return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=whole)
    return web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)


def _break_off(request: web.BaseRequest) -> None:
    """End the client's connection so that it cannot take the answer for complete."""
    if request.transport is not None:
        if request.version < (1, 1):  # such an answer ends with the connection: only a reset says that it is cut
            reset_on_close(request.transport)
        request.transport.abort()
