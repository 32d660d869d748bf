"""Drills beside releases by steps: of what is still loaded, of what is not any more, and one after another."""

import pytest
from drill_world import DrillWorld, ask, drill, released, remains, revision, told, turns

from outrider.api import labels

STEPWISE = {"Canary": {"canary": {"steps": [{"weight": 50, "duration": "10s"}]}}, "BlueGreen": {}}


def kept_loaded() -> DrillWorld:
    """v1.0.0 is on standby."""
    made = released(deployment={"rolloutStrategy": "BlueGreen"}, rollback={"standby": "3600s"})
    assert made.status.rollback.readiness == "Warm"
    return made


@pytest.mark.parametrize("strategy", STEPWISE)
def test_a_version_on_standby_is_asked_and_nothing_is_started(strategy: str) -> None:
    made = released(deployment={"rolloutStrategy": strategy, **STEPWISE[strategy]})
    assert made.status.rollback.readiness == "Warm", made.status.release
    pods = {pod["metadata"]["name"] for pod in made.pods}
    ask(made)
    made.reconcile()
    assert (drill(made).outcome, drill(made).reason) == ("Running", "Loaded")
    turns(made, 5)
    found = drill(made)
    assert (found.outcome, found.reason) == ("Passed", "Loaded")
    assert "loaded already, as standby, and all 2 pods of it answered" in found.message
    assert {pod["metadata"]["name"] for pod in made.pods} == pods
    load = made.revision("v1.0.0").status.load
    assert load is None or load.measured_by != "Drill", "nothing was loaded, so nothing was measured"


@pytest.mark.parametrize("strategy", STEPWISE)
def test_a_version_whose_standby_is_over_is_loaded_beside_the_service(strategy: str) -> None:
    made = released(deployment={"rolloutStrategy": strategy, **STEPWISE[strategy]})
    turns(made, 400)
    assert made.status.rollback.readiness == "Cold"
    ask(made)
    turns(made, 10)
    assert (drill(made).outcome, drill(made).reason) == ("Passed", "Answered")
    assert not remains(made)


def test_a_standby_that_answers_badly_fails_its_drill() -> None:
    made = kept_loaded()
    made.failing.add("v1.0.0")
    ask(made)
    turns(made, 30)
    assert (drill(made).outcome, drill(made).reason) == ("Running", "Loaded")
    turns(made, 60)
    assert (drill(made).outcome, drill(made).reason) == ("Failed", "WrongAnswers")
    assert "does not answer a completion as it should: it answered 500" in drill(made).message
    rollback = made.status.rollback
    assert rollback.readiness == "Warm"
    assert "but its drill of" in rollback.message
    assert made.condition("RollbackReady").status == "True", "its standing is what it was"


def test_a_standby_that_nobody_asks_is_neither_good_nor_bad() -> None:
    made = kept_loaded()
    made.probing = False
    ask(made)
    turns(made, 90)
    assert (drill(made).outcome, drill(made).reason) == ("Running", "Loaded")


def test_a_standby_that_ends_meanwhile_interrupts_its_drill() -> None:
    made = kept_loaded()
    made.failing.add("v1.0.0")
    ask(made)
    turns(made, 5)
    made.pods = [pod for pod in made.pods if pod["metadata"]["labels"][labels.MODEL_VERSION] != "v1.0.0"]
    made.reconcile()
    assert (drill(made).outcome, drill(made).reason) == ("Interrupted", "StandbyEnded")


@pytest.mark.parametrize("strategy", STEPWISE)
def test_no_drill_is_begun_beside_a_release_on_its_steps(strategy: str) -> None:
    made = released(deployment={"rolloutStrategy": strategy, **STEPWISE[strategy]})
    made.load_ticks = 100
    made.version("v3.0.0")
    turns(made, 5, rounds=5)
    ask(made)
    turns(made, 5, rounds=5)
    assert (drill(made).outcome, drill(made).reason) == ("NotPossible", "ReleaseUnderWay")
    assert not remains(made)


def test_what_a_pin_rejects_may_be_drilled_and_stays_rejected() -> None:
    made = released()
    made.set_pin(version="v1.0.0", revision=revision(made), rejects=revision(made, "v2.0.0"))
    turns(made, 100)
    assert made.status.effective_version == "v1.0.0"
    ask(made, "v2.0.0")
    turns(made, 10)
    assert (drill(made).outcome, drill(made).version) == ("Passed", "v2.0.0")
    assert made.revision("v2.0.0").status.state == "Quarantined"
    assert made.status.effective_version == "v1.0.0"


def test_a_second_drill_is_begun_when_the_first_has_ended() -> None:
    made = released(load_ticks=5)
    made.version("v3.0.0")
    turns(made, 400)
    ask(made, "v1.0.0")
    made.reconcile()
    later = ask(made, "v2.0.0", at=made.now + 1)
    assert drill(made).version == "v1.0.0"
    turns(made, 60, rounds=120)
    assert (drill(made).version, drill(made).requested_at, drill(made).outcome) == ("v2.0.0", later, "Passed")
    assert told(made).count("DrillPassed") == 2
    assert not remains(made)
