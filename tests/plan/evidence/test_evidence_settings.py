"""What the triggers that people write mean."""

import pytest

from outrider.api.parse import parse_spec
from outrider.plan.evidence import Settings, settings_of

SPEC = {
    "model": {"name": "llama-3.1-8b", "version": "v1.2.0"},
    "replicas": 1,
}


def _auto_rollback(**fields):
    found = parse_spec(
        SPEC | {"rollback": {"autoRollback": {"enabled": True} | fields}},
        name="llama",
        namespace="default",
    )
    assert found.spec is not None, found.errors
    return found.spec.rollback.auto_rollback


TRIGGERS = {
    "a share of failed requests": (({"errorRate": ">1%"},), {"errors": 0.01}, {}),
    "a percentile is a share beyond an edge": (({"latencyP95": ">1000ms"},), {"endToEnd": 0.05}, {"endToEnd": 1.0}),
    "slow tokens are long pauses": (({"throughput": "<10 tokens/sec"},), {"interToken": 0.5}, {"interToken": 0.1}),
    "the strictest of several counts": (
        ({"errorRate": ">2%"}, {"errorRate": ">=1%"}, {"latencyP95": ">2s"}, {"latencyP95": ">1s"}),
        {"errors": 0.01, "endToEnd": 0.05},
        {"endToEnd": 1.0},
    ),
    "no error at all would be the first one's end": (({"errorRate": ">0%"},), {"errors": 0.0005}, {}),
    "none is no limit": ((), {}, {}),
}


@pytest.mark.parametrize("case", TRIGGERS)
def test_triggers(case) -> None:
    triggers, limits, edges = TRIGGERS[case]
    found = settings_of(_auto_rollback(triggers=list(triggers)))
    assert found.limits == pytest.approx(limits)
    assert found.edges == pytest.approx(edges)


def test_the_rest_is_taken_over_as_it_is() -> None:
    found = settings_of(_auto_rollback(window="30s", minRequests=50, consecutive=3, bakeTime="15m"))
    assert (found.window, found.min_requests, found.consecutive, found.min_bake) == (30, 50, 3, 900)


def test_nobody_stakes_more_than_there_is() -> None:
    assert sum(Settings().weights.values()) == pytest.approx(1)
    assert Settings().cap * 3 == pytest.approx(Settings().enough)
