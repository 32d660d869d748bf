"""The scheduler on the whole machinery: no GPU is ever given twice, and room is used as soon as there is some."""

import asyncio

import pytest

from outrider.kube.api import Conflict, Unavailable
from outrider.kube.objects import EVENT, NODE, POD

GPU = "nvidia.com/gpu"


def pod_body(name, *, gpus=1, **spec):
    container = {"name": "c", "image": "i", "resources": {"limits": {GPU: str(gpus)}}}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def gpus_of(pod):
    return int(pod["spec"]["containers"][0]["resources"]["limits"][GPU])


def never_overcommit(world):
    def check():
        for node in world.all(NODE):
            name = node["metadata"]["name"]
            held = sum(gpus_of(pod) for pod in world.pods() if pod["spec"].get("nodeName") == name)
            assert held <= int(node["status"]["allocatable"][GPU]), f"{held} GPUs taken of {name}"

    world.checks.append(check)


def bound(world):
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in world.pods() if pod["spec"].get("nodeName")}


def settled(world):
    """Nobody is leaving, and no pod that waits would fit anywhere."""
    if any(pod["metadata"].get("deletionTimestamp") for pod in world.pods()):
        return False
    free = {node["metadata"]["name"]: int(node["status"]["allocatable"][GPU]) for node in world.all(NODE)}
    for pod in world.pods():
        if pod["spec"].get("nodeName"):
            free[pod["spec"]["nodeName"]] -= gpus_of(pod)
    return all(pod["spec"].get("nodeName") or gpus_of(pod) > max(free.values()) for pod in world.pods())


def scheduled_condition(world, name):
    conditions = (world.get(POD, name).get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == "PodScheduled"), {})


def test_says_what_is_missing_and_starts_when_room_appears(in_world):
    async def story(world):
        never_overcommit(world)
        await world.add_node("node-1", gpus=2)
        await world.api.create(POD.into(dict), pod_body("first", gpus=2))
        await world.until(lambda: "first" in bound(world))
        await world.api.create(POD.into(dict), pod_body("second", gpus=1))
        await world.until(lambda: scheduled_condition(world, "second"))
        condition = scheduled_condition(world, "second")
        message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", message)

        def told():
            return [
                each for each in world.all(EVENT) if (each["reason"], each["note"]) == ("FailedScheduling", message)
            ]

        await world.until(told)
        assert told()[0]["regarding"]["name"] == "second"
        await world.api.delete(POD, "first", "default")
        await world.until(lambda: "second" in bound(world))
        await world.until(lambda: scheduled_condition(world, "second")["status"] == "True")

    in_world(story)


ROOM = {
    "a node is added": lambda world: world.add_node("node-2", gpus=1),
    "a node grows": lambda world: world.api.patch_status(
        NODE.into(dict), "node-1", {"allocatable": {GPU: "1", "cpu": "64", "memory": "1Gi", "pods": "9"}}
    ),
}


@pytest.mark.parametrize("make_room", ROOM.values(), ids=ROOM.keys())
def test_looks_again_when(in_world, make_room):
    async def story(world):
        await world.add_node("node-1", gpus=0)
        await world.api.create(POD.into(dict), pod_body("pod"))
        await world.until(lambda: scheduled_condition(world, "pod"))
        await make_room(world)
        await world.until(lambda: bound(world), within=2)

    in_world(story)


def test_looks_again_when_a_node_is_uncordoned_or_its_taint_goes(in_world):
    async def story(world):
        taint = {"key": "gpu", "value": "sick", "effect": "NoSchedule"}
        await world.add_node("node-1", unschedulable=True, taints=[taint])
        await world.api.create(POD.into(dict), pod_body("pod"))
        await world.until(lambda: scheduled_condition(world, "pod"))
        await world.api.patch(NODE, "node-1", {"spec": {"unschedulable": False}})
        text = "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: sick}."
        await world.until(lambda: scheduled_condition(world, "pod")["message"] == text)
        await world.api.patch(NODE, "node-1", {"spec": {"taints": []}})
        await world.until(lambda: bound(world))

    in_world(story)


def test_priority_first_then_first_come_first_served(in_world):
    async def story(world):
        await world.add_node("node-1", gpus=0)
        for name, priority in (("early", 0), ("late", 0), ("urgent", 100)):
            await world.api.create(POD.into(dict), pod_body(name, priority=priority))
            await world.pass_time(2)
        for expected in (["urgent"], ["early", "urgent"], ["early", "late", "urgent"]):
            allocatable = {GPU: str(len(expected)), "cpu": "64", "memory": "1Gi", "pods": "9"}
            await world.api.patch_status(NODE.into(dict), "node-1", {"allocatable": allocatable})
            await world.pass_time(5)
            assert sorted(bound(world)) == expected

    in_world(story)


@pytest.mark.parametrize("seed", range(4))
def test_gpus_are_never_overcommitted(in_world, seed):
    async def story(world):
        never_overcommit(world)
        for number in range(3):
            await world.add_node(f"node-{number}", gpus=4)
        for number in range(60):
            await world.api.create(POD.into(dict), pod_body(f"pod-{number}", gpus=world.random.choice([1, 1, 2, 4])))
            if number % 3 == 0:
                await world.pass_time(world.random.uniform(0.0, 1.0))
            living = [pod for pod in world.pods() if not pod["metadata"].get("deletionTimestamp")]
            if world.random.random() < 0.6:
                await world.api.delete(POD, world.random.choice(living)["metadata"]["name"], "default")
        await world.until(lambda: settled(world))

    in_world(story, seed=seed)


class Trouble:
    """The store's API, whose watch of pods lags, and whose bindings may end in a way that nobody is told."""

    def __init__(self, world, *, lag=0.0, unknown=0.0, conflict=0.0):
        self._world, self._lag, self._unknown, self._conflict = world, lag, unknown, conflict

    def __getattr__(self, name):
        return getattr(self._world.api, name)

    async def watch(self, kind, *arguments, **options):
        async for event in self._world.api.watch(kind, *arguments, **options):
            if kind == POD and self._lag:
                await asyncio.sleep(self._lag)
            yield event

    async def patch(self, kind, name, patch, namespace="", **options):
        binding = kind == POD and "nodeName" in patch.get("spec", {})
        if binding and self._world.random.random() < self._conflict:
            raise Conflict("somebody was faster")
        happens = not binding or self._world.random.random() > self._unknown / 2
        if happens:
            written = await self._world.api.patch(kind, name, patch, namespace, **options)
        if binding and (not happens or self._world.random.random() < self._unknown):
            raise Unavailable("the connection broke")
        return written


TROUBLES = {
    "a cache that lags": {"lag": 1.5},
    "bindings of unknown outcome": {"unknown": 0.6},
    "conflicts": {"conflict": 0.5},
    "all of it": {"lag": 0.7, "unknown": 0.4, "conflict": 0.3},
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_gpus_are_never_given_twice_with(in_world, trouble):
    async def story(world):
        never_overcommit(world)
        world.start_actors(Trouble(world, **trouble))
        await world.add_node("node-1", gpus=4)
        await world.add_node("node-2", gpus=4)
        for number in range(12):
            await world.api.create(POD.into(dict), pod_body(f"pod-{number}", gpus=1 + number % 2))
        await world.until(lambda: settled(world))
        for _ in range(8):
            staying = [name for name in bound(world) if not world.get(POD, name)["metadata"].get("deletionTimestamp")]
            await world.api.delete(POD, world.random.choice(staying), "default")
            await world.pass_time(world.random.uniform(0.0, 4.0))
            await world.until(lambda: settled(world))
        assert len(world.pods()) == 4

    in_world(story, actors=False)


def test_a_restarted_scheduler_counts_what_was_bound_before(in_world):
    async def story(world):
        never_overcommit(world)
        await world.add_node("node-1", gpus=4)
        for number in range(6):
            await world.api.create(POD.into(dict), pod_body(f"pod-{number}"))
            await world.stop_actors()
            world.start_actors()
            await world.pass_time(0.5)
        assert len(bound(world)) == 4

    in_world(story)


class Deaf(Trouble):
    """The binding of pod `late` happens, but nobody hears of it until `hears` is set."""

    def __init__(self, world):
        super().__init__(world)
        self.hears = asyncio.Event()
        self.bound = asyncio.Event()

    async def watch(self, kind, *arguments, **options):
        async for event in self._world.api.watch(kind, *arguments, **options):
            if kind == POD and self.bound.is_set():
                await self.hears.wait()
            yield event

    async def get(self, kind, name, namespace=""):
        if kind == POD and self.bound.is_set() and not self.hears.is_set():
            raise Unavailable("the connection broke")
        return await self._world.api.get(kind, name, namespace)

    async def patch(self, kind, name, patch, namespace="", **options):
        if kind == POD and name == "late":
            self.bound.set()
        written = await self._world.api.patch(kind, name, patch, namespace, **options)
        if kind == POD and name == "late" and not self.hears.is_set():
            raise Unavailable("the connection broke")
        return written


def test_a_binding_that_nobody_heard_of_holds_its_gpu(in_world):
    async def story(world):
        never_overcommit(world)
        api = Deaf(world)
        world.start_actors(api)
        await world.add_node("node-1", gpus=1, taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
        await world.api.create(POD.into(dict), pod_body("early"))
        await world.until(lambda: scheduled_condition(world, "early"))
        await world.api.create(POD.into(dict), pod_body("late", tolerations=[{"operator": "Exists"}]))
        await world.until(api.bound.is_set)
        # Now `early`, which is first in the queue, fits as well, if the scheduler forgets what it did.
        await world.api.patch(NODE, "node-1", {"spec": {"taints": []}})
        await world.pass_time(30)
        assert sorted(bound(world)) == ["late"]
        api.hears.set()
        await world.pass_time(30)
        await world.api.delete(POD, "late", "default")
        await world.until(lambda: sorted(bound(world)) == ["early"])

    in_world(story, actors=False)
