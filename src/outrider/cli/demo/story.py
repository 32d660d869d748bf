"""The story that the demo plays, against the API and the gateway as any user would use them."""

import asyncio
import contextlib
import importlib.resources
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from outrider.api.labels import CLI_FIELD_OWNER, SIMULATOR_CONFIG_MAP
from outrider.api.llmdeployment import LLMDeployment
from outrider.cli.demo.timeline import Timeline
from outrider.cli.demo.traffic import Traffic
from outrider.cli.errors import CliError, Exit
from outrider.kube.api import Api
from outrider.kube.objects import CONFIG_MAP
from outrider.kube.resources import LLM_DEPLOYMENT

FIRST_VERSION = "v1.2.0"
GOOD_VERSION = "v1.3.0"
FAILING_VERSION = "v1.4.0"
FAILING_SETTINGS = {"error-rate": 0.3}
SLOW_VERSION = "v1.5.0"
SLOW_SETTINGS = {"slow-token-factor": 12}
"""It answers every request, but writes twelve times as slowly: all of its dashboards are green but one."""
CANARY_WEIGHT = 20
"""Percent."""
AS_CANARY = f"""  deployment:
    rolloutStrategy: Canary
    canary:
      steps: [{{weight: {CANARY_WEIGHT}, duration: 2m}}]
  rollback:
    autoRollback:
      enabled: true
"""
"""What the manifest, which ends in the middle of its spec, is given for a release that is watched."""

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
    canary_seconds: float
    """From applying the failing version, as a canary, until the command said that it was taken back by itself."""
    canary_requests: int
    """That it answered."""
    canary_failed_requests: int
    rollback_seconds: float
    """From the rollback command until the good version alone served again."""
    latency_p95_before: float | None
    """Seconds; requests before the slow release."""
    latency_p95_bad: float | None
    """Seconds; while the slow version served alone."""
    latency_p95_after: float | None
    """Seconds; after the rollback."""


def manifest_text() -> str:
    """The production manifest of the SRE guide, unmodified."""
    return importlib.resources.files("outrider.cli.demo").joinpath("production.yaml").read_text(encoding="utf-8")


class Story:
    """Plays the demo: every step is the command that a user would type, run as a process and measured from outside."""

    def __init__(self, api: Api, kubeconfig: Path, timeline: Timeline) -> None:
        self._api = api
        self._kubeconfig = kubeconfig
        self._timeline = timeline
        self._manifest = manifest_text()
        metadata = yaml.safe_load(self._manifest)["metadata"]
        self.name: str = metadata["name"]
        self.namespace: str = metadata["namespace"]
        self._canary_revision = ""

    async def play(self) -> Result:
        """Serve, release, release badly twice: one is taken back by itself, one by hand. Returns the measurements."""
        timeline = self._timeline
        await self._teach_the_simulator()
        timeline.title("1. Serve a model: the production manifest of the SRE guide, as it is printed there")
        ready_seconds = await self._release(FIRST_VERSION)
        item = await self._api.get(LLM_DEPLOYMENT, self.name, self.namespace)
        size = f"{item.status.ready} replicas, {item.status.gpus} GPUs"
        timeline.line(f"{FIRST_VERSION} is Ready after {ready_seconds:.1f} s: {size}")
        timeline.line(f"it answers at {item.status.url}/v1/chat/completions")
        timeline.title("2. Users come: 20 requests a second, half of them streamed")
        async with self._traffic(item) as traffic:
            await self._watch(traffic)
            timeline.title(f"3. A good release: {GOOD_VERSION}")
            release_seconds = await self._release(GOOD_VERSION)
            timeline.line(f"{GOOD_VERSION} alone serves after {release_seconds:.1f} s")
            await self._watch(traffic)
            canary_seconds = await self._canary()
            await self._watch(traffic)
            before = traffic.now
            timeline.title(f"5. A worse one, and not watched: {SLOW_VERSION} writes 12 times as slowly")
            await self._release(SLOW_VERSION)
            bad_from = traffic.now
            timeline.line(f"{SLOW_VERSION} alone serves: every health check is green, and users wait")
            await self._watch(traffic)
            timeline.title("6. Back to what worked: one command")
            bad_until = traffic.now
            rollback_seconds = await self._outrider("rollback", self.name, "--namespace", self.namespace)
            timeline.line(f"{GOOD_VERSION} alone serves again after {rollback_seconds:.1f} s")
            after = traffic.now
            await self._watch(traffic)
        tally = traffic.tally
        canary = [answer for answer in tally.answers if answer.revision == self._canary_revision]
        result = Result(
            ready_seconds=round(ready_seconds, 3),
            requests=tally.requests,
            failed_requests=tally.failed_requests,
            streams=tally.streams,
            broken_streams=tally.broken_streams,
            release_seconds=round(release_seconds, 3),
            canary_seconds=round(canary_seconds, 3),
            canary_requests=len(canary),
            canary_failed_requests=sum(bool(answer.failure) for answer in canary),
            rollback_seconds=round(rollback_seconds, 3),
            latency_p95_before=tally.latency(0.0, before),
            latency_p95_bad=tally.latency(bad_from, bad_until),
            latency_p95_after=tally.latency(after, traffic.now),
        )
        self._sum_up(result)
        return result

    async def _teach_the_simulator(self) -> None:
        """Tell the simulated model servers which versions are bad. On a cluster, that comes by itself."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": SIMULATOR_CONFIG_MAP, "namespace": self.namespace},
            "data": {
                FAILING_VERSION: yaml.safe_dump(FAILING_SETTINGS),
                SLOW_VERSION: yaml.safe_dump(SLOW_SETTINGS),
            },
        }
        await self._api.apply(CONFIG_MAP, body, owner=CLI_FIELD_OWNER)

    async def _canary(self) -> float:
        """Release the failing version to a share of the traffic, and wait until it was taken back."""
        self._timeline.title(f"4. A bad release, as a canary: three of ten answers of {FAILING_VERSION} are errors")
        self._timeline.line(
            f"canary.yaml is the same manifest, with {CANARY_WEIGHT} % of the traffic for two minutes first"
        )
        manifest = self._manifest_of(FAILING_VERSION) + AS_CANARY
        shown = "apply --filename canary.yaml --wait"
        seconds = await self._outrider(
            "apply", "--filename", "-", "--wait", stdin=manifest, shown=shown, code=Exit.FAILED
        )
        item = await self._api.get(LLM_DEPLOYMENT, self.name, self.namespace)
        release = item.status.release
        if release is None or release.version != FAILING_VERSION:
            raise CliError(f"{FAILING_VERSION} was not released: {item.status.release}")
        self._canary_revision = release.revision
        self._timeline.line(f"taken back after {seconds:.1f} s, and nobody typed anything: {release.message}")
        return seconds

    def _manifest_of(self, version: str) -> str:
        return self._manifest.replace(f'version: "{FIRST_VERSION}"', f'version: "{version}"')

    async def _release(self, version: str) -> float:
        source = (
            "production.yaml" if version == FIRST_VERSION else f"<(sed s/{FIRST_VERSION}/{version}/ production.yaml)"
        )
        shown = f"apply --filename {source} --wait"
        return await self._outrider("apply", "--filename", "-", "--wait", stdin=self._manifest_of(version), shown=shown)

    async def _outrider(self, *arguments: str, stdin: str = "", shown: str = "", code: int = Exit.OK) -> float:
        """Run a command of ours as a process, as a user's shell does; returns the seconds it took.

        Raises:
            CliError: it did not end with `code`; says what it printed.
        """
        self._timeline.command(f"outrider {shown or ' '.join(arguments)}")
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "outrider",
            *arguments,
            "--kubeconfig",
            str(self._kubeconfig),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed, _ = await process.communicate(stdin.encode())
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()
            raise
        if process.returncode != code:
            said = printed.decode(errors="replace")
            raise CliError(f"outrider {' '.join(arguments)} ended with {process.returncode} and not {code:d}:\n{said}")
        return time.monotonic() - started

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
        before, bad, after = map(_ms, (result.latency_p95_before, result.latency_p95_bad, result.latency_p95_after))
        latency = f"{before}, then {bad} with the slow version, then {after}"
        failed = f"{result.canary_failed_requests} of {result.canary_requests} requests failed"
        others = result.requests - result.canary_requests
        rows = (
            ("first version Ready", f"{result.ready_seconds:.1f} s"),
            ("good release", f"{result.release_seconds:.1f} s"),
            ("canary taken back", f"{result.canary_seconds:.1f} s, {failed}"),
            ("rollback", f"{result.rollback_seconds:.1f} s"),
            ("all other requests", f"{others}, {result.failed_requests - result.canary_failed_requests} failed"),
            ("streams", f"{result.streams}, {result.broken_streams} broken"),
            ("p95 latency", latency),
        )
        for title, value in rows:
            timeline.line(f"{title:<20} {value}")


def _ms(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1000:.0f} ms"
