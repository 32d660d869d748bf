"""What pods and nodes say, as decisions see it."""

from typing import Any

import msgspec
import pytest

from outrider.api.labels import ANSWERS_REQUESTS
from outrider.controllers.deployment.observe import capacity_of, gpus_of, pod_view
from outrider.controllers.deployment.sensors import pod_url, users_part
from outrider.kube.objects import Node, Pod
from outrider.signals import measurements


def pod(status: dict[str, Any] | None = None, *, node: str = "a", gpus: str = "2", **metadata: Any) -> Pod:
    body = {
        "metadata": {"name": "p", "namespace": "production", "uid": "u", **metadata},
        "spec": {"nodeName": node, "containers": [{"resources": {"limits": {"nvidia.com/gpu": gpus}}}]},
        "status": status or {},
    }
    return msgspec.convert(body, Pod)


def not_ready(since: str) -> dict[str, Any]:
    return {"conditions": [{"type": "ContainersReady", "status": "False", "lastTransitionTime": since}]}


def container(
    state: dict[str, Any], *, restarts: int = 0, ready: bool = False, last: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"containerStatuses": [{"ready": ready, "restartCount": restarts, "state": state, "lastState": last or {}}]}


ENDED = {"terminated": {"exitCode": 3, "message": "trace\nCUDA out of memory"}}
SHUT_DOWN = {"terminated": {"exitCode": 0, "reason": "NodeShutdown"}}
LOST = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
WAITING: dict[str, tuple[dict[str, Any], str, str]] = {
    "one that is being created": (container({"waiting": {"reason": "ContainerCreating"}}), "", ""),
    "an image that cannot be had": (
        container({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
        "ImagePullBackOff", "no such image",
    ),
    "a crash loop, with how it ended and not how often": (
        container({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}, restarts=5, last=ENDED),
        "CrashLoopBackOff", "it ended with exit code 3 (CUDA out of memory)",
    ),
    "a crash loop in a moment in which it runs": (
        container({"running": {}}, restarts=2, last=ENDED),
        "CrashLoopBackOff", "it ended with exit code 3 (CUDA out of memory)",
    ),
    "one restart is no loop": (container({"running": {}}, restarts=1, last=ENDED), "", ""),
    "one that starts after its node was shut down for the third time": (
        container({"running": {}}, restarts=3, last=SHUT_DOWN), "", "",
    ),
    "one that starts after whatever watched it was lost": (
        container({"running": {}}, restarts=3, last=LOST),
        "", "",
    ),
    "one that has not been up since it crashed last": (
        container({"running": {"startedAt": "2026-01-01T10:00:00Z"}}, restarts=2, last=ENDED)
        | not_ready("2026-01-01T10:00:00Z"),
        "CrashLoopBackOff", "it ended with exit code 3 (CUDA out of memory)",
    ),
    "one that was up and is not ready for a moment, days after it crashed": (
        container({"running": {"startedAt": "2026-01-01T10:00:00Z"}}, restarts=2, last=ENDED)
        | not_ready("2026-01-04T08:00:00Z"),
        "", "",
    ),
    "one that runs well again": (container({"running": {}}, restarts=9, ready=True, last=ENDED), "", ""),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WAITING)
def test_why_a_pod_waits(sentence: str) -> None:
    status, reason, message = WAITING[sentence]
    view = pod_view(pod(status), {}, None)
    assert (view.waiting, view.waiting_message) == (reason, message)


def test_a_pod_that_ends_is_not_ready() -> None:
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert pod_view(pod(status), {}, None).ready
    ending = pod_view(pod(status, deletionTimestamp="2026-01-01T00:00:00Z"), {}, None)
    assert (ending.ready, ending.terminating) == (False, True)


WAS_READY: dict[str, tuple[tuple[str, str], tuple[str, str], bool]] = {
    "it is": (("True", "00:00:05"), ("True", "00:00:06"), True),
    "its gate has just been opened, and the kubelet has not seen it": (
        ("True", "00:00:05"), ("False", "00:00:00"), False,
    ),
    "within the same second nobody can tell": (("True", "00:00:05"), ("False", "00:00:05"), False),
    "it lost it after its gate was open": (("True", "00:00:05"), ("False", "00:10:00"), True),
    "its gate is closed": (("False", "00:00:05"), ("False", "00:10:00"), False),
}  # fmt: skip


@pytest.mark.parametrize(("gate", "ready", "expected"), WAS_READY.values(), ids=WAS_READY.keys())
def test_a_pod_was_ready_only_if_it_lost_it_after_its_gate_was_open(
    gate: tuple[str, str], ready: tuple[str, str], expected: bool
) -> None:
    conditions = [
        {"type": kind, "status": status, "lastTransitionTime": f"2026-01-01T{at}Z"}
        for kind, (status, at) in ((ANSWERS_REQUESTS, gate), ("Ready", ready))
    ]
    assert pod_view(pod({"conditions": conditions}), {}, None).was_ready is expected


def test_versions_come_from_the_revision_and_not_from_a_label_that_cannot_hold_them() -> None:
    labels = {"inference.llm-d.io/revision": "abc", "inference.llm-d.io/version": "v1.0.0-build-1f2e"}
    assert pod_view(pod(labels=labels), {"abc": "v1.0.0+build"}, None).version == "v1.0.0+build"
    assert pod_view(pod(labels=labels), {}, None).version == "v1.0.0-build-1f2e"


def test_gpus_that_make_no_sense_count_as_none() -> None:
    assert [gpus_of(pod(gpus=amount)) for amount in ("2", "0", "many")] == [2, 0, 0]


def node(name: str, **more: Any) -> Node:
    status = {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": more.pop("conditions", [])}
    return msgspec.convert(
        {"metadata": {"name": name, "labels": more.pop("labels", {})}, "spec": more, "status": status}, Node
    )


NODES: dict[str, tuple[Node, bool]] = {
    "an ordinary one": (node("a"), True),
    "a cordoned one": (node("a", unschedulable=True), False),
    "one that is not ready": (node("a", conditions=[{"type": "Ready", "status": "Unknown"}]), False),
    "one for GPU pods only": (node("a", taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]), True),
    "one for others only": (node("a", taints=[{"key": "team", "value": "x", "effect": "NoSchedule"}]), False),
    "one that others are only asked to avoid": (
        node("a", taints=[{"key": "team", "effect": "PreferNoSchedule"}]),
        True,
    ),
}


@pytest.mark.parametrize("sentence", NODES)
def test_which_nodes_take_pods(sentence: str) -> None:
    one, schedulable = NODES[sentence]
    capacity = capacity_of([one], [], node_selector={}, tolerated=frozenset({"nvidia.com/gpu"}))
    assert capacity.nodes[0].schedulable is schedulable


def test_a_node_selector_leaves_other_nodes_out() -> None:
    nodes = [node("a", labels={"zone": "x"}), node("b")]
    capacity = capacity_of(nodes, [], node_selector={"zone": "x"}, tolerated=frozenset())
    assert [(one.name, one.schedulable) for one in capacity.nodes] == [("a", True), ("b", False)]


def test_who_holds_gpus_and_who_no_longer_does() -> None:
    labels = {"inference.llm-d.io/deployment": "llama"}
    pods = [
        pod(labels=labels),
        pod(labels=labels, deletionTimestamp="2026-01-01T00:00:00Z"),
        pod({"phase": "Succeeded"}, labels=labels),
        pod(node="", labels=labels),
        pod(name="notebook", gpus="1"),
    ]
    capacity = capacity_of([node("a")], pods, node_selector={}, tolerated=frozenset())
    assert (capacity.nodes[0].used, capacity.nodes[0].free) == (5, 3)
    holders = [(one.key, one.replicas, one.gpus, one.terminating_gpus, one.is_deployment) for one in capacity.holders]
    assert holders == [("production/llama", 2, 4, 2, True), ("production/notebook", 1, 1, 0, False)]


def test_where_a_pod_listens() -> None:
    status = {"podIP": "127.64.0.3"}
    assert pod_url(pod(status)) == "http://127.64.0.3:8080"
    shared = pod(status, annotations={"local.outrider.dev/host-ports": '{"8080": 40123}'})
    assert pod_url(shared) == "http://127.64.0.3:40123"
    odd = pod(status, annotations={"local.outrider.dev/host-ports": "nonsense"})
    assert pod_url(odd) == "http://127.64.0.3:8080"


def test_our_own_probes_are_no_users() -> None:
    def seen(requests: float | None) -> measurements.Measurements:
        return measurements.Measurements(pods=2, window_seconds=60, requests=requests, errors_5xx=1)

    assert users_part(seen(None), 10) is None
    assert users_part(seen(16), 10) is None, "two pods, six probes each in a minute, and two at the edges"
    users = users_part(seen(100), 10)
    assert users is not None
    assert users.error_rate == 0.01
