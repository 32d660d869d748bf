"""Waiting for an LLMDeployment: what counts as ready, and what is said when nothing can be seen."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from outrider.api.llmdeployment import LLMDeployment, LLMDeploymentStatus
from outrider.api.meta import Condition, ConditionStatus, ObjectMeta
from outrider.cli.errors import CliError, Exit
from outrider.cli.waiting import is_ready, patience, rolled_back, wait_until_ready, what_is_awaited
from outrider.kube.api import ListResult, Unavailable, WatchEvent


def item(
    *,
    generation: int = 2,
    observed: int = 2,
    ready: ConditionStatus = "True",
    ready_of: int = 2,
    why: str = "2 of 2 serve",
) -> LLMDeployment:
    condition = Condition("Ready", ready, "R", why, observed_generation=ready_of)
    status = LLMDeploymentStatus(observed_generation=observed, conditions=(condition,), effective_version="v1.3.0")
    return LLMDeployment(metadata=ObjectMeta(name="x", namespace="n", generation=generation), status=status)


READINESS = {
    "Ready of this very spec": (item(), True),
    "Ready is False": (item(ready="False"), False),
    "Ready is Unknown": (item(ready="Unknown"), False),
    "the operator has not seen the edit": (item(observed=1, ready_of=1), False),
    "the condition is of the spec before": (item(ready_of=1), False),
    "no word at all": (LLMDeployment(metadata=ObjectMeta(generation=1)), False),
}


@pytest.mark.parametrize(("found", "expected"), READINESS.values(), ids=READINESS.keys())
def test_readiness(found: LLMDeployment, expected: bool) -> None:
    assert is_ready(found) is expected


def test_a_spec_that_the_operator_has_not_seen_is_said_to_be_so() -> None:
    assert "has not seen the new spec" in what_is_awaited(item(observed=1))


STEPS = [{"weight": 10, "duration": "5m"}, {"weight": 50, "duration": "1h"}, {"weight": 100}]
PATIENCE: dict[str, tuple[dict[str, Any], float]] = {
    "a rolling update": ({}, 600),
    "a canary, with what its steps take": ({"rolloutStrategy": "Canary", "canary": {"steps": STEPS}}, 600 + 300 + 3600),
    "a canary with the usual steps": ({"rolloutStrategy": "Canary"}, 600 + 600 + 1800),
    "a blue-green release, with its preview": (
        {"rolloutStrategy": "BlueGreen", "blueGreen": {"previewDuration": "2m"}}, 600 + 120,
    ),
    "a spec that is no spec": ({"rolloutStrategy": "Guess"}, 600),
}  # fmt: skip


@pytest.mark.parametrize("sentence", PATIENCE)
def test_how_long_a_release_is_waited_for_where_nobody_says(sentence: str) -> None:
    deployment, expected = PATIENCE[sentence]
    spec = {"model": {"modelUri": "hf://m/m", "version": "v1"}, "deployment": deployment}
    assert patience(msgspec.structs.replace(item(), spec=msgspec.Raw(msgspec.json.encode(spec)))) == expected


class Scripted:
    """An API that lists what it is given, in turn, and then fails for ever. Watches end at once."""

    def __init__(self, *answers: LLMDeployment | Unavailable) -> None:
        self._answers = list(answers)

    async def list(self, *_: Any, **__: Any) -> ListResult[LLMDeployment]:
        answer = self._answers.pop(0) if self._answers else Unavailable("cannot reach http://127.0.0.1:1: refused")
        if isinstance(answer, Unavailable):
            raise answer
        return ListResult((answer,), "1")

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[WatchEvent[LLMDeployment]]:
        nothing: tuple[WatchEvent[LLMDeployment], ...] = ()
        for event in nothing:
            yield event


def test_it_waits_on_until_the_object_is_ready() -> None:
    api: Any = Scripted(item(ready="False"), item())
    found, _ = asyncio.run(wait_until_ready(api, "x", "n", timeout="30s", quiet=True))
    assert is_ready(found)


def test_a_cluster_that_went_away_is_not_mistaken_for_its_last_word() -> None:
    api: Any = Scripted(item(ready="False", why="1 of 2 replicas are ready"))
    with pytest.raises(CliError, match="nothing is known of it now") as refusal:
        asyncio.run(wait_until_ready(api, "x", "n", timeout="50ms", quiet=True))
    assert refusal.value.exit_code == Exit.UNREACHABLE
    assert "1 of 2" not in refusal.value.message


def test_a_timeout_says_what_was_awaited() -> None:
    class Standing(Scripted):
        async def watch(self, *_: Any, **__: Any) -> AsyncIterator[WatchEvent[LLMDeployment]]:
            await asyncio.Event().wait()
            yield WatchEvent("BOOKMARK", item(), "1")

    api: Any = Standing(item(ready="False", why="1 of 2 replicas are ready"))
    with pytest.raises(CliError, match="1 of 2 replicas are ready") as refusal:
        asyncio.run(wait_until_ready(api, "x", "n", timeout="50ms", quiet=True))
    assert refusal.value.exit_code == Exit.TIMED_OUT


def test_an_invalid_spec_ends_the_wait_at_once_with_every_mistake() -> None:
    broken = Condition("SpecValid", "False", "Invalid", "spec.model: required", observed_generation=2)
    bad = item(ready="False")
    bad = msgspec.structs.replace(bad, status=msgspec.structs.replace(bad.status, conditions=(broken,)))
    api: Any = Scripted(bad)
    with pytest.raises(CliError, match=r"spec\.model: required") as refusal:
        asyncio.run(wait_until_ready(api, "x", "n", timeout="30s", quiet=True))
    assert refusal.value.exit_code == Exit.INVALID


def taken_back(of: int) -> LLMDeployment:
    told = Condition("RolledBack", "True", "ErrorsWorse", "v1.3.0 was rolled back: 14 of 62", observed_generation=of)
    ready = item()
    return msgspec.structs.replace(
        ready, status=msgspec.structs.replace(ready.status, conditions=(*ready.status.conditions, told))
    )


def test_a_release_that_is_rolled_back_while_somebody_waits_for_it_ends_the_wait() -> None:
    api: Any = Scripted(item(ready="False"), taken_back(of=2))
    with pytest.raises(CliError, match="14 of 62") as refusal:
        asyncio.run(wait_until_ready(api, "x", "n", timeout="30s", lost=rolled_back, quiet=True))
    assert refusal.value.exit_code == Exit.FAILED


def test_a_rollback_of_the_spec_before_says_nothing_about_this_one() -> None:
    api: Any = Scripted(taken_back(of=1))
    asyncio.run(wait_until_ready(api, "x", "n", timeout="30s", lost=rolled_back, quiet=True))
