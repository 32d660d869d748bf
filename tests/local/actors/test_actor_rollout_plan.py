"""The rollout decision, stepped through by hand: what is written, and what the status says at each step."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.api.meta import ObjectMeta, format_time
from outrider.kube.objects import DeploymentSpec, DeploymentStrategy, LabelSelector, RollingUpdate
from outrider.local.actors import rollout_math as math
from outrider.local.actors.objects import Deployment, ReplicaSet, ReplicaSetStatus
from outrider.local.actors.rollout import plan_rollout, same_template

NOW = 1_800_000_000.0


def template(version):
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": version}]}}


class Cluster:
    """One Deployment and its ReplicaSets, which do as they are told."""

    def __init__(self, replicas=4, surge=1, unavailable=0, strategy="RollingUpdate", **spec):
        rolling = RollingUpdate(surge, unavailable)
        self.deployment = Deployment(
            ObjectMeta(name="web", namespace="default", uid="d", generation=1),
            DeploymentSpec(
                replicas=replicas,
                selector=LabelSelector({"app": "web"}),
                strategy=DeploymentStrategy(strategy, rolling),
                template=template("v1"),
                **spec,
            ),
        )
        self.sets: dict[str, ReplicaSet] = {}
        self.now = NOW
        self.created = 0
        self.old_pods = False
        self.deleted: list[str] = []

    def change(self, **spec):
        changed = msgspec.structs.replace(self.deployment.spec, **spec)
        metadata = msgspec.structs.replace(self.deployment.metadata, generation=self.deployment.metadata.generation + 1)
        self.deployment = msgspec.structs.replace(self.deployment, metadata=metadata, spec=changed)

    def plan(self):
        sets = list(self.sets.values())
        return plan_rollout(self.deployment, sets, self.now, old_pods_running=self.old_pods)

    def step(self):
        """Plan and carry it out; gives the plan."""
        plan = self.plan()
        if plan.create is not None:
            self.created += 1
            body = msgspec.convert(plan.create, ReplicaSet)
            stamp = format_time(NOW + self.created)
            metadata = msgspec.structs.replace(body.metadata, creation_timestamp=stamp, generation=1)
            self.sets[body.metadata.name] = msgspec.structs.replace(body, metadata=metadata)
        for change in plan.changes:
            old = self.sets[change.name]
            annotations = {**old.metadata.annotations, **change.patch.get("metadata", {}).get("annotations", {})}
            metadata = msgspec.structs.replace(old.metadata, annotations=annotations)
            size = change.patch.get("spec", {}).get("replicas", old.spec.replicas)
            spec = msgspec.structs.replace(old.spec, replicas=size)
            self.sets[change.name] = msgspec.structs.replace(old, metadata=metadata, spec=spec)
        for each in plan.deletes:
            self.deleted.append(each.metadata.annotations[math.REVISION])
            del self.sets[each.metadata.name]
        annotations = dict(self.deployment.metadata.annotations)
        if plan.revision:
            annotations[math.REVISION] = plan.revision
        metadata = msgspec.structs.replace(self.deployment.metadata, annotations=annotations)
        self.deployment = msgspec.structs.replace(self.deployment, metadata=metadata, status=plan.status)
        return plan

    def settle(self, *, available=None):
        """The ReplicaSets have the pods they are asked for, of which all, or so many in sum, are available."""
        for name, each in self.sets.items():
            ready = (
                each.spec.replicas
                if available is None
                else min(available.get(each_version(each), 0), each.spec.replicas)
            )
            status = ReplicaSetStatus(each.metadata.generation, each.spec.replicas, ready, ready)
            self.sets[name] = msgspec.structs.replace(each, status=status)

    def run(self, steps=60):
        for _ in range(steps):
            before = (dict(self.sets), self.deployment)
            self.step()
            self.settle()
            if before == (self.sets, self.deployment):
                return
        raise AssertionError("does not come to rest")

    def sizes(self):
        return {each_version(each): each.spec.replicas for each in self.sets.values()}

    def condition(self, kind="Progressing"):
        found = next(each for each in self.deployment.status.conditions if each.type == kind)
        return found.status, found.reason

    def revisions(self):
        return {each_version(each): math.revision_of(each) for each in self.sets.values()}


def each_version(replica_set):
    return replica_set.spec.template["spec"]["containers"][0]["image"]


def test_the_first_replica_set():
    cluster = Cluster()
    plan = cluster.step()
    assert plan.create is not None
    metadata, spec = plan.create["metadata"], plan.create["spec"]
    label = metadata["labels"][math.TEMPLATE_HASH]
    assert metadata["name"] == f"web-{label}"
    assert spec["replicas"] == 4
    assert spec["selector"] == {"matchLabels": {"app": "web", math.TEMPLATE_HASH: label}}
    assert spec["template"]["metadata"]["labels"] == {"app": "web", math.TEMPLATE_HASH: label}
    annotations = metadata["annotations"]
    assert annotations == {math.REVISION: "1", math.DESIRED_REPLICAS: "4", math.MAX_REPLICAS: "5"}
    assert metadata["ownerReferences"][0]["uid"] == "d"
    assert plan.revision == "1"
    assert cluster.condition() == ("True", "NewReplicaSetCreated")
    assert cluster.condition("Available") == ("False", "MinimumReplicasUnavailable")
    assert cluster.deployment.status.unavailable_replicas == 4


def test_progress_is_reported_until_all_is_available():
    cluster = Cluster()
    cluster.step()
    cluster.settle(available={"v1": 2})
    cluster.step()
    assert cluster.condition() == ("True", "ReplicaSetUpdated")
    assert cluster.deployment.status.available_replicas == 2
    cluster.settle()
    cluster.step()
    assert cluster.condition() == ("True", "NewReplicaSetAvailable")
    assert cluster.condition("Available") == ("True", "MinimumReplicasAvailable")
    assert cluster.plan().changes == ()


def test_a_rolling_update_step_by_step():
    cluster = Cluster(replicas=3, surge=1, unavailable=0)
    cluster.run()
    cluster.change(template=template("v2"))
    trail: list[dict[str, int]] = []
    for _ in range(12):
        cluster.step()
        if not trail or trail[-1] != cluster.sizes():
            trail.append(cluster.sizes())
        cluster.settle()
    assert trail == [
        {"v1": 3, "v2": 1},
        {"v1": 2, "v2": 1},
        {"v1": 2, "v2": 2},
        {"v1": 1, "v2": 2},
        {"v1": 1, "v2": 3},
        {"v1": 0, "v2": 3},
    ]
    assert cluster.condition() == ("True", "NewReplicaSetAvailable")
    assert cluster.deployment.metadata.annotations[math.REVISION] == "2"


def test_nothing_is_taken_away_before_the_new_pods_serve():
    cluster = Cluster(replicas=3, surge=1, unavailable=0)
    cluster.run()
    cluster.change(template=template("v2"))
    for _ in range(5):
        cluster.step()
        cluster.settle(available={"v1": 3, "v2": 0})
    assert cluster.sizes() == {"v1": 3, "v2": 1}


def test_unhealthy_old_pods_make_way_first():
    cluster = Cluster(replicas=4, surge=0, unavailable=1)
    cluster.run()
    cluster.change(template=template("v2"))
    cluster.settle(available={"v1": 2})
    for _ in range(4):
        cluster.step()
        cluster.settle(available={"v1": 2})
    # Two old pods do not serve anyway, but only one may be missing at a time until its successor serves.
    assert cluster.sizes() == {"v1": 3, "v2": 1}


def test_a_rollback_uses_the_old_replica_set_again():
    cluster = Cluster()
    cluster.run()
    first = next(iter(cluster.sets))
    cluster.change(template=template("v2"))
    cluster.run()
    cluster.change(template=template("v1"))
    cluster.run()
    assert cluster.sizes() == {"v1": 4, "v2": 0}
    assert cluster.revisions() == {"v1": 3, "v2": 2}
    assert cluster.sets[first].metadata.annotations[math.REVISION_HISTORY] == "1"
    assert cluster.deployment.metadata.annotations[math.REVISION] == "3"
    assert len(cluster.sets) == 2


def test_a_new_template_in_the_middle_of_a_rollout():
    cluster = Cluster(replicas=4, surge=1, unavailable=1)
    cluster.run()
    cluster.change(template=template("v2"))
    cluster.step()
    cluster.settle(available={"v1": 4, "v2": 0})
    cluster.step()
    cluster.settle(available={"v1": 4, "v2": 0})
    assert cluster.sizes()["v2"] > 0
    cluster.change(template=template("v3"))
    cluster.settle(available={"v1": 4, "v2": 0})
    cluster.step()
    cluster.settle(available={"v1": 4, "v2": 0, "v3": 0})
    cluster.step()
    # v2 never served: it gives way before v1, which does, is touched further.
    assert cluster.sizes()["v2"] == 0
    cluster.run()
    assert cluster.sizes() == {"v1": 0, "v2": 0, "v3": 4}


def test_scaling_in_the_middle_of_a_rollout_keeps_the_proportion():
    cluster = Cluster(replicas=10, surge=2, unavailable=0)
    cluster.run()
    cluster.change(template=template("v2"))
    cluster.step()
    assert cluster.sizes() == {"v1": 10, "v2": 2}
    cluster.change(replicas=20)
    cluster.settle(available={"v1": 10, "v2": 0})
    plan = cluster.step()
    assert cluster.sizes() == {"v1": 18, "v2": 4}
    assert {note for _, note in plan.events} == {
        f"Scaled up replica set {name} from {old} to {new}"
        for name, (old, new) in zip(cluster.sets, [(10, 18), (2, 4)], strict=True)
    }
    cluster.run()
    assert cluster.sizes() == {"v1": 0, "v2": 20}


def test_what_a_replica_set_is_part_of_is_noted_only_when_its_size_changes():
    """As kube-controller-manager does it: an old note decides how a later change of size is shared out."""
    cluster = Cluster(replicas=4, surge=1)
    cluster.run()

    def noted():
        return [math.annotated_number(each, math.MAX_REPLICAS) for each in cluster.sets.values()]

    cluster.change(strategy=DeploymentStrategy("RollingUpdate", RollingUpdate(4, 0)))
    cluster.run()
    assert noted() == [5]
    cluster.change(replicas=6)
    cluster.run()
    assert noted() == [10]


def test_plain_scaling():
    cluster = Cluster(replicas=2)
    cluster.run()
    cluster.change(replicas=5)
    cluster.run()
    assert cluster.sizes() == {"v1": 5}
    assert cluster.condition() == ("True", "NewReplicaSetAvailable")
    cluster.change(replicas=0)
    cluster.run()
    assert cluster.sizes() == {"v1": 0}
    assert cluster.deployment.status.observed_generation == 3


def test_paused_holds_the_template_but_not_the_size():
    cluster = Cluster()
    cluster.run()
    cluster.change(paused=True, template=template("v2"))
    cluster.run()
    assert cluster.sizes() == {"v1": 4}
    assert cluster.condition() == ("Unknown", "DeploymentPaused")
    cluster.change(replicas=6)
    cluster.run()
    assert cluster.sizes() == {"v1": 6}
    cluster.change(paused=False)
    cluster.step()
    assert cluster.sizes()["v2"] == 1
    cluster.run()
    assert cluster.sizes() == {"v1": 0, "v2": 6}


def test_recreate_waits_until_the_last_old_pod_is_gone():
    cluster = Cluster(strategy="Recreate")
    cluster.run()
    cluster.change(template=template("v2"))
    cluster.old_pods = True
    for _ in range(4):
        cluster.step()
        cluster.settle()
    assert cluster.sizes() == {"v1": 0}
    cluster.old_pods = False
    cluster.run()
    assert cluster.sizes() == {"v1": 0, "v2": 4}


def test_recreate_can_be_scaled():
    cluster = Cluster(strategy="Recreate")
    cluster.run()
    cluster.change(replicas=7)
    cluster.run()
    assert cluster.sizes() == {"v1": 7}


def test_the_deadline_for_progress():
    cluster = Cluster(progress_deadline_seconds=60)
    cluster.step()
    cluster.settle(available={})
    cluster.step()
    assert cluster.plan().look_again_at == NOW + 60
    cluster.now += 61
    assert cluster.step().look_again_at is None
    assert cluster.condition() == ("False", "ProgressDeadlineExceeded")
    cluster.settle(available={"v1": 1})
    cluster.step()
    assert cluster.condition() == ("True", "ReplicaSetUpdated")


def test_without_a_deadline_there_is_no_progress_to_report():
    cluster = Cluster(progress_deadline_seconds=2**31 - 1)
    cluster.run()
    assert [each.type for each in cluster.deployment.status.conditions] == ["Available"]


def test_old_revisions_beyond_the_limit_are_forgotten():
    cluster = Cluster(revision_history_limit=2)
    for version in ("v1", "v2", "v3", "v4", "v5"):
        cluster.change(template=template(version))
        cluster.run()
    assert sorted(cluster.sizes()) == ["v3", "v4", "v5"]
    assert cluster.deleted == ["1", "2"]


def test_a_deployment_that_is_being_deleted_is_left_alone():
    cluster = Cluster()
    cluster.run()
    metadata = msgspec.structs.replace(cluster.deployment.metadata, deletion_timestamp=format_time(NOW))
    cluster.deployment = msgspec.structs.replace(cluster.deployment, metadata=metadata)
    cluster.change(replicas=9, template=template("v2"))
    plan = cluster.plan()
    assert (plan.create, plan.changes, plan.deletes) == (None, (), ())


SAME = {
    "equal": (template("v1"), template("v1"), True),
    "but for the hash": (
        template("v1"),
        {**template("v1"), "metadata": {"labels": {"app": "web", math.TEMPLATE_HASH: "x"}}},
        True,
    ),
    "but for a null creationTimestamp": (
        template("v1"),
        {**template("v1"), "metadata": {"labels": {"app": "web"}, "creationTimestamp": None}},
        True,
    ),
    "another image": (template("v1"), template("v2"), False),
    "another label": (template("v1"), {**template("v1"), "metadata": {"labels": {"app": "x"}}}, False),
    "an annotation": (
        template("v1"),
        {**template("v1"), "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}}},
        False,
    ),
}


@pytest.mark.parametrize(("one", "other", "expected"), SAME.values(), ids=SAME.keys())
def test_when_templates_are_the_same(one, other, expected):
    assert same_template(one, other) is expected


VERSIONS = st.sampled_from(["v1", "v2", "v3"])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 12),
    st.one_of(st.integers(0, 4), st.sampled_from(["0%", "10%", "25%", "100%"])),
    st.one_of(st.integers(0, 4), st.sampled_from(["0%", "10%", "25%", "100%"])),
    st.lists(st.tuples(VERSIONS, st.integers(0, 12), st.integers(0, 8)), max_size=5),
    st.randoms(use_true_random=False),
)
def test_any_sequence_of_changes_keeps_the_bounds_and_comes_to_rest(replicas, surge, unavailable, changes, chance):
    cluster = Cluster(replicas, surge, unavailable)
    cluster.run(100)

    def step_with_partial_progress():
        asked_before = {name: each.spec.replicas for name, each in cluster.sets.items()}
        active = [each for each in cluster.sets.values() if each.spec.replicas]
        size = str(cluster.deployment.spec.replicas)
        # A scale-down in proportion is what the user asked for: it takes available pods, here as in Kubernetes.
        scaled = any(each.metadata.annotations[math.DESIRED_REPLICAS] != size for each in active)
        available_before = sum(each.status.available_replicas for each in cluster.sets.values())
        cluster.step()
        desired = cluster.deployment.spec.replicas
        asked = sum(each.spec.replicas for each in cluster.sets.values())
        if asked > sum(asked_before.values()):
            assert asked <= desired + math.max_surge(cluster.deployment)
        staying = math.available(cluster.sets.values())
        if staying < available_before and not scaled:
            assert staying >= desired - math.max_unavailable(cluster.deployment)
        for name, each in cluster.sets.items():
            ready = chance.randint(min(each.status.available_replicas, each.spec.replicas), each.spec.replicas)
            status = ReplicaSetStatus(each.metadata.generation, each.spec.replicas, ready, ready)
            cluster.sets[name] = msgspec.structs.replace(each, status=status)

    for version, size, steps in changes:
        cluster.change(template=template(version), replicas=size)
        for _ in range(steps):
            step_with_partial_progress()
    cluster.run(200)
    assert cluster.sizes()[each_version_of(cluster.deployment)] == cluster.deployment.spec.replicas
    assert sum(cluster.sizes().values()) == cluster.deployment.spec.replicas
    assert len(cluster.sets) == len(cluster.sizes())


def each_version_of(deployment):
    return deployment.spec.template["spec"]["containers"][0]["image"]
