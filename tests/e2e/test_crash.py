"""`kill -9` of the local world loses nothing: the next `up` has the same objects, the same pods, no orphans."""

import os
import signal

import pytest
from story_world import ROOT, LocalWorld, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=3)]

NAME = "llama-3.1-8b"


def _kill(world: LocalWorld) -> None:
    os.kill(world.info.pid, signal.SIGKILL)
    wait_for(lambda: not world.folder.running, "the world to be dead")


def _pod_processes(world: LocalWorld) -> set[int]:
    return {pid for pid, command in world.processes() if "outrider.serving.simulator" in command}


def test_after_kill_nine_the_next_up_has_the_same_objects_and_adopts_the_running_pods(fresh: LocalWorld) -> None:
    manifest = (ROOT / "examples" / "llama-3.1-8b.yaml").read_text()
    fresh.outrider("apply", "--filename", "-", "--wait", stdin=manifest)
    fresh.outrider("apply", "--filename", "-", "--wait", stdin=manifest.replace("v1.2.0", "v1.3.0"))
    pods = wait_for(lambda: (found := _pod_processes(fresh)) and len(found) == 2 and found, "old pods to be gone")
    before = {kind: fresh.json("get", kind, "-A")["items"] for kind in ("llmd", "modelrevisions", "pods", "services")}
    _kill(fresh)
    assert _pod_processes(fresh) == pods, "pods outlive the world"
    fresh.up()
    fresh.outrider("rollout", "status", NAME, "--namespace", "production")
    assert _pod_processes(fresh) == pods, "the same processes serve on: adopted, not restarted, none left over"
    for kind, items in before.items():
        now = fresh.json("get", kind, "-A")["items"]
        assert [item["metadata"]["uid"] for item in now] == [item["metadata"]["uid"] for item in items], kind
    answer = fresh.outrider("get", "pods", "--namespace", "production").out
    assert "Running" in answer


def test_killed_in_the_middle_of_a_release_it_finishes_the_release(fresh: LocalWorld) -> None:
    manifest = (ROOT / "examples" / "llama-3.1-8b.yaml").read_text()
    fresh.outrider("apply", "--filename", "-", "--wait", stdin=manifest)
    fresh.outrider("apply", "--filename", "-", stdin=manifest.replace("v1.2.0", "v1.3.0"))
    _kill(fresh)
    fresh.up()
    fresh.outrider("rollout", "status", NAME, "--namespace", "production")
    assert fresh.get(NAME)["status"]["servingVersion"] == "v1.3.0"
    history = fresh.json("rollout", "history", NAME, "--namespace", "production")
    assert [entry["version"] for entry in history] == ["v1.3.0", "v1.2.0"]
    wait_for(lambda: len(_pod_processes(fresh)) == 2, "old pods to be gone")


def test_what_was_applied_serves_again_after_a_clean_stop(fresh: LocalWorld) -> None:
    fresh.outrider("apply", "--filename", str(ROOT / "examples" / "llama-3.1-8b.yaml"), "--wait")
    fresh.outrider("down")
    assert fresh.processes() == []
    fresh.up()
    fresh.outrider("rollout", "status", NAME, "--namespace", "production")
    assert len(_pod_processes(fresh)) == 2


def test_down_ends_what_a_crash_left(fresh: LocalWorld) -> None:
    fresh.outrider("apply", "--filename", str(ROOT / "examples" / "llama-3.1-8b.yaml"), "--wait")
    _kill(fresh)
    assert _pod_processes(fresh)
    fresh.outrider("down")
    wait_for(lambda: not fresh.processes(), "no process left")


def test_a_second_up_of_the_same_world_is_refused_and_harms_nothing(fresh: LocalWorld) -> None:
    refused = fresh.outrider("up", code=7)
    assert "already running" in refused.err
    assert fresh.outrider("status").code == 0
