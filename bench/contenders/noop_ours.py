"""The no-op operator of `bench/controllers.py` on our runtime, and the API server that both operators watch."""

import argparse
import asyncio
import resource
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from outrider.kube.clock import SystemClock
from outrider.kube.controller import Controller, Result
from outrider.kube.http import HttpApi
from outrider.kube.informer import Informer
from outrider.kube.kubeconfig import load_kubeconfig
from outrider.kube.manager import Manager
from outrider.kube.predicates import generation_changed
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.rest import make_app
from outrider.local.store import Store, StoreApi

TOKEN = "bench"


def manifest(number: int, replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "inference.llm-d.io/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": f"model-{number:05}", "namespace": "default"},
        "spec": {
            "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": "v1.0.0"},
            "replicas": replicas,
            "resources": {"limits": {"nvidia.com/gpu": 1}},
        },
    }


async def serve(count: int) -> None:
    """Serve the objects; a line on standard input changes all of them once."""
    async with Store.opened(SystemClock(), changes_kept=4 * count) as store:
        api, kind = StoreApi(store), LLM_DEPLOYMENT.into(dict)
        for number in range(count):
            await api.create(kind, manifest(number, 0))
        runner = web.AppRunner(make_app(store, token=TOKEN, logs=None), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        replicas = 0
        while await asyncio.to_thread(sys.stdin.readline):
            replicas += 1
            print(time.monotonic(), flush=True)
            for number in range(count):
                await api.patch(kind, f"model-{number:05}", {"spec": {"replicas": replicas}}, "default")
                if number % 50 == 0:
                    await asyncio.sleep(0)  # let the watches be served
        await runner.cleanup()


async def operate(kubeconfig: Path, count: int) -> None:
    """A controller that does nothing."""

    clock = SystemClock()
    async with HttpApi(load_kubeconfig([kubeconfig])) as api:
        objects = Informer(api, LLM_DEPLOYMENT, clock)
        seen: dict[int, set[str]] = {}

        async def reconcile(key: str) -> Result | None:
            found = objects.get(key)
            assert found is not None
            wave = found.metadata.generation - 1
            names = seen.setdefault(wave, set())
            names.add(key)
            if len(names) == count:
                usage = resource.getrusage(resource.RUSAGE_SELF)
                print(wave, time.monotonic(), usage.ru_utime + usage.ru_stime, flush=True)
            return None

        controller = Controller("noop", reconcile, clock=clock)
        controller.for_(objects, generation_changed)
        await Manager(clock, controllers=[controller]).run()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true", help="be the API server")
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.count) if arguments.serve else operate(arguments.kubeconfig, arguments.count))


if __name__ == "__main__":
    main()
