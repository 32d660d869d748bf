"""Whether a local world stays as small as it was: 200 releases and 100,000 requests through one `outrider up`.

    python bench/soak.py [--requests 100000] [--releases 200] [--warm-up 200] [--services 4] [--rate 200]

Days of a busy world in a quarter of an hour: the simulated model servers load at once and answer at once. First all
releases, a new version of one service after the other in each of `--services` rows, with a quarter of the requests per
second of `--rate`; then the rest of the requests at the whole rate. Every third request streams; none may fail.

The operator and the gateway of a local world run in the process of `outrider up`: its memory is that of all three. What
they remember is bounded, and the releases of `--warm-up` come before the others to fill it. After them memory is flat
if, by the straight line through the releases, it grows by less than 2 MB per 100 of them, and, by the one through the
second half of the requests, by less than 0.05 MB per 1,000.
"""

import argparse
import asyncio
import contextlib
import copy
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from outrider.cli.waiting import follow, is_ready
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import load_kubeconfig
from outrider.kube.objects import CONFIG_MAP, EVENT, POD, REPLICA_SET
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION
from outrider.local.folder import WorldFolder, WorldInfo

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "parts"))
from bench_world import running_world  # noqa: E402
from open_loop import Connection, wait_until  # noqa: E402
from world_watch import Sample, look, processes_of, slope  # noqa: E402

EXAMPLE = HERE.parent / "examples" / "llama-3.1-8b.yaml"
NAMESPACE = "default"
FAST = {"load-seconds": 0, "time-to-first-token-ms": 0, "inter-token-latency-ms": 0}
RELEASE_SECONDS = 180.0
"""A release that takes longer has failed."""
FLAT_PER_100_RELEASES = 2.0
FLAT_PER_1000_REQUESTS = 0.05
"""Megabytes."""
COUNTED = {
    "pods": POD, "replica sets": REPLICA_SET, "config maps": CONFIG_MAP, "events": EVENT,
    "model revisions": MODEL_REVISION,
}  # fmt: skip


class Traffic:
    """Requests to all services in turn at a fixed rate, over kept connections, and what became of them."""

    def __init__(self, port: int, services: Sequence[str]) -> None:
        self.rate = 1.0
        self.answered = 0
        self.failures: Counter[str] = Counter()
        self._port = port
        self._requests = [_request(name, stream=stream) for stream in (False, False, True) for name in services]
        self._idle: list[Connection] = []

    async def run(self) -> None:
        """Until cancelled; then those in flight are waited for."""
        async with asyncio.TaskGroup() as group:
            due, number = time.perf_counter(), 0
            with contextlib.suppress(asyncio.CancelledError):
                while True:
                    due = max(due + 1 / self.rate, time.perf_counter() - 1.0)
                    await wait_until(due)
                    group.create_task(self._one(self._requests[number % len(self._requests)]))
                    number += 1
        for connection in self._idle:
            connection.close()

    async def _one(self, request: bytes) -> None:
        try:
            connection = await self._connection()
            await connection.ask(request)
        except (OSError, TimeoutError) as error:
            self.failures[f"{type(error).__name__}: {error}"] += 1
        else:
            self.answered += 1
            self._idle.append(connection)

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        _, made = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        return made


def _request(service: str, *, stream: bool) -> bytes:
    body = {"model": service, "prompt": "What is the capital of France?", "max_tokens": 4, "stream": stream}
    payload = json.dumps(body).encode()
    head = (
        f"POST /{NAMESPACE}/{service}/v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    )
    return f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload


class Soak:
    """One run against a world that is up."""

    def __init__(self, api: HttpApi, info: WorldInfo, home: Path, options: argparse.Namespace) -> None:
        self._api, self._info, self._home, self._options = api, info, home, options
        self._services = [f"model-{number}" for number in range(options.services)]
        port = int(info.gateway_url.rpartition(":")[2])
        self.traffic = Traffic(port, self._services)
        self.releases = 0
        self.samples: list[Sample] = []
        self.counts: list[dict[str, int]] = []
        self._began = time.monotonic()

    async def run(self) -> None:
        settings = {"metadata": {"name": "outrider-simulator", "namespace": NAMESPACE}}
        await self._api.create(
            CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", **settings, "data": {"default": json.dumps(FAST)}}
        )
        await asyncio.gather(*(self._release(name, 0) for name in self._services))
        traffic = asyncio.create_task(self.traffic.run())
        looking = asyncio.create_task(self._look_regularly())
        try:
            await self._count()
            self.traffic.rate = self._options.rate / 4
            numbers = iter(range(1, self._options.warm_up + self._options.releases + 1))
            await asyncio.gather(*(self._row(name, numbers) for name in self._services))
            await self._count()
            self.traffic.rate = self._options.rate
            while self.traffic.answered + self.traffic.failures.total() < self._options.requests:
                if traffic.done():
                    traffic.result()
                await asyncio.sleep(0.1)
            await self._count()
        finally:
            broken = [task.exception() for task in (looking, traffic) if task.done()]
            for task in (looking, traffic):
                task.cancel()
            await asyncio.gather(looking, traffic, return_exceptions=True)
        if broken:
            raise SystemExit(f"the looks or the traffic ended early: {broken}")
        await asyncio.sleep(self._options.settle)  # the gateway closes idle connections to pods after 3 s
        self._look()

    async def _row(self, name: str, numbers: Any) -> None:
        for number in numbers:
            await self._release(name, number)
            self.releases += 1
            if self.releases == self._options.warm_up:
                await self._count()

    async def _release(self, name: str, number: int) -> None:
        """Returns when the new version serves alone."""
        body = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
        body["metadata"] |= {"name": name, "namespace": NAMESPACE}
        body["spec"]["model"] |= {"version": f"v1.{number}.0", "name": name}
        body["spec"] |= {"replicas": 1, "rollback": {}}
        del body["spec"]["autoscaling"]
        await self._api.apply(LLM_DEPLOYMENT, body, owner="soak")
        async with asyncio.timeout(RELEASE_SECONDS):
            async for item in follow(self._api, LLM_DEPLOYMENT, name, NAMESPACE):
                if item is not None and is_ready(item) and item.status.serving_version == f"v1.{number}.0":
                    return

    async def _look_regularly(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(self._options.every)

    def _look(self) -> None:
        sample = look(
            self._info.pid,
            self._home,
            seconds=time.monotonic() - self._began,
            requests=self.traffic.answered,
            releases=self.releases,
        )
        self.samples.append(sample)
        print(
            "  ".join(f"{value:,.1f} {name}" for name, value in msgspec.structs.asdict(sample).items()), file=sys.stderr
        )

    async def _count(self) -> None:
        found = {}
        for name, kind in COUNTED.items():
            found[name] = len((await self._api.list(kind.into(dict))).items)
        self.counts.append(found)


def growth(samples: Sequence[Sample], unit: str) -> float:
    """Megabytes for each release or request, by the straight line through the samples."""
    return slope([(float(getattr(each, unit)), each.megabytes) for each in samples])


def report(soak: Soak, options: argparse.Namespace) -> dict[str, object]:
    samples, last = soak.samples, soak.releases
    releasing = [each for each in samples if options.warm_up <= each.releases < last]
    asking = [each for each in samples if each.releases == last]
    per_release, per_request = growth(releasing, "releases"), growth(asking[len(asking) // 2 :], "requests")
    columns = (("requests", 10), ("releases", 10), ("up MB", 8), ("fds", 6), ("pods", 6), ("MB", 7), ("folder MB", 11))
    print(f"{'':>9}" + "".join(f"{name:>{width}}" for name, width in columns) + f"{'files':>7}")
    for each in [*samples[:: max(1, len(samples) // 16)], samples[-1]]:
        print(
            f"{each.seconds:>7.0f} s{each.requests:>10,}{each.releases:>10}{each.megabytes:>8.1f}{each.files:>6}"
            f"{each.pods:>6}{each.pod_megabytes:>7.0f}{each.folder_megabytes:>11.1f}{each.folder_files:>7}"
        )
    for name in COUNTED:
        print(
            f"{name:<16}" + "".join(f"{count[name]:>7}" for count in soak.counts) + "   start, warm, all releases, end"
        )
    flat = per_release * 100 < FLAT_PER_100_RELEASES and per_request * 1000 < FLAT_PER_1000_REQUESTS
    print(f"memory after the warm-up: {per_release * 100:+.2f} MB per 100 releases, ", end="")
    print(f"{per_request * 1000:+.3f} MB per 1,000 requests: {'flat' if flat else 'not flat'}")
    print(f"{soak.traffic.failures.total()} requests failed")
    for why, count in soak.traffic.failures.most_common(5):
        print(f"  {count}: {why}")
    return {
        "benchmark": "soak",
        "requests": soak.traffic.answered,
        "failed_requests": soak.traffic.failures.total(),
        "releases": soak.releases,
        "warm_up": options.warm_up,
        "seconds": round(samples[-1].seconds, 1),
        "up_megabytes_first": round(samples[0].megabytes, 1),
        "up_megabytes_last": round(samples[-1].megabytes, 1),
        "megabytes_per_100_releases": round(per_release * 100, 3),
        "megabytes_per_1000_requests": round(per_request * 1000, 4),
        "flat": flat,
        "files_first": samples[0].files,
        "files_last": samples[-1].files,
        "folder_megabytes_first": round(samples[0].folder_megabytes, 2),
        "folder_megabytes_last": round(samples[-1].folder_megabytes, 2),
        "folder_files_last": samples[-1].folder_files,
        "processes_of_pods_last": samples[-1].pods,
        **{f"{name.replace(' ', '_')}_last": count for name, count in soak.counts[-1].items()},
        "samples": [msgspec.to_builtins(each) for each in samples] if options.samples else len(samples),
    }


async def against(home: Path, options: argparse.Namespace) -> dict[str, object]:
    folder = WorldFolder(root=home)
    info = folder.info()
    assert info is not None
    async with HttpApi(load_kubeconfig([folder.kubeconfig])) as api:
        soak = Soak(api, info, home, options)
        await soak.run()
    return report(soak, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, help="in all")
    parser.add_argument("--releases", type=int, default=200, help="after the warm-up")
    parser.add_argument("--warm-up", type=int, default=200, help="releases before those that are measured")
    parser.add_argument("--services", type=int, default=4, help="that are released to side by side")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second of the second part")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds before the last look")
    parser.add_argument("--samples", action="store_true", help="put every look into the JSON")
    options = parser.parse_args()
    with running_world() as home:
        results = asyncio.run(against(home, options))
    results["processes_after_down"] = len(processes_of(home, besides=(os.getpid(),)))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
