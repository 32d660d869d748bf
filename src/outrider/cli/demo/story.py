"""The story that the demo plays, against the API and the gateway as any user would use them."""

import asyncio
import importlib.resources
from contextlib import asynccontextmanager
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import yaml

from outrider.api.labels import CLI_FIELD_OWNER, SIMULATOR_CONFIG_MAP
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.modelrevision import ModelRevision
from outrider.cli.demo.timeline import Timeline
from outrider.cli.demo.traffic import Traffic
from outrider.cli.rollback import choose_target, pin_body
from outrider.cli.rollout import revisions_of
from outrider.cli.waiting import wait_until_ready
from outrider.kube.api import Api
from outrider.kube.objects import CONFIG_MAP
from outrider.kube.resources import LLM_DEPLOYMENT, VERSION_PIN

GOOD_VERSION = "v1.3.0"
BAD_VERSION = "v1.4.0"
BAD_SETTINGS = {"slow-token-factor": 12}
"""The bad version answers every request, but writes twelve times as slowly: all of its dashboards are green but one."""

_TIMEOUT = "120s"
_WATCH_SECONDS = 4.0


@dataclass(frozen=True)
class Result:
    """What the demo measured. `outrider demo --exit --output json` prints it."""

    ready_seconds: float
    """From applying the manifest until the first version was Ready."""
    requests: int
    failed_requests: int
    streams: int
    broken_streams: int
    release_seconds: float
    """From applying the good version until it alone served."""
    rollback_seconds: float
    """From the rollback command until the good version alone served again."""
    latency_p95_before: float | None
    """Seconds; requests before the bad release."""
    latency_p95_bad: float | None
    """Seconds; while the bad version served alone."""
    latency_p95_after: float | None
    """Seconds; after the rollback."""


def load_manifest() -> dict[str, Any]:
    """The production manifest of the SRE guide, unmodified."""
    text = importlib.resources.files("outrider.cli.demo").joinpath("production.yaml").read_text(encoding="utf-8")
    manifest: dict[str, Any] = yaml.safe_load(text)
    return manifest


class Story:
    """Plays the demo. Every step is what a user would do, and is measured from outside."""

    def __init__(self, api: Api, timeline: Timeline) -> None:
        self._api = api
        self._timeline = timeline
        self._manifest = load_manifest()
        self.name: str = self._manifest["metadata"]["name"]
        self.namespace: str = self._manifest["metadata"]["namespace"]

    async def play(self) -> Result:
        """Serve, release, release badly, roll back; returns the measurements."""
        timeline = self._timeline
        await self._teach_the_simulator()
        timeline.title("1. Serve a model: the production manifest of the SRE guide, as it is printed there")
        timeline.command("outrider apply --filename production.yaml --wait")
        item, ready_seconds = await self._release(self._manifest["spec"]["model"]["version"])
        timeline.line(f"{item.status.effective_version} is Ready after {ready_seconds:.1f} s: {item.status.ready} replicas, {item.status.gpus} GPUs")
        timeline.line(f"it answers at {item.status.url}/v1/chat/completions")
        timeline.title("2. Users come: 20 requests a second, half of them streamed")
        async with self._traffic(item) as traffic:
            await self._watch(traffic)
            timeline.title(f"3. A good release: {GOOD_VERSION}")
            timeline.command(f"sed s/v1.2.0/{GOOD_VERSION}/ production.yaml | outrider apply --filename - --wait")
            _, release_seconds = await self._release(GOOD_VERSION)
            timeline.line(f"{GOOD_VERSION} alone serves after {release_seconds:.1f} s")
            await self._watch(traffic)
            before = traffic.now
            timeline.title(f"4. A bad release: {BAD_VERSION} writes {BAD_SETTINGS['slow-token-factor']} times as slowly")
            await self._release(BAD_VERSION)
            bad_from = traffic.now
            timeline.line(f"{BAD_VERSION} alone serves: every health check is green, and users wait")
            await self._watch(traffic)
            timeline.title("5. Back to what worked: one command")
            timeline.command(f"outrider rollback {self.name} --namespace {self.namespace}")
            bad_until = traffic.now
            _, rollback_seconds = await self._rollback()
            timeline.line(f"{GOOD_VERSION} alone serves again after {rollback_seconds:.1f} s")
            after = traffic.now
            await self._watch(traffic)
        tally = traffic.tally
        result = Result(
            ready_seconds=round(ready_seconds, 3),
            requests=tally.requests,
            failed_requests=tally.failed_requests,
            streams=tally.streams,
            broken_streams=tally.broken_streams,
            release_seconds=round(release_seconds, 3),
            rollback_seconds=round(rollback_seconds, 3),
            latency_p95_before=tally.latency(0.0, before),
            latency_p95_bad=tally.latency(bad_from, bad_until),
            latency_p95_after=tally.latency(after, traffic.now),
        )
        self._sum_up(result)
        return result

    async def _teach_the_simulator(self) -> None:
        """Tell the simulated model servers which version is bad. On a cluster, that comes by itself."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": SIMULATOR_CONFIG_MAP, "namespace": self.namespace},
            "data": {BAD_VERSION: yaml.safe_dump(BAD_SETTINGS)},
        }
        await self._api.apply(CONFIG_MAP, body, owner=CLI_FIELD_OWNER)

    async def _release(self, version: str) -> tuple[LLMDeployment, float]:
        spec = self._manifest["spec"]
        body = {**self._manifest, "spec": {**spec, "model": {**spec["model"], "version": version}}}
        await self._api.apply(LLM_DEPLOYMENT, body, owner=CLI_FIELD_OWNER)
        return await self._until_serving(lambda item: item.status.serving_version == version)

    async def _rollback(self) -> tuple[LLMDeployment, float]:
        item = await self._api.get(LLM_DEPLOYMENT, self.name, self.namespace)
        target: ModelRevision = choose_target(item, await revisions_of(self._api, self.name, self.namespace), None)
        await self._api.apply(VERSION_PIN, pin_body(item, target, "the demo's bad release"), owner=CLI_FIELD_OWNER)
        return await self._until_serving(
            lambda now: now.status.effective_revision == target.spec.hash and now.status.serving_version == target.spec.version
        )

    async def _until_serving(self, also: Any) -> tuple[LLMDeployment, float]:
        return await wait_until_ready(self._api, self.name, self.namespace, timeout=_TIMEOUT, also=also, quiet=True)

    @asynccontextmanager
    async def _traffic(self, item: LLMDeployment) -> AsyncIterator[Traffic]:
        traffic = Traffic(item.status.url, item.status.model)
        sending = asyncio.create_task(traffic.run())
        try:
            yield traffic
        finally:
            traffic.stop()
            await sending

    async def _watch(self, traffic: Traffic) -> None:
        await asyncio.sleep(_WATCH_SECONDS)
        self._timeline.traffic(traffic.tally)

    def _sum_up(self, result: Result) -> None:
        timeline = self._timeline
        timeline.title("What was measured")
        rows = (
            ("first version Ready", f"{result.ready_seconds:.1f} s"),
            ("good release", f"{result.release_seconds:.1f} s"),
            ("rollback", f"{result.rollback_seconds:.1f} s"),
            ("requests", f"{result.requests}, {result.failed_requests} failed"),
            ("streams", f"{result.streams}, {result.broken_streams} broken"),
            ("p95 latency", f"{_ms(result.latency_p95_before)} -> {_ms(result.latency_p95_bad)} (bad version) -> {_ms(result.latency_p95_after)}"),
        )
        for title, value in rows:
            timeline.line(f"{title:<20} {value}")


def _ms(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1000:.0f} ms"
