"""What the last minute's real requests to a pod say of it: whoever fails now and then is told of once."""

from types import SimpleNamespace
from typing import Any

import pytest

from outrider.plan.deployment.rollout import answers, next_staleness
from outrider.plan.deployment.snapshot import PodView, ProbeView

NOW, WINDOW = 1_000_000.0, 35.0
CASES: dict[str, tuple[ProbeView | None, set[str], float | None]] = {
    "it was not asked yet": (None, {"unknown"}, None),
    "it answers": (ProbeView(ok=True, at=NOW, last_success=NOW), {"good"}, NOW + WINDOW),
    "it fails, and answered before": (
        ProbeView(ok=False, at=NOW, last_success=NOW - 10, last_failure=NOW), {"good", "faltering"}, NOW + 25,
    ),
    "it answers, and failed before": (
        ProbeView(ok=True, at=NOW, last_success=NOW, last_failure=NOW - 30), {"good", "faltering"}, NOW + 5,
    ),
    "it answers, and failed long before": (
        ProbeView(ok=True, at=NOW, last_success=NOW, last_failure=NOW - 40), {"good"}, NOW + WINDOW,
    ),
    "it fails, and has for long": (
        ProbeView(ok=False, at=NOW, last_success=NOW - 40, last_failure=NOW), {"failing"}, NOW + WINDOW,
    ),
}  # fmt: skip
"""What is known of it; what it counts as; when that may change without another answer."""


@pytest.mark.parametrize("sentence", CASES)
def test_what_the_answers_of_a_pod_say(sentence: str) -> None:
    probe, expected, until = CASES[sentence]
    snapshot: Any = SimpleNamespace(config=SimpleNamespace(probe_freshness=WINDOW), probing_since=NOW - 100)
    rollout: Any = SimpleNamespace(up=(PodView(name="a", probe=probe),))
    found = answers(snapshot, rollout, NOW)
    assert {name for name in ("good", "failing", "unknown", "faltering") if getattr(found, name)} == expected
    assert next_staleness(rollout, NOW, WINDOW) == until
