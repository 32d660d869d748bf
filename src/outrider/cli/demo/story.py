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
from outrider.cli.errors import CliError
from outrider.kube.api import Api
from outrider.kube.objects import CONFIG_MAP
from outrider.kube.resources import LLM_DEPLOYMENT

FIRST_VERSION = "v1.2.0"
GOOD_VERSION = "v1.3.0"
BAD_VERSION = "v1.4.0"
BAD_SETTINGS = {"slow-token-factor": 12}
"""The bad version answers every request, but writes twelve times as slowly: all of its dashboards are green but one."""

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

    async def play(self) -> Result:
        """Serve, release, release badly, roll back; returns the measurements."""
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
            before = traffic.now
            timeline.title(
                f"4. A bad release: {BAD_VERSION} writes {BAD_SETTINGS['slow-token-factor']} times as slowly"
            )
            await self._release(BAD_VERSION)
            bad_from = traffic.now
            timeline.line(f"{BAD_VERSION} alone serves: every health check is green, and users wait")
            await self._watch(traffic)
            timeline.title("5. Back to what worked: one command")
            bad_until = traffic.now
            rollback_seconds = await self._outrider("rollback", self.name, "--namespace", self.namespace)
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

    async def _release(self, version: str) -> float:
        manifest = self._manifest.replace(f'version: "{FIRST_VERSION}"', f'version: "{version}"')
        source = (
            "production.yaml" if version == FIRST_VERSION else f"<(sed s/{FIRST_VERSION}/{version}/ production.yaml)"
        )
        return await self._outrider(
            "apply", "--filename", "-", "--wait", stdin=manifest, shown=f"apply --filename {source} --wait"
        )

    async def _outrider(self, *arguments: str, stdin: str = "", shown: str = "") -> float:
        """Run a command of ours as a process, as a user's shell does; returns the seconds it took.

        Raises:
            CliError: it failed; says what it printed.
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
        if process.returncode != 0:
            raise CliError(f"outrider {' '.join(arguments)} failed:\n{printed.decode(errors='replace')}")
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
        latency = f"{before}, then {bad} with the bad version, then {after}"
        rows = (
            ("first version Ready", f"{result.ready_seconds:.1f} s"),
            ("good release", f"{result.release_seconds:.1f} s"),
            ("rollback", f"{result.rollback_seconds:.1f} s"),
            ("requests", f"{result.requests}, {result.failed_requests} failed"),
            ("streams", f"{result.streams}, {result.broken_streams} broken"),
            ("p95 latency", latency),
        )
        for title, value in rows:
            timeline.line(f"{title:<20} {value}")


def _ms(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1000:.0f} ms"
