"""A node and its pods as the real API server and its controllers take them, with the rights of the node alone."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from control_plane import RunningPlane

from outrider.kube.api import ApiError, Forbidden, TooManyRequests, Unavailable
from outrider.kube.objects import CONFIG_MAP, EVENT, LEASE, NODE, SECRET

from .kubelet_world import POD_JSON, SLEEPER, KubeletWorld, story, until

NODE_JSON = NODE.into(dict)
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


async def node(world: KubeletWorld) -> dict[str, Any]:
    return await world.admin.get(NODE_JSON, world.node.name)


def refused(plane: RunningPlane, user: str) -> list[str]:
    """What the API server has refused that user for want of rights."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in plane.audit()
        if event["user"].get("username") == user and event.get("responseStatus", {}).get("code") == 403
    ]


def writes(plane: RunningPlane, world: KubeletWorld, pod: str) -> list[str]:
    """The node's own writes about a pod."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in plane.audit()
        if event["user"].get("username") == f"system:node:{world.node.name}"
        and event["verb"] not in ("get", "list", "watch")
        and (event.get("objectRef") or {}).get("resource") == "pods"
        and event["objectRef"].get("name") == pod
    ]


def test_a_gpu_node_registers_with_its_own_rights(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        found = await node(world)
        status = found["status"]
        assert status["capacity"]["nvidia.com/gpu"] == "4"
        assert status["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]
        assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == world.node.kubelet_port
        assert found["metadata"]["labels"]["node-type"] == "gpu"
        assert found["metadata"]["labels"]["topology.kubernetes.io/zone"] == "a"
        lease = await world.admin.get(LEASE.into(dict), world.node.name, "kube-node-lease")
        assert lease["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]

        async def only_our_taint() -> bool:
            return (await node(world))["spec"].get("taints") == [TAINT]

        await until(only_our_taint, "the controllers have found it ready")
        shown = await world.kubectl("describe", "node", world.node.name)
        assert "KubeletReady" in shown.stdout
        assert "nvidia.com/gpu:" in shown.stdout
        assert refused(control_plane, f"system:node:{world.node.name}") == []

    settings = {"gpus": 4, "labels": {"topology.kubernetes.io/zone": "a"}, "taints": (TAINT,)}
    story(control_plane, tmp_path, "gpu-node", scenario, **settings)


def test_a_node_that_was_declared_dead_heals(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        before = await node(world)
        unknown = {"status": "Unknown", "reason": "NodeStatusUnknown"}
        conditions = [
            {**condition, **(unknown if condition["type"] == "Ready" else {})}
            for condition in before["status"]["conditions"]
        ]
        foreign = {"type": "GpuHealthy", "status": "True", "reason": "Tested", "message": ""}
        patch = {"status": {"conditions": [*conditions, foreign]}}
        await world.admin.patch(NODE_JSON, world.node.name, patch, subresource="status")

        async def healed() -> bool:
            known = {condition["type"]: condition for condition in (await node(world))["status"]["conditions"]}
            return known["Ready"]["status"] == "True" and "GpuHealthy" in known

        await until(healed, "the node is ready again, and what others say of it is kept")
        await world.admin.delete(NODE, world.node.name)

        async def made_anew() -> bool:
            try:
                return (await node(world))["metadata"]["uid"] != before["metadata"]["uid"]
            except ApiError:
                return False

        await until(made_anew, "a node that was deleted registers again")

    story(control_plane, tmp_path, "healing", scenario)


FROM_OBJECTS = [
    {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "access", "key": "password"}}},
]


def test_only_what_its_pods_refer_to_can_be_read(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        namespace, user = world.namespace, f"system:node:{world.node.name}"
        await world.kubectl("create", "configmap", "settings", "--from-literal=colour=blue")
        await world.kubectl("create", "secret", "generic", "access", "--from-literal=password=hidden")
        await world.kubectl("create", "secret", "generic", "foreign", "--from-literal=password=hidden")
        assert refused(control_plane, user) == []
        script = "echo $COLOUR $PASSWORD; exec sleep 600"
        await world.create("reader", "sh", "-c", script, container={"env": FROM_OBJECTS})
        await world.ready("reader")
        assert (await world.kubectl("logs", "reader")).stdout == "blue hidden\n"
        warnings = await world.kubectl("events", "--types=Warning", "--for=pod/reader")
        assert "No events" in warnings.stdout + warnings.stderr, "the rights to read follow the pod a moment later"
        with pytest.raises(Forbidden):
            await world.api.get(SECRET, "foreign", namespace)
        with pytest.raises(Forbidden):
            await world.api.get(CONFIG_MAP, "kube-root-ca.crt", "kube-system")
        with pytest.raises(Forbidden):
            await world.api.list(SECRET, namespace)

    story(control_plane, tmp_path, "reading", scenario)


def test_a_pod_comes_is_told_of_and_goes(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("web", *SLEEPER)
        status = (await world.ready("web"))["status"]
        assert status["phase"] == "Running"
        assert status["podIPs"] == [{"ip": status["podIP"]}]
        assert status["hostIPs"] == [{"ip": "127.0.0.1"}]
        assert status["observedGeneration"] == 1
        conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
        wanted = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        assert conditions == dict.fromkeys(wanted, "True")
        (container,) = status["containerStatuses"]
        assert (container["ready"], container["started"], container["restartCount"]) == (True, True, 0)

        assert len(writes(control_plane, world, "web")) <= 3, "a start is told in few words: waiting, running, ready"

        async def told() -> bool:
            events = (await world.admin.list(EVENT.into(dict), world.namespace)).items
            return any(event["reason"] == "Started" and event["regarding"]["name"] == "web" for event in events)

        await until(told, "the start is an event")
        described = await world.kubectl("describe", "pod", "web")
        assert "Started" in described.stdout
        await world.kubectl("delete", "pod", "web", "--timeout=60s")
        await world.gone("web")

    story(control_plane, tmp_path, "pods", scenario)


def test_a_pod_acts_as_its_service_account(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.kubectl("create", "serviceaccount", "reader")
        script = "echo `cat $HOME/.kube/namespace`; exec sleep 600"
        await world.create("web", "sh", "-c", script, serviceAccountName="reader")
        await world.ready("web")
        logged = await world.kubectl("logs", "web")
        assert logged.stdout == f"{world.namespace}\n", "it is there before the container starts"
        kubectl = str(control_plane.programs.kubectl)
        # This control plane has no cluster addresses; with the token and the authority, any other will do.
        command = (
            f"{kubectl} --server {control_plane.config.server} auth whoami -o jsonpath='{{.status.userInfo.username}}'"
        )
        shown = await world.kubectl("exec", "web", "--", "sh", "-c", command)
        assert shown.stdout == f"system:serviceaccount:{world.namespace}:reader"
        config = json.loads((await world.kubectl("exec", "web", "--", "sh", "-c", "cat $HOME/.kube/config")).stdout)
        assert config["clusters"][0]["cluster"]["server"].startswith("https://10.96.0.1:443")
        await world.create("nobody", *SLEEPER, automountServiceAccountToken=False)
        await world.ready("nobody")
        absent = await world.kubectl("exec", "nobody", "--", "sh", "-c", "ls $HOME/.kube", check=False)
        assert absent.returncode != 0

    story(control_plane, tmp_path, "identity", scenario)


def test_jobs_and_stateful_sets_run(control_plane: RunningPlane, tmp_path: Path) -> None:
    """The real controllers make the pods, the real scheduler binds them."""

    async def scenario(world: KubeletWorld) -> None:
        def template(policy: str, *command: str) -> dict[str, Any]:
            spec = {
                "nodeSelector": {"kubernetes.io/hostname": world.node.name},
                "restartPolicy": policy,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "program", "command": list(command)}],
            }
            return {"metadata": {"labels": {"app": "set"}}, "spec": spec}

        good = {"completions": 2, "parallelism": 2, "template": template("Never", "echo", "done")}
        bad = {"backoffLimit": 1, "template": template("Never", "sh", "-c", "exit 3")}
        stateful = {
            "serviceName": "set",
            "replicas": 2,
            "selector": {"matchLabels": {"app": "set"}},
            "template": template("Always", *SLEEPER),
        }
        objects = [
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "good"}, "spec": good},
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bad"}, "spec": bad},
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "set"}, "spec": stateful},
        ]
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        await world.kubectl("apply", "-f", "-", stdin=manifest)
        await world.kubectl("wait", "--for=condition=Complete", "job/good", "--timeout=90s")
        assert (await world.kubectl("logs", "job/good")).stdout == "done\n"
        await world.kubectl("wait", "--for=condition=Failed", "job/bad", "--timeout=90s")
        await world.kubectl("rollout", "status", "statefulset/set", "--timeout=90s")
        await world.ready("set-1")
        await world.kubectl("delete", "statefulset", "set", "--cascade=foreground", "--timeout=60s")

    story(control_plane, tmp_path, "workloads", scenario)


def test_an_eviction_waits_for_the_disruption_budget(control_plane: RunningPlane, tmp_path: Path) -> None:
    """Of two pods one may go; the other one only when the first has been replaced and is ready."""

    async def scenario(world: KubeletWorld) -> None:
        # Ready as soon as the test says so, by a file.
        allowed = tmp_path / "allowed"
        probe = {"exec": {"command": ["test", "-e", str(allowed)]}, "periodSeconds": 1}
        pod = {
            "nodeSelector": {"kubernetes.io/hostname": world.node.name},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "program", "command": [*SLEEPER], "readinessProbe": probe}],
        }
        labels, metadata = {"app": "guarded"}, {"name": "guarded"}
        selector = {"matchLabels": labels}
        template = {"metadata": {"labels": labels}, "spec": pod}
        deployment = {"replicas": 2, "selector": selector, "template": template}
        objects = [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": metadata,
                "spec": {"minAvailable": 1, "selector": selector},
            },
        ]
        allowed.touch()
        await world.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )
        await world.kubectl("rollout", "status", "deployment/guarded", "--timeout=90s")
        first, second = [item["metadata"]["name"] for item in (await world.admin.list(POD_JSON, world.namespace)).items]

        async def evicted(name: str) -> bool:
            try:
                await world.admin.evict(name, world.namespace)
            except TooManyRequests:
                return False
            return True

        await until(lambda: evicted(first), "the budget has been counted, and one may go")
        allowed.unlink()
        await world.gone(first)
        refusal = await world.kubectl(
            "drain", world.node.name, "--dry-run=server", "--force", "--timeout=1s", check=False
        )
        assert "disruption budget" in refusal.stderr
        assert not await evicted(second)
        allowed.touch()
        await until(lambda: evicted(second), "the first has been replaced")
        await world.gone(second)
        await world.kubectl("delete", "deployment", "guarded", "--cascade=foreground", "--timeout=60s")

    story(control_plane, tmp_path, "evictions", scenario)


def test_a_crashing_container_is_restarted_and_told_of(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("crashing", "sh", "-c", "echo oh; exit 3")

        async def backing_off() -> dict[str, Any] | None:
            statuses = (await world.pod("crashing"))["status"].get("containerStatuses") or [{}]
            waiting = (statuses[0].get("state") or {}).get("waiting") or {}
            again = waiting.get("reason") == "CrashLoopBackOff" and statuses[0]["restartCount"] >= 2
            return statuses[0] if again else None

        container = await until(backing_off, "it crashes again and again")
        assert container["lastState"]["terminated"]["exitCode"] == 3
        assert "CrashLoopBackOff" in (await world.kubectl("get", "pod", "crashing")).stdout
        assert (await world.kubectl("logs", "crashing", "--previous")).stdout == "oh\n"
        await world.create("once", "sh", "-c", "exit 4", restartPolicy="Never")

        async def failed() -> bool:
            return (await world.pod("once"))["status"]["phase"] == "Failed"

        await until(failed, "a pod that is not restarted has failed")

    story(control_plane, tmp_path, "crashes", scenario)


def test_a_kubelet_that_lost_its_state_keeps_the_addresses(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("web", *SLEEPER)
        before = await world.ready("web")
        await world.stop()
        shutil.rmtree(world.folder)
        await world.start()

        async def restarted() -> bool:
            pod = await world.pod("web")
            return pod["status"]["containerStatuses"][0]["restartCount"] == 1

        await until(restarted, "it was run again")
        after = await world.ready("web")
        assert after["status"]["podIPs"] == before["status"]["podIPs"]

    story(control_plane, tmp_path, "lost-state", scenario)


def test_an_api_server_that_is_killed_costs_nothing(control_plane: RunningPlane, tmp_path: Path) -> None:
    async def scenario(world: KubeletWorld) -> None:
        await world.create("web", *SLEEPER)
        before = await world.ready("web")
        os.kill(_api_server(control_plane.folder), signal.SIGKILL)

        async def back() -> dict[str, Any] | None:
            try:
                return await world.admin.get(POD_JSON, "web", world.namespace)
            except Unavailable:
                return None

        after = await until(back, "the API server is back")
        assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
        await world.create("later", *SLEEPER)
        await world.ready("later")
        assert await world.condition("web", "Ready") == "True"

    story(control_plane, tmp_path, "outage", scenario)


def _api_server(folder: Path) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"kube-apiserver") and any(str(folder).encode() in word for word in words):
                return int(entry.name)
    raise AssertionError("there is no API server")
