"""The surge of the Deployment while it is scaled or paused in the middle of a rollout."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_world import LLAMA, merged

from outrider.api.meta import ObjectMeta
from outrider.api.parse import parse_spec
from outrider.api.spec import LLMDeploymentSpec
from outrider.kube.objects import DeploymentSpec, DeploymentStrategy, ReplicaSetSpec, RollingUpdate
from outrider.local.actors.objects import Deployment, ReplicaSet, ReplicaSetStatus
from outrider.local.actors.rollout_math import DESIRED_REPLICAS, MAX_REPLICAS, scaled_in_proportion
from outrider.plan.deployment.observed import WorkloadView
from outrider.plan.deployment.rolling import is_on_hold, replicas, surge

ROLLING = WorkloadView(
    uid="uid", owned=True, generation=3, observed_generation=3,
    spec_replicas=3, max_surge=1, max_unavailable=0, replicas=4, updated_replicas=1,
    available_replicas=3, unavailable_replicas=1,
)  # fmt: skip
"""Three replicas wanted; of four pods one is of the newest template and does not serve yet."""

TOO_MANY = {"replicas": 6, "updated_replicas": 3, "available_replicas": 3, "unavailable_replicas": 3}
"""Three new pods came at once beside the three that serve: replicas had been taken away just before."""

SURGES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, int | str]] = {
    "a first install": ({"replicas": 2}, None, 1),
    "nothing is taken away": ({"replicas": 3}, {}, 1),
    "more are wanted": ({"replicas": 4}, {}, 1),
    "more are wanted while there are too many pods": ({"replicas": 4}, TOO_MANY, 2),
    "more are wanted than there are pods": ({"replicas": 7}, TOO_MANY, 1),
    "too many, and nothing changes": ({"replicas": 3}, TOO_MANY, 1),
    "two of three are taken away": ({"replicas": 1}, {}, 3),
    "one is": ({"replicas": 2}, {}, 2),
    "all are, which takes all": ({"replicas": 0}, {}, 1),
    "no rollout is under way": ({"replicas": 1}, {"replicas": 3, "updated_replicas": 3}, 1),
    "the Deployment has not yet seen the new number": (
        {"replicas": 1}, {"generation": 4, "spec_replicas": 1, "max_surge": 3}, 3,
    ),
    "and its count of pods is from before that number": (
        {"replicas": 2},
        {"generation": 4, "spec_replicas": 2, "max_surge": 1, "replicas": 5, "updated_replicas": 5}, 1,
    ),
    "it has": ({"replicas": 1}, {"generation": 4, "observed_generation": 4, "spec_replicas": 1, "max_surge": 3}, 1),
    "a release has just been applied": ({"replicas": 3}, {"generation": 4, "updated_replicas": 4}, 1),
    "the surge is a share": (
        {"replicas": 2, "deployment": {"rollingUpdate": {"maxSurge": "50%"}}}, {"max_surge": "50%", "replicas": 5}, 3,
    ),
    "the spec's surge is enough": ({"replicas": 2, "deployment": {"rollingUpdate": {"maxSurge": 2}}}, {}, 2),
}  # fmt: skip

RECREATES: dict[str, tuple[dict[str, Any] | None, int, bool]] = {
    "there is no Deployment yet": (None, 2, False),
    "a rolling update is under way": ({}, 3, False),
    "of which its controller has not seen the last change": ({"generation": 4}, 3, True),
    "none is under way": ({"replicas": 3, "updated_replicas": 3}, 2, False),
    "it is one already, and the old pods have not been told to end": (
        {"max_surge": None, "generation": 4}, 3, False,
    ),
    "it is one already, but paused": (
        {"max_surge": None, "generation": 4, "observed_generation": 4, "paused": True}, 3, False,
    ),
    "they have": ({"max_surge": None, "generation": 4, "observed_generation": 4}, 2, False),
}  # fmt: skip
"""Two replicas are wanted of a Deployment of three: its state, how many are asked for, and whether all has to wait."""


PAUSES: dict[str, tuple[dict[str, Any], int | str]] = {
    "there are no more pods than there may be": ({}, 1),
    "there are too many": (TOO_MANY, 3),
    "one of the new ones serves": (TOO_MANY | {"available_replicas": 4, "unavailable_replicas": 2}, 2),
    "all serve": (TOO_MANY | {"available_replicas": 6, "unavailable_replicas": 0}, 1),
    "many do not serve, and one is too many": (
        {"replicas": 5, "updated_replicas": 3, "available_replicas": 2, "unavailable_replicas": 3}, 2,
    ),
    "pods that are asked for could not be made": (TOO_MANY | {"replicas": 4}, 3),
    "pods have gone and none have come for them": (
        {"replicas": 2, "available_replicas": 1, "unavailable_replicas": 1}, 1,
    ),
    "the Deployment has not yet seen that the spec's surge is good again": (TOO_MANY | {"generation": 4}, 3),
    "nor that replicas were taken away": ({"generation": 4, "max_surge": 4}, 4),
    "the surge was for them": (TOO_MANY | {"max_surge": 3, "paused": True}, 3),
}  # fmt: skip


def _spec(patch: dict[str, Any]) -> LLMDeploymentSpec:
    parsed = parse_spec(merged(LLAMA, {"spec": patch})["spec"], name="llama", namespace="production")
    assert parsed.spec is not None
    return parsed.spec


@pytest.mark.parametrize("what", SURGES)
def test_the_surge_covers_all_pods_there_are_while_replicas_are_taken_away(what: str) -> None:
    patch, seen, expected = SURGES[what]
    workload = None if seen is None else msgspec.structs.replace(ROLLING, **seen)
    assert surge(_spec(patch), workload) == expected


@pytest.mark.parametrize("what", PAUSES)
def test_the_surge_of_a_pause_covers_the_pods_that_do_not_serve_where_there_are_too_many(what: str) -> None:
    seen, expected = PAUSES[what]
    assert surge(_spec({"replicas": 3}), msgspec.structs.replace(ROLLING, **seen), paused=True) == expected


SET = st.tuples(st.integers(1, 6), st.integers(0, 6)).map(lambda drawn: (drawn[0], min(drawn)))
"""A ReplicaSet: (pods, those of them that serve)."""


@given(
    sets=st.lists(SET, min_size=2, max_size=4),
    wanted=st.integers(1, 8),
    own=st.integers(1, 3),
    more=st.integers(0, 3),
    gone=st.integers(0, 10),
)
def test_no_pause_and_no_scaling_up_ends_pods_that_serve_and_are_needed(
    sets: list[tuple[int, int]], wanted: int, own: int, more: int, gone: int
) -> None:
    """`more` replicas are asked for than were, or, without, the Deployment is paused. Where there are as many pods as
    there may be, or too many, there may have been more, some of which have `gone`.
    """
    asked_for, serving = (sum(column) for column in zip(*sets, strict=True))
    before = asked_for + (gone if asked_for >= wanted + more + own else 0)
    workload = msgspec.structs.replace(
        ROLLING, spec_replicas=wanted, replicas=asked_for, max_surge=own,
        available_replicas=serving, unavailable_replicas=asked_for - serving,
    )  # fmt: skip
    spec = _spec({"replicas": wanted + more, "deployment": {"rollingUpdate": {"maxSurge": own}}})
    found = surge(spec, workload, paused=not more)
    sizes = scaled_in_proportion(
        _deployment(wanted + more, found), [_set(at, *one, before) for at, one in enumerate(sets)]
    )
    left = sum(min(sizes[f"llama-{at}"], ready) for at, (_, ready) in enumerate(sets))
    assert left >= min(wanted + more, serving)
    assert sum(sizes.values()) <= max(asked_for, wanted + more + own), "and it makes no pods for it"


def _deployment(replicas: int, max_surge: int | str) -> Deployment:
    strategy = DeploymentStrategy("RollingUpdate", RollingUpdate(max_surge, 0))
    return Deployment(ObjectMeta(name="llama"), DeploymentSpec(replicas=replicas, strategy=strategy))


def _set(at: int, pods: int, serving: int, before: int) -> ReplicaSet:
    metadata = ObjectMeta(name=f"llama-{at}", annotations={DESIRED_REPLICAS: str(before), MAX_REPLICAS: str(before)})
    return ReplicaSet(metadata, ReplicaSetSpec(replicas=pods), ReplicaSetStatus(available_replicas=serving))


@pytest.mark.parametrize("case", RECREATES)
def test_replicas_are_not_changed_while_a_recreate_takes_over_from_a_rolling_update(case: str) -> None:
    """A Deployment of the real controller stays for ever as it is when both change at once (Kubernetes 1.36)."""
    state, asked_for, waits = RECREATES[case]
    workload = None if state is None else msgspec.structs.replace(ROLLING, **state)
    spec = _spec({"replicas": 2, "deployment": {"rolloutStrategy": "Recreate"}})
    assert (replicas(spec, workload, 2), is_on_hold(spec, workload)) == (asked_for, waits)
