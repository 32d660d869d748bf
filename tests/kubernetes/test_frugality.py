"""What the operator asks of an API server, from the audit log: per release, per rollback, and when nothing happens.

The bounds are on numbers of requests, never on times. The figures behind them are what was counted when they were set;
a release is of one service with two replicas, whose pods are processes of a kubelet.
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


async def _counted(plane: RunningPlane, world: KubeletWorld, account: Account) -> dict[str, Counter[str]]:
    """What each part of a service's life took, until the operator was quiet."""
    log, found = Log(plane), {}
    async with account.operator():
        for what, version in (("the first release", "v1.0.0"), ("a new version", "v1.1.0")):
            await log.quiet()
            log.begin()
            await world.admin.apply(LLM_DEPLOYMENT.into(dict), _body(world, version), owner="somebody")
            await _serves(world, version)
            await log.quiet()
            found[what] = log.counted()
        log.begin()
        await outrider(plane, "rollback", NAME, "--namespace", world.namespace)
        await _serves(world, "v1.0.0")
        await log.quiet()
        found["a rollback"] = log.counted()
        log.begin()
        await log.quiet()
        found["a while in which nothing happens"] = log.counted()
        # How often an event happened is written half a minute late: it tells of what was before.
        del found["a while in which nothing happens"]["patch events"]
    log.begin()
    async with account.operator():
        await log.quiet()
    found["a restart of the operator"] = log.counted()
    return found


def test_the_operator_asks_for_little_and_for_nothing_when_nothing_happens(
    cluster_scoped: RunningPlane, tmp_path: Any
) -> None:
    async def scenario() -> dict[str, Counter[str]]:
        account = Account(cluster_scoped, tmp_path)
        try:
            async with kubelet_world(cluster_scoped, tmp_path / "pods", "frugal-node", gpus=4) as world:
                await outrider(cluster_scoped, "install", "--no-wait", "--force-conflicts")
                found = await _counted(cluster_scoped, world, account)
                await outrider(cluster_scoped, "uninstall", "--yes")
                return found
        finally:
            await asyncio.to_thread(cluster_scoped.kubectl, "delete", "node", "frugal-node")

    found = asyncio.run(scenario())
    told = {what: f"{requests.total()}: {dict(requests)}" for what, requests in found.items()}
    assert {what: requests.total() <= MOST[what] for what, requests in found.items()} == dict.fromkeys(MOST, True), told
