"""Deleting: finalizers, grace periods, propagation, preconditions; and eviction under disruption budgets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from outrider.kube.api import ApiError, Conflict, Invalid, NotFound, Object, TooManyRequests
from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, POD, POD_DISRUPTION_BUDGET
from outrider.local.store import Store, StoreApi

Make = Callable[..., Object]
PODS = POD.into(dict)


async def is_gone(api: StoreApi, kind: Any, name: str) -> bool:
    try:
        await api.get(kind, name, "default")
    except NotFound:
        return True
    return False


def test_an_object_that_nothing_holds_goes_at_once(api: StoreApi, config_map: Make) -> None:
    async def story() -> None:
        await api.create(CONFIG_MAP, config_map())
        await api.delete(CONFIG_MAP, "c", "default")
        assert await is_gone(api, CONFIG_MAP, "c")
        with pytest.raises(NotFound):
            await api.delete(CONFIG_MAP, "c", "default")

    asyncio.run(story())


def test_a_finalizer_holds_an_object_until_it_is_removed(api: StoreApi, deployment: Make) -> None:
    async def story() -> None:
        body = deployment()
        body["metadata"]["finalizers"] = ["x/one", "x/two"]
        await api.create(DEPLOYMENT, body)
        await api.delete(DEPLOYMENT, "web", "default")
        marked = await api.get(DEPLOYMENT, "web", "default")
        assert marked.metadata.deletion_timestamp == "2026-11-23T12:00:00Z"
        assert marked.metadata.generation == 2, "a deletion is a change of what is wanted"
        await api.delete(DEPLOYMENT, "web", "default")
        again = await api.get(DEPLOYMENT, "web", "default")
        assert again.metadata == marked.metadata, "deleting it once more changes nothing"
        await api.patch(DEPLOYMENT, "web", {"metadata": {"finalizers": ["x/two"]}}, "default")
        with pytest.raises(Invalid, match="no finalizer can be added: x/new"):
            await api.patch(DEPLOYMENT, "web", {"metadata": {"finalizers": ["x/two", "x/new"]}}, "default")
        await api.patch(DEPLOYMENT, "web", {"metadata": {"finalizers": None}}, "default")
        assert await is_gone(api, DEPLOYMENT, "web")

    asyncio.run(story())


POD_DELETIONS: dict[str, tuple[Object, str, int | None, int | None]] = {
    "a pod without a node goes at once": ({}, "Pending", None, None),
    "a pod on a node gets its own grace period": (
        {"nodeName": "n", "terminationGracePeriodSeconds": 75},
        "Running",
        None,
        75,
    ),
    "a pod on a node gets 30 s if it says nothing": ({"nodeName": "n"}, "Running", None, 30),
    "a request may ask for another grace period": ({"nodeName": "n"}, "Running", 5, 5),
    "with no grace a pod goes at once": ({"nodeName": "n"}, "Running", 0, None),
    "a pod that has ended goes at once": ({"nodeName": "n"}, "Failed", None, None),
}


@pytest.mark.parametrize("sentence", POD_DELETIONS)
def test_pods(api: StoreApi, pod: Make, sentence: str) -> None:
    spec, phase, asked, grace = POD_DELETIONS[sentence]

    async def story() -> None:
        await api.create(POD, pod(**spec))
        await api.patch_status(POD, "p", {"phase": phase}, "default")
        await api.delete(POD, "p", "default", grace_seconds=asked)
        if grace is None:
            assert await is_gone(api, POD, "p")
            return
        left = await api.get(POD, "p", "default")
        assert left.metadata.deletion_grace_period_seconds == grace
        assert left.metadata.deletion_timestamp == f"2026-11-23T12:{grace // 60:02}:{grace % 60:02}Z", "when it ends"
        await api.delete(POD, "p", "default", grace_seconds=0)
        assert await is_gone(api, POD, "p")

    asyncio.run(story())


def test_a_grace_period_can_be_shortened_and_not_prolonged(api: StoreApi, clock: Any, pod: Make) -> None:
    async def story() -> None:
        await api.create(POD, pod(nodeName="n"))
        await api.delete(POD, "p", "default", grace_seconds=40)
        clock.advance(10)
        await api.delete(POD, "p", "default", grace_seconds=60)
        assert (await api.get(POD, "p", "default")).metadata.deletion_grace_period_seconds == 40
        await api.delete(POD, "p", "default", grace_seconds=20)
        left = (await api.get(POD, "p", "default")).metadata
        assert (left.deletion_timestamp, left.deletion_grace_period_seconds) == ("2026-11-23T12:00:20Z", 20)

    asyncio.run(story())


def test_a_pod_with_a_finalizer_outlives_its_node_s_leave(api: StoreApi, pod: Make) -> None:
    async def story() -> None:
        body = pod(nodeName="n")
        body["metadata"]["finalizers"] = ["x/y"]
        await api.create(POD, body)
        await api.delete(POD, "p", "default", grace_seconds=0)
        assert not await is_gone(api, POD, "p")
        await api.patch(POD, "p", {"metadata": {"finalizers": []}}, "default")
        assert await is_gone(api, POD, "p")

    asyncio.run(story())


def test_only_the_very_object_is_deleted(api: StoreApi, config_map: Make) -> None:
    async def story() -> None:
        made = await api.create(CONFIG_MAP, config_map())
        with pytest.raises(Conflict, match="UID in precondition: other"):
            await api.delete(CONFIG_MAP, "c", "default", uid="other")
        await api.delete(CONFIG_MAP, "c", "default", uid=made.metadata.uid)
        assert await is_gone(api, CONFIG_MAP, "c")

    asyncio.run(story())


PROPAGATION: dict[str, tuple[Any, list[str], list[str] | None]] = {
    "in the background the object goes first": ("Background", [], None),
    "in the foreground it waits for its dependents": ("Foreground", [], ["foregroundDeletion"]),
    "orphaning waits until its dependents are let go": ("Orphan", [], ["orphan"]),
    "one way replaces another": ("Orphan", ["foregroundDeletion"], ["orphan"]),
    "other finalizers stay": ("Foreground", ["x/y"], ["x/y", "foregroundDeletion"]),
    "in the background no wait for dependents remains": ("Background", ["foregroundDeletion"], None),
}


@pytest.mark.parametrize("sentence", PROPAGATION)
def test_propagation(api: StoreApi, config_map: Make, sentence: str) -> None:
    propagation, before, after = PROPAGATION[sentence]

    async def story() -> None:
        body = config_map()
        body["metadata"]["finalizers"] = before
        await api.create(CONFIG_MAP, body)
        await api.delete(CONFIG_MAP, "c", "default", propagation=propagation)
        if after is None:
            assert await is_gone(api, CONFIG_MAP, "c")
        else:
            assert list((await api.get(CONFIG_MAP, "c", "default")).metadata.finalizers) == after

    asyncio.run(story())


def test_a_dry_run_deletes_nothing(api: StoreApi, store: Store, config_map: Make) -> None:
    asyncio.run(api.create(CONFIG_MAP, config_map()))
    version = store.version
    asyncio.run(api.delete(CONFIG_MAP, "c", "default", dry_run=True))
    assert store.version == version


def test_a_negative_grace_period_is_refused(api: StoreApi, pod: Make) -> None:
    asyncio.run(api.create(POD, pod(nodeName="n")))
    with pytest.raises(Invalid, match="gracePeriodSeconds"):
        asyncio.run(api.delete(POD, "p", "default", grace_seconds=-1))


# Eviction

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
UNREADY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}


def allowed(count: int, **more: Any) -> Object:
    return {
        "observedGeneration": 1,
        "disruptionsAllowed": count,
        "currentHealthy": 2,
        "desiredHealthy": 2 - count,
    } | more


EVICTIONS: dict[str, tuple[Object, Object, Object, bool]] = {
    "a budget with room lets a pod go": ({}, allowed(1), READY, True),
    "a budget without room does not": ({}, allowed(0), READY, False),
    "a budget that nobody has looked at yet does not": ({}, {}, READY, False),
    "a budget whose status is of an older spec does not": ({}, allowed(1, observedGeneration=0), READY, False),
    "a pod that has not started may always go": ({}, allowed(0), {"phase": "Pending"}, True),
    "a pod that has ended may always go": ({}, allowed(0), {"phase": "Succeeded"}, True),
    "an unready pod may go while enough are healthy without it": ({}, allowed(0), UNREADY, True),
    "an unready pod stays while too few are healthy": ({}, allowed(0, currentHealthy=1), UNREADY, False),
    "an unready pod may go if the budget always allows that": (
        {"unhealthyPodEvictionPolicy": "AlwaysAllow"},
        allowed(0, currentHealthy=0),
        UNREADY,
        True,
    ),
    "a budget of other pods has no say": ({"selector": {"matchLabels": {"app": "other"}}}, allowed(0), READY, True),
}


async def budgeted(api: StoreApi, pod: Make, spec: Object, budget_status: Object, pod_status: Object) -> None:
    await api.create(POD, pod(nodeName="n"))
    await api.patch_status(POD, "p", pod_status, "default")
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}, **spec}
    await api.create(POD_DISRUPTION_BUDGET, {"metadata": {"name": "b", "namespace": "default"}, "spec": spec})
    await api.patch_status(POD_DISRUPTION_BUDGET, "b", budget_status, "default")


@pytest.mark.parametrize("sentence", EVICTIONS)
def test_eviction(api: StoreApi, pod: Make, sentence: str) -> None:
    spec, budget_status, pod_status, goes = EVICTIONS[sentence]

    async def story() -> None:
        await budgeted(api, pod, spec, budget_status, pod_status)
        if goes:
            await api.evict("p", "default")
            left = [item.metadata.deletion_timestamp for item in (await api.list(POD)).items]
            assert left in ([], ["2026-11-23T12:00:30Z"])
            return
        with pytest.raises(TooManyRequests, match="violate the pod's disruption budget") as caught:
            await api.evict("p", "default")
        assert caught.value.details["causes"][0]["reason"] == "DisruptionBudget"
        assert (await api.get(POD, "p", "default")).metadata.deletion_timestamp is None

    asyncio.run(story())


def test_a_granted_eviction_is_counted_before_the_pod_is_gone(api: StoreApi, pod: Make) -> None:
    async def story() -> None:
        await budgeted(api, pod, {}, allowed(1), READY)
        await api.create(POD, pod("q", nodeName="n"))
        await api.patch_status(POD, "q", READY, "default")
        await api.evict("p", "default")
        budget = (await api.get(POD_DISRUPTION_BUDGET, "b", "default")).status
        assert (budget.disruptions_allowed, budget.disrupted_pods) == (0, {"p": "2026-11-23T12:00:00Z"})
        with pytest.raises(TooManyRequests):
            await api.evict("q", "default")
        await api.evict("p", "default")  # it is on its way out already
        assert (await api.get(POD_DISRUPTION_BUDGET, "b", "default")).status == budget

    asyncio.run(story())


def test_a_dry_run_of_an_eviction_asks_and_takes_nothing(api: StoreApi, store: Store, pod: Make) -> None:
    asyncio.run(budgeted(api, pod, {}, allowed(1), READY))
    version = store.version
    asyncio.run(api.evict("p", "default", dry_run=True))
    assert store.version == version


def test_two_budgets_over_one_pod_are_an_error(api: StoreApi, pod: Make) -> None:
    async def story() -> None:
        await budgeted(api, pod, {}, allowed(1), READY)
        spec = {"minAvailable": 1, "selector": {}}
        await api.create(POD_DISRUPTION_BUDGET, {"metadata": {"name": "b2", "namespace": "default"}, "spec": spec})
        with pytest.raises(ApiError, match="more than one PodDisruptionBudget"):
            await api.evict("p", "default")

    asyncio.run(story())


def test_who_is_not_there_is_not_evicted(api: StoreApi) -> None:
    with pytest.raises(NotFound, match='pods "p" not found'):
        asyncio.run(api.evict("p", "default"))
