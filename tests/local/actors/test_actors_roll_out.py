"""Deployments on store, informers, actors and pretended kubelets, bounds checked at every event."""

import asyncio

import pytest

from outrider.kube.objects import DEPLOYMENT, POD
from outrider.local.actors.rollout_math import REVISION


def keep_bounds(world, *, least, most):
    """At every event: never fewer than `least` pods available, never more than `most` asked for."""

    def check():
        ready, asked = len(world.ready(app="web")), sum(each["spec"]["replicas"] for each in world.sets())
        assert ready >= least, f"{ready} ready pods, fewer than {least}"
        assert asked <= most, f"{asked} pods asked for, more than {most}"

    world.checks.append(check)


async def up(world, **spec):
    await world.add_node("node-1")
    await world.add_node("node-2")
    await world.deploy(**spec)
    await world.until(world.rolled_out)


def versions(world):
    return sorted({pod["metadata"]["labels"]["version"] for pod in world.pods(app="web")})


def test_a_deployment_comes_up(in_world):
    async def story(world):
        await up(world, replicas=3)
        assert len(world.ready(app="web")) == 3
        deployment = world.get(DEPLOYMENT, "web")
        assert deployment["metadata"]["annotations"][REVISION] == "1"
        conditions = {each["type"]: (each["status"], each["reason"]) for each in deployment["status"]["conditions"]}
        assert conditions == {
            "Available": ("True", "MinimumReplicasAvailable"),
            "Progressing": ("True", "NewReplicaSetAvailable"),
        }

    in_world(story)


BOUNDS = {
    "one more, none fewer": (4, {"maxSurge": 1, "maxUnavailable": 0}, 4, 5),
    "none more, one fewer": (4, {"maxSurge": 0, "maxUnavailable": 1}, 3, 4),
    "a quarter each": (8, {"maxSurge": "25%", "maxUnavailable": "25%"}, 6, 10),
    "all at once": (4, {"maxSurge": "100%", "maxUnavailable": 0}, 4, 8),
    "shares that come to 0 mean that one may be missing": (3, {"maxSurge": 0, "maxUnavailable": "10%"}, 2, 3),
}


@pytest.mark.parametrize(("replicas", "rolling", "least", "most"), BOUNDS.values(), ids=BOUNDS.keys())
def test_a_rolling_update_stays_within_its_bounds(in_world, replicas, rolling, least, most):
    async def story(world):
        strategy = {"rollingUpdate": rolling}
        await up(world, replicas=replicas, strategy=strategy)
        keep_bounds(world, least=least, most=most)
        await world.deploy(replicas=replicas, version="v2", strategy=strategy)
        await world.until(world.rolled_out)
        await world.until(lambda: versions(world) == ["v2"])

    in_world(story)


@pytest.mark.parametrize("seed", range(4))
def test_there_and_back_again_in_the_middle_of_it_all(in_world, seed):
    async def story(world):
        strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        await up(world, replicas=5, strategy=strategy)
        keep_bounds(world, least=4, most=6)
        for version in ("v2", "v1", "v3", "v2", "v1"):
            await world.deploy(replicas=5, version=version, strategy=strategy)
            await world.pass_time(world.random.uniform(0.0, 12.0))
        await world.until(world.rolled_out)
        await world.until(lambda: versions(world) == ["v1"])
        assert len(world.sets()) == 3

    in_world(story, seed=seed)


def test_scaling_during_a_rollout(in_world):
    async def story(world):
        strategy = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
        await up(world, replicas=4, strategy=strategy)
        keep_bounds(world, least=4, most=10)
        await world.deploy(replicas=4, version="v2", strategy=strategy)
        await world.pass_time(3)
        await world.scale(8)
        await world.until(world.rolled_out)
        await world.until(lambda: versions(world) == ["v2"] and len(world.ready(app="web")) == 8)

    in_world(story)


def test_a_bad_version_stops_where_it_is_and_can_be_taken_back(in_world):
    async def story(world):
        strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        start = world.start_seconds
        world.start_seconds = lambda pod: None if pod["metadata"]["labels"]["version"] == "bad" else start(pod)
        await up(world, replicas=3, strategy=strategy, progressDeadlineSeconds=60)
        keep_bounds(world, least=3, most=4)
        await world.deploy(replicas=3, version="bad", strategy=strategy, progressDeadlineSeconds=60)

        def timed_out():
            conditions = world.get(DEPLOYMENT, "web")["status"]["conditions"]
            return any(each["reason"] == "ProgressDeadlineExceeded" for each in conditions)

        await world.until(timed_out)
        assert world.clock.monotonic() < 90
        await world.deploy(replicas=3, strategy=strategy, progressDeadlineSeconds=60)
        await world.until(world.rolled_out)
        await world.until(lambda: versions(world) == ["v1"])

    in_world(story)


def test_recreate_never_runs_two_versions(in_world):
    async def story(world):
        await up(world, replicas=3, strategy={"type": "Recreate"})

        def one_version_only():
            assert len(versions(world)) <= 1, f"{versions(world)} at the same time"

        world.checks.append(one_version_only)
        await world.deploy(replicas=3, version="v2", strategy={"type": "Recreate"})
        await world.until(world.rolled_out)
        assert versions(world) == ["v2"]

    in_world(story)


def test_min_ready_seconds_delay_availability(in_world):
    async def story(world):
        strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await up(world, replicas=2, minReadySeconds=30, strategy=strategy)
        assert world.clock.monotonic() > 30
        began = world.clock.monotonic()
        await world.deploy(replicas=2, version="v2", minReadySeconds=30, strategy=strategy)
        await world.until(world.rolled_out)
        assert world.clock.monotonic() - began > 60

    in_world(story)


def test_failed_and_deleted_pods_are_replaced(in_world):
    async def story(world):
        await up(world, replicas=3)
        first, second = world.pods(app="web")[:2]
        await world.api.patch_status(POD, first["metadata"]["name"], {"phase": "Failed"}, "default")
        await world.api.delete(POD, second["metadata"]["name"], "default")
        names = {first["metadata"]["name"], second["metadata"]["name"]}
        await world.until(lambda: len({p["metadata"]["name"] for p in world.ready(app="web")} - names) == 3)

    in_world(story)


def test_a_relabelled_pod_is_let_go_and_replaced(in_world):
    async def story(world):
        await up(world, replicas=2)
        name = world.pods(app="web")[0]["metadata"]["name"]
        await world.api.patch(POD, name, {"metadata": {"labels": {"app": "under-investigation"}}}, "default")
        await world.until(lambda: len(world.ready(app="web")) == 2)
        released = world.get(POD, name)
        assert not released["metadata"].get("ownerReferences")
        await world.api.patch(POD, name, {"metadata": {"labels": {"app": "web"}}}, "default")
        await world.until(lambda: len(world.pods(app="web")) == 2)

    in_world(story)


@pytest.mark.parametrize("seed", range(3))
def test_killing_the_actors_at_any_time_loses_and_doubles_nothing(in_world, seed):
    async def story(world):
        strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        await up(world, replicas=6, strategy=strategy)
        keep_bounds(world, least=5, most=7)

        def no_surplus():
            living = [pod for pod in world.pods(app="web") if not pod["metadata"].get("deletionTimestamp")]
            assert len(living) <= 8, f"{len(living)} living pods"

        world.checks.append(no_surplus)
        await world.deploy(replicas=6, version="v2", strategy=strategy)
        for _ in range(12):
            await world.pass_time(world.random.uniform(0.0, 2.0))
            await world.stop_actors()
            await world.pass_time(world.random.uniform(0.0, 2.0))
            world.start_actors()
        await world.until(world.rolled_out)
        await world.until(lambda: versions(world) == ["v2"])

    in_world(story, seed=seed)


def test_run_actors_ends_cleanly_when_cancelled(in_world):
    async def story(world):
        await up(world, replicas=1)
        before = asyncio.all_tasks()
        await world.stop_actors()
        left = {task for task in asyncio.all_tasks() if not task.done()}
        names = {task.get_name() for task in left & before}
        assert not any(name.startswith(("informer-", "scheduler", "deployments")) for name in names)

    in_world(story)
