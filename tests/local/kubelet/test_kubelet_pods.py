"""Pods as real processes, in a real store."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.api import NotFound
from outrider.kube.objects import CONFIG_MAP, EVENT
from outrider.local.kubelet import AddressPool
from outrider.local.kubelet.leftovers import marked

from .conftest import POD_JSON, World, condition, until, world

pytestmark = pytest.mark.e2e

FOREVER = ("sleep", "1000")
SERVER = (
    "import http.server, os, sys\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        good = not os.path.exists(f'{sys.argv[3]}{self.path}')\n"
    "        self.send_response(200 if good else 503); self.end_headers()\n"
    "    def log_message(self, *args): pass\n"
    "http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()\n"
)


def server(flags: Path, **container: Any) -> dict[str, Any]:
    """A container with an HTTP server on its pod's address. A file named PATH in `flags` makes that path answer 503."""
    flags.mkdir(exist_ok=True)
    env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    return {
        "command": [sys.executable, "-I", "-c", SERVER, "$(POD_IP)", "8080", str(flags)],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": env,
        **container,
    }


def probe(path: str, **numbers: Any) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, **numbers}


def story(folder: Path, scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with world(folder, **options) as w:
            await scenario(w)

    asyncio.run(run())


def runs_on_disk(folder: Path) -> list[Path]:
    return list(folder.glob("*/*/main/*"))


async def events(w: World, reason: str) -> list[str]:
    found = await w.api.list(EVENT, "default")
    return [event.note for event in found.items if event.reason == reason]


def test_a_pod_runs_becomes_ready_and_goes(folder: Path) -> None:
    async def scenario(w: World) -> None:
        created = await w.create("a", "sh", "-c", "echo on $NODE at $(POD_IP); exec sleep 1000", container={
            "env": [
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ]
        })  # fmt: skip
        status = await w.ready("a")
        assert status["phase"] == "Running"
        assert status["podIP"].startswith("127.")
        assert status["podIPs"] == [{"ip": status["podIP"]}]
        assert status["hostIP"] == "127.0.0.1"
        assert status["containerStatuses"][0]["containerID"].startswith("outrider://")
        assert await w.prints("a", "on node-1") == f"on node-1 at {status['podIP']}\n"
        await w.delete("a")
        await w.removed("a")
        assert marked(folder) == []
        assert not (folder / "node-1" / created["metadata"]["uid"]).exists()

    story(folder, scenario)


def test_statuses_are_written_only_when_they_change(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", *FOREVER)
        await w.ready("a")
        version = (await w.pod("a"))["metadata"]["resourceVersion"]
        await w.create("b", *FOREVER)
        await w.ready("b")
        w.kubelet._workers[(await w.pod("a"))["metadata"]["uid"]].wake()
        await w.delete("b")
        await w.removed("b")
        assert (await w.pod("a"))["metadata"]["resourceVersion"] == version

    story(folder, scenario)


def test_a_job_like_pod_succeeds_or_fails(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("good", "true", restartPolicy="Never")
        await w.create("bad", "sh", "-c", "exit 3", restartPolicy="Never")
        await w.create("second-try", "sh", "-c", "test -e x || { touch x; exit 1; }", restartPolicy="OnFailure")
        assert (await w.phase("good", "Succeeded"))["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        assert (await w.phase("bad", "Failed"))["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
        container = (await w.phase("second-try", "Succeeded"))["containerStatuses"][0]
        assert container["restartCount"] == 1
        assert container["lastState"]["terminated"]["exitCode"] == 1
        await w.delete("good")
        await w.removed("good")

    story(folder, scenario)


def test_a_crash_loop_backs_off_and_shows_its_last_words(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", "sh", "-c", "echo run; echo broken >&2; exit 1", container={
            "terminationMessagePolicy": "FallbackToLogsOnError"
        })  # fmt: skip
        waiting = await w.waiting("a", "CrashLoopBackOff")
        assert "restarting failed container=main pod=a_default(" in waiting["message"]
        container = await w.container("a")
        assert container["lastState"]["terminated"]["exitCode"] == 1
        assert "broken" in container["lastState"]["terminated"]["message"]
        assert (await w.status("a"))["phase"] == "Running"

        async def restarted() -> bool:
            return bool((await w.container("a"))["restartCount"] >= 3)

        await until(restarted)
        assert await w.output("a", previous=True) == "run\nbroken\n"
        assert len(runs_on_disk(folder)) <= 3

    story(folder, scenario)


def test_init_containers_run_in_order_and_a_sidecar_beside(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", "sh", "-c", "cat order; exec sleep 1000", initContainers=[
            {"name": "one", "image": "x", "command": ["sh", "-c", "echo one >> order"]},
            {"name": "proxy", "image": "x", "command": ["sleep", "1000"], "restartPolicy": "Always"},
            {"name": "two", "image": "x", "command": ["sh", "-c", "echo two >> order"]},
        ])  # fmt: skip
        status = await w.ready("a")
        assert await w.prints("a", "two") == "one\ntwo\n"
        states = {entry["name"]: next(iter(entry["state"])) for entry in status["initContainerStatuses"]}
        assert states == {"one": "terminated", "proxy": "running", "two": "terminated"}
        await w.delete("a")
        await w.removed("a")

    story(folder, scenario)


def test_a_failing_init_container_is_tried_again_or_fails_the_pod(folder: Path) -> None:
    async def scenario(w: World) -> None:
        flaky = {"name": "flaky", "image": "x", "command": ["sh", "-c", "test -e x || { touch x; exit 1; }"]}
        await w.create("a", *FOREVER, initContainers=[flaky])
        assert (await w.ready("a"))["initContainerStatuses"][0]["restartCount"] == 1
        await w.create("b", *FOREVER, initContainers=[flaky], restartPolicy="Never")
        status = await w.phase("b", "Failed")
        assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
        assert condition(status, "Initialized")["status"] == "False"

    story(folder, scenario)


def test_readiness_follows_the_probe_both_ways(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        flags = tmp_path / "flags"
        container = server(flags, readinessProbe=probe("/ready", failureThreshold=1), livenessProbe=probe("/alive"))
        (flags := tmp_path / "flags").mkdir(exist_ok=True)
        await w.create("a", container=container)
        await w.ready("a")
        (flags / "ready").touch()

        async def unready() -> bool:
            return condition(await w.status("a"), "Ready").get("status") == "False"

        await until(unready)
        (flags / "ready").unlink()
        status = await w.ready("a")
        assert status["containerStatuses"][0]["restartCount"] == 0
        assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in await events(w, "Unhealthy")

    story(folder, scenario)


def test_liveness_and_startup_probes_restart_the_container(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        flags = tmp_path / "flags"
        container = server(flags, livenessProbe=probe("/alive", failureThreshold=1))
        await w.create("a", container=container)
        await w.ready("a")
        (flags / "alive").touch()
        never = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
        await w.create("b", *FOREVER, container={"startupProbe": never})

        async def restarted(name: str) -> bool:
            return bool((await w.container(name)).get("restartCount"))

        await until(lambda: restarted("a"))
        await until(lambda: restarted("b"))
        assert "Container main failed liveness probe, will be restarted" in await events(w, "Killing")
        assert "Container main failed startup probe, will be restarted" in await events(w, "Killing")

    story(folder, scenario)


def test_tcp_and_exec_probes(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        container = server(
            tmp_path / "flags",
            startupProbe={"tcpSocket": {"port": 8080}},
            readinessProbe={"exec": {"command": ["sh", "-c", 'test -n "$POD_IP"']}},
        )
        await w.create("a", container=container)
        await w.ready("a")

    story(folder, scenario)


def test_a_readiness_gate_waits_for_others(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", *FOREVER, readinessGates=[{"conditionType": "example.com/go"}])

        async def gated() -> bool:
            return condition(await w.status("a"), "Ready").get("reason") == "ReadinessGatesNotReady"

        await until(gated)
        conditions = (await w.status("a"))["conditions"]
        go = {"type": "example.com/go", "status": "True"}
        await w.api.patch_status(POD_JSON, "a", {"conditions": [*conditions, go]}, "default")
        status = await w.ready("a")
        assert condition(status, "example.com/go")["status"] == "True"

    story(folder, scenario)


def test_a_missing_config_map_is_waited_for(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", "sh", "-c", "echo mode $MODE; exec sleep 1000", container={
            "envFrom": [{"configMapRef": {"name": "settings"}}]
        })  # fmt: skip
        waiting = await w.waiting("a", "CreateContainerConfigError")
        assert waiting["message"] == 'configmap "settings" not found'
        metadata = {"name": "settings", "namespace": "default"}
        await w.api.create(
            CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"MODE": "fast"}}
        )
        await w.ready("a")
        assert await w.prints("a", "mode") == "mode fast\n"

    story(folder, scenario)


def test_an_image_that_cannot_be_run_says_so_and_harms_nothing(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", container={"image": "nginx:1.29"})
        waiting = await w.waiting("a", "ErrImagePull")
        assert "image nginx:1.29 cannot be run as a local process" in waiting["message"]
        again = await w.waiting("a", "ImagePullBackOff")
        assert again["message"].startswith('Back-off pulling image "nginx:1.29": ErrImagePull: image nginx:1.29 cannot')
        assert (await w.status("a"))["phase"] == "Pending"
        await w.delete("a")
        await w.removed("a")

    story(folder, scenario)


def test_a_program_that_cannot_be_executed_is_reported(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        program = tmp_path / "program"
        program.write_text("#!/no/such/interpreter\n")
        program.chmod(0o755)
        await w.create("a", str(program), restartPolicy="Never")
        terminated = (await w.phase("a", "Failed"))["containerStatuses"][0]["state"]["terminated"]
        assert (terminated["exitCode"], terminated["reason"]) == (128, "StartError")
        assert str(program) in terminated["message"]

    story(folder, scenario)


def test_sigterm_then_sigkill_after_the_grace_period(folder: Path) -> None:
    async def scenario(w: World) -> None:
        stubborn = "trap 'echo no' TERM; setsid sleep 1000 & echo up; while :; do sleep 0.05; done"
        await w.create("a", "sh", "-c", stubborn, terminationGracePeriodSeconds=1)
        await w.prints("a", "up")
        await w.delete("a")
        await w.prints("a", "no")
        await w.removed("a")
        assert marked(folder) == []

    story(folder, scenario)


def test_the_prestop_hook_comes_before_sigterm(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        record = tmp_path / "record"
        await w.create(
            "a", "sh", "-c", f"trap 'echo term >> {record}; exit 0' TERM; echo up; while :; do sleep 0.02; done",
            container={"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {record}"]}}}},
        )  # fmt: skip
        await w.prints("a", "up")
        await w.delete("a")
        await w.removed("a")
        assert record.read_text() == "hook\nterm\n"

    story(folder, scenario)


def test_a_hook_that_takes_too_long_is_ended_with_the_grace_period(folder: Path) -> None:
    async def scenario(w: World) -> None:
        hook = {"preStop": {"exec": {"command": ["sleep", "1000"]}}}
        await w.create("a", *FOREVER, container={"lifecycle": hook}, terminationGracePeriodSeconds=1)
        await w.ready("a")
        await w.delete("a")
        await w.removed("a")
        assert await events(w, "FailedPreStopHook") == ["PreStopHook failed: command or request timed out after 1s"]
        assert marked(folder) == []

    story(folder, scenario)


def test_a_pod_keeps_serving_while_it_drains(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        drain = {"preStop": {"sleep": {"seconds": 1}}}
        container = server(tmp_path / "flags", lifecycle=drain, readinessProbe=probe("/ready"))
        await w.create("a", container=container, terminationGracePeriodSeconds=5)
        address = (await w.ready("a"))["podIP"]
        await w.delete("a")
        await until(lambda: _deleted(w, "a"))
        reader, writer = await asyncio.open_connection(address, 8080)
        writer.write(b"GET /x HTTP/1.0\r\n\r\n")
        assert b"200" in await reader.readline()
        writer.close()
        await w.removed("a")

    async def _deleted(w: World, name: str) -> bool:
        return "deletionTimestamp" in (await w.pod(name))["metadata"]

    story(folder, scenario)


def test_a_force_deleted_pod_is_killed_at_once(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done",
                       terminationGracePeriodSeconds=600)  # fmt: skip
        await w.prints("a", "up")
        await w.delete("a", grace_seconds=0)
        await until(lambda: marked(folder) == [])
        await w.removed("a")

    story(folder, scenario)


def test_a_shortened_grace_period_counts(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done",
                       terminationGracePeriodSeconds=600)  # fmt: skip
        await w.prints("a", "up")
        await w.delete("a")
        await w.delete("a", grace_seconds=1)
        await w.removed("a")

    story(folder, scenario)


def test_a_pod_made_anew_under_the_same_name_is_another_pod(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", "sh", "-c", "echo first; exec sleep 1000")
        await w.prints("a", "first")
        await w.delete("a", grace_seconds=0)
        await w.create("a", "sh", "-c", "echo second; exec sleep 1000")
        await w.prints("a", "second")
        assert (await w.ready("a"))["containerStatuses"][0]["restartCount"] == 0

    story(folder, scenario)


def test_gpus_belong_to_one_pod_at_a_time(folder: Path) -> None:
    async def scenario(w: World) -> None:
        asks = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
        say = ("sh", "-c", "echo gpu [$CUDA_VISIBLE_DEVICES] $NVIDIA_VISIBLE_DEVICES; exec sleep 1000")
        await w.create("a", *say, container=asks)
        await w.create("b", *say, container=asks)
        await w.create("none", *say)
        printed = {await w.prints(name, "gpu") for name in ("a", "b", "none")}
        assert printed == {"gpu [0] 0\n", "gpu [1] 1\n", "gpu [] void\n"}
        await w.create("c", *say, container=asks)
        waiting = await w.waiting("c", "ContainerCreating")
        assert "1 asked for, 0 of 2 free" in waiting.get("message", "") or await until(lambda: _told(w))
        freed = (await w.output("a")).strip()
        await w.delete("a")
        await w.removed("a")
        assert (await w.prints("c", "gpu")).strip() == freed

    async def _told(w: World) -> bool:
        return "1 asked for, 0 of 2 free" in (await w.waiting("c", "ContainerCreating")).get("message", "")

    story(folder, scenario, gpus=2)


def test_a_pod_that_is_over_gives_its_gpus_back(folder: Path) -> None:
    async def scenario(w: World) -> None:
        asks = {"resources": {"limits": {"nvidia.com/gpu": 2}}}
        await w.create("job", "true", container=asks, restartPolicy="Never")
        await w.phase("job", "Succeeded")
        await w.create("next", *FOREVER, container=asks)
        await w.ready("next")

    story(folder, scenario, gpus=2)


def test_a_deadline_fails_the_pod(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("a", *FOREVER, activeDeadlineSeconds=1)
        status = await w.phase("a", "Failed")
        assert status["reason"] == "DeadlineExceeded"
        await until(lambda: marked(folder) == [])

    story(folder, scenario)


def test_volumes_are_reported_and_do_not_fail_the_pod(folder: Path) -> None:
    async def scenario(w: World) -> None:
        claim = {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}
        await w.create("a", *FOREVER, volumes=[{"name": "scratch", "emptyDir": {}}, claim])
        await w.ready("a")
        note = 'volume "weights" (persistentVolumeClaim) is not mounted: pods here are local processes'
        await until(lambda: _noted(w))
        assert await events(w, "VolumeNotMounted") == [note]

    async def _noted(w: World) -> bool:
        return bool(await events(w, "VolumeNotMounted"))

    story(folder, scenario)


def test_where_all_pods_share_one_address_each_gets_a_port(folder: Path, tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        code = SERVER.replace("int(sys.argv[2])", "int(sys.argv[2].removeprefix('--port='))")
        container = server(tmp_path / "flags", readinessProbe=probe("/ready"))
        container["command"] = [sys.executable, "-I", "-c", code, "$(POD_IP)", "--port=8080", str(tmp_path / "flags")]
        await w.create("a", container=container)
        await w.create("b", container=container)
        ports = set()
        for name in ("a", "b"):
            assert (await w.ready(name))["podIP"] == "127.0.0.1"
            ports.add((await w.pod(name))["metadata"]["annotations"]["local.outrider.dev/host-ports"])
        assert len(ports) == 2

    story(folder, scenario, addresses=AddressPool("shared"))


def test_stopping_with_the_pods_leaves_no_process(folder: Path) -> None:
    async def scenario(w: World) -> None:
        await w.create("polite", "sh", "-c", "setsid sleep 1000 & echo up; wait")
        await w.create("stubborn", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
        await w.prints("polite", "up")
        await w.prints("stubborn", "up")
        await w.stop()
        assert marked(folder) == []
        w.start()

        async def restarted() -> bool:
            return bool((await w.container("polite"))["restartCount"] == 1)

        await until(restarted)
        last = (await w.container("polite"))["lastState"]["terminated"]
        assert last["reason"] == "NodeShutdown", "the node ended it, not the program"
        await w.prints("stubborn", "up")

    story(folder, scenario)


def test_a_pod_that_is_not_there_has_no_logs(folder: Path) -> None:
    async def scenario(w: World) -> None:
        with pytest.raises(NotFound, match='pod "nope" has no logs'):
            await w.output("nope")

    story(folder, scenario)
