"""`kubectl top` and horizontal autoscaling, from the processes of pods."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from control_plane import RunningPlane

from outrider.kube.api import Kind
from outrider.local.controlplane.metrics_api import SERVER_NAMES, SERVICE, MetricsApi, registration
from outrider.local.controlplane.pki import Authority

from ..kubelet_world import SLEEPER, KubeletWorld, server_tls, story, until  # noqa: TID252  (absolute, it would be another module)

ADDRESS = "192.168.77.250"


@asynccontextmanager
async def served(world: KubeletWorld) -> AsyncIterator[None]:
    """The metrics of the node, known to the API server."""
    front_proxy = Authority(world.plane.folder / "pki", "front-proxy-ca")
    serving = world.authority.issue("metrics-api", SERVICE, names=SERVER_NAMES)
    authority = world.authority.pair.certificate.read_bytes()
    async with MetricsApi([world.kubelet], world.usage, server_tls(serving, front_proxy), address=ADDRESS) as api:
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": registration(ADDRESS, api.port, authority)})
        await asyncio.to_thread(world.plane.kubectl, "apply", "-f", "-", stdin=manifest)
        available = "--for=condition=Available"
        await world.kubectl("wait", available, "apiservice/v1beta1.metrics.k8s.io", "--timeout=60s")
        yield


def test_top(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("busy", sys.executable, "-c", "while True: pass", metadata={"labels": {"app": "busy"}})
        await world.create("idle", *SLEEPER)
        await world.ready("busy")
        await world.ready("idle")
        async with served(world):
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


WORKER = "while True: pass"
"""Always at work: it is measured so often here that a program that rests now and then may seem to do nothing."""
DEPLOYMENT: Kind[Any] = Kind("apps", "v1", "Deployment", "deployments", True, dict)
AUTOSCALER: Kind[Any] = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, dict)


def test_horizontal_autoscaling(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        labels, metadata = {"app": "worker"}, {"name": "worker", "namespace": world.namespace}
        container = {"name": "main", "image": "program", "command": [sys.executable, "-c", WORKER]}
        pod = {
            "nodeSelector": {"kubernetes.io/hostname": world.node.name},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        }
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        await world.admin.create(DEPLOYMENT, {"metadata": metadata, "spec": spec})
        cpu = {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1m"}}
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
        scaling = {"scaleTargetRef": target, "maxReplicas": 2, "metrics": [{"type": "Resource", "resource": cpu}]}
        async with served(world):
            await world.admin.create(AUTOSCALER, {"metadata": metadata, "spec": scaling})

            async def scaled() -> bool:
                await world.usage.measure()
                status = (await world.admin.get(DEPLOYMENT, "worker", world.namespace)).get("status") or {}
                return bool(status.get("readyReplicas") == 2)

            await until(scaled, "the autoscaler has added a pod")
        # With its Deployment and pods gone before the node is, nothing waits for a kubelet that has stopped.
        await world.kubectl("delete", "deployment", "worker", "--cascade=foreground", "--timeout=60s")

    story(control_plane, tmp_path, "autoscaling", scenario)
