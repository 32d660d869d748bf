"""Where a pod may run, where it runs best, and what it is told when it runs nowhere."""

from fractions import Fraction

import pytest

from outrider.api.meta import Condition, ObjectMeta, OwnerReference
from outrider.kube.objects import Container, NodeStatus, ResourceRequirements
from outrider.local.actors.objects import Node, NodeSpec, Pod, PodSpec, Taint, Toleration
from outrider.local.actors.scheduling import NodeInfo, node_infos, place, queue_order, requests_of
from outrider.local.actors.taints import bears_for, tolerates

GPU = "nvidia.com/gpu"


def node(name, *, gpus=8, cpu="64", pods="110", labels=None, taints=(), ready="True", unschedulable=False):
    return Node(
        ObjectMeta(name=name, labels={"kubernetes.io/hostname": name, **(labels or {})}),
        NodeSpec(unschedulable=unschedulable, taints=tuple(taints)),
        NodeStatus(
            allocatable={"cpu": cpu, "memory": "512Gi", "pods": pods, GPU: str(gpus)},
            conditions=(Condition("Ready", ready),),
        ),
    )


def pod(name="pod", *, gpus=0, cpu="", owner="", on="", labels=None, **spec):
    requests = {**({GPU: str(gpus)} if gpus else {}), **({"cpu": cpu} if cpu else {})}
    owners = (OwnerReference("apps/v1", "ReplicaSet", owner, owner, True),) if owner else ()
    return Pod(
        ObjectMeta(name=name, namespace="default", uid=name, labels=labels or {}, owner_references=owners),
        PodSpec(node_name=on, containers=(Container(resources=ResourceRequirements(requests=requests)),), **spec),
    )


def affinity(*expressions):
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def expression(key, operator, *values):
    return {"key": key, "operator": operator, "values": list(values)}


def settle(wanted, nodes, *placed):
    return place(wanted, node_infos(nodes, placed, {}))


SICK = Taint("gpu", "sick", "NoSchedule")
ZONES = [node("a", labels={"zone": "x", "rank": "3"}), node("b", labels={"zone": "y", "rank": "7"})]
PLACES = {
    "nodeSelector": (pod(node_selector={"zone": "y"}), ZONES, "b"),
    "In": (pod(affinity=affinity(expression("zone", "In", "w", "y"))), ZONES, "b"),
    "NotIn": (pod(affinity=affinity(expression("zone", "NotIn", "x"))), ZONES, "b"),
    "NotIn holds for a label that is missing": (
        pod(affinity=affinity(expression("rack", "NotIn", "x"), expression("zone", "In", "y"))),
        ZONES,
        "b",
    ),
    "Exists": (pod(affinity=affinity(expression("disk", "Exists"))), [*ZONES, node("c", labels={"disk": ""})], "c"),
    "DoesNotExist": (pod(affinity=affinity(expression("zone", "DoesNotExist"))), [*ZONES, node("c")], "c"),
    "Gt": (pod(affinity=affinity(expression("rank", "Gt", "5"))), ZONES, "b"),
    "Lt": (pod(affinity=affinity(expression("rank", "Lt", "5"))), ZONES, "a"),
    "Gt against what is no number": (pod(affinity=affinity(expression("zone", "Gt", "5"))), ZONES, ""),
    "an unknown operator matches nothing": (pod(affinity=affinity(expression("zone", "Near", "x"))), ZONES, ""),
    "by the node's name": (
        pod(
            affinity={
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchFields": [expression("metadata.name", "In", "b")]}]
                    }
                }
            }
        ),
        ZONES,
        "b",
    ),
    "a hard taint": (pod(), [node("a", taints=[SICK]), node("b")], "b"),
    "a tolerated taint": (
        pod(tolerations=(Toleration("gpu", "Equal", "sick", "NoSchedule"),), node_selector={"zone": "x"}),
        [node("a", labels={"zone": "x"}, taints=[SICK])],
        "a",
    ),
    "a soft taint is avoided": (pod(), [node("a", taints=[Taint("k", "v", "PreferNoSchedule")]), node("b")], "b"),
    "a soft taint is borne when there is nothing else": (
        pod(),
        [node("a", taints=[Taint("k", "v", "PreferNoSchedule")])],
        "a",
    ),
    "a cordoned node": (pod(), [node("a", unschedulable=True), node("b")], "b"),
    "a node that is not ready": (pod(), [node("a", ready="False"), node("b")], "b"),
    "enough GPUs": (pod(gpus=4), [node("a", gpus=2), node("b", gpus=4)], "b"),
    "cpu in thousandths": (pod(cpu="1500m"), [node("a", cpu="1400m"), node("b", cpu="1.5")], "b"),
    "a preferred label": (
        pod(
            affinity={
                "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 1, "preference": {"matchExpressions": [expression("zone", "In", "y")]}}
                    ]
                }
            }
        ),
        ZONES,
        "b",
    ),
    "pods without GPUs stay off GPU nodes": (pod(), [node("a", gpus=8), node("b", gpus=0)], "b"),
}


@pytest.mark.parametrize(("wanted", "nodes", "expected"), PLACES.values(), ids=PLACES.keys())
def test_places(wanted, nodes, expected):
    assert settle(wanted, nodes).node == expected


def test_replicas_spread_over_nodes():
    placed = pod("one", gpus=1, owner="rs", on="a")
    assert settle(pod("two", gpus=1, owner="rs"), [node("a"), node("b")], placed).node == "b"


def test_gpu_pods_of_others_are_packed():
    placed = pod("one", gpus=2, owner="other", on="b")
    assert settle(pod("two", gpus=1, owner="rs"), [node("a"), node("b")], placed).node == "b"


def test_required_anti_affinity():
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    placed = pod("one", labels={"app": "x"}, on="a")
    wanted = pod("two", affinity=apart)
    assert settle(wanted, [node("a"), node("b")], placed).node == "b"
    refused = settle(wanted, [node("a")], placed)
    assert refused.message == "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."


def test_preferred_anti_affinity():
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    preferred = [{"weight": 10, "podAffinityTerm": term}]
    apart = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    placed = pod("one", gpus=1, labels={"app": "x"}, on="a")
    assert settle(pod("two", gpus=1, affinity=apart), [node("a"), node("b")], placed).node == "b"
    assert settle(pod("two", gpus=1, affinity=apart), [node("a")], placed).node == "a"


MESSAGES = {
    "no nodes": ([], pod(), "no nodes available to schedule pods"),
    "all the same": (
        [node("a", gpus=0), node("b", gpus=0)],
        pod(gpus=1),
        "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
    ),
    "different ones": (
        [node("a", gpus=0), node("b", taints=[Taint("k", "v", "NoSchedule")])],
        pod(gpus=1),
        "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {k: v}.",
    ),
    "several of one node": (
        [node("a", gpus=0, cpu="1")],
        pod(gpus=1, cpu="2"),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu.",
    ),
    "cordoned": ([node("a", unschedulable=True)], pod(), "0/1 nodes are available: 1 node(s) were unschedulable."),
    "selector": (
        [node("a")],
        pod(node_selector={"node-type": "gpu"}),
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    ),
    "full of pods": ([node("a", pods="0")], pod(), "0/1 nodes are available: 1 Too many pods."),
    "lost": (
        [node("a", ready="Unknown")],
        pod(),
        "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.",
    ),
}


@pytest.mark.parametrize(("nodes", "wanted", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_messages(nodes, wanted, expected):
    assert settle(wanted, nodes).message == expected


def test_requests_count_init_containers_limits_and_overhead():
    def container(**resources):
        return Container(resources=ResourceRequirements(**resources))

    wanted = Pod(
        spec=PodSpec(
            containers=(container(requests={"cpu": "500m"}), container(limits={"cpu": 1, GPU: 1})),
            init_containers=(container(requests={"cpu": "2", "memory": "1Gi"}),),
            overhead={"cpu": "0.25"},
        )
    )
    assert requests_of(wanted) == {"cpu": Fraction("2.25"), "memory": 1024**3, GPU: 1, "pods": 1}


def test_assumed_pods_count_once_wherever_the_cache_has_them():
    bound, assumed = pod("one", gpus=3, on="a"), pod("two", gpus=4)
    infos = node_infos([node("a")], [bound, pod("two", gpus=4, on="a")], {"two": (assumed, "a")})
    assert infos[0].free(GPU) == 1


def test_finished_pods_hold_nothing_and_terminating_ones_hold_on():
    info = NodeInfo(node("a"))
    info.add(pod("one", gpus=3))
    info.add(pod("one", gpus=3))
    assert info.free(GPU) == 5


def test_order_of_the_queue():
    def waiting(name, created, priority=0):
        made = ObjectMeta(name=name, namespace="d", creation_timestamp=f"2026-01-01T00:00:0{created}Z")
        return Pod(made, PodSpec(priority=priority))

    queue = [waiting("late", 3), waiting("early", 1), waiting("vip", 5, 10)]
    assert [each.metadata.name for each in sorted(queue, key=queue_order)] == ["vip", "early", "late"]


LOST = Taint("node.kubernetes.io/unreachable", "", "NoExecute")
BEARS = {
    "says nothing about a lost node": ((), LOST, 300.0),
    "says nothing about another taint": ((), Taint("k", "v", "NoExecute"), 0.0),
    "for ever": ((Toleration("k", "Exists"),), Taint("k", "v", "NoExecute"), None),
    "for so long": ((Toleration("k", "Exists", toleration_seconds=60),), Taint("k", "v", "NoExecute"), 60.0),
    "the shortest counts": (
        (Toleration("k", "Exists", toleration_seconds=60), Toleration(operator="Exists", toleration_seconds=9)),
        Taint("k", "v", "NoExecute"),
        9.0,
    ),
    "negative is at once": ((Toleration("k", "Exists", toleration_seconds=-1),), Taint("k", "v", "NoExecute"), 0.0),
}


@pytest.mark.parametrize(("tolerations", "taint", "expected"), BEARS.values(), ids=BEARS.keys())
def test_how_long_a_pod_bears_a_taint(tolerations, taint, expected):
    assert bears_for(taint, tolerations, 300.0) == expected


TOLERATES = {
    "equal": (Toleration("k", "Equal", "v", "NoSchedule"), True),
    "another value": (Toleration("k", "Equal", "w", "NoSchedule"), False),
    "another effect": (Toleration("k", "Exists", "", "NoExecute"), False),
    "exists": (Toleration("k", "Exists"), True),
    "everything": (Toleration("", "Exists"), True),
    "another key": (Toleration("j", "Exists"), False),
}


@pytest.mark.parametrize(("toleration", "expected"), TOLERATES.values(), ids=TOLERATES.keys())
def test_tolerations(toleration, expected):
    assert tolerates(toleration, Taint("k", "v", "NoSchedule")) is expected
