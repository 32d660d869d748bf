"""`outrider operator` as processes against a real API server, each under a name of its own, and cut off at will."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from control_plane import RunningPlane


class Relay:
    """Passes connections on, byte by byte, until `cut` is called: then nothing comes through any more, and no end."""

    def __init__(self, server: str) -> None:
        url = urlsplit(server)
        self._target = (url.hostname or "", url.port or 443)
        self._cut = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._relay, "127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._cut = True

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(*self._target)
            await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                if self._cut:
                    await asyncio.Event().wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()


@dataclass
class OperatorUnderTest:
    """One operator process. To the API server it is the user `NAME.NAMESPACE`."""

    name: str
    user: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def said(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def has_said(self, event: str) -> bool:
        return any(line["event"] == event for line in self.said())


class Operators:
    """Starts operators that look after one namespace and agree by a Lease in it, and ends them."""

    def __init__(self, plane: RunningPlane, namespace: str, folder: Path) -> None:
        self._plane = plane
        self._namespace = namespace
        self._folder = folder
        self._running: list[OperatorUnderTest] = []

    def start(self, name: str, *, server: str = "", metrics: str = "0") -> OperatorUnderTest:
        user = f"{name}.{self._namespace}"
        document = yaml.safe_load(self._plane.kubeconfig.read_text())
        document["users"][0]["user"] |= {"as": user, "as-groups": ["system:masters"]}
        if server:
            document["clusters"][0]["cluster"]["server"] = server
        kubeconfig = self._folder / f"{name}.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(document))
        log = self._folder / f"{name}.log"
        argv = [
            *(sys.executable, "-m", "outrider", "operator", "--kubeconfig", str(kubeconfig), "--log-format", "json"),
            *("--namespaces", self._namespace, "--health-address", "127.0.0.1:0", "--metrics-address", metrics),
        ]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("OUTRIDER_")}
        environ |= {"POD_NAME": name, "POD_NAMESPACE": self._namespace}
        with log.open("wb") as file:
            process = subprocess.Popen(argv, stdout=file, stderr=file, env=environ)
        one = OperatorUnderTest(name, user, process, log)
        self._running.append(one)
        return one

    def end(self) -> None:
        for one in self._running:
            with contextlib.suppress(ProcessLookupError):
                one.process.kill()
            one.process.wait(30)

    def writes(self) -> list[tuple[str, str, str]]:
        """All writes of these operators that took effect, but for those on the Lease: user, when it came in, what."""
        users = {one.user for one in self._running}
        found = []
        for event in self._plane.audit():
            user = (event.get("impersonatedUser") or {}).get("username", "")
            target = event.get("objectRef") or {}
            if user not in users or event["verb"] in ("get", "list", "watch") or target.get("resource") == "leases":
                continue
            if event["responseStatus"].get("code", 500) < 300:
                what = f"{event['verb']} {target.get('resource')} {target.get('name')}"
                found.append((user, event["requestReceivedTimestamp"], what))
        return sorted(found, key=lambda write: write[1])

    def actors(self) -> list[str]:
        """Who wrote, in the order of the writes, each turn once."""
        turns: list[str] = []
        for user, _, _ in self.writes():
            if not turns or turns[-1] != user:
                turns.append(user)
        return turns


@contextmanager
def operators(plane: RunningPlane, namespace: str, folder: Path) -> Iterator[Operators]:
    """Operators for a new namespace, with the CRDs installed."""
    crds = Path(__file__).resolve().parents[2] / "deploy" / "crds"
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
    plane.kubectl("wait", "--for=condition=Established", "crd/llmdeployments.inference.llm-d.io", "--timeout=60s")
    plane.kubectl("create", "namespace", namespace)
    made = Operators(plane, namespace, folder)
    try:
        yield made
    finally:
        made.end()
