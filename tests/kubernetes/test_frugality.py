"""What the operator asks of an API server: per release, per rollback, and when nothing happens.

Requests are counted in the API server's audit log, bytes by the operator's own metrics. The bounds are on numbers,
never on times. The figures behind them are what was counted when they were set; a release is of one service with two
replicas, whose pods are processes of a kubelet.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from control_plane import RunningPlane

from outrider.api.labels import API_VERSION
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import find_condition
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.install.settings import DEFAULT_NAMESPACE

from .kubelet_world import KubeletWorld, kubelet_world, until
from .operator_account import Account, outrider

pytestmark = pytest.mark.xdist_group("cluster-scoped")

USER = f"system:serviceaccount:{DEFAULT_NAMESPACE}:outrider-operator"
NAME = "frugal"
SCRAPER = ("serviceaccount", "frugal-scraper", "--namespace", DEFAULT_NAMESPACE)
RENEWALS = 3
"""Renewals of the leader's lease that make a while: it is what the operator writes when nothing else happens."""
MOST = {
    "the first release": 32,  # counted: 18 and 19, of which 10 patches of the status
    "a new version": 40,  # 24, of which 18 patches of the status while the pods change places
    "a rollback": 44,  # 27, of which 18 patches of the status
    "a while in which nothing happens": 0,
    "a restart of the operator": 40,  # some 20: lists, and what it publishes of itself
}
"""Requests that are no watches and no renewals of the lease."""
MOST_KILOBYTES = {
    "the first release": 600,  # 370: each patch of the status is answered, and told by a watch, with the whole object
    "a new version": 1000,  # 635
    "a rollback": 1000,  # 643
    "a renewal of the lease": 4,  # 2.4
}
"""Sent and received, watches included and what the lease took while it lasted."""
SIZES = (
    "rest_client_request_size_bytes_sum",
    "rest_client_response_size_bytes_sum",
    "outrider_watch_received_bytes_total",
)


class Log:
    """The operator's requests since a moment, lease and watches left out."""

    def __init__(self, plane: RunningPlane) -> None:
        self._plane = plane
        self._since = 0

    def _events(self) -> Iterator[tuple[str, str]]:
        for event in self._plane.audit()[self._since :]:
            about = event.get("objectRef") or {}
            if event["user"].get("username") == USER and event["stage"] == "ResponseComplete" and about:
                yield event["verb"], "/".join(filter(None, (about["resource"], about.get("subresource"))))

    def begin(self) -> None:
        self._since = len(self._plane.audit())

    def counted(self) -> Counter[str]:
        return Counter(f"{verb} {what}" for verb, what in self._events() if what != "leases" and verb != "watch")

    def renewals_since_last_request(self) -> int:
        count = 0
        for verb, what in self._events():
            if what == "leases":
                count += verb in ("update", "patch")
            elif verb != "watch":
                count = 0
        return count

    async def quiet(self) -> None:
        """Wait until the operator has renewed its lease some times and done nothing else in between."""
        await until(lambda: self.renewals_since_last_request() >= RENEWALS, "the operator does nothing any more")


def _body(world: KubeletWorld, version: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": LLM_DEPLOYMENT.kind,
        "metadata": {"name": NAME, "namespace": world.namespace},
        "spec": {
            "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": version},
            "replicas": 2,
            "resources": {"limits": {"nvidia.com/gpu": 1}},
        },
    }


async def _serves(world: KubeletWorld, version: str) -> None:
    async def ready() -> bool:
        found: LLMDeployment = await world.admin.get(LLM_DEPLOYMENT, NAME, world.namespace)
        condition = find_condition(found.status.conditions, "Ready")
        return condition is not None and condition.status == "True" and found.status.serving_version == version

    await until(ready, f"{version} serves")


class Weight:
    """Bytes between the operator and the API server since a moment."""

    def __init__(self, account: Account, token: str) -> None:
        self._account = account
        self._token = token
        self._since = 0.0

    async def _bytes(self) -> float:
        metrics = await self._account.scraped(self._token)
        return sum(metrics.get(size, 0.0) for size in SIZES)  # absent until there was something to count

    async def begin(self) -> None:
        self._since = await self._bytes()

    async def kilobytes(self) -> float:
        return (await self._bytes() - self._since) / 1000


async def _scraper(plane: RunningPlane) -> str:
    """The token of an account that may read the operator's metrics."""

    async def kubectl(*arguments: str) -> str:
        return (await asyncio.to_thread(plane.kubectl, *arguments)).stdout.strip()

    bound = f"--serviceaccount={DEFAULT_NAMESPACE}:frugal-scraper"
    await kubectl("create", *SCRAPER)
    await kubectl("create", "clusterrolebinding", "frugal-scraper", "--clusterrole=outrider-metrics-reader", bound)
    return await kubectl("create", "token", *SCRAPER[1:])


class Found:
    def __init__(self) -> None:
        self.requests: dict[str, Counter[str]] = {}
        self.kilobytes: dict[str, float] = {}

    def told(self) -> str:
        requests = {what: f"{found.total()}: {dict(found)}" for what, found in self.requests.items()}
        return f"{requests}\n{self.kilobytes}"


async def _counted(plane: RunningPlane, world: KubeletWorld, account: Account) -> Found:
    """What each part of a service's life took, until the operator was quiet."""
    log, found, weight = Log(plane), Found(), Weight(account, await _scraper(plane))

    async def serve(what: str, version: str, *, rollback: bool = False) -> None:
        await log.quiet()
        await weight.begin()
        log.begin()
        if rollback:
            await outrider(plane, "rollback", NAME, "--namespace", world.namespace)
        else:
            await world.admin.apply(LLM_DEPLOYMENT.into(dict), _body(world, version), owner="somebody")
        await _serves(world, version)
        await log.quiet()
        found.requests[what] = log.counted()
        found.kilobytes[what] = await weight.kilobytes()

    async with account.operator():
        await serve("the first release", "v1.0.0")
        await serve("a new version", "v1.1.0")
        await serve("a rollback", "v1.0.0", rollback=True)
        await weight.begin()
        log.begin()
        await log.quiet()
        found.requests["a while in which nothing happens"] = log.counted()
        found.kilobytes["a renewal of the lease"] = await weight.kilobytes() / log.renewals_since_last_request()
        # How often an event happened is written half a minute late: it tells of what was before.
        del found.requests["a while in which nothing happens"]["patch events"]
    log.begin()
    async with account.operator():
        await log.quiet()
    found.requests["a restart of the operator"] = log.counted()
    return found


def test_the_operator_asks_for_little_and_for_nothing_when_nothing_happens(
    cluster_scoped: RunningPlane, tmp_path: Any
) -> None:
    async def scenario() -> Found:
        account = Account(cluster_scoped, tmp_path)
        try:
            async with kubelet_world(cluster_scoped, tmp_path / "pods", "frugal-node", gpus=4) as world:
                await outrider(cluster_scoped, "install", "--no-wait", "--force-conflicts")
                found = await _counted(cluster_scoped, world, account)
                await outrider(cluster_scoped, "uninstall", "--yes")
                return found
        finally:
            await asyncio.to_thread(cluster_scoped.kubectl, "delete", "node", "frugal-node")
            await asyncio.to_thread(cluster_scoped.kubectl, "delete", "clusterrolebinding", "frugal-scraper")
            await asyncio.to_thread(cluster_scoped.kubectl, "delete", *SCRAPER, "--ignore-not-found")

    found = asyncio.run(scenario())
    print(found.told())
    requests = {what: counted.total() <= MOST[what] for what, counted in found.requests.items()}
    assert requests == dict.fromkeys(MOST, True), found.told()
    kilobytes = {what: size <= MOST_KILOBYTES[what] for what, size in found.kilobytes.items()}
    assert kilobytes == dict.fromkeys(MOST_KILOBYTES, True), found.told()
