"""Whole trees of owners and dependents, deleted in each of Kubernetes' three ways."""

import pytest

from outrider.api.meta import ObjectMeta, OwnerReference
from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD, REPLICA_SET, SECRET
from outrider.local.actors.garbage_collector import OwnerState, Verdict, blocks, judge

SOLID, GONE, WAITING = OwnerState.SOLID, OwnerState.GONE, OwnerState.WAITING


def owned(*uids, **metadata):
    references = tuple(OwnerReference("v1", "ConfigMap", uid, uid) for uid in uids)
    return ObjectMeta(name="x", owner_references=references, **metadata)


JUDGEMENTS = {
    "no owners": (owned(), {}, False, Verdict()),
    "a solid owner": (owned("a"), {"a": SOLID}, False, Verdict()),
    "the owner is gone": (owned("a"), {"a": GONE}, False, Verdict("Background")),
    "one of two is gone": (owned("a", "b"), {"a": GONE, "b": SOLID}, False, Verdict(None, ("a",))),
    "both are gone": (owned("a", "b"), {"a": GONE, "b": GONE}, False, Verdict("Background")),
    "the owner waits": (owned("a"), {"a": WAITING}, False, Verdict("Background")),
    "the owner waits, and there are dependents": (owned("a"), {"a": WAITING}, True, Verdict("Foreground")),
    "one waits, one is solid": (owned("a", "b"), {"a": WAITING, "b": SOLID}, True, Verdict(None, ("a",))),
    "it wants to orphan its own": (owned("a", finalizers=("orphan",)), {"a": GONE}, True, Verdict("Orphan")),
    "it goes already": (owned("a", deletion_timestamp="2026-01-01T00:00:00Z"), {"a": GONE}, False, Verdict()),
}


@pytest.mark.parametrize(("metadata", "owners", "dependents", "expected"), JUDGEMENTS.values(), ids=JUDGEMENTS.keys())
def test_judges(metadata, owners, dependents, expected):
    assert judge(metadata, owners, has_dependents=dependents) == expected


def test_only_blocking_references_block():
    reference = OwnerReference("v1", "ConfigMap", "a", "a", block_owner_deletion=True)
    assert blocks(ObjectMeta(owner_references=(reference,)), "a")
    assert not blocks(ObjectMeta(owner_references=(reference,)), "b")
    assert not blocks(owned("a"), "a")


async def tree(world):
    """A Deployment, its ReplicaSet and pods, in the state of serving."""
    await world.add_node("node-1")
    await world.deploy(replicas=3)
    await world.until(world.rolled_out)


def anything(world):
    return [each for kind in (DEPLOYMENT, REPLICA_SET, POD) for each in world.all(kind)]


def test_background_deletion_takes_the_whole_tree(in_world):
    async def story(world):
        await tree(world)
        await world.api.delete(DEPLOYMENT, "web", "default", propagation="Background")
        assert world.get(DEPLOYMENT, "web") is None
        await world.until(lambda: not anything(world), within=30)

    in_world(story)


def test_foreground_deletion_lets_the_owner_go_last(in_world):
    async def story(world):
        await tree(world)

        def order():
            if world.pods():
                assert world.sets(), "a ReplicaSet went before its pods"
            if world.sets():
                assert world.all(DEPLOYMENT), "the Deployment went before its ReplicaSet"

        world.checks.append(order)
        await world.api.delete(DEPLOYMENT, "web", "default", propagation="Foreground")
        assert world.get(DEPLOYMENT, "web") is not None
        await world.until(lambda: not anything(world), within=30)

    in_world(story)


def test_orphans_stay_and_are_adopted_again(in_world):
    async def story(world):
        await tree(world)
        before = {pod["metadata"]["uid"] for pod in world.pods()}
        await world.api.delete(DEPLOYMENT, "web", "default", propagation="Orphan")
        await world.until(lambda: world.get(DEPLOYMENT, "web") is None)
        await world.pass_time(60)
        assert not world.sets()[0]["metadata"].get("ownerReferences")
        await world.deploy(replicas=3)
        await world.until(world.rolled_out)
        assert {pod["metadata"]["uid"] for pod in world.pods()} == before
        assert len(world.sets()) == 1

    in_world(story)


def body(kind, name, *owners, blocking=False, **metadata):
    references = [
        {"apiVersion": "v1", "kind": each["kind"], "name": each["metadata"]["name"], "uid": each["metadata"]["uid"]}
        | ({"blockOwnerDeletion": True} if blocking else {})
        for each in owners
    ]
    extra = {"ownerReferences": references} if references else {}
    return {"metadata": {"name": name, "namespace": "default", **extra, **metadata}}


def test_an_owner_that_was_made_anew_is_another_one(in_world):
    async def story(world):
        old = await world.api.create(CONFIG_MAP.into(dict), body(CONFIG_MAP, "owner"))
        await world.api.delete(CONFIG_MAP, "owner", "default")
        await world.api.create(CONFIG_MAP.into(dict), body(CONFIG_MAP, "owner"))
        await world.api.create(SECRET.into(dict), body(SECRET, "dependent", old))
        await world.until(lambda: world.get(SECRET, "dependent") is None, within=10)
        assert world.get(CONFIG_MAP, "owner") is not None

    in_world(story)


def test_a_second_owner_keeps_it_and_the_lost_one_is_forgotten(in_world):
    async def story(world):
        one = await world.api.create(CONFIG_MAP.into(dict), body(CONFIG_MAP, "one"))
        two = await world.api.create(CONFIG_MAP.into(dict), body(CONFIG_MAP, "two"))
        await world.api.create(SECRET.into(dict), body(SECRET, "dependent", one, two))
        await world.api.delete(CONFIG_MAP, "one", "default")

        def owners():
            return [each["name"] for each in world.get(SECRET, "dependent")["metadata"].get("ownerReferences", [])]

        await world.until(lambda: owners() == ["two"], within=10)
        await world.api.delete(CONFIG_MAP, "two", "default")
        await world.until(lambda: world.get(SECRET, "dependent") is None, within=10)

    in_world(story)


def test_an_owner_of_an_unknown_kind_is_never_taken_for_gone(in_world):
    async def story(world):
        reference = {"apiVersion": "example.com/v1", "kind": "Thing", "name": "x", "uid": "x"}
        extra = {"ownerReferences": [reference]}
        await world.api.create(SECRET.into(dict), {"metadata": {"name": "s", "namespace": "default", **extra}})
        await world.pass_time(600)
        assert world.get(SECRET, "s") is not None

    in_world(story)


def test_foreground_waits_for_a_blocking_dependent_that_will_not_go(in_world):
    async def story(world):
        owner = await world.api.create(CONFIG_MAP.into(dict), body(CONFIG_MAP, "owner"))
        held = body(SECRET, "held", owner, blocking=True, finalizers=["example.com/wait"])
        await world.api.create(SECRET.into(dict), held)
        await world.api.delete(CONFIG_MAP, "owner", "default", propagation="Foreground")
        await world.pass_time(120)
        assert world.get(CONFIG_MAP, "owner") is not None
        assert world.get(SECRET, "held")["metadata"]["deletionTimestamp"]
        await world.api.patch(SECRET, "held", {"metadata": {"finalizers": []}}, "default")
        await world.until(lambda: not world.get(CONFIG_MAP, "owner") and not world.get(SECRET, "held"), within=10)

    in_world(story)


def test_what_was_left_over_while_nobody_collected_goes_at_the_start(in_world):
    async def story(world):
        owner = await world.api.create(CONFIG_MAP.into(dict), body(CONFIG_MAP, "owner"))
        await world.api.create(SECRET.into(dict), body(SECRET, "dependent", owner))
        await world.api.delete(CONFIG_MAP, "owner", "default")
        await world.pass_time(5)
        assert world.get(SECRET, "dependent") is not None
        world.start_actors()
        await world.until(lambda: world.get(SECRET, "dependent") is None, within=10)

    in_world(story, actors=False)


def test_a_deleted_namespace_is_emptied_and_goes(in_world):
    async def story(world):
        await tree(world)
        await world.api.create(NAMESPACE.into(dict), {"metadata": {"name": "team"}})
        await world.api.create(CONFIG_MAP.into(dict), {"metadata": {"name": "c", "namespace": "team"}})
        held = {"metadata": {"name": "s", "namespace": "team", "finalizers": ["example.com/wait"]}}
        await world.api.create(SECRET.into(dict), held)
        await world.api.delete(NAMESPACE, "team")
        await world.until(lambda: world.get(CONFIG_MAP, "c", "team") is None)
        await world.pass_time(60)
        assert world.get(NAMESPACE, "team")["status"]["phase"] == "Terminating"
        await world.api.patch(SECRET, "s", {"metadata": {"finalizers": []}}, "team")
        await world.until(lambda: world.get(NAMESPACE, "team") is None)
        assert len(world.ready(app="web")) == 3

    in_world(story)


@pytest.mark.parametrize("seed", range(3))
def test_a_namespace_with_a_deployment_in_it(in_world, seed):
    async def story(world):
        await tree(world)
        await world.api.delete(NAMESPACE, "default")
        await world.until(lambda: world.get(NAMESPACE, "default") is None)
        assert not anything(world)

    in_world(story, seed=seed)
