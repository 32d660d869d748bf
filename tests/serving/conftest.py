"""A simulated model server, in this process for the API's tests, as a process of its own for the others."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from outrider.kube.clock import SystemClock
from outrider.serving.simulator.flags import parse_flags
from outrider.serving.simulator.middleware import InFlight
from outrider.serving.simulator.server import make_app
from outrider.serving.simulator.service import Service
from outrider.serving.simulator.settings import Settings, merge

FAST = {"load-seconds": 0, "time-to-first-token-ms": 0, "inter-token-latency-ms": 0}
PATIENCE_SECONDS = 20.0


class Server:
    """The server in this process. Coroutines of tests run in its event loop: `server.run(coroutine)`."""

    def __init__(self, flags: str = "", settings: dict[str, Any] | None = None) -> None:
        self.crashes: list[str] = []
        self.in_flight = InFlight()
        self._flags = parse_flags(["serve", "org/m", "--served-model-name=m", *flags.split()])
        self._settings = merge(Settings(), FAST | (settings or {}))
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    def run(self, work: Awaitable[Any]) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(work, PATIENCE_SECONDS)

        return self._runner.run(bounded())

    async def _start(self) -> None:
        self.service = Service(
            self._flags, self._settings, SystemClock(), CollectorRegistry(), crash=self.crashes.append
        )
        self._app_runner = web.AppRunner(
            make_app(self.service, self.in_flight), handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._app_runner.setup()
        site = web.TCPSite(self._app_runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._app_runner.addresses[0][1]}"
        self._engine = asyncio.create_task(self.service.run())
        self.session = ClientSession(self.url)

    async def _stop(self) -> None:
        await self.session.close()
        await self._app_runner.cleanup()
        self._engine.cancel()
        await asyncio.wait({self._engine})

    # --- what tests do -----------------------------------------------------------------------------------------

    def post(self, path: str, body: Any = None, **arguments: Any) -> tuple[int, Any]:
        """Status and decoded body; the text where it is no JSON."""
        if body is not None:
            arguments["json"] = body
        status, text = self.run(self._request("POST", path, arguments))
        return status, _decoded(text)

    def get(self, path: str, **arguments: Any) -> tuple[int, Any]:
        status, text = self.run(self._request("GET", path, arguments))
        return status, _decoded(text)

    async def _request(self, method: str, path: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
        async with self.session.request(method, path, **arguments) as response:
            return response.status, await response.read()

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics; 0 where there is none yet."""
        if name.startswith("vllm:"):
            labels = {"model_name": "m", "engine": "0", **labels}
        return self.service.registry.get_sample_value(name, labels) or 0.0

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`, with the patience of `run`."""
        while not condition():  # noqa: ASYNC110 - a test looks from outside
            await asyncio.sleep(0.005)


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode()


class ServerProcess:
    """The server as pods run it. The port is in its log, as it was left to the system to choose."""

    def __init__(
        self,
        flags: str = "",
        settings: dict[str, Any] | None = None,
        *,
        host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.began = time.monotonic()
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "outrider.serving.simulator", "serve", "meta-llama/Llama-3.1-8B-Instruct"),
                *("--served-model-name=m", f"--host={host}", "--port=0", *flags.split()),
            ],
            env=os.environ | {"OUTRIDER_SIMULATOR": json.dumps(FAST | (settings or {})), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def url(self) -> str:
        """Its address, as soon as it listens."""
        self.until(lambda: "API server on " in self.log)
        return next(line.rpartition(" ")[2] for line in self.lines if "API server on " in line)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE_SECONDS:g} s; the log:\n{self.log}")
            time.sleep(0.005)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, with the whole log read."""
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return code

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_SECONDS) as response:
            body: bytes = response.read()
            return body

    def configure(self, **settings: Any) -> None:
        body = json.dumps({key.replace("_", "-"): value for key, value in settings.items()}).encode()
        urllib.request.urlopen(f"{self.url}/admin/config", data=body, timeout=PATIENCE_SECONDS).close()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


StartProcess = Callable[..., ServerProcess]


@pytest.fixture
def start_process() -> Iterator[StartProcess]:
    """Starts servers that end with the test."""
    started: list[ServerProcess] = []

    def start(*arguments: Any, **named: Any) -> ServerProcess:
        started.append(ServerProcess(*arguments, **named))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One fast server for a module. Tests that change its settings set them back."""
    with Server() as started:
        yield started


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts servers in this process that end with the test."""
    started: list[Server] = []

    def start(*arguments: Any, **named: Any) -> Server:
        started.append(Server(*arguments, **named).__enter__())
        return started[-1]

    yield start
    for one in started:
        one.__exit__(None, None, None)
