"""The wall clock is set while a pod is probed: an answer from before says nothing about now."""

from types import SimpleNamespace
from typing import Any

import pytest

from outrider.plan.deployment.rollout import answers
from outrider.plan.deployment.snapshot import PodView, ProbeView

NOW, WINDOW, HOUR = 1_000_000.0, 20.0, 3600.0
CASES: dict[str, tuple[ProbeView, str]] = {
    "answered just now": (ProbeView(ok=True, at=NOW - 1, last_success=NOW - 1), "good"),
    "fails now, and answered well within the window": (ProbeView(ok=False, at=NOW, last_success=NOW - 10), "good"),
    "fails now, and answered well before the clock was set back": (
        ProbeView(ok=False, at=NOW, last_success=NOW + HOUR),
        "failing",
    ),
    "was asked before the clock was set back": (ProbeView(ok=True, at=NOW + HOUR, last_success=NOW + HOUR), "unknown"),
    "was asked before the clock was set forward": (
        ProbeView(ok=True, at=NOW - HOUR, last_success=NOW - HOUR),
        "unknown",
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_what_a_probe_says_around_a_jump_of_the_clock(sentence: str) -> None:
    probe, expected = CASES[sentence]
    snapshot: Any = SimpleNamespace(config=SimpleNamespace(probe_freshness=WINDOW), probing_since=NOW - 100)
    rollout: Any = SimpleNamespace(up=(PodView(name="a", probe=probe),))
    found = answers(snapshot, rollout, NOW)
    assert [name for name in ("good", "failing", "unknown") if getattr(found, name)] == [expected]
