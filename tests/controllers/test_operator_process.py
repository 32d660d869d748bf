"""What surrounds the operator in a cluster: who may read metrics, probes, what is checked at the start."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from certificates import Authority
from http_server import serving
from prometheus_client import CollectorRegistry, Counter
from virtual_kube import LoopClock, run_virtually

from outrider.controllers.process.access import MetricsAccess
from outrider.controllers.process.certificate import keep_fresh, serving_context
from outrider.controllers.process.endpoints import Server, health_app, metrics_app
from outrider.controllers.process.settings import Address
from outrider.controllers.process.startup import StartupFailed, check_cluster
from outrider.kube.api import Unavailable
from outrider.kube.http import HttpApi
from outrider.kube.informer import Informer
from outrider.kube.kubeconfig import ClusterConfig
from outrider.kube.objects import HTTP_ROUTE, POD
from outrider.kube.resources import LLM_DEPLOYMENT


class Reviewer:
    """An API server that knows the token `good` of ann, who may read metrics, and `other` of bob, who may not."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.down = False
        self.may = {"ann"}

    async def create(self, kind: Any, body: Any, **_options: Any) -> Any:
        await asyncio.sleep(0.01)
        if self.down:
            raise Unavailable("cannot reach the API server")
        self.asked.append((kind.kind, body["spec"]))
        if kind.kind == "TokenReview":
            user = {"good": "ann", "other": "bob"}.get(body["spec"]["token"])
            known = {"authenticated": True, "user": {"username": user, "groups": ["people"]}}
            return {"status": known if user else {"authenticated": False}}
        return {"status": {"allowed": body["spec"]["user"] in self.may}}


VERDICTS = {
    "nobody": ("", "unauthenticated", []),
    "another scheme": ("Basic Zm9v", "unauthenticated", []),
    "an empty token": ("Bearer  ", "unauthenticated", []),
    "a token nobody knows": ("Bearer bad", "unauthenticated", ["TokenReview"]),
    "somebody who may": ("Bearer good", "allowed", ["TokenReview", "SubjectAccessReview"]),
    "somebody who may not": ("bearer other", "forbidden", ["TokenReview", "SubjectAccessReview"]),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_who_may_read_metrics(name: str) -> None:
    authorization, verdict, asked = VERDICTS[name]

    async def story() -> None:
        reviewer = Reviewer()
        access = MetricsAccess(reviewer, LoopClock())  # type: ignore[arg-type]
        assert await access.judge(authorization) == verdict
        assert [kind for kind, _ in reviewer.asked] == asked
        if "SubjectAccessReview" in asked:
            spec = reviewer.asked[1][1]
            assert spec["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
            assert spec["groups"] == ["people"]

    run_virtually(story)


def test_answers_are_remembered_for_their_time_and_asked_once_for_many() -> None:
    async def story() -> None:
        reviewer = Reviewer()
        access = MetricsAccess(reviewer, LoopClock())  # type: ignore[arg-type]
        assert await asyncio.gather(*(access.judge("Bearer good") for _ in range(5))) == ["allowed"] * 5
        assert len(reviewer.asked) == 2
        reviewer.down = True
        await asyncio.sleep(50)
        assert await access.judge("Bearer good") == "allowed", "also while the API server is away"
        await asyncio.sleep(20)
        assert await access.judge("Bearer good") == "unknown", "a token may have been withdrawn"
        reviewer.down = False
        reviewer.may.clear()
        assert await access.judge("Bearer good") == "allowed", "permissions are believed for five minutes"
        await asyncio.sleep(300)
        assert await access.judge("Bearer good") == "forbidden"
        reviewer.may.add("ann")
        await asyncio.sleep(31)
        assert await access.judge("Bearer good") == "allowed", "refusals for half a minute"

    run_virtually(story)


# Endpoints


def fetch(app: web.Application, path: str, **headers: str) -> tuple[int, str]:
    async def run() -> tuple[int, str]:
        server = Server("test", app, Address("127.0.0.1", 0))
        await server.start()
        try:
            url = f"http://{server.address}{path}"
            async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
                return response.status, await response.text()
        finally:
            await server.close()

    return asyncio.run(run())


def test_probes() -> None:
    assert fetch(health_app(lambda: {"Pod": "listing"}), "/healthz") == (200, "ok\n")
    assert fetch(health_app(lambda: {"Pod": "Forbidden: no"}), "/readyz") == (503, "waiting for Pod: Forbidden: no\n")
    assert fetch(health_app(dict), "/readyz") == (200, "ok\n")


def test_metrics_are_for_those_who_may() -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    access = MetricsAccess(Reviewer(), LoopClock())  # type: ignore[arg-type]
    assert "things_total 1.0" in fetch(metrics_app(registry, None), "/metrics")[1]
    guarded = {
        "": (401, "bearer token"),
        "Bearer other": (403, "non-resource URL"),
        "Bearer good": (200, "things_total 1.0"),
    }
    for token, (status, text) in guarded.items():
        headers = {"Authorization": token} if token else {}
        answer = fetch(metrics_app(registry, access), "/metrics", **headers)
        assert (answer[0], text in answer[1]) == (status, True), (token, answer)


ADDRESSES = {
    ":8081": (Address("", 8081), False),
    "127.0.0.1:0": (Address("127.0.0.1", 0), True),
    "[::1]:8443": (Address("::1", 8443), True),
    "localhost:1": (Address("localhost", 1), True),
    "[::]:8443": (Address("::", 8443), False),
    "0.0.0.0:1": (Address("0.0.0.0", 1), False),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    address, loopback = ADDRESSES[text]
    assert Address.parse(text) == address
    assert address.loopback is loopback


@pytest.mark.parametrize("text", ["", "8081", ":", ":http", ":70000", "::1:80", "host"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        Address.parse(text)


def test_the_metrics_certificate_is_made_or_read_and_read_again(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("localhost")

    class Minutes(LoopClock):
        """Real time, with minutes that last as long as a hundredth of a second."""

        def monotonic(self) -> float:
            return super().monotonic() * 6000

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds / 6000)

    async def shown(context: ssl.SSLContext) -> str:
        server = Server("test", health_app(dict), Address("127.0.0.1", 0), context)
        await server.start()
        try:
            return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", server.address.port))
        finally:
            await server.close()

    async def run() -> None:
        assert await shown(serving_context(None, ("a.svc", "localhost")))
        context = serving_context(files, ())
        before = await shown(context)
        task = asyncio.create_task(keep_fresh(context, files, Minutes()))
        await asyncio.sleep(0)
        authority.issue("localhost")
        async with asyncio.timeout(10):
            while await shown(context) == before:
                pass  # to ask takes its time
        task.cancel()

    asyncio.run(run())


# The start

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def refusal(code: int, reason: str, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


def start(answer: Answer) -> None:
    async def run() -> None:
        async with serving(answer) as server:
            api = HttpApi(ClusterConfig(server.url, source="the pod's service account"))
            clock = LoopClock()
            informers: list[Informer[Any]] = [
                Informer(api, LLM_DEPLOYMENT, clock),
                Informer(api, HTTP_ROUTE, clock, optional=True),
                Informer(api, POD, clock, namespace="team"),
            ]
            async with api:
                await check_cluster(api, informers, clock, patience=0.0)

    asyncio.run(run())


def answering(**refusals: web.Response) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        found = refusals.get(request.path.rsplit("/", 1)[-1])
        if found is not None:
            return web.Response(status=found.status, body=found.body, headers=found.headers)
        return web.json_response({"metadata": {}, "items": []})

    return answer


STARTS: dict[str, tuple[Answer, tuple[str, ...]]] = {
    "without our kinds": (
        answering(llmdeployments=refusal(404, "NotFound", "the server could not find the requested resource")),
        ("does not know llmdeployments.inference.llm-d.io", "outrider install"),
    ),
    "without permission": (
        answering(
            pods=refusal(403, "Forbidden", 'pods is forbidden: User "x" cannot list resource "pods" in ... "team"'),
            llmdeployments=refusal(403, "Forbidden", 'User "x" cannot list resource "llmdeployments"'),
        ),
        ('cannot list resource "pods"', 'cannot list resource "llmdeployments"', "the pod's service account"),
    ),
    "with credentials that are refused": (
        answering(version=refusal(401, "Unauthorized", "Unauthorized")), ("refused the credentials of the pod's",),
    ),
    "with a server that is not ready": (
        answering(version=refusal(503, "ServiceUnavailable", "etcd is away")), ("etcd is away",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_a_start_that_cannot_work_says_why(name: str) -> None:
    answer, words = STARTS[name]
    with pytest.raises(StartupFailed) as caught:
        start(answer)
    said = "\n".join((caught.value.message, *caught.value.hints))
    for word in words:
        assert word in said


def test_a_start_that_works_also_without_what_is_optional() -> None:
    start(answering())
    start(answering(httproutes=refusal(404, "NotFound", "no such kind"), version=refusal(403, "Forbidden", "no")))
