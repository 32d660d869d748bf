"""How soon a service is back on the version before, end to end in a local world, under traffic.

    python bench/rollback.py [--warm 50] [--cold 10] [--by-evidence 3] [--rate 20]

A blue-green service of two replicas is released, and taken back:

* warm: `outrider rollback` while the version before is kept loaded (standby). Restored is when the last request that
  the newer version answers was sent; the command itself returns later, when all is as it should be.
* cold: the same without standby: the version before has to load, for `--load-seconds` as every simulated server.
* by evidence: after promotion all answers of the new version turn bad, and nobody types anything. Counted from the
  first bad answer to the last one.

No request may fail in the first two.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from outrider.cli.demo.traffic import Answer, Traffic
from outrider.cli.waiting import follow
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import load_kubeconfig
from outrider.kube.objects import CONFIG_MAP, POD
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.folder import WorldFolder

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "parts"))
from bench_world import running_world  # noqa: E402

NAME, NAMESPACE, MODEL = "llama", "default", "Llama-3.1-8B-Instruct"
LONGEST = 300.0
"""Seconds after which a release or a rollback has failed."""
AFTERWARDS = 3.0
"""Seconds of traffic after a rollback, in which a request that still meets the newer version would be seen."""


def manifest(version: int, standby: str, *, automatic: bool) -> dict[str, Any]:
    return {
        "apiVersion": "inference.llm-d.io/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "model": {"modelUri": f"hf://meta-llama/{MODEL}", "version": f"v1.{version}.0"},
            "replicas": 2,
            "resources": {"requests": {"nvidia.com/gpu": "1"}},
            "deployment": {"rolloutStrategy": "BlueGreen", "blueGreen": {"previewDuration": "1s"}},
            "rollback": {
                "standby": standby,
                "autoRollback": {"enabled": automatic, "minRequests": 0, "window": "15s", "cooldown": "0s"},
            },
        },
    }


class Bench:
    """One world, one service, one stream of traffic."""

    def __init__(self, api: HttpApi, home: Path, options: argparse.Namespace) -> None:
        self._api, self._home, self._options = api, home, options
        self._version = 0
        self.traffic: Traffic

    async def run(self) -> dict[str, list[float]]:
        settings = json.dumps({"load-seconds": self._options.load_seconds})
        named = {"metadata": {"name": "outrider-simulator", "namespace": NAMESPACE}, "data": {"default": settings}}
        await self._api.create(CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", **named})
        await self._release("10m")
        url = (await self._status())["url"]
        self.traffic = Traffic(url, MODEL, per_second=self._options.rate)
        sending = asyncio.create_task(self.traffic.run())
        try:
            found = {
                "warm": await self._repeat("warm", self._options.warm, lambda: self._by_hand("10m")),
                "cold": await self._repeat("cold", self._options.cold, lambda: self._by_hand("0s")),
            }
            assert not self.traffic.tally.failed_requests, self.traffic.tally.failures
            found["by_evidence"] = await self._repeat("by evidence", self._options.by_evidence, self._by_evidence)
        finally:
            self.traffic.stop()
            await sending
        return found

    async def _repeat(self, what: str, times: int, once: Callable[[], Awaitable[float]]) -> list[float]:
        found = []
        for number in range(1, times + 1):
            found.append(await once())
            print(f"{what}, {number} of {times}: {found[-1]:.1f} s", file=sys.stderr, flush=True)
        return found

    async def _by_hand(self, standby: str) -> float:
        """Release a version and take it back; seconds from the command to the last request that it answered."""
        revision = await self._release(standby)
        if standby == "0s":
            await self._until(lambda status: status["rollback"]["readiness"] == "Cold")
        began = self.traffic.now
        await self._command("rollback", NAME, "--namespace", NAMESPACE, "--wait", "--timeout", f"{LONGEST:g}s")
        await asyncio.sleep(AFTERWARDS)  # not to wait for something, but to see that nothing comes
        late = [one.started for one in self._answers(began) if one.revision == revision]
        return max(late, default=began) - began

    async def _by_evidence(self) -> float:
        """Release a version that turns bad once it has all traffic; seconds from its first bad answer to its last."""
        revision = await self._release("10m", automatic=True)
        began = self.traffic.now
        for pod in (await self._api.list(POD, namespace=NAMESPACE)).items:
            if pod.metadata.labels.get("inference.llm-d.io/revision") == revision:
                await asyncio.to_thread(_tell, pod.status.pod_ip, {"error-rate": 1.0})
        await self._until(lambda status: status["phase"] == "RolledBack")
        await asyncio.sleep(AFTERWARDS)
        bad = [one.started for one in self._answers(began) if one.failure]
        return max(bad) - min(bad)

    def _answers(self, since: float) -> list[Answer]:
        return [one for one in self.traffic.tally.answers if one.started >= since]

    async def _release(self, standby: str, *, automatic: bool = False) -> str:
        """Release the next version, and wait until it has all traffic. Tells its revision."""
        self._version += 1
        body = manifest(self._version, standby, automatic=automatic)
        await self._api.apply(LLM_DEPLOYMENT, body, owner="bench")
        if self._version > 1:
            await self._command("unpin", NAME, "--namespace", NAMESPACE, "--no-wait", code=None)
        wanted = f"v1.{self._version}.0"
        status = await self._until(lambda status: (status.get("servingVersion"), status["phase"]) == (wanted, "Ready"))
        return str(status["effectiveRevision"])

    async def _until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(LONGEST):
            async for item in follow(self._api, LLM_DEPLOYMENT.into(dict), NAME, NAMESPACE):
                if item is not None and item.get("status") and reached(item["status"]):
                    found: dict[str, Any] = item["status"]
                    return found
        raise AssertionError("the watch ended")

    async def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._api.get(LLM_DEPLOYMENT.into(dict), NAME, NAMESPACE))["status"]
        return found

    async def _command(self, *words: str, code: int | None = 0) -> None:
        environment = {**os.environ, "OUTRIDER_HOME": str(self._home), "HOME": str(self._home)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "outrider", *words,
            env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        assert code is None or process.returncode == code, said.decode()


def _tell(address: str, settings: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"http://{address}:8080/admin/config", json.dumps(settings).encode(), {"content-type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


def report(found: dict[str, list[float]], options: argparse.Namespace, requests: int) -> dict[str, Any]:
    print(f"{'seconds until restored':<24}{'rollbacks':>10}{'median':>8}{'p90':>8}{'p99':>8}{'longest':>9}")
    result: dict[str, Any] = {"benchmark": "rollback", "rate": options.rate, "requests": requests}
    for kind, seconds in found.items():
        if not seconds:
            continue
        ordered = sorted(seconds)
        shares = [median(ordered), *(ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.9, 0.99))]
        print(f"{kind.replace('_', ' '):<24}{len(ordered):>10}", end="")
        print("".join(f"{value:>8.1f}" for value in shares) + f"{ordered[-1]:>9.1f}")
        result |= {f"{kind}_rollbacks": len(ordered)}
        result |= {
            f"{kind}_{name}_seconds": round(value, 2) for name, value in zip(("p50", "p90", "p99"), shares, strict=True)
        }
        result |= {f"{kind}_longest_seconds": round(ordered[-1], 2)}
    return result


async def against(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    async with HttpApi(load_kubeconfig([WorldFolder(root=home).kubeconfig])) as api:
        bench = Bench(api, home, options)
        began = time.monotonic()
        found = await bench.run()
    result = report(found, options, bench.traffic.tally.requests)
    return result | {"seconds": round(time.monotonic() - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=int, default=50, help="rollbacks to a version that is kept loaded")
    parser.add_argument("--cold", type=int, default=10, help="rollbacks to a version that has to load")
    parser.add_argument(
        "--by-evidence", type=int, default=3, help="that nobody asks for; more than 3 a day there are not"
    )
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second")
    parser.add_argument("--load-seconds", type=float, default=3.0, help="that a simulated server takes to load")
    options = parser.parse_args()
    with running_world() as home:
        results = asyncio.run(against(home, options))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
