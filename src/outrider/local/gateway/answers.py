"""What the gateway answers itself, in OpenAI's error form, so that its clients show the reason."""

from collections.abc import Sequence

from aiohttp import web

RETRY_AFTER_SECONDS = 1
"""For how long a client waits before it tries again where nothing was ready: endpoints change within a second."""
ROUTES_SHOWN = 20


def refusal(status: int, kind: str, message: str) -> web.Response:
    """An error as the OpenAI API words it: `{"error": {"message", "type", "param", "code"}}`."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    body = {"error": {"message": message, "type": kind, "param": None, "code": status}}
    return web.json_response(body, status=status, headers=headers)


def no_route(host: str, path: str, known: Sequence[str]) -> web.Response:
    """404: nothing is served under this host and path; says what is."""
    if known:
        more = f" and {len(known) - ROUTES_SHOWN} more, see /-/routes" if len(known) > ROUTES_SHOWN else ""
        what = f"Known are {'; '.join(known[:ROUTES_SHOWN])}{more}."
    else:
        what = "There is no HTTPRoute and no Service yet: apply an LLMDeployment first."
    return refusal(404, "route_not_found", f"No route for host {host or '(none)'} and path {path}. {what}")


def not_ready(why: str) -> web.Response:
    """503: there is a route, but nothing behind it can take the request now."""
    return refusal(503, "no_ready_endpoint", f"{why[:1].upper()}{why[1:]}. `outrider status` says more.")


def bad_gateway(problem: str) -> web.Response:
    """502: the request was sent to a pod and got no answer. It may have been acted on, so it is not sent again."""
    return refusal(502, "bad_gateway", f"The model server did not answer: {problem}. The request was not sent again.")
