"""The control plane itself: it comes up, keeps what it was told, and leaves nothing behind."""

import os
import signal
from pathlib import Path

from control_plane import RunningPlane, running_plane
from story_world import wait_for


def _processes(folder: Path) -> dict[str, int]:
    """The programs whose arguments name a file of the folder, by name."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if len(words) > 1 and any(str(folder).encode() in word for word in words[1:]):
            name = Path(os.fsdecode(words[0])).name
            found[name] = int(entry.name)
    return found


PROGRAMS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}


def test_a_deployment_becomes_a_pod_that_waits_for_a_node(control_plane: RunningPlane) -> None:
    control_plane.kubectl("create", "namespace", "waiting")
    control_plane.kubectl("create", "deployment", "web", "--image=web", "-n", "waiting")
    control_plane.kubectl("wait", "pod", "-l", "app=web", "-n", "waiting", "--for=create", "--timeout=60s")
    condition = "--for=condition=PodScheduled=false"
    control_plane.kubectl("wait", "pod", "-l", "app=web", "-n", "waiting", condition, "--timeout=60s")


def test_objects_survive_a_kill_of_every_program_and_a_new_start(tmp_path: Path) -> None:
    folder = tmp_path / "plane"
    with running_plane(folder) as plane:
        plane.kubectl("create", "configmap", "kept", "--from-literal=key=value")
        first = _processes(folder)
        assert first.keys() >= PROGRAMS
        for name in ("kube-apiserver", "etcd"):
            os.kill(first[name], signal.SIGKILL)
        wait_for(
            lambda: plane.kubectl("get", "configmap", "kept", check=False).returncode == 0,
            "the API server and etcd are started again",
        )
    wait_for(lambda: not _processes(folder), "no program is left")
    with running_plane(folder) as plane:
        assert plane.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.key}").stdout == "value"
    wait_for(lambda: not _processes(folder), "no program is left")


def test_whoever_kills_the_supervisor_kills_its_programs(tmp_path: Path) -> None:
    folder = tmp_path / "plane"
    with running_plane(folder) as plane:
        os.kill(plane.supervisor, signal.SIGKILL)
        wait_for(lambda: not _processes(folder), "the programs end with their supervisor")


def test_the_anonymous_see_nothing_but_whether_it_is_ready(control_plane: RunningPlane) -> None:
    as_nobody = ("--as=system:anonymous", "--as-group=system:unauthenticated")
    assert control_plane.kubectl("get", "--raw=/readyz", *as_nobody).stdout == "ok"
    # Raw: who may not even ask which types there are would be told of that instead, unless somebody had asked before.
    refused = control_plane.kubectl("get", "--raw=/api/v1/secrets", *as_nobody, check=False)
    assert 'secrets is forbidden: User "system:anonymous"' in refused.stderr
