"""`outrider explain release`: the order of what happened, what was decided, what is next, and what is forgotten."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from released_service import CANARY, REJECTION, ROLLING, STANDBY, STARTED, Cluster, revision, service, status

from outrider.api.labels import PAUSE_RELEASE
from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus, RollbackStatus
from outrider.api.modelrevision import ModelRevision, ModelRevisionStatus
from outrider.cli.errors import Exit
from outrider.cli.release_report import Seen
from outrider.cli.release_story import Story, tell
from outrider.kube.objects import EVENT

Run = Callable[..., tuple[int, str, str]]
NOW = 1_700_000_400.0

ROLLED_BACK = msgspec.structs.replace(
    CANARY, phase="RolledBack", verdict="RollBack", reason="ErrorsWorse", message="m", updated_time=REJECTION.time
)
PROVEN = msgspec.structs.replace(
    STANDBY, phase="Ended", verdict="Good", reason="NotWorse", message="It is no worse.", updated_time="t"
)
UNPROVEN = msgspec.structs.replace(PROVEN, verdict="Hold", reason="Inconclusive", message="Too few requests.")
GIVEN_UP = msgspec.structs.replace(CANARY, phase="Ended", message="3 of 10 answers.")

TAKEN_BACK = revision(state=ModelRevisionStatus(state="Quarantined", reason="ErrorsWorse", rejection=REJECTION))
ASKED_ANEW = revision(
    state=ModelRevisionStatus(rejection=msgspec.structs.replace(REJECTION, lifted=True)),
)
LONG_AGO = revision(
    state=ModelRevisionStatus(
        first_served_time="2023-11-01T00:00:00Z",
        rejection=msgspec.structs.replace(REJECTION, time="2023-11-02T00:00:00Z"),
    )
)
BAKED = revision(
    state=ModelRevisionStatus(
        state="Verified", first_served_time="2023-11-14T22:20:00Z", verified_time="2023-11-14T22:50:00Z"
    )
)


def event(time: str, reason: str, note: str, *, name: str = "llama", count: int = 0) -> dict[str, Any]:
    series = {"series": {"count": count, "lastObservedTime": "2023-11-14T22:30:00.000000Z"}} if count else {}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason.lower()}", "namespace": "production"},
        "regarding": {"kind": "LLMDeployment", "name": name, "namespace": "production"},
        "eventTime": time,
        "reason": reason,
        "action": reason,
        "type": "Normal",
        "note": note,
        "reportingController": "inference.llm-d.io/outrider",
        "reportingInstance": "outrider-0",
        **series,
    }


BEGUN = event("2023-11-14T22:13:20.400000Z", "ReleaseStarted", "Releasing from v1.0.0 to v2.0.0.")
BACK = event("2023-11-14T22:20:01.000000Z", "RolledBack", "v2.0.0 was rolled back.", count=3)
BEFORE = event("2023-11-14T21:00:00.000000Z", "Ready", "4 replicas of v1.0.0 serve.")


def story(
    release: ReleaseStatus,
    candidate: ModelRevision | None = None,
    events: list[dict[str, Any]] | None = None,
    *,
    paused: bool = False,
    **how: Any,
) -> Story:
    item: LLMDeployment = service(release, **how)
    known = [revision("aaaa"), *([candidate] if candidate is not None else [])]
    return tell(Seen(item, NOW, paused=paused), release, known, events)


def test_everything_is_told_in_order_of_time() -> None:
    told = story(ROLLED_BACK, TAKEN_BACK, [BACK, BEFORE, BEGUN], effective="aaaa")
    assert [(one.time, one.source, one.reason) for one in told.moments] == [
        (STARTED, "status", ""),
        ("2023-11-14T22:13:20Z", "event", "ReleaseStarted"),
        (CANARY.step_since, "status", ""),
        (REJECTION.time, "revision", "ErrorsWorse"),
        ("2023-11-14T22:20:01Z", "event", "RolledBack"),
    ]
    assert told.moments[0].what == (
        "v2.0.0 is released beside v1.0.0. Canary: 10 % for 10m, 50 % for 30m, then all"
    )  # fmt: skip
    assert told.moments[3].what == f"v2.0.0 is taken back, v1.0.0 takes its place: {REJECTION.message}"
    assert told.moments[4].what == "v2.0.0 was rolled back. (x3)"


def test_a_version_that_proved_itself_served_and_was_verified() -> None:
    told = [one.what for one in story(PROVEN, BAKED).moments]
    assert told[1:] == [
        "v2.0.0 serves with every replica, and answers",
        "v2.0.0 has served for the whole bake time: Verified",
    ]


def test_what_the_same_revision_did_in_an_earlier_release_is_no_part_of_this_one() -> None:
    told = story(CANARY, LONG_AGO)
    assert [one.source for one in told.moments] == ["status", "status"]
    assert told.decision.outcome == "Undecided"


def test_a_trial_is_told() -> None:
    tried = msgspec.structs.replace(ROLLING, trial_since="2023-11-14T22:14:00Z")
    assert story(tried).moments[1].what == "its first replicas serve beside the old ones"


LEFT = {
    "from the first on": ([BEGUN, BACK], "all"),
    "only the later ones": ([BACK], "some"),
    "only those of before": ([BEFORE], "none"),
    "none": ([], "none"),
    "nobody may read them": (None, "forbidden"),
}


@pytest.mark.parametrize(("events", "expected"), LEFT.values(), ids=LEFT.keys())
def test_which_events_are_left(events: list[dict[str, Any]] | None, expected: str) -> None:
    assert story(ROLLED_BACK, TAKEN_BACK, events).events_left == expected


DECISIONS = {
    "it is watched": (story(CANARY, revision()), "Undecided", "AwaitingTime", ""),
    "it was taken back": (story(ROLLED_BACK, TAKEN_BACK), "TakenBack", "ErrorsWorse", REJECTION.time),
    "it is taken back this moment": (story(CANARY, TAKEN_BACK), "TakenBack", "ErrorsWorse", REJECTION.time),
    "it was taken back, and its revision is gone": (story(ROLLED_BACK), "TakenBack", "ErrorsWorse", REJECTION.time),
    "it is no worse": (story(PROVEN, BAKED), "Kept", "NotWorse", "t"),
    "it is no worse, and a pin came later": (
        story(PROVEN, BAKED, pinned=True, effective="aaaa"),
        "Kept",
        "NotWorse",
        "t",
    ),
    "nothing was shown": (story(UNPROVEN, revision()), "NotProven", "Inconclusive", "t"),
    "a pin came in between": (story(GIVEN_UP, revision(), pinned=True, effective="aaaa"), "Replaced", "Pinned", ""),
    "something else was asked for": (story(GIVEN_UP, revision(), effective="aaaa"), "Replaced", "OtherVersion", ""),
}


@pytest.mark.parametrize(("told", "outcome", "reason", "time"), DECISIONS.values(), ids=DECISIONS.keys())
def test_what_was_decided(told: Story, outcome: str, reason: str, time: str) -> None:
    assert (told.decision.outcome, told.decision.reason, told.decision.time) == (outcome, reason, time)
    assert told.decision.message


NEXT = {
    "it is watched": (story(CANARY, revision()), ["rollout status", "rollout promote", "rollout abort"]),
    "it is watched, without steps": (story(ROLLING, revision()), ["rollout status", "rollout abort"]),
    "a person holds it": (
        story(CANARY, revision(), paused=True),
        ["rollout resume", "rollout promote", "rollout abort"],
    ),
    "it was taken back": (story(ROLLED_BACK, TAKEN_BACK, effective="aaaa"), ["", "rollout retry"]),
    "it was taken back, and another is asked for": (
        story(ROLLED_BACK, TAKEN_BACK, desired_revision="cccc", desired_version="v3.0.0"),
        ["rollout status"],
    ),
    "it was taken back and asked for anew": (story(ROLLED_BACK, ASKED_ANEW), ["rollout status"]),
    "a pin decides": (story(GIVEN_UP, revision(), pinned=True, effective="aaaa"), ["unpin"]),
    "it is no worse": (story(PROVEN, BAKED), ["rollback"]),
    "there is nothing to go back to": (story(PROVEN, BAKED, rollback=RollbackStatus()), []),
}


@pytest.mark.parametrize(("told", "commands"), NEXT.values(), ids=NEXT.keys())
def test_what_is_next(told: Story, commands: list[str]) -> None:
    expected = [f"outrider {one} llama --namespace production" if one else "" for one in commands]
    assert [one.command for one in told.following] == expected


def test_a_release_that_was_taken_back_is_explained(cluster: Path, outrider: Run) -> None:
    world = Cluster(cluster)
    world.has(status(ROLLED_BACK, effective="aaaa", traffic=None), revision("aaaa"), TAKEN_BACK)
    for one in (BEGUN, BACK, event("2023-11-14T22:13:21.000000Z", "Ready", "not ours", name="other")):
        world.call("create", EVENT, one)
    code, out, _ = outrider("explain", "release", "llama", "-n", "production")
    assert code == Exit.OK
    assert out.startswith("llama: v2.0.0 (revision 2, Quarantined) over v1.0.0 (revision 1, Candidate)\n\nTIME ")
    for told in (
        "ReleaseStarted: Releasing from v1.0.0 to v2.0.0.",
        "firstToken > 2 s   4 of 119   60 of 1997",
        f"Taken back (ErrorsWorse, {REJECTION.time})\n  {REJECTION.message}\n",
        "the same again:  outrider rollout retry llama --namespace production",
    ):
        assert told in out
    assert "expired" not in out
    assert "not ours" not in out


def test_a_release_whose_events_have_expired_is_explained_all_the_same(cluster: Path, outrider: Run) -> None:
    nothing = msgspec.structs.replace(CANARY, indicators=())
    Cluster(cluster).has(status(nothing), revision("aaaa"), revision())
    code, out, _ = outrider("explain", "release", "llama", "-n", "production")
    assert code == Exit.OK
    assert "Its events have expired" in out
    assert "Nothing was counted of it." in out
    assert "Not decided yet (AwaitingTime)" in out


def test_programs_are_told_all_of_it(cluster: Path, outrider: Run) -> None:
    world = Cluster(cluster)
    world.has(status(), revision("aaaa"), revision(said={PAUSE_RELEASE: STARTED}))
    told = json.loads(outrider("explain", "release", "llama", "-n", "production", "-o", "json")[1])
    assert told["paused"] is True
    assert (told["candidate"]["version"], told["stable"]["version"]) == ("v2.0.0", "v1.0.0")
    assert told["decision"]["outcome"] == "Undecided"
    assert told["eventsLeft"] == "none"
    assert told["moments"][0]["source"] == "status"
    assert told["next"][0]["command"] == "outrider rollout resume llama --namespace production"
    assert len(told["release"]["indicators"]) == 2


def test_where_nothing_was_released_over_another_version_there_is_no_story(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status(None), revision("aaaa"))
    code, out, told = outrider("explain", "release", "llama", "-n", "production")
    assert (code, out) == (Exit.NOT_FOUND, "")
    assert "nothing was released over another version yet" in told
