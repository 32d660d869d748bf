"""A real API server takes and refuses made-up specs as our own evaluation of the schema does."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from control_plane import RunningPlane
from hypothesis import HealthCheck, Phase, given, settings
from specs import SPECS, nearly
from wrong_input import plain_path, refused

from outrider.api.crd import default_object, object_schema, prune_object, validate_object
from outrider.api.labels import API_VERSION
from outrider.cli.main import run
from outrider.kube.http import HttpApi

pytestmark = pytest.mark.xdist_group("cluster-scoped")

GOOD, NEARLY_GOOD = 80, 160


def _made(strategy: Any, count: int) -> list[Any]:
    """The same examples every time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found  # fmt: skip


def _expected(spec: Any) -> set[str]:
    """The fields that our own evaluation blames."""
    schema = object_schema("LLMDeployment")
    made = default_object(schema, prune_object(schema, {"spec": spec}))
    return {plain_path(error.path) for error in validate_object(schema, None, made)}


@pytest.fixture
def answers(cluster_scoped: RunningPlane) -> Callable[[list[Any]], list[set[str]]]:
    assert run(["install", "--crds-only", "--force-conflicts", "--kubeconfig", str(cluster_scoped.kubeconfig)]) == 0

    async def ask(specs: list[Any]) -> list[set[str]]:
        async with HttpApi(cluster_scoped.config) as api:
            head = {"apiVersion": API_VERSION, "kind": "LLMDeployment"}
            metadata = {"name": "made-up", "namespace": "default"}
            return [set(await refused(api, {**head, "metadata": metadata, "spec": spec})) for spec in specs]

    return lambda specs: asyncio.run(ask(specs))


def test_good_specs_are_taken(answers) -> None:
    specs = _made(SPECS, GOOD)
    wrong = [(spec, blamed) for spec, blamed in zip(specs, answers(specs), strict=True) if blamed]
    assert wrong == []


def test_nearly_good_specs_are_refused_at_the_same_fields(answers) -> None:
    specs = _made(nearly(), NEARLY_GOOD)
    found = list(zip(specs, answers(specs), map(_expected, specs), strict=True))
    assert [one for one in found if one[1] != one[2]] == []
    taken = [spec for spec, blamed, _ in found if not blamed]
    assert 0 < len(taken) < len(specs), "both happen"
