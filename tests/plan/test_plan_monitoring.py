"""The ServiceMonitor of a namespace."""

from typing import Any

import pytest

from outrider.plan.actions import Apply, Delete
from outrider.plan.deployment.observed import ExtraView
from outrider.plan.monitoring import NAME, Snapshot, desired, plan


def view(body: dict[str, Any], *, owned: bool = True) -> ExtraView:
    """The object as it is observed after it was applied."""
    return ExtraView(
        uid="u-1",
        applied_hash=body["metadata"]["annotations"]["inference.llm-d.io/applied-hash"],
        owned=owned,
        kind="ServiceMonitor",
        name=NAME,
        content=body,
    )


BODY = desired(Snapshot("production", (30.0,)))
assert BODY is not None
CHANGED = BODY | {"spec": BODY["spec"] | {"jobLabel": "other"}}

WHAT_IS_DONE: dict[str, tuple[Snapshot, list[type]]] = {
    "a first LLMDeployment": (Snapshot("production", (30.0,), available=True), [Apply]),
    "all is as it should be": (Snapshot("production", (30.0, 60.0), available=True, found=view(BODY)), []),
    "one that is to be scraped more often": (
        Snapshot("production", (30.0, 15.0), available=True, found=view(BODY)),
        [Apply],
    ),
    "somebody changed it": (Snapshot("production", (30.0,), available=True, found=view(CHANGED)), [Apply]),
    "the last one has gone": (Snapshot("production", (), available=True, found=view(BODY)), [Delete]),
    "there never was one": (Snapshot("production", (), available=True), []),
    "a ServiceMonitor of somebody else": (
        Snapshot("production", (30.0,), available=True, found=view(BODY, owned=False)),
        [],
    ),
    "somebody else's, and no LLMDeployment": (
        Snapshot("production", (), available=True, found=view(BODY, owned=False)),
        [],
    ),
    "a cluster without ServiceMonitors": (Snapshot("production", (30.0,), available=False), []),
    "nobody knows what the cluster has": (Snapshot("production", (), found=view(BODY)), []),
}


@pytest.mark.parametrize("sentence", WHAT_IS_DONE)
def test_what_is_done(sentence: str) -> None:
    snapshot, expected = WHAT_IS_DONE[sentence]
    assert [type(action) for action in plan(snapshot).actions] == expected


def test_it_is_the_one_of_the_guide() -> None:
    assert BODY is not None
    assert BODY["metadata"]["name"] == "llm-deployment-metrics"
    spec = BODY["spec"]
    assert spec["jobLabel"] == "app.kubernetes.io/name", 'so that job="llm-deployment"'
    assert spec["selector"]["matchLabels"] == {"app.kubernetes.io/name": "llm-deployment"}
    assert spec["endpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "30s"}]


def test_a_prometheus_that_chooses_by_label_finds_it() -> None:
    body = desired(Snapshot("production", (30.0,), extra_labels={"release": "stack"}))
    assert body is not None
    assert body["metadata"]["labels"]["release"] == "stack"
