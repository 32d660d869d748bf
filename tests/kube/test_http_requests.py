"""What goes over the wire for each call, and what the answers mean."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from http_server import Answer, Server, answers, serving

from outrider.kube.api import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Undecodable,
)
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig
from outrider.kube.objects import DEPLOYMENT, NODE, POD, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT


class Impatient:
    """A clock that notes how long it was to sleep, and does not."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def talk(
    answer: Answer, story: Callable[[HttpApi], Awaitable[Any]], *, clock: Impatient | None = None, prefix: str = ""
) -> Server:
    async def run() -> Server:
        async with serving(answer) as server:
            config = ClusterConfig(server=server.url + prefix, token="secret", source="the test's kubeconfig")
            async with HttpApi(config, clock=clock or Impatient()) as api:
                await story(api)
        return server

    return asyncio.run(run())


def status(code: int, reason: str, **more: Any) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, **more}
    return web.json_response(body, status=code)


CALLS: dict[str, tuple[Callable[[HttpApi], Awaitable[Any]], tuple[Any, ...]]] = {
    "get a namespaced object": (
        lambda api: api.get(POD, "a", "ns"),
        ("GET", "/api/v1/namespaces/ns/pods/a", {}, None),
    ),
    "get a cluster-scoped object": (lambda api: api.get(NODE, "n1"), ("GET", "/api/v1/nodes/n1", {}, None)),
    "a name with a dot of a custom resource": (
        lambda api: api.get(LLM_DEPLOYMENT, "llama-3.1-8b", "ns"),
        ("GET", "/apis/inference.llm-d.io/v1alpha1/namespaces/ns/llmdeployments/llama-3.1-8b", {}, None),
    ),
    "a name that tries to leave its place": (
        lambda api: api.get(POD, "../x?y", "ns"),
        ("GET", "/api/v1/namespaces/ns/pods/../x?y", {}, None),
    ),
    "list everything": (lambda api: api.list(POD), ("GET", "/api/v1/pods", {"limit": "500"}, None)),
    "list by selectors": (
        lambda api: api.list(DEPLOYMENT, "ns", labels="a in (b,c)", fields="metadata.name=x"),
        (
            "GET", "/apis/apps/v1/namespaces/ns/deployments",
            {"limit": "500", "labelSelector": "a in (b,c)", "fieldSelector": "metadata.name=x"}, None,
        ),
    ),
    "create": (
        lambda api: api.create(POD, {"metadata": {"name": "a", "namespace": "ns"}}),
        (
            "POST", "/api/v1/namespaces/ns/pods", {},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "ns"}},
        ),
    ),
    "create, dry": (
        lambda api: api.create(NODE, {"metadata": {"name": "n"}}, dry_run=True),
        (
            "POST", "/api/v1/nodes", {"dryRun": "All"},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}},
        ),
    ),
    "apply": (
        lambda api: api.apply(
            SERVICE, {"metadata": {"name": "s", "namespace": "ns"}}, owner="outrider", subresource="status"
        ),
        (
            "PATCH", "/api/v1/namespaces/ns/services/s/status", {"fieldManager": "outrider", "force": "true"},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "ns"}},
            "application/apply-patch+yaml",
        ),
    ),
    "apply without force, dry": (
        lambda api: api.apply(NODE, {"metadata": {"name": "n"}}, owner="me", force=False, dry_run=True),
        (
            "PATCH", "/api/v1/nodes/n", {"fieldManager": "me", "force": "false", "dryRun": "All"},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}, "application/apply-patch+yaml",
        ),
    ),
    "merge patch": (
        lambda api: api.patch(POD, "a", {"metadata": {"labels": {"x": None}}}, "ns", owner="me"),
        (
            "PATCH", "/api/v1/namespaces/ns/pods/a", {"fieldManager": "me"}, {"metadata": {"labels": {"x": None}}},
            "application/merge-patch+json",
        ),
    ),
    "JSON patch": (
        lambda api: api.patch(POD, "a", [{"op": "remove", "path": "/x"}], "ns", patch_type="json", dry_run=True),
        (
            "PATCH", "/api/v1/namespaces/ns/pods/a", {"dryRun": "All"}, [{"op": "remove", "path": "/x"}],
            "application/json-patch+json",
        ),
    ),
    "strategic patch of a subresource": (
        lambda api: api.patch(DEPLOYMENT, "d", {"spec": {"replicas": 2}}, "ns", patch_type="strategic",
                              subresource="scale"),
        (
            "PATCH", "/apis/apps/v1/namespaces/ns/deployments/d/scale", {}, {"spec": {"replicas": 2}},
            "application/strategic-merge-patch+json",
        ),
    ),
    "patch the status": (
        lambda api: api.patch_status(POD, "a", {"phase": "Running"}, "ns", resource_version="7"),
        (
            "PATCH", "/api/v1/namespaces/ns/pods/a/status", {},
            {"status": {"phase": "Running"}, "metadata": {"resourceVersion": "7"}}, "application/merge-patch+json",
        ),
    ),
    "delete": (
        lambda api: api.delete(POD, "a", "ns"),
        (
            "DELETE", "/api/v1/namespaces/ns/pods/a", {},
            {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"},
        ),
    ),
    "delete that very object, now, dry": (
        lambda api: api.delete(NODE, "n", uid="u", grace_seconds=0, propagation="Orphan", dry_run=True),
        (
            "DELETE", "/api/v1/nodes/n", {},
            {
                "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Orphan", "dryRun": ["All"],
                "preconditions": {"uid": "u"}, "gracePeriodSeconds": 0,
            },
        ),
    ),
    "evict": (
        lambda api: api.evict("a", "ns", grace_seconds=5),
        (
            "POST", "/api/v1/namespaces/ns/pods/a/eviction", {},
            {
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a", "namespace": "ns"},
                "deleteOptions": {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 5},
            },
        ),
    ),
    "anything else": (
        lambda api: api.raw("GET", "/version", params={"a": "b"}), ("GET", "/version", {"a": "b"}, None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_requests(name: str) -> None:
    call, expected = CALLS[name]
    server = talk(answers({"metadata": {"name": "a"}}), call, prefix="/behind/a/proxy")
    (seen,) = server.seen
    method, path, query, body, *content_type = expected
    assert (seen.method, seen.path, seen.query, seen.body) == (method, "/behind/a/proxy" + path, query, body)
    if body is not None:
        assert seen.headers["Content-Type"] == (content_type[0] if content_type else "application/json")
    assert seen.headers["Authorization"] == "Bearer secret"
    assert seen.headers["User-Agent"].startswith("outrider/")


NOT_SENT: dict[str, Callable[[HttpApi], Awaitable[Any]]] = {
    "delete without a name would be all of them": lambda api: api.delete(POD, "", "ns"),
    "get without a name": lambda api: api.get(NODE, ""),
    "get without a namespace": lambda api: api.get(POD, "a"),
    "create without a namespace": lambda api: api.create(POD, {"metadata": {"name": "a"}}),
    "apply without a name": lambda api: api.apply(POD, {"metadata": {"namespace": "ns"}}, owner="me"),
    "evict without a name": lambda api: api.evict("", "ns"),
}


@pytest.mark.parametrize("name", NOT_SENT)
def test_requests_that_mean_too_much_are_not_sent(name: str) -> None:
    async def story(api: HttpApi) -> None:
        with pytest.raises(BadRequest):
            await NOT_SENT[name](api)

    assert talk(answers({}), story).seen == []


def test_answers_become_structs_or_whole_objects() -> None:
    body = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7"}, "status": {"podIP": "10.0.0.1"}}

    async def story(api: HttpApi) -> None:
        pod = await api.get(POD, "a", "ns")
        assert (pod.metadata.key, pod.status.pod_ip) == ("ns/a", "10.0.0.1")
        assert await api.get(POD.into(dict), "a", "ns") == body

    talk(answers(body), story)


def test_lists_come_in_pages_and_objects_in_them_say_what_they_are() -> None:
    pages = answers(
        {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]},
    )

    async def story(api: HttpApi) -> None:
        result = await api.list(POD.into(dict), labels="x=y")
        assert [item["metadata"]["name"] for item in result.items] == ["a", "b"]
        assert result.items[0]["kind"] == "Pod"
        assert result.items[0]["apiVersion"] == "v1"
        assert result.resource_version == "7"

    server = talk(pages, story)
    assert server.seen[1].query == {"labelSelector": "x=y", "limit": "500", "continue": "more"}


def test_a_list_whose_pages_expired_is_asked_for_whole() -> None:
    pages = answers(
        {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"metadata": {"name": "old"}}]},
        status(410, "Expired", message="The provided continue parameter is too old"),
        {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "new"}}]},
    )

    async def story(api: HttpApi) -> None:
        result = await api.list(POD)
        assert [pod.metadata.name for pod in result.items] == ["new"]
        assert result.resource_version == "9"

    assert talk(pages, story).seen[2].query == {}


def test_an_empty_list_as_go_writes_it() -> None:
    async def story(api: HttpApi) -> None:
        assert (await api.list(POD)).items == ()

    talk(answers({"metadata": {"resourceVersion": "7"}, "items": None}), story)


REFUSALS: dict[str, tuple[web.Response, type[ApiError], str]] = {
    "not found": (status(404, "NotFound", message='pods "a" not found'), NotFound, 'pods "a" not found'),
    "exists": (status(409, "AlreadyExists", message="exists"), AlreadyExists, "exists"),
    "conflict": (status(409, "Conflict", message="changed"), Conflict, "changed"),
    "gone": (status(410, "Gone", message="too old"), Expired, "too old"),
    "invalid": (status(422, "Invalid", details={"causes": [{"field": "x"}]}), Invalid, "Invalid"),
    "forbidden": (status(403, "Forbidden", message="no"), Forbidden, "no"),
    "credentials refused": (
        status(401, "Unauthorized", message="Unauthorized"), Unauthorized, "credentials of the test's kubeconfig",
    ),
    "throttled, without a word about when": (status(429, "TooManyRequests"), TooManyRequests, "TooManyRequests"),
    "a proxy's page": (web.Response(status=502, text="<html>bad gateway"), Unavailable, "HTTP 502: <html>bad gateway"),
    "an error without a word": (web.Response(status=500), ApiError, "HTTP 500"),
    "JSON that is no Status": (web.json_response(["x"], status=404), NotFound, 'HTTP 404: ["x"]'),
    "an answer that is no object": (web.Response(text="hello"), Undecodable, "cannot read a Pod"),
    "an object that does not fit": (
        web.json_response({"metadata": {"name": 1}}), Undecodable, "Expected `str`, got `int` - at `$.metadata.name`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    response, error, message = REFUSALS[name]

    async def story(api: HttpApi) -> None:
        with pytest.raises(ApiError) as caught:
            await api.get(POD, "a", "ns")
        assert type(caught.value) is error
        assert message in str(caught.value)
        if response.status >= 400:
            assert caught.value.status == response.status

    async def copy(_request: web.Request) -> web.Response:
        return web.Response(status=response.status, body=response.body, headers=response.headers)

    assert len(talk(copy, story).seen) == 1


RETRIES: dict[str, tuple[int, str | None, Callable[[HttpApi], Awaitable[Any]], int, list[float]]] = {
    "a throttled read": (429, "2", lambda api: api.get(POD, "a", "ns"), 4, [2, 2, 2]),
    "a throttled creation, which was not looked at": (
        429, "1", lambda api: api.create(POD, {"metadata": {"namespace": "ns"}}), 4, [1, 1, 1],
    ),
    "a budget's refusal is an answer": (429, "10", lambda api: api.evict("a", "ns"), 1, []),
    "a read from a server that restarts": (503, "3", lambda api: api.get(POD, "a", "ns"), 4, [3, 3, 3]),
    "an apply, which may be repeated": (
        503, "1", lambda api: api.apply(NODE, {"metadata": {"name": "n"}}, owner="me"), 4, [1, 1, 1],
    ),
    "a creation whose outcome is unknown": (
        503, "1", lambda api: api.create(POD, {"metadata": {"namespace": "ns"}}), 1, [],
    ),
    "a server that names no time": (503, None, lambda api: api.get(POD, "a", "ns"), 1, []),
    "a server that wants an hour": (429, "3600", lambda api: api.get(POD, "a", "ns"), 1, []),
    "a date instead of seconds": (
        503, "Wed, 21 Oct 2026 07:28:00 GMT", lambda api: api.get(POD, "a", "ns"), 1, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RETRIES)
def test_what_is_repeated_and_how_often(name: str) -> None:
    code, retry_after, call, requests, slept = RETRIES[name]
    headers = {"Retry-After": retry_after} if retry_after is not None else None
    clock = Impatient()

    async def story(api: HttpApi) -> None:
        with pytest.raises(ApiError) as caught:
            await call(api)
        assert caught.value.status == code

    server = talk(answers({"kind": "Status", "code": code}, status=code, headers=headers), story, clock=clock)
    assert len(server.seen) == requests
    assert clock.slept == slept


def test_a_repeated_request_that_succeeds_is_a_success() -> None:
    busy = web.Response(status=429, headers={"Retry-After": "1"})

    async def story(api: HttpApi) -> None:
        assert (await api.get(POD, "a", "ns")).metadata.name == "a"

    server = talk(answers(busy, {"metadata": {"name": "a"}}), story)
    assert [request.method for request in server.seen] == ["GET", "GET"]
