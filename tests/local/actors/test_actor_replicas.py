"""Which pods a ReplicaSet creates, which it can spare first, and what it counts."""

import random

import pytest

from outrider.api.meta import Condition, ObjectMeta, format_time
from outrider.kube.objects import ContainerStatus, PodStatus, ReplicaSetSpec
from outrider.local.actors.names import generate_name
from outrider.local.actors.objects import Pod, PodSpec, ReplicaSet
from outrider.local.actors.replica_math import (
    DELETION_COST,
    plan_replicas,
    pod_from_template,
    pods_to_delete,
    replica_set_status,
    slow_start,
)

NOW = 1_800_000_000.0


def pod(
    name, *, node="n", phase="Running", ready=100.0, cost="", restarts=0, age=1000.0, terminating=False, labels=None
):
    conditions = (
        (Condition("Ready", "True", last_transition_time=format_time(NOW - ready)),) if ready is not None else ()
    )
    return Pod(
        ObjectMeta(
            name=name,
            creation_timestamp=format_time(NOW - age),
            annotations={DELETION_COST: cost} if cost else {},
            deletion_timestamp=format_time(NOW) if terminating else None,
            labels=labels or {},
        ),
        PodSpec(node_name=node),
        PodStatus(phase, conditions=conditions, container_statuses=(ContainerStatus(restart_count=restarts),)),
    )


# Pairs of pods of which the first goes before the second.
FIRST_TO_GO = {
    "without a node": (pod("a", node=""), pod("b", phase="Pending", ready=None)),
    "pending": (pod("a", phase="Pending", ready=None), pod("b", ready=None)),
    "unknown": (pod("a", phase="Unknown", ready=None), pod("b", ready=None)),
    "not ready": (pod("a", ready=None), pod("b", cost="-9")),
    "cheap to delete": (pod("a", cost="-1"), pod("b", ready=1.0)),
    "cheaper than the usual cost of 0": (pod("a"), pod("b", cost="5", ready=1.0)),
    "a cost that is no number is the usual one": (pod("a", cost="-1"), pod("b", cost="much", ready=1.0)),
    "on a crowded node": (pod("a", node="crowded"), pod("b", ready=1.0)),
    "most recently ready": (pod("a", ready=1.0), pod("b", ready=50.0, restarts=9)),
    "restarted more often": (pod("a", restarts=3), pod("b", restarts=1, age=1.0)),
    "younger": (pod("b", age=1.0), pod("a", age=5.0)),
}


@pytest.mark.parametrize(("first", "second"), FIRST_TO_GO.values(), ids=FIRST_TO_GO.keys())
def test_the_first_to_go_is(first, second):
    siblings = {"crowded": 3, "n": 1}
    assert pods_to_delete([first, second], 1, siblings) == (first,)
    assert pods_to_delete([second, first], 1, siblings) == (first,)


def replica_set(replicas, **metadata):
    template = {"metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}}, "spec": {"containers": []}}
    made = ObjectMeta(name="web-abc", namespace="d", uid="rs", generation=2, **metadata)
    return ReplicaSet(made, ReplicaSetSpec(replicas, template=template, min_ready_seconds=0))


PLANS = {
    "too few": (3, [pod("a")], (2, [])),
    "enough": (1, [pod("a")], (0, [])),
    "too many": (1, [pod("a"), pod("b", ready=None)], (0, ["b"])),
    "finished pods are replaced": (2, [pod("a"), pod("b", phase="Failed"), pod("c", phase="Succeeded")], (1, [])),
    "terminating pods are replaced": (2, [pod("a"), pod("b", terminating=True)], (1, [])),
    "no more than 500 at once": (900, [], (500, [])),
}


@pytest.mark.parametrize(("replicas", "pods", "expected"), PLANS.values(), ids=PLANS.keys())
def test_plans(replicas, pods, expected):
    plan = plan_replicas(replica_set(replicas), pods)
    assert (plan.create, [each.metadata.name for each in plan.delete]) == expected


def test_a_replica_set_that_goes_creates_nothing():
    plan = plan_replicas(replica_set(3, deletion_timestamp=format_time(NOW)), [])
    assert (plan.create, plan.delete) == (0, ())


def test_slow_start_doubles():
    assert slow_start(0) == ()
    assert slow_start(1) == (1,)
    assert slow_start(10) == (1, 2, 4, 3)


def test_a_pod_from_the_template():
    body = pod_from_template(replica_set(1), "web-abc-x")
    assert body["metadata"]["name"] == "web-abc-x"
    assert body["metadata"]["labels"] == {"app": "web"}
    assert body["metadata"]["annotations"] == {"a": "b"}
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ReplicaSet", "rs", True)
    assert body["spec"] == {"containers": []}


def test_status_counts_what_is_active():
    mine = {"app": "web"}
    pods = [
        pod("a", labels=mine),
        pod("b", labels=mine, ready=None),
        pod("c"),
        pod("d", terminating=True),
        pod("e", phase="Failed"),
    ]
    status = replica_set_status(replica_set(3), pods, NOW, None)
    counts = (status.replicas, status.fully_labeled_replicas, status.ready_replicas, status.available_replicas)
    assert counts == (3, 2, 2, 2)
    assert status.observed_generation == 2


def test_a_refused_creation_is_a_condition_while_it_lasts():
    refused = replica_set_status(replica_set(1), [], NOW, ("FailedCreate", "quota"))
    (condition,) = refused.conditions
    assert (condition.type, condition.status, condition.reason, condition.message) == (
        "ReplicaFailure",
        "True",
        "FailedCreate",
        "quota",
    )
    assert replica_set_status(replica_set(1), [], NOW, None).conditions == ()


def test_generated_names_fit_and_repeat_with_the_seed():
    assert generate_name("web-", random.Random(1)) == generate_name("web-", random.Random(1))
    assert len(generate_name("x" * 100, random.Random(1))) == 63
