"""`kubectl top` and horizontal autoscaling, from the processes of pods."""

import asyncio
import json
import sys
from pathlib import Path

from control_plane import RunningPlane

from outrider.local.controlplane.metrics_api import SERVER_NAMES, SERVICE, MetricsApi, registration
from outrider.local.controlplane.pki import Authority

from ..kubelet_world import SLEEPER, KubeletWorld, server_tls, story  # noqa: TID252  (absolute, it would be another module)

ADDRESS = "192.168.77.250"


def test_top(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("busy", sys.executable, "-c", "while True: pass", metadata={"labels": {"app": "busy"}})
        await world.create("idle", *SLEEPER)
        await world.ready("busy")
        await world.ready("idle")
        front_proxy = Authority(control_plane.folder / "pki", "front-proxy-ca")
        serving = world.authority.issue("metrics-api", SERVICE, names=SERVER_NAMES)
        tls = server_tls(serving, front_proxy)
        authority = world.authority.pair.certificate.read_bytes()
        async with MetricsApi([world.kubelet], world.usage, tls, address=ADDRESS) as api:
            objects = registration(ADDRESS, api.port, authority)
            manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
            await asyncio.to_thread(control_plane.kubectl, "apply", "-f", "-", stdin=manifest)
            available = "--for=condition=Available"
            await world.kubectl("wait", available, "apiservice/v1beta1.metrics.k8s.io", "--timeout=60s")
            await world.usage.measure()
            pods = {line.split()[0]: line.split() for line in (await world.kubectl("top", "pods")).stdout.splitlines()}
            assert pods["NAME"] == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
            assert int(pods["busy"][1].removesuffix("m")) > int(pods["idle"][1].removesuffix("m"))
            selected = await world.kubectl("top", "pods", "-l", "app=busy", "--no-headers", "--containers")
            assert selected.stdout.split()[:2] == ["busy", "main"]
            nodes = await world.kubectl("top", "nodes", "-l", f"kubernetes.io/hostname={world.node.name}")
            assert nodes.stdout.splitlines()[1].split()[0] == world.node.name
            nobody = await world.kubectl("top", "nodes", "-l", "node-type=none", check=False)
            assert nobody.stderr == "error: metrics not available yet\n", "what kubectl says where nothing is selected"

    story(control_plane, tmp_path, "top", scenario)
