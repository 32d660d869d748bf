"""What is wrong beneath a pod, as nodes and the kubelet tell of it."""

from typing import Any

import msgspec
import pytest

from outrider.controllers.deployment.faults import faults, health_changed
from outrider.kube.objects import Node, Pod
from outrider.plan.deployment.snapshot import FaultView

GPU = "nvidia.com/gpu"
UUID = "GPU-6f3c"


def pod(
    *health: str, name: str = "p", node: str = "a", gpus: int = 1, phase: str = "Running", message: str = ""
) -> Pod:
    devices = [{"resourceID": UUID, "health": one, "message": message} for one in health]
    told = [{"name": GPU, "resources": devices}] if devices else []
    body = {
        "metadata": {"name": name, "uid": name},
        "spec": {"nodeName": node, "containers": [{"resources": {"limits": {GPU: str(gpus)}}}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "s", "allocatedResourcesStatus": told}]},
    }
    return msgspec.convert(body, Pod)


def node(healthy: int = 8, *conditions: tuple[str, str], has: int = 8, cordoned: bool = False) -> Node:
    found = [{"type": kind, "status": status, "reason": "NvidiaXID79Error"} for kind, status in conditions]
    status: dict[str, Any] = {"capacity": {GPU: str(has)}, "allocatable": {GPU: str(healthy)}, "conditions": found}
    spec = {"unschedulable": cordoned}
    return msgspec.convert({"metadata": {"name": "a"}, "spec": spec, "status": status}, Node)


READY, NOT_READY = ("Ready", "True"), ("Ready", "Unknown")
HARDWARE, NO_HARDWARE = ("AcceleratedHardwareReady", "True"), ("AcceleratedHardwareReady", "False")
SHORT = FaultView("a has 7 healthy GPUs, and its pods hold 8", of_gpu=True)
CASES: dict[str, tuple[Node, Pod, FaultView | None]] = {
    "all is well": (node(8, READY, HARDWARE), pod("Healthy"), None),
    "a cordon is no fault": (node(8, READY, cordoned=True), pod("Healthy"), None),
    "the kubelet takes its GPU for unhealthy": (
        node(7, READY), pod("Healthy", "Unhealthy"), FaultView(f"{UUID} of a is Unhealthy", of_gpu=True),
    ),
    "and says why": (
        node(7, READY), pod("Unhealthy", message=" Xid 79\n"),
        FaultView(f"{UUID} of a is Unhealthy (Xid 79)", of_gpu=True),
    ),
    "what is unknown is no fault": (node(8, READY), pod("Unknown"), None),
    "its node is not ready": (node(8, NOT_READY), pod("Healthy"), FaultView("a is NotReady", of_gpu=False)),
    "its GPU is unhealthy and its node silent: another GPU would help": (
        node(8, NOT_READY), pod("Unhealthy"), FaultView(f"{UUID} of a is Unhealthy", of_gpu=True),
    ),
    "the cloud's agent calls the hardware faulty": (
        node(8, READY, NO_HARDWARE), pod(),
        FaultView("AcceleratedHardwareReady of a is False (NvidiaXID79Error)", of_gpu=False),
    ),
    "the same on a node that takes no new pods": (
        node(8, READY, NO_HARDWARE, cordoned=True), pod(),
        FaultView("AcceleratedHardwareReady of a is False (NvidiaXID79Error)", of_gpu=True),
    ),
    "no GPU of the node is left": (
        node(0, READY), pod(), FaultView("none of the 8 GPUs of a is healthy", of_gpu=True),
    ),
    "a node that never had GPUs": (node(0, READY, has=0), pod(gpus=0), None),
    "a GPU is unhealthy, and nobody holds it": (node(7, READY), pod(gpus=7), None),
    "more GPUs are held than are healthy": (node(7, READY), pod(gpus=8), SHORT),
    "more are held than are healthy, but this pod's are known to be well": (
        node(7, READY), pod("Healthy", gpus=8), None,
    ),
    "it is on no node": (node(0, READY), pod(node=""), None),
    "it is on a node that nobody knows": (node(0, READY), pod(node="b"), None),
}  # fmt: skip


LOST, BACK, READY_AGAIN = "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z", "2026-01-01T00:06:00Z"
UNTIL = FaultView(f"a was NotReady until {BACK}")
RETURNS: dict[str, tuple[tuple[str, str], str, FaultView | None]] = {
    "it has not been ready since": (("False", LOST), "", UNTIL),
    "it has been, and is not any more": (("False", READY_AGAIN), "", None),
    "it is ready": (("True", LOST), "", None),
    "it crashes as it loads its model anew": (("False", LOST), "CrashLoopBackOff", None),
    "it has just been told to start": (("False", LOST), "ContainerCreating", UNTIL),
}
"""Of a pod on a node that came back: its condition Ready and since when, and what its container waits for."""


@pytest.mark.parametrize("sentence", RETURNS)
def test_what_a_pod_lost_with_its_node_is_the_nodes_fault_until_it_is_ready_again(sentence: str) -> None:
    (status, since), waiting, expected = RETURNS[sentence]
    said: dict[str, Any] = {"type": "Ready", "status": status, "lastTransitionTime": since}
    state = {"waiting": {"reason": waiting}} if waiting else {}
    lost = msgspec.convert(
        {
            "metadata": {"name": "p", "uid": "p"},
            "spec": {"nodeName": "a"},
            "status": {"conditions": [said], "containerStatuses": [{"name": "s", "state": state}]},
        },
        Pod,
    )
    back = {"type": "Ready", "status": "True", "lastTransitionTime": BACK}
    on = msgspec.convert({"metadata": {"name": "a"}, "status": {"conditions": [back]}}, Node)
    assert faults([on], [lost]).of(lost) == expected


@pytest.mark.parametrize("sentence", CASES)
def test_what_is_wrong_beneath_a_pod(sentence: str) -> None:
    one, of, expected = CASES[sentence]
    found = faults([one], [of])
    assert found.of(of) == expected
    assert found.uids([of]) == (frozenset() if expected is None else {"p"})


def test_gpus_of_pods_that_have_ended_are_held_by_nobody() -> None:
    pods = [pod(name="ended", gpus=4, phase="Failed"), pod(name="runs", gpus=4)]
    assert faults([node(7, READY)], pods).short == {}


def test_a_pod_without_gpus_is_not_suspected_for_those_of_others() -> None:
    web = pod(name="web", gpus=0)
    assert faults([node(7, READY)], [pod(gpus=8), web]).of(web) is None


CHANGES: dict[str, tuple[Node | None, Node | None, bool]] = {
    "a node says again that it is well": (node(8, READY), node(8, READY), False),
    "a GPU is lost": (node(8, READY), node(7, READY), True),
    "it is not ready any more": (node(8, READY), node(8, NOT_READY), True),
    "its hardware is called faulty": (node(8, READY, HARDWARE), node(8, READY, NO_HARDWARE), True),
    "it is cordoned": (node(8, READY), node(8, READY, cordoned=True), True),
    "it comes": (None, node(8, READY), True),
    "it goes": (node(8, READY), None, True),
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_which_changes_of_a_node_are_news_for_the_pods_on_it(sentence: str) -> None:
    old, new, expected = CHANGES[sentence]
    assert health_changed(old, new) is expected
