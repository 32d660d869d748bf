"""What the operator makes of what the Gateway counts, and of what its own requests through the Gateway say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from operator_world import OperatorWorld, until
from plan_world import LLAMA, merged
from virtual_kube import run_virtually

from outrider.api.meta import find_condition
from outrider.controllers.config import GatewayConfig
from outrider.kube.objects import EVENT, HTTP_ROUTE, NODE
from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.routes import Identity
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import ProbeTarget
from outrider.sim.world import NAMESPACE_NAME

AUTO = {"rollback": {"autoRollback": {"enabled": True, "triggers": [{"errorRate": ">1%"}]}}}
CANARY = {"deployment": {"rolloutStrategy": "Canary", "canary": {"steps": [{"weight": 50, "duration": "200s"}]}}}
BLUE_GREEN = {"deployment": {"rolloutStrategy": "BlueGreen", "blueGreen": {"previewDuration": "20s"}}}
PAGE, ADDRESS = "http://gateway/metrics", "http://192.0.2.1"
SECONDS = 0.5


class FrontDoor:
    """A Gateway: it takes every route, counts what clients see of each version, and answers the operator."""

    def __init__(self, world: OperatorWorld) -> None:
        self.world = world
        self.metrics = GatewayMetrics()
        self.cut: dict[str, float] = {}
        """The share of each version's answers that break off."""
        self.away = False
        """Nothing answers through it."""
        self.unreachable = False
        """It does not reach what only the candidate's path leads to."""
        self._served: dict[str, int] = {}
        world.config = replace(
            world.config,
            gateway=GatewayConfig("outrider", "outrider-system", base_url=ADDRESS, metrics_urls=(PAGE,)),
        )
        world.gateway_page = self._page
        world.gateway_probe = self._probe

    async def _page(self, _: str) -> str:
        return self.metrics.text().decode()

    async def _probe(self, target: ProbeTarget) -> ProbeResult:
        own = target.url == f"{ADDRESS}/{NAMESPACE_NAME}/llama"
        error = "no answer" if self.away else "" if own or not self.unreachable else "the Gateway answered 502"
        return ProbeResult(ok=not error, at=self.world.clock.now(), latency_seconds=0.1, error=error)

    async def run(self) -> None:
        while True:
            await self._take_routes()
            for version, revision in self._revisions().items():
                self._serve(version, revision)
            await self.world.clock.sleep(SECONDS)

    def _revisions(self) -> dict[str, str]:
        return {version: one.spec.hash for version, one in self.world.revisions().items()}

    def _serve(self, version: str, revision: str) -> None:
        """Two requests to each version that is there: those of which the share is cut, evenly."""
        series = self.metrics.series(Identity(NAMESPACE_NAME, "llama", revision, version))
        for _ in range(2):
            number = self._served[version] = self._served.get(version, 0) + 1
            share = self.cut.get(version, 0.0)
            series.begin()
            if int(number * share) > int((number - 1) * share):
                series.broken()
            series.end("200", 0.1)

    async def _take_routes(self) -> None:
        for route in self.world.all(HTTP_ROUTE):
            generation = route["metadata"]["generation"]
            status: dict[str, Any] = {
                "parents": [
                    {
                        "parentRef": {"name": "outrider", "namespace": "outrider-system"},
                        "controllerName": "example.com/gateway",
                        "conditions": [
                            {
                                "type": kind, "status": "True", "reason": kind, "message": "",
                                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
                            }
                            for kind in ("Accepted", "ResolvedRefs")
                        ],
                    }
                ]
            }  # fmt: skip
            if route.get("status") != status:
                name, namespace = route["metadata"]["name"], route["metadata"]["namespace"]
                await self.world.api.patch_status(HTTP_ROUTE.into(dict), name, status, namespace)


@contextlib.asynccontextmanager
async def behind_a_gateway(**spec: Any) -> AsyncIterator[tuple[OperatorWorld, FrontDoor]]:
    """v1.0.0 serves, and may be followed by others that are watched."""
    async with OperatorWorld() as world:
        door = FrontDoor(world)
        work = asyncio.create_task(door.run())
        try:
            world.start_operator()
            await world.install(merged(LLAMA, {"spec": {**AUTO, **spec}}))
            await world.until_ready("v1.0.0")
            yield world, door
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def rolled_back(world: OperatorWorld) -> bool:
    return world.deployment().status.phase == "RolledBack"


def told(world: OperatorWorld) -> list[str]:
    return [event["reason"] for event in world.all(EVENT)]


def test_a_version_whose_answers_are_cut_off_is_taken_back_though_its_pods_count_them_as_good() -> None:
    async def story() -> None:
        async with behind_a_gateway(**CANARY) as (world, door):
            door.cut = {"v1.1.0": 0.2}
            await world.version("v1.1.0")
            await until(lambda: rolled_back(world), deadline=300)
            assert world.condition("RolledBack").reason == "GatewayFailuresWorse"
            release = world.deployment().status.release
            assert release is not None
            found = {one.name: one for one in release.indicators}
            assert found["gatewayFailures"].candidate_bad > 5
            assert found["gatewayFailures"].stable_bad == 0

    run_virtually(story)


def test_what_is_cut_off_of_both_versions_takes_none_back() -> None:
    async def story() -> None:
        async with behind_a_gateway(**CANARY) as (world, door):
            await world.version("v1.1.0")
            await until(lambda: one_step_on(world))
            door.cut = {"v1.0.0": 0.4, "v1.1.0": 0.4}
            await until(lambda: world.condition("ReleaseHealthy").reason == "SharedIncident")
            await world.clock.sleep(300)
            assert not rolled_back(world)
            door.cut = {}
            await world.until_ready("v1.1.0")

    run_virtually(story)


def test_a_node_that_is_lost_under_the_candidate_takes_nothing_back_and_is_forgiven_when_it_is_well_again() -> None:
    async def story() -> None:
        async with behind_a_gateway(**CANARY) as (world, door):
            await world.version("v1.1.0")
            await until(lambda: one_step_on(world))
            [node] = {pod["spec"]["nodeName"] for pod in world.pods()}
            door.cut = {"v1.1.0": 0.5}
            await says(world, node, "False")
            await world.clock.sleep(60)
            assert world.condition("ReleaseHealthy").reason == "NodeFault"
            door.cut = {}
            await says(world, node, "True")
            await world.until_ready("v1.1.0")
            assert not rolled_back(world)

    run_virtually(story)


async def says(world: OperatorWorld, node: str, ready: str) -> None:
    """What the node's condition Ready says, and nobody corrects."""
    condition = {"type": "Ready", "status": ready, "reason": "Test"}
    await world.api.patch_status(NODE.into(dict), node, {"conditions": [condition]})


def one_step_on(world: OperatorWorld) -> bool:
    release = world.deployment().status.release
    return release is not None and bool(release.step_since)


def test_a_canary_that_the_gateway_cannot_reach_gets_no_traffic_and_is_released_once_it_can() -> None:
    async def story() -> None:
        async with behind_a_gateway(**CANARY) as (world, door):
            door.unreachable = True
            await world.version("v1.1.0")
            await until(lambda: world.condition("ReleaseHealthy").reason == "UnreachableThroughGateway")
            release, traffic = world.deployment().status.release, world.deployment().status.traffic
            assert release is not None
            assert traffic is not None
            assert (release.verdict, release.weight, traffic.weight) == ("Hold", 0, 0)
            reachable = world.condition("CandidateReachable")
            assert (reachable.status, reachable.reason) == ("False", "UnreachableThroughGateway")
            assert f"{ADDRESS}/{NAMESPACE_NAME}/{traffic.service} fail (the Gateway answered 502)" in reachable.message
            await world.clock.sleep(120)
            assert told(world).count("UnreachableThroughGateway") == 1
            door.unreachable = False
            await world.until_ready("v1.1.0")
            assert find_condition(world.deployment().status.conditions, "CandidateReachable") is None

    run_virtually(story)


def test_blue_green_does_not_switch_to_what_the_gateway_cannot_reach() -> None:
    async def story() -> None:
        async with behind_a_gateway(**BLUE_GREEN) as (world, door):
            door.unreachable = True
            await world.version("v1.1.0")
            await until(lambda: world.condition("ReleaseHealthy").reason == "UnreachableThroughGateway")
            await world.clock.sleep(300)
            assert world.deployment().status.serving_version == "v1.0.0"
            door.unreachable = False
            await world.until_ready("v1.1.0")

    run_virtually(story)


@pytest.mark.parametrize("strategy", [CANARY, BLUE_GREEN], ids=["canary", "blue-green"])
def test_an_operator_that_is_started_anew_does_not_forget_that_it_holds(strategy: dict[str, Any]) -> None:
    async def story() -> None:
        async with behind_a_gateway(**strategy) as (world, door):
            door.unreachable = True
            await world.version("v1.1.0")
            await until(lambda: world.condition("ReleaseHealthy").reason == "UnreachableThroughGateway")
            await world.clock.sleep(300)
            for _ in range(3):
                await world.stop_operator()
                world.start_operator()
                await world.clock.sleep(60)
                traffic = world.deployment().status.traffic
                assert traffic is not None
                assert (traffic.candidate != "", traffic.weight) == (True, 0)
            assert told(world).count("UnreachableThroughGateway") == 1
            door.unreachable = False
            await world.until_ready("v1.1.0")

    run_virtually(story)


def test_where_the_operator_cannot_get_to_the_gateway_nothing_waits_and_it_is_told_once() -> None:
    async def story() -> None:
        async with behind_a_gateway(**BLUE_GREEN) as (world, door):
            door.away = True
            await world.version("v1.1.0")
            await world.until_ready("v1.1.0")
            assert told(world).count("GatewaySilent") == 1

    run_virtually(story)


def test_a_gateway_that_goes_away_in_the_middle_holds_nothing() -> None:
    async def story() -> None:
        async with behind_a_gateway(**CANARY) as (world, door):
            await world.version("v1.1.0")
            await until(lambda: world.condition("CandidateReachable").reason == "Answering")
            door.away = True
            await until(lambda: world.condition("CandidateReachable").reason == "GatewaySilent")
            await world.until_ready("v1.1.0")

    run_virtually(story)
