"""The operator's service account, and `outrider operator` with its token and the installed Deployment's arguments."""

import asyncio
import contextlib
import os
import ssl
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from control_plane import RunningPlane
from prometheus_client.parser import text_string_to_metric_families

from outrider.cli.main import run
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig, write_kubeconfig
from outrider.kube.objects import DEPLOYMENT
from outrider.plan.install.settings import DEFAULT_NAMESPACE

from .kubelet_world import free_port, until


async def outrider(plane: RunningPlane, *arguments: str) -> None:
    """Run a command as an administrator."""
    assert await asyncio.to_thread(run, [*arguments, "--kubeconfig", str(plane.kubeconfig)]) == 0, arguments


@dataclass
class Account:
    """The operator's service account, and where its operator listens."""

    plane: RunningPlane
    folder: Path
    health: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)

    async def token(self) -> str:
        asked = ("create", "token", "outrider-operator", "--namespace", DEFAULT_NAMESPACE)
        return (await asyncio.to_thread(self.plane.kubectl, *asked)).stdout.strip()

    async def config(self) -> ClusterConfig:
        of_admin = self.plane.config
        anonymous = replace(of_admin, client_certificate_data="", client_key_data="", source="the operator's account")
        return replace(anonymous, token=await self.token())

    async def arguments(self) -> list[str]:
        """Those of the installed Deployment, but with ports of loopback, and without the patience of production."""
        async with HttpApi(self.plane.config) as api:
            found = await api.get(DEPLOYMENT.into(dict), "outrider-operator", DEFAULT_NAMESPACE)
        (container,) = found["spec"]["template"]["spec"]["containers"]
        own = {"--health-address": f"127.0.0.1:{self.health}", "--metrics-address": f"127.0.0.1:{self.metrics}"}
        kept = [word for word in container["args"] if word.partition("=")[0] not in own]
        ours = [f"{option}={address}" for option, address in own.items() if f"{option}=" in " ".join(container["args"])]
        return [*kept, *ours, "--probe-interval=1s", "--drain-seconds=1"]

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        """`outrider operator` as this account. It has to end by itself when it is asked to."""
        config = await self.config()
        kubeconfig = self.folder / "operator.kubeconfig"
        assert config.certificate_authority_data
        write_kubeconfig(
            kubeconfig,
            server=config.server,
            token=config.token,
            certificate_authority_data=config.certificate_authority_data,
        )
        environment = {**os.environ, "POD_NAME": "operator-0", "POD_NAMESPACE": DEFAULT_NAMESPACE}
        environment.pop("KUBECONFIG", None)
        argv = [sys.executable, "-m", "outrider", *await self.arguments(), "--kubeconfig", str(kubeconfig)]
        with (self.folder / "operator.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=log, stderr=log)
        try:
            await until(self.ready, "the operator is ready")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            code = await asyncio.wait_for(process.wait(), 60)
        assert code == 0, (self.folder / "operator.log").read_text()[-4000:]

    async def ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.health}/readyz") as got:
                return got.status == 200
        except aiohttp.ClientError:
            return False

    async def metrics_status(self, token: str) -> int:
        return (await self._scrape(token))[0]

    async def scraped(self, token: str) -> dict[str, float]:
        """The operator's metrics, each summed up over its labels."""
        status, text = await self._scrape(token)
        assert status == 200, text
        sums: dict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] += sample.value
        return sums

    async def _scrape(self, token: str) -> tuple[int, str]:
        insecure = ssl.create_default_context()
        insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
        url, headers = f"https://127.0.0.1:{self.metrics}/metrics", {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=insecure) as got:
            return got.status, await got.text()
