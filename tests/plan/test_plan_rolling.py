"""The surge of the Deployment while replicas are taken away in the middle of a rollout."""

from typing import Any

import msgspec
import pytest
from plan_world import LLAMA, merged

from outrider.api.parse import parse_spec
from outrider.plan.deployment.observed import WorkloadView
from outrider.plan.deployment.rolling import surge

ROLLING = WorkloadView(
    uid="uid", owned=True, generation=3, observed_generation=3,
    spec_replicas=3, max_surge=1, max_unavailable=0, replicas=4, updated_replicas=1,
)  # fmt: skip
"""Three replicas wanted; of four pods one is of the newest template."""

SURGES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, int | str]] = {
    "a first install": ({"replicas": 2}, None, 1),
    "nothing is taken away": ({"replicas": 3}, {}, 1),
    "more are wanted": ({"replicas": 4}, {}, 1),
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


@pytest.mark.parametrize("what", SURGES)
def test_the_surge_covers_all_pods_there_are_while_replicas_are_taken_away(what: str) -> None:
    patch, seen, expected = SURGES[what]
    parsed = parse_spec(merged(LLAMA, {"spec": patch})["spec"], name="llama", namespace="production")
    assert parsed.spec is not None
    workload = None if seen is None else msgspec.structs.replace(ROLLING, **seen)
    assert surge(parsed.spec, workload) == expected
