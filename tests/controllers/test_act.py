"""Carrying out a plan: what comes first, what may be repeated, and what stops it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from operator_world import OperatorWorld
from plan_world import LLAMA
from virtual_kube import run_virtually

from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import Condition
from outrider.controllers.act import UnknownKind, execute
from outrider.kube.api import Conflict
from outrider.kube.objects import CONFIG_MAP, POD, POD_DISRUPTION_BUDGET, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.actions import Apply, Create, Delete, Emit, Evict, PatchStatus, Plan, SetPodCondition
from outrider.sim.world import NAMESPACE_NAME

SERVICE_BODY: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "llama", "namespace": NAMESPACE_NAME},
    "spec": {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 8080}]},
}
BUDGET = {"maxUnavailable": 0, "selector": {"matchLabels": {"a": "b"}}}
NOTE_BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": NAMESPACE_NAME}}


def in_a_world(story: Callable[[OperatorWorld, LLMDeployment], Awaitable[None]]) -> None:
    async def run() -> None:
        async with OperatorWorld() as world:
            await world.install(LLAMA)
            await story(world, world.deployment())

    run_virtually(run)


def test_the_status_is_written_before_everything_else() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        order: list[str] = []
        plan = Plan(status={"phase": "Progressing"}, actions=(Apply(SERVICE_BODY, "test"),))
        writes = await execute(
            world.api, plan, LLM_DEPLOYMENT, deployment.metadata, written=lambda kind, _: order.append(kind.kind)
        )
        assert (writes, order) == (2, ["LLMDeployment", "Service"])

    in_a_world(story)


def test_a_plan_made_from_an_old_view_writes_nothing_at_all() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        await world.version("v9.9.9")
        plan = Plan(status={"phase": "Ready"}, actions=(Apply(SERVICE_BODY, "test"),))
        with pytest.raises(Conflict):
            await execute(world.api, plan, LLM_DEPLOYMENT, deployment.metadata)
        assert world.all(SERVICE) == []

    in_a_world(story)


def test_every_action_may_be_repeated() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        once = (Apply(SERVICE_BODY, "test"), Create(NOTE_BODY, "test"))
        for _ in range(2):
            await execute(world.api, Plan(actions=once), LLM_DEPLOYMENT, deployment.metadata)
        assert len(world.all(CONFIG_MAP)) == 1
        gone = Delete("v1", "ConfigMap", NAMESPACE_NAME, "note", "", "test")
        absent = PatchStatus("v1", "Service", NAMESPACE_NAME, "absent", {}, "test")
        counts = [
            await execute(world.api, Plan(actions=(gone, absent)), LLM_DEPLOYMENT, deployment.metadata)
            for _ in range(2)
        ]
        assert counts == [1, 0]

    in_a_world(story)


def test_another_object_under_the_same_name_is_not_deleted() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        await world.api.create(CONFIG_MAP.into(dict), NOTE_BODY)
        plan = Plan(actions=(Delete("v1", "ConfigMap", NAMESPACE_NAME, "note", "another-uid", "test"),))
        with pytest.raises(Conflict):
            await execute(world.api, plan, LLM_DEPLOYMENT, deployment.metadata)
        assert len(world.all(CONFIG_MAP)) == 1

    in_a_world(story)


def test_events_are_told_and_are_no_writes() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        told: list[Emit] = []
        event = Emit("Normal", "Ready", "It serves.")
        assert (
            await execute(world.api, Plan(actions=(event,)), LLM_DEPLOYMENT, deployment.metadata, tell=told.append) == 0
        )
        assert told == [event]
        await asyncio.sleep(0)

    in_a_world(story)


def test_an_unknown_kind_is_a_defect_and_says_so() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        plan = Plan(actions=(Apply({"apiVersion": "x/v1", "kind": "Y", "metadata": {}}, "test"),))
        with pytest.raises(UnknownKind, match="no kind Y of x/v1"):
            await execute(world.api, plan, LLM_DEPLOYMENT, deployment.metadata)

    in_a_world(story)


def test_a_condition_of_a_pod_leaves_those_of_others_and_is_only_for_that_very_pod() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": NAMESPACE_NAME},
            "spec": {"containers": [{"name": "model-server", "image": "vllm/vllm-openai"}]},
        }
        created = await world.api.create(POD, body)
        ready = {"type": "ContainersReady", "status": "True"}
        await world.api.patch_status(POD, "p", {"conditions": [ready]}, NAMESPACE_NAME)
        condition = Condition("example.com/go", "True", "Answered", "It answered.")
        counts = []
        for name, uid in (("p", created.metadata.uid), ("p", "another-uid"), ("absent", "x")):
            plan = Plan(actions=(SetPodCondition(NAMESPACE_NAME, name, uid, condition, "test"),))
            counts.append(await execute(world.api, plan, LLM_DEPLOYMENT, deployment.metadata))
        assert counts == [1, 0, 0]
        pod = await world.api.get(POD, "p", NAMESPACE_NAME)
        assert {one.type: one.status for one in pod.status.conditions} == {
            "ContainersReady": "True",
            "example.com/go": "True",
        }

    in_a_world(story)


def test_an_eviction_is_of_one_very_pod_asks_the_budget_and_is_told() -> None:
    async def story(world: OperatorWorld, deployment: LLMDeployment) -> None:
        told: list[Emit] = []

        async def evicts(uid: str) -> int:
            asked = Evict(NAMESPACE_NAME, "replica", uid, "EvictedForGPUFault", "its GPU is faulty")
            return await execute(
                world.api, Plan(actions=(asked,)), LLM_DEPLOYMENT, deployment.metadata, tell=told.append
            )

        pod = {"metadata": {"name": "replica", "namespace": NAMESPACE_NAME, "labels": {"a": "b"}}}
        created = await world.api.create(POD.into(dict), pod | {"spec": {"containers": [{"name": "c", "image": "i"}]}})
        uid = created["metadata"]["uid"]
        await world.api.patch_status(POD, "replica", {"phase": "Running"}, NAMESPACE_NAME)
        budget = {"metadata": {"name": "all", "namespace": NAMESPACE_NAME}, "spec": BUDGET}
        await world.api.create(POD_DISRUPTION_BUDGET.into(dict), budget)
        assert await evicts("another-uid") == 0
        assert await evicts(uid) == 0, "its budget allows none"
        assert told == []
        await world.api.delete(POD_DISRUPTION_BUDGET, "all", NAMESPACE_NAME)
        assert await evicts(uid) == 1
        assert told == [Emit("Warning", "EvictedForGPUFault", "its GPU is faulty")]
        assert await evicts(uid) == 0, "it is gone, or going: nothing more to do"

    in_a_world(story)
