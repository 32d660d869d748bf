"""The local world on a real control plane: up, serve, crash, up again, down."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane import programs_or_skip
from story_world import GUIDE, ROOT, LocalWorld, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.only("kubernetes", reason="it is about the control plane: its programs, its network, its rights"),
]


@pytest.fixture
def kubernetes(fresh: LocalWorld) -> LocalWorld:
    return fresh


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
    kubernetes.up()
    kubernetes.outrider("apply", "--filename", manifest, "--wait")
    assert _pods(kubernetes) == before, "the same pods, with the same addresses"
    kubernetes.outrider("down")
    wait_for(lambda: not kubernetes.processes(), f"no process is left: {kubernetes.processes()}", deadline=20)


def test_each_program_that_is_killed_alone_is_started_again_and_no_pod_notices(kubernetes: LocalWorld) -> None:
    kubernetes.outrider("apply", "--filename", str(GUIDE / "production.yaml"), "--wait")
    before = _pods(kubernetes)
    for name in ("kube-scheduler", "kube-controller-manager", "etcd", "kube-apiserver"):
        killed = _program(kubernetes, name)
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: _program(kubernetes, name, other_than=killed), f"{name} is started again")  # noqa: B023 - used at once
    wait_for(lambda: kubernetes.outrider("get", "nodes", code=None).code == 0, "the API server answers")
    scaled = "--replicas=3"
    kubernetes.outrider("kubectl", "scale", "llmd/llama-3.1-8b-prod", "-n", "production", scaled)
    wait_for(lambda: kubernetes.get("llama-3.1-8b-prod")["status"].get("readyReplicas") == 3, "all of them work again")
    assert _pods(kubernetes).items() >= before.items(), "the pods that were there are the same"


def _program(world: LocalWorld, name: str, other_than: int = 0) -> int:
    """The process of a program of the control plane; 0 if there is none."""
    return next((pid for pid, argv in world.processes() if f"/{name} --" in argv and pid != other_than), 0)


def test_ctrl_c_while_it_is_starting_ends_all_that_has_come_up(world: LocalWorld) -> None:
    command = [sys.executable, "-m", "outrider", "up", "--kubernetes", "--gateway-port", "0", "--api-port", "0"]
    with subprocess.Popen(command, env=world.env, stderr=subprocess.PIPE, text=True) as starting:
        wait_for(lambda: _program(world, "kube-apiserver"), "the API server is started")
        starting.send_signal(signal.SIGINT)
        assert starting.wait(60) == 130
        assert starting.stderr is not None
        assert "the start was given up" in starting.stderr.read()
    wait_for(lambda: not world.processes(), f"no process is left: {world.processes()}", deadline=20)


NOBODY = 65534


@pytest.fixture
def nobodys_world() -> Iterator[LocalWorld]:
    """A world of a user who has no rights at all, in a folder that he may enter, with programs that he may run."""
    if os.geteuid() != 0 or (setpriv := shutil.which("setpriv")) is None:
        pytest.skip("only root can become another user, by setpriv (util-linux)")
    with tempfile.TemporaryDirectory() as place:
        home, assets = Path(place) / "home", Path(place) / "assets"
        home.mkdir()
        shutil.copytree(programs_or_skip().folder, assets, symlinks=True)
        for path in (Path(place), home):
            os.chown(path, NOBODY, NOBODY)
        world = LocalWorld(home, "kubernetes")
        user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        world.prefix = (setpriv, *user, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        world.env["KUBEBUILDER_ASSETS"] = str(assets)
        paths = [entry for entry in sys.path if "site-packages" in entry]
        world.env["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *paths])
        pythons = [sys.executable, "/usr/bin/python3"]  # the one that runs the tests may lie in root's home
        usable = [each for each in pythons if _may_run(world, each)]
        if not usable:
            pytest.skip("there is no Python here that another user may run")
        world.python = usable[0]
        yield world
        world.outrider("down", "--timeout", "90s", code=None)
        wait_for(lambda: not world.processes(), f"no process left, but there are {world.processes()}", deadline=20)


def _may_run(world: LocalWorld, python: str) -> bool:
    # Started by a shell, since setpriv itself still has root's rights when it starts a program.
    command = [*world.prefix, "sh", "-c", 'exec "$0" -c "import outrider.cli.main, cryptography"', python]
    return subprocess.run(command, env=world.env, capture_output=True, check=False).returncode == 0


@pytest.mark.kubernetes
def test_a_user_without_any_rights_gets_a_world_too_and_finds_it_again_after_a_crash(nobodys_world: LocalWorld) -> None:
    nobodys_world.up()
    manifest = (GUIDE / "production.yaml").read_text()
    nobodys_world.outrider("apply", "--filename", "-", "--wait", stdin=manifest)
    before = _pods(nobodys_world)
    os.kill(nobodys_world.info.pid, signal.SIGKILL)
    nobodys_world.up()
    nobodys_world.outrider("apply", "--filename", "-", "--wait", stdin=manifest)
    assert _pods(nobodys_world) == before


@pytest.mark.only("local", reason="it has no Kubernetes under it")
def test_a_world_without_kubernetes_says_what_kubectl_needs(running: LocalWorld) -> None:
    refused = running.outrider("kubectl", "get", "pods", code=6)
    assert "outrider up --kubernetes" in refused.err
