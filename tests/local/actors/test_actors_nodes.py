"""Nodes that fall silent, come back, or are gone; and what becomes of their pods."""

import msgspec
import pytest

from outrider.api.meta import Condition, ObjectMeta, format_time
from outrider.kube.objects import LEASE, NODE, POD, NodeStatus
from outrider.local.actors import ActorSettings
from outrider.local.actors.node_health import desired_taints, eviction_time, lost_conditions
from outrider.local.actors.objects import Node, NodeSpec, Pod, PodSpec, Taint, Toleration

NOW = 1_800_000_000.0
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"
QUICK = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    for key in (UNREACHABLE, NOT_READY)
]


def node(ready="True", *, taints=(), unschedulable=False):
    conditions = (Condition("Ready", ready),) if ready else ()
    return Node(ObjectMeta(name="n"), NodeSpec(unschedulable, tuple(taints)), NodeStatus(conditions=conditions))


FOREIGN = Taint("gpu", "sick", "NoSchedule")
TAINTS = {
    "healthy": (node(), True, []),
    "not ready": (node("False"), True, [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    "lost": (node("Unknown"), True, [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
    "lost with all others": (node("Unknown"), False, [(UNREACHABLE, "NoSchedule")]),
    "never heard of": (node(""), True, [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    "cordoned": (node(unschedulable=True), True, [("node.kubernetes.io/unschedulable", "NoSchedule")]),
    "well again": (node(taints=[Taint(UNREACHABLE, "", "NoExecute")]), True, []),
    "foreign taints stay": (node(taints=[FOREIGN]), True, [("gpu", "NoSchedule")]),
}


@pytest.mark.parametrize(("given", "may_evict", "expected"), TAINTS.values(), ids=TAINTS.keys())
def test_taints_of_a_node(given, may_evict, expected):
    assert [(each.key, each.effect) for each in desired_taints(given, NOW, may_evict=may_evict)] == expected


def test_a_taint_keeps_the_time_when_it_was_added():
    first = desired_taints(node("Unknown"), NOW, may_evict=True)
    again = desired_taints(node("Unknown", taints=first), NOW + 99, may_evict=True)
    assert again == first


def test_a_silent_kubelet_makes_every_condition_unknown():
    before = (Condition("MemoryPressure", "False"), Condition("Ready", "True"))
    after = lost_conditions(before, NOW)
    assert [(each.type, each.status, each.reason) for each in after] == [
        ("MemoryPressure", "Unknown", "NodeStatusUnknown"),
        ("Ready", "Unknown", "NodeStatusUnknown"),
    ]
    assert lost_conditions((), NOW)[0].reason == "NodeStatusNeverUpdated"


def test_when_a_pod_has_to_leave():
    lost = [Taint(UNREACHABLE, "", "NoExecute", format_time(NOW))]
    patient = Pod(spec=PodSpec(tolerations=(Toleration(UNREACHABLE, "Exists"),)))
    assert eviction_time(Pod(), lost, 300.0) == NOW + 300
    assert eviction_time(patient, lost, 300.0) is None
    assert eviction_time(Pod(), [], 300.0) is None
    assert eviction_time(Pod(), [Taint("k", "", "NoSchedule")], 300.0) is None
    leaving = msgspec.structs.replace(Pod(), metadata=ObjectMeta(deletion_timestamp="2026-01-01T00:00:00Z"))
    assert eviction_time(leaving, lost, 300.0) is None


async def up(world, replicas=4):
    await world.add_node("node-1")
    await world.add_node("node-2")
    await world.deploy(replicas=replicas, pod_spec={"tolerations": QUICK})
    await world.until(world.rolled_out)


def taints(world, name):
    return {(each["key"], each["effect"]) for each in world.get(NODE, name)["spec"].get("taints") or []}


def ready_status(world, name):
    conditions = world.get(NODE, name)["status"]["conditions"]
    return next(each["status"] for each in conditions if each["type"] == "Ready")


def on(world, name):
    return [pod for pod in world.pods() if pod["spec"].get("nodeName") == name]


def test_a_lost_node_is_noticed_left_and_comes_back(in_world):
    async def story(world):
        await up(world)
        assert len(on(world, "node-1")) == 2
        world.silent_nodes.add("node-1")
        began = world.clock.monotonic()
        await world.until(lambda: ready_status(world, "node-1") == "Unknown")
        assert 40 < world.clock.monotonic() - began < 70
        await world.until(lambda: taints(world, "node-1") == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")})
        await world.until(lambda: len(world.ready(app="web")) == 2)
        assert all(not pod["metadata"].get("deletionTimestamp") for pod in on(world, "node-1"))
        await world.until(lambda: len(world.ready(app="web")) == 4)
        assert world.clock.monotonic() - began > 100
        assert all(pod["metadata"].get("deletionTimestamp") for pod in on(world, "node-1"))
        world.silent_nodes.clear()
        await world.until(lambda: ready_status(world, "node-1") == "True" and not taints(world, "node-1"))

    in_world(story)


def test_pods_that_outlive_a_short_silence_serve_again(in_world):
    async def story(world):
        await up(world)
        before = {pod["metadata"]["uid"] for pod in world.pods()}
        world.silent_nodes.add("node-1")
        await world.until(lambda: len(world.ready(app="web")) == 2)
        world.silent_nodes.clear()
        for pod in on(world, "node-1"):
            world.spawn(world._serve(pod))
        await world.until(lambda: len(world.ready(app="web")) == 4)
        await world.pass_time(120)
        assert {pod["metadata"]["uid"] for pod in world.pods()} == before

    in_world(story)


def test_nobody_is_evicted_when_all_nodes_are_lost_at_once(in_world):
    async def story(world):
        await up(world)
        world.silent_nodes |= {"node-1", "node-2"}
        await world.until(lambda: ready_status(world, "node-1") == ready_status(world, "node-2") == "Unknown")
        await world.pass_time(1000)
        assert all(not pod["metadata"].get("deletionTimestamp") for pod in world.pods())
        assert taints(world, "node-1") == {(UNREACHABLE, "NoSchedule")}

    in_world(story)


def test_a_restart_after_hours_gives_every_node_a_grace_period(in_world):
    async def story(world):
        await up(world)
        await world.stop_actors()
        world.silent_nodes |= {"node-1", "node-2"}
        await world.pass_time(7200)
        world.start_actors()
        await world.pass_time(20)
        assert ready_status(world, "node-1") == "True"
        world.silent_nodes.clear()
        await world.pass_time(300)
        assert ready_status(world, "node-1") == "True"
        assert len(world.ready(app="web")) == 4

    in_world(story)


def test_the_pods_of_a_deleted_node_go_and_are_replaced(in_world):
    async def story(world):
        await up(world)
        world.silent_nodes.add("node-1")
        await world.api.delete(NODE, "node-1")
        await world.pass_time(20)
        assert len(on(world, "node-1")) == 2
        await world.until(lambda: not on(world, "node-1"))
        await world.until(lambda: len(world.ready(app="web")) == 4)

    in_world(story, settings=ActorSettings(missing_node_grace=30))


def test_a_foreign_no_execute_taint_evicts_at_once(in_world):
    async def story(world):
        await up(world)
        taint = {"key": "gpu", "value": "sick", "effect": "NoExecute"}
        await world.api.patch(NODE, "node-1", {"spec": {"taints": [taint]}})
        await world.until(lambda: len(on(world, "node-2")) == 4 and len(world.ready(app="web")) == 4)
        assert taints(world, "node-1") == {("gpu", "NoExecute")}

    in_world(story)


def test_a_cordon_is_a_taint_and_moves_nobody(in_world):
    async def story(world):
        await up(world)
        await world.api.patch(NODE, "node-1", {"spec": {"unschedulable": True}})
        await world.until(lambda: taints(world, "node-1") == {("node.kubernetes.io/unschedulable", "NoSchedule")})
        await world.pass_time(60)
        assert len(on(world, "node-1")) == 2
        await world.api.patch(NODE, "node-1", {"spec": {"unschedulable": False}})
        await world.until(lambda: not taints(world, "node-1"))

    in_world(story)


def test_a_lease_goes_with_its_node(in_world):
    async def story(world):
        await world.add_node("node-1")
        uid = world.get(NODE, "node-1")["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": uid}
        await world.api.patch(LEASE, "node-1", {"metadata": {"ownerReferences": [owner]}}, "kube-node-lease")
        await world.api.delete(NODE, "node-1")
        await world.until(lambda: world.get(LEASE, "node-1", "kube-node-lease") is None)
        assert world.all(POD) == []

    in_world(story)
