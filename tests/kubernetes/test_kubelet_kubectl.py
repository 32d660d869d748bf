"""What kubectl shows of pods that are processes, through the real API server."""

import json
import os
import sys
from pathlib import Path

import aiohttp
import pytest
from control_plane import RunningPlane

from outrider.local.controlplane.metrics_api import (
    registration,
)
from outrider.local.controlplane.pki import Authority

from .kubelet_world import SLEEPER, KubeletWorld, free_port, story


def test_exec_and_logs(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("web", *SLEEPER, container={"env": [{"name": "COLOUR", "value": "blue"}]})
        await world.ready("web")
        kubectl = world.kubectl
        assert (await kubectl("exec", "web", "--", "sh", "-c", "echo $COLOUR")).stdout == "blue\n"
        failed = await kubectl("exec", "web", "--", "sh", "-c", "echo no >&2; exit 7", check=False)
        assert (failed.returncode, failed.stderr) == (7, "no\ncommand terminated with exit code 7\n")
        missing = await kubectl("exec", "web", "--", "no-such-program", check=False)
        assert missing.returncode == 127
        assert 'exec: "no-such-program": executable file not found in $PATH' in missing.stderr
        counted = await kubectl("exec", "-i", "web", "--", "wc", "-l", stdin="a\nb\nc\n")
        assert counted.stdout.strip() == "3"
        assert (await kubectl("logs", "web")).stdout == "begun\n"
        assert (await kubectl("logs", "web", "--tail=1", "--timestamps")).stdout.endswith("Z begun\n")
        nothing = await kubectl("logs", "web", "--previous", check=False)
        assert 'previous terminated container "main" in pod "web" not found' in nothing.stderr

    story(control_plane, tmp_path, "exec-and-logs", scenario)


TRANSPORTS = {"websocket": "true", "spdy": "false"}
"""What kubectl speaks: since 1.31 WebSocket, before that, and where it is told to, SPDY."""


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for variable in ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"):
        monkeypatch.setenv(variable, TRANSPORTS[request.param])
    return str(request.param)


SERVER = """
import http.server, os
handler = http.server.SimpleHTTPRequestHandler
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), handler).serve_forever()
"""
SHELL = ("sh", "-c", "tty; stty size; read line; echo got $line; exit 5")
ADDRESS = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def test_streams(control_plane: RunningPlane, tmp_path: Path, transport: str) -> None:
    """Exec with input and with a terminal, copies, attaching and port-forwards."""

    async def scenario(world: KubeletWorld) -> None:
        probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
        container = {"env": [ADDRESS], "readinessProbe": probe, "workingDir": str(tmp_path)}
        (tmp_path / "page.txt").write_text("hello")
        await world.create("web", sys.executable, "-c", SERVER, container=container)
        await world.ready("web")
        kubectl = world.kubectl
        failed = await kubectl("exec", "-i", "web", "--", "sh", "-c", "cat; exit 7", stdin="in and out", check=False)
        assert (failed.returncode, failed.stdout) == (7, "in and out")

        sent, back = tmp_path / "sent", tmp_path / "back"
        sent.write_bytes(os.urandom(300_000))
        await kubectl("cp", str(sent), f"web:{tmp_path}/in-pod")
        await kubectl("cp", f"web:{tmp_path}/in-pod", str(back))
        assert back.read_bytes() == sent.read_bytes()

        port = free_port()
        with world.started("port-forward", "pod/web", f"{port}:8080") as forward:
            await forward.until("Forwarding from 127.0.0.1")
            async with aiohttp.ClientSession() as session:
                for _ in range(3):
                    async with session.get(f"http://127.0.0.1:{port}/page.txt") as response:
                        assert await response.text() == "hello"

        with world.started("exec", "-it", "web", "--", *SHELL) as shell:
            await shell.until("/dev/pts/")
            await shell.until("24 80")
            shell.write("abc\n")
            await shell.until("got abc")
            assert await shell.code() == 5

        await world.create("ticker", "sh", "-c", "while :; do echo tick; sleep 0.1; done")
        await world.ready("ticker")
        with world.started("attach", "ticker") as attached:
            await attached.until("tick")
        refused = await kubectl("attach", "-i", "ticker", stdin="x", check=False)
        assert 'container "main" has no standard input' in refused.stderr

    story(control_plane, tmp_path, f"streams-{transport}", scenario)


def test_the_registration_of_the_metrics_api_is_accepted(control_plane: RunningPlane, tmp_path: Path) -> None:
    authority = Authority(control_plane.folder / "pki", "cluster-ca").pair.certificate.read_bytes()
    objects = registration("192.168.77.250", 4443, authority)
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    applied = control_plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=manifest)
    assert len(applied.stdout.splitlines()) == len(objects)
