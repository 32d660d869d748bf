"""Does a model server answer a real request? One small completion, and a sentence about what happened.

`/health` is no answer to that: an engine can be wedged for hours while `/health` says 200 (vllm-project/vllm#36960).
"""

import asyncio
import errno
from collections.abc import Mapping
from typing import Literal

import aiohttp
import msgspec

from outrider.api.clock import Clock
from outrider.api.labels import PROBE_HEADER
from outrider.api.meta import Instant

PROMPT = "Say OK."
MAX_TOKENS = 4
"""More than one, so that a decode step after the prefill is exercised too."""
MAX_ANSWER_BYTES = 1 << 20
HEALTH_TIMEOUT = 1.0
"""Seconds that `/health` gets, after a completion timed out, to tell a wedged engine from an unreachable pod."""
CONNECTING = 0.8
"""The part of its time that a probe has to connect: a first packet that got lost is sent again after 1 and 3 s."""
NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EHOSTDOWN}
_EXCERPT = 200
MODEL_SERVER = "the model server"


StatusClass = Literal["2xx", "4xx", "5xx"]


class ProbeResult(msgspec.Struct, frozen=True):
    """What one real completion showed."""

    ok: bool | None
    """True: answered with text. False: it did not. None: it cannot be told (nothing was sent)."""
    at: Instant
    """When the probe ended."""
    latency_seconds: float
    """From sending to the last byte of the answer, or to the failure."""
    error: str = ""
    """A sentence that says what is wrong; empty when `ok`."""
    detail: str = ""
    """The text that the model answered, or an excerpt of the body that could not be used."""
    counted_as: StatusClass | None = None
    """Under which status the server's own `http_requests_total` has this probe; None where it cannot have it.

    vLLM ends a request whose client went away with an empty 200, so one that timed out is there as `2xx`.
    """
    reached: bool = True
    """False: no connection came about, so nothing was sent. Its node, or the network, may be to blame as well as the
    server. One that refuses connections was reached.
    """


class _Choice(msgspec.Struct, frozen=True):
    text: str | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    completion_tokens: int = 0


class _Completion(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None


class _ErrorDetail(msgspec.Struct, frozen=True):
    message: str = ""


class _ErrorBody(msgspec.Struct, frozen=True):
    """OpenAI's `{"error": {"message"}}`; older vLLM has `message` at the top."""

    error: _ErrorDetail | None = None
    message: str = ""


_completion_decoder = msgspec.json.Decoder(_Completion)
_error_decoder = msgspec.json.Decoder(_ErrorBody)


async def probe(
    session: aiohttp.ClientSession,
    url: str,
    model: str,
    *,
    clock: Clock,
    timeout: float = 5.0,
    headers: Mapping[str, str] | None = None,
    max_tokens: int = MAX_TOKENS,
    whom: str = MODEL_SERVER,
) -> ProbeResult:
    """Ask the model server at base `url` (`http://HOST:PORT`) for a completion of `model`, and judge the answer.

    It is good when the answer is 200, decodes, has a choice with text (or one that the model itself ended) and
    `usage.completion_tokens` >= 1. Timeouts and connection errors are results; nothing but cancellation is raised.
    `timeout` is in seconds for the whole exchange; `headers` are added (an `Authorization`, say); `whom` is what
    answers at that URL, for the sentences.
    """
    began = clock.monotonic()
    status: StatusClass | None = None
    connecting = CONNECTING * timeout

    def result(
        error: str = "", detail: str = "", counted_as: StatusClass | None = None, *, reached: bool = True
    ) -> ProbeResult:
        return ProbeResult(
            ok=not error,
            at=clock.now(),
            latency_seconds=clock.monotonic() - began,
            error=error,
            detail=detail[:_EXCERPT],
            counted_as=counted_as,
            reached=reached,
        )

    body = {"model": model, "prompt": PROMPT, "max_tokens": max_tokens, "temperature": 0, "stream": False}
    try:
        async with (
            asyncio.timeout(timeout),
            session.post(
                f"{url.rstrip('/')}/v1/completions",
                data=msgspec.json.encode(body),
                headers={"content-type": "application/json", PROBE_HEADER: "true", **(headers or {})},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connecting),
                allow_redirects=False,
            ) as response,
        ):
            status = _class_of(response.status)
            content = await _read(response)
            error, detail = judge(response.status, content, whom)
    except aiohttp.ConnectionTimeoutError:
        return result(f"no connection to {_where(url)} within {connecting:g} s", reached=False)
    except TimeoutError:
        # Timed here: asking /health is not part of the latency.
        failed = result(f"no answer within {timeout:g} s", counted_as=status or "2xx")
        return msgspec.structs.replace(failed, error=f"{failed.error} {await _what_health_says(session, url)}")
    except aiohttp.InvalidURL as problem:
        return msgspec.structs.replace(result(f"cannot probe: {problem} is not a URL"), ok=None)
    except (aiohttp.ClientError, OSError) as problem:
        return result(_connection_sentence(problem, url, whom), counted_as=status, reached=not _no_way(problem))
    return result(error, detail, status)


def _class_of(status: int) -> StatusClass:
    if status >= 500:
        return "5xx"
    return "4xx" if status >= 400 else "2xx"


def judge(status: int, content: bytes, whom: str = MODEL_SERVER) -> tuple[str, str]:
    """(error, detail) of an answer; the error is empty when the answer is a completion with at least one token."""
    text = content.decode("utf-8", "replace").strip()
    if status != 200:
        return f"{whom} answered {status}: {_server_message(content) or text[:_EXCERPT] or 'no body'}", text
    try:
        completion = _completion_decoder.decode(content)
    except msgspec.MsgspecError as problem:
        return f"{whom} answered 200 with something that is not a completion: {problem}", text
    if not completion.choices:
        return f"{whom} answered 200 without a choice", text
    choice = completion.choices[0]
    if completion.usage is None or completion.usage.completion_tokens < 1:
        return f"{whom} answered 200 but generated no token", text
    if choice.text is None or (not choice.text and choice.finish_reason != "stop"):
        return f"{whom} answered 200 with tokens but without text", text
    return "", choice.text


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, up to a limit: what is longer is no answer to a request for four tokens, and will not decode."""
    parts = bytearray()
    async for chunk in response.content.iter_any():
        parts += chunk
        if len(parts) > MAX_ANSWER_BYTES:
            break
    return bytes(parts[:MAX_ANSWER_BYTES])


def _server_message(content: bytes) -> str:
    try:
        body = _error_decoder.decode(content)
    except msgspec.MsgspecError:
        return ""
    return (body.error.message if body.error else "") or body.message


async def _what_health_says(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with (
            asyncio.timeout(HEALTH_TIMEOUT),
            session.get(f"{url.rstrip('/')}/health", timeout=aiohttp.ClientTimeout(total=None)) as response,
        ):
            status = response.status
    except (aiohttp.ClientError, OSError, TimeoutError):
        return "and /health does not answer either"
    return f"although /health says {status}" if status == 200 else f"and /health says {status}"


def _where(url: str) -> str:
    return url.removeprefix("http://").rstrip("/")


def _no_way(problem: Exception) -> bool:
    """Whether the network knew no way there."""
    return isinstance(problem, aiohttp.ClientConnectorError) and problem.os_error.errno in NO_WAY


def _connection_sentence(problem: Exception, url: str, whom: str) -> str:
    where = _where(url)
    if isinstance(problem, aiohttp.ClientConnectorError) and isinstance(problem.os_error, ConnectionRefusedError):
        return f"connection refused at {where}: {whom} is still loading, or has ended"
    if isinstance(problem, aiohttp.ClientConnectorError):
        return f"cannot connect to {where}: {problem.os_error.strerror or problem.os_error}"
    if isinstance(problem, (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientPayloadError)):
        return f"{whom} at {where} closed the connection before its answer was complete"
    return f"the exchange with {where} failed: {type(problem).__name__}: {problem}"
