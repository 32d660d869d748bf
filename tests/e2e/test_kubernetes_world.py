"""The local world on a real control plane: up, serve, crash, up again, down."""

import os
import signal
from pathlib import Path

import pytest
from control_plane import programs_or_skip
from story_world import GUIDE, LocalWorld, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes]


@pytest.fixture
def kubernetes(world: LocalWorld) -> LocalWorld:
    world.env["KUBEBUILDER_ASSETS"] = str(programs_or_skip().folder)  # its home is not the user's, whose cache has them
    world.up("--kubernetes")
    return world


def _pods(world: LocalWorld) -> dict[str, str]:
    """The address of every pod of the production namespace, by uid."""
    items = world.json("get", "pods", "--namespace", "production")["items"]
    return {pod["metadata"]["uid"]: pod["status"].get("podIP", "") for pod in items}


def test_a_model_serves_through_a_crash_of_the_world_and_down_leaves_nothing(kubernetes: LocalWorld) -> None:
    manifest = str(GUIDE / "production.yaml")
    kubernetes.outrider("apply", "--filename", manifest, "--wait")
    nodes = kubernetes.outrider("kubectl", "get", "nodes").out.splitlines()
    assert [line.split()[:2] for line in nodes[1:]] == [["node-1", "Ready"], ["node-2", "Ready"]]
    before, control_plane = _pods(kubernetes), kubernetes.info
    assert control_plane.kubernetes.startswith("1.")
    os.kill(control_plane.pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{control_plane.pid}").exists(), "the killed process is gone")
    kubernetes.up("--kubernetes")
    kubernetes.outrider("apply", "--filename", manifest, "--wait")
    assert _pods(kubernetes) == before, "the same pods, with the same addresses"
    kubernetes.outrider("down")
    wait_for(lambda: not kubernetes.processes(), f"no process is left: {kubernetes.processes()}", deadline=20)


def test_a_world_without_kubernetes_says_what_kubectl_needs(running: LocalWorld) -> None:
    refused = running.outrider("kubectl", "get", "pods", code=6)
    assert "outrider up --kubernetes" in refused.err


def test_what_a_crash_left_is_ended_by_down(kubernetes: LocalWorld) -> None:
    os.kill(kubernetes.info.pid, signal.SIGKILL)
    kubernetes.outrider("down")
    wait_for(lambda: not kubernetes.processes(), f"no process is left: {kubernetes.processes()}", deadline=20)
