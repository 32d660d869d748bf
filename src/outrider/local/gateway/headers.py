"""Headers on their way through: which stay on one connection, which the gateway adds."""

import re
from collections.abc import Mapping
from uuid import uuid4

from multidict import CIMultiDict

from outrider.api.labels import REQUEST_ID_HEADER

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that mean one connection and are not passed on (RFC 9110 section 7.6.1, RFC 2616 section 13.5.1)."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")


def end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """A copy without the headers that belong to one connection, including those that `Connection` names."""
    named = headers.get("Connection", "")
    drop = HOP_BY_HOP | {token.strip().lower() for token in named.split(",")} if named else HOP_BY_HOP
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in drop)


def request_id(headers: Mapping[str, str]) -> str:
    """The client's `x-request-id` where it is safe to log and pass on (up to 128 plain characters), else a new one."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def forwarded(headers: CIMultiDict[str], *, client: str, host: str, identity: str) -> None:
    """Add what a pod cannot see itself. What the client claims is replaced: the gateway is the first proxy, as Traefik
    takes itself to be unless it is told which proxies to trust.
    """
    headers["X-Forwarded-For"] = client
    headers["X-Forwarded-Host"] = host
    headers["X-Forwarded-Proto"] = "http"
    headers[REQUEST_ID_HEADER] = identity
    headers.popall("Expect", None)  # the gateway has answered 100 Continue itself
