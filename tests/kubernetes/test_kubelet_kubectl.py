"""What kubectl shows of pods that are processes, through the real API server."""

import json
from pathlib import Path

from control_plane import RunningPlane

from outrider.local.controlplane.metrics_api import (
    registration,
)
from outrider.local.controlplane.pki import Authority

from .kubelet_world import SLEEPER, KubeletWorld, story


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


def test_the_registration_of_the_metrics_api_is_accepted(control_plane: RunningPlane, tmp_path: Path) -> None:
    authority = Authority(control_plane.folder / "pki", "cluster-ca").pair.certificate.read_bytes()
    objects = registration("192.168.77.250", 4443, authority)
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    applied = control_plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=manifest)
    assert len(applied.stdout.splitlines()) == len(objects)
