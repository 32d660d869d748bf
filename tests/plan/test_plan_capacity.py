"""The sentence that says which GPUs are missing and what would free them."""

from typing import Any

import pytest

from outrider.plan.deployment.capacity import Need, assess
from outrider.plan.deployment.snapshot import Capacity, GpuHolder, NodeView


def node(name: str, gpus: int, used: int = 0, *, schedulable: bool = True) -> NodeView:
    return NodeView(name=name, gpus=gpus, used=used, schedulable=schedulable)


def holder(name: str, replicas: int, gpus: int, **more: Any) -> GpuHolder:
    return GpuHolder(namespace="production", name=name, replicas=replicas, gpus=gpus, **more)


CASES: dict[str, tuple[tuple[int, int, int], Capacity | None, bool | None, str, str]] = {
    # (GPUs a replica, replicas wanted, without a node), capacity, available, reason, message
    "everything has a node": ((2, 3, 0), Capacity(), True, "Placed", "Every replica has a node."),
    "no GPU is asked for": ((0, 3, 3), Capacity(), True, "NoGPUsNeeded", "The replicas need no GPU."),
    "nodes cannot be read": ((1, 1, 1), None, None, "CapacityUnknown", "The nodes cannot be read."),
    "there is room": (
        (2, 3, 2), Capacity((node("a", 8, 4),)), True, "WaitingForScheduler",
        "There is room for 2 replicas still without a node.",
    ),
    "ten are asked for of eight": (
        (2, 2, 1),
        Capacity((node("a", 8, 8),), (holder("llama-a", 3, 6), holder("llama-b", 1, 2))),
        False, "InsufficientGPUs",
        ("2 GPUs are missing for 1 of 2 replicas: 8 GPUs in 1 node, 6 held by production/llama-a (3 replicas x 2) and "
        "2 by production/llama-b (1 replica x 2); room appears when production/llama-a is scaled down by 1 replica "
        "or with one more node of at least 2 GPUs."),
    ),
    "one more GPU is needed beside a free one": (
        (2, 1, 1), Capacity((node("a", 8, 7),), (holder("llama-a", 7, 7),)), False, "InsufficientGPUs",
        ("1 GPU is missing for 1 of 1 replica: 8 GPUs in 1 node, 7 held by production/llama-a (7 replicas x 1); "
        "room appears when production/llama-a is scaled down by 1 replica or with one more node of at least 2 GPUs."),
    ),
    "free GPUs are in different nodes": (
        (2, 1, 1), Capacity((node("a", 4, 3), node("b", 4, 3)), (holder("llama-a", 6, 6),)), False, "FragmentedGPUs",
        ("1 GPU is missing for 1 of 1 replica: 8 GPUs in 2 nodes, 6 held by production/llama-a (6 replicas x 1); "
        "room appears when production/llama-a is scaled down by 1 replica or with one more node of at least 2 GPUs."),
    ),
    "no node is large enough": (
        (8, 1, 1), Capacity((node("a", 4),)), False, "NoNodeBigEnough",
        ("Each replica needs 8 GPUs in one node, and the largest node has 4: room appears with one more node "
        "of at least 8 GPUs, or when replicas ask for at most 4 GPUs."),
    ),
    "no node has GPUs": (
        (1, 2, 2), Capacity(), False, "NoGPUNodes",
        ("2 GPUs are missing for 2 of 2 replicas: no node has GPUs (nvidia.com/gpu); "
        "room appears with 2 more nodes of at least 1 GPU."),
    ),
    "a cordoned node would have room": (
        (2, 1, 1), Capacity((node("a", 2, 2), node("b", 8, 0, schedulable=False)), (holder("llama-a", 1, 2),)),
        False, "InsufficientGPUs",
        ("2 GPUs are missing for 1 of 1 replica: 10 GPUs in 2 nodes (8 of them in b, which takes no new pods), 2 held "
        "by production/llama-a (1 replica x 2); room appears when b takes pods again "
        "or with one more node of at least 2 GPUs."),
    ),
    "ending pods are about to make room": (
        (2, 1, 1), Capacity((node("a", 4, 4),), (holder("llama-a", 2, 4, terminating_gpus=2),)),
        False, "WaitingForTerminatingPods",
        ("2 GPUs are missing for 1 of 1 replica: 4 GPUs in 1 node, 4 held by production/llama-a (2 replicas x 2); "
        "room appears when the pods that are ending have gone (production/llama-a)."),
    ),
    "a pod of nobody holds some": (
        (4, 1, 1), Capacity((node("a", 4, 1),), (holder("notebook", 1, 1, is_deployment=False),)),
        False, "InsufficientGPUs",
        ("1 GPU is missing for 1 of 1 replica: 4 GPUs in 1 node, 1 held by pod production/notebook; "
        "room appears with one more node of at least 4 GPUs."),
    ),
    "many hold some": (
        (1, 1, 1), Capacity((node("a", 6, 6),), tuple(holder(f"d{number}", 1, 1) for number in range(6))),
        False, "InsufficientGPUs",
        ("1 GPU is missing for 1 of 1 replica: 6 GPUs in 1 node, 1 held by production/d0 (1 replica x 1), "
        "1 by production/d1 (1 replica x 1), 1 by production/d2 (1 replica x 1), 1 by production/d3 (1 replica x 1) "
        "and 2 by 2 others; room appears with one more node of at least 1 GPU."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CASES)
def test_capacity(sentence: str) -> None:
    (size, wanted, unplaced), capacity, available, reason, message = CASES[sentence]
    verdict = assess(Need("production/me", size, wanted, unplaced), None if capacity is None else lambda: capacity)
    assert (verdict.available, verdict.reason, verdict.message) == (available, reason, message)


def test_nobody_is_told_to_scale_itself_down() -> None:
    capacity = Capacity((node("a", 4, 4),), (holder("me", 2, 4),))
    assert "scaled down" not in assess(Need("production/me", 2, 3, 1), lambda: capacity).message
