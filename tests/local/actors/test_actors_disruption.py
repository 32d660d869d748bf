"""Disruption budgets: what they allow, and that random evictions never go beyond it."""

import contextlib

import pytest

from outrider.api.meta import Condition, ObjectMeta, format_time
from outrider.kube.api import NotFound, TooManyRequests
from outrider.kube.objects import POD, POD_DISRUPTION_BUDGET, LabelSelector, PodStatus
from outrider.local.actors.budgets import DELETION_TIMEOUT, judge_budget
from outrider.local.actors.objects import DisruptionBudget, DisruptionBudgetSpec, DisruptionBudgetStatus, Pod

NOW = 1_800_000_000.0


def pods(ready, unready=0):
    return [
        Pod(
            ObjectMeta(name=f"p{number}"),
            status=PodStatus("Running", conditions=(Condition("Ready", "True" if number < ready else "False"),)),
        )
        for number in range(ready + unready)
    ]


def budget(minimum=None, maximum=None, disrupted=None):
    return DisruptionBudget(
        ObjectMeta(name="b", generation=3),
        DisruptionBudgetSpec(minimum, maximum, LabelSelector()),
        DisruptionBudgetStatus(disrupted_pods=disrupted or {}),
    )


# (minAvailable, maxUnavailable), ready, unready, scale -> (expected, desired, healthy, allowed)
VERDICTS = {
    "a number that must stay": ((2, None), 3, 0, 3, (3, 2, 3, 1)),
    "a number that must stay counts the pods there are": ((2, None), 3, 0, 5, (3, 2, 3, 1)),
    "a share that must stay rounds up": (("50%", None), 5, 0, 5, (5, 3, 5, 2)),
    "a share is one of what should be there": (("50%", None), 5, 0, 10, (10, 5, 5, 0)),
    "a number that may be missing": ((None, 1), 3, 0, 3, (3, 2, 3, 1)),
    "a number that may be missing, of what should be there": ((None, 1), 2, 0, 3, (3, 2, 2, 0)),
    "a share that may be missing rounds up": ((None, "30%"), 4, 0, 4, (4, 2, 4, 2)),
    "more may be missing than there are": ((None, 9), 3, 0, 3, (3, 0, 3, 3)),
    "pods that are not ready do not count": ((2, None), 2, 1, 3, (3, 2, 2, 0)),
    "fewer than must stay": ((4, None), 3, 0, 3, (3, 4, 3, 0)),
    "no pods at all": ((0, None), 0, 0, 0, (0, 0, 0, 0)),
}


@pytest.mark.parametrize(("bounds", "ready", "unready", "scale", "expected"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdicts(bounds, ready, unready, scale, expected):
    status = judge_budget(budget(*bounds), pods(ready, unready), scale, NOW).status
    found = (status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed)
    assert found == expected
    assert status.observed_generation == 3
    condition = status.conditions[0]
    wanted = ("True", "SufficientPods") if expected[3] else ("False", "InsufficientPods")
    assert (condition["status"], condition["reason"]) == wanted


def test_a_granted_eviction_counts_until_the_pod_goes_or_two_minutes_are_over():
    granted = {"p0": format_time(NOW - 30), "gone": format_time(NOW - 5)}
    verdict = judge_budget(budget(2, None, granted), pods(3), 3, NOW)
    assert verdict.status.disrupted_pods == {"p0": granted["p0"]}
    assert verdict.status.disruptions_allowed == 0
    assert verdict.look_again_at == NOW - 30 + DELETION_TIMEOUT
    late = judge_budget(budget(2, None, granted), pods(3), 3, NOW + 120)
    assert late.status.disrupted_pods == {}
    assert late.not_deleted == ("p0",)
    assert late.status.disruptions_allowed == 1


def test_an_amount_that_cannot_be_read():
    with pytest.raises(ValueError, match="neither a whole number nor a percentage"):
        judge_budget(budget("half"), pods(3), 3, NOW)


async def protect(world, **spec):
    metadata = {"name": "web", "namespace": "default"}
    body = {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}
    await world.api.create(POD_DISRUPTION_BUDGET.into(dict), body)


def budget_status(world):
    return world.get(POD_DISRUPTION_BUDGET, "web").get("status") or {}


BUDGETS = {
    "minAvailable 4": ({"minAvailable": 4}, 4),
    "maxUnavailable 1": ({"maxUnavailable": 1}, 5),
    "maxUnavailable 30%": ({"maxUnavailable": "30%"}, 4),
    "minAvailable 100%": ({"minAvailable": "100%"}, 6),
}


@pytest.mark.parametrize(("spec", "least"), BUDGETS.values(), ids=BUDGETS.keys())
@pytest.mark.parametrize("seed", range(2))
def test_random_evictions_respect(in_world, spec, least, seed):
    async def story(world):
        await world.add_node("node-1")
        await protect(world, **spec)
        await world.deploy(replicas=6)
        await world.until(world.rolled_out)
        await world.until(lambda: budget_status(world).get("currentHealthy") == 6)

        def enough():
            assert len(world.ready(app="web")) >= least, "evicted below the budget"

        world.checks.append(enough)
        granted = 0
        for _ in range(40):
            pod = world.random.choice(world.pods(app="web"))
            with contextlib.suppress(TooManyRequests, NotFound):
                await world.api.evict(pod["metadata"]["name"], "default")
                granted += 1
            await world.pass_time(world.random.choice([0.0, 0.0, 0.3, 2.0]))
        assert granted > 3 if least < 6 else all("deletionTimestamp" not in each["metadata"] for each in world.pods())
        await world.until(lambda: len(world.ready(app="web")) == 6)
        await world.until(lambda: not budget_status(world).get("disruptedPods"))

    in_world(story, seed=seed)


def test_a_budget_knows_the_scale_of_the_deployment(in_world):
    async def story(world):
        await world.add_node("node-1")
        await protect(world, maxUnavailable=1)
        await world.deploy(replicas=2)
        await world.until(lambda: budget_status(world).get("disruptionsAllowed") == 1)
        world.start_seconds = lambda _pod: None
        await world.scale(4)

        def status():
            found = budget_status(world)
            return found["expectedPods"], found["desiredHealthy"], found["disruptionsAllowed"]

        await world.until(lambda: status() == (4, 3, 0))
        with pytest.raises(TooManyRequests):
            await world.api.evict(world.ready(app="web")[0]["metadata"]["name"], "default")

    in_world(story)


def test_an_eviction_that_never_happens_is_given_back(in_world):
    async def story(world):
        await world.add_node("node-1")
        await protect(world, maxUnavailable=1)
        await world.deploy(replicas=2)
        await world.until(lambda: budget_status(world).get("disruptionsAllowed") == 1)
        name = world.pods()[0]["metadata"]["name"]
        disrupted = {"disruptedPods": {name: format_time(world.clock.now())}, "disruptionsAllowed": 0}
        await world.api.patch_status(POD_DISRUPTION_BUDGET, "web", disrupted, "default")
        await world.pass_time(60)
        assert budget_status(world)["disruptionsAllowed"] == 0
        await world.until(lambda: budget_status(world)["disruptionsAllowed"] == 1)
        assert world.get(POD, name) is not None

    in_world(story)
