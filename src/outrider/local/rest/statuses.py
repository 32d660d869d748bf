"""Kubernetes' Status objects: how errors, and successes without an object, are said."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from outrider.kube.api import ApiError
from outrider.local.store.records import encode

JSON = "application/json"


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type=JSON, headers=headers)


def status_of(error: ApiError) -> dict[str, Any]:
    """The Status object that says what an error says."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.status,
    }
    details = dict(error.details)
    if error.retry_after is not None:
        details.setdefault("retryAfterSeconds", round(error.retry_after))
    # As API servers have it: a bad request alone says nothing more where there is nothing more to say.
    return body | {"details": details} if details or error.status != 400 else body


def error_response(error: ApiError) -> web.Response:
    headers = {"Retry-After": str(round(error.retry_after))} if error.retry_after is not None else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(status_of(error), status=error.status, headers=headers)


def success(details: Mapping[str, Any] | None = None, *, status: int = 200) -> web.Response:
    """What is done, of which there is no object to show: `details` say to what, where that is of interest."""
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    more = {"code": status} if details is None else {"details": details}
    return json_response(body | more, status=status)
