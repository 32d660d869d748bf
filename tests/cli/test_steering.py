"""`outrider rollout pause`, `resume`, `promote`, `skip` and `abort`: what each writes, and when it is refused."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from released_service import CANARY, DIVIDED, PREVIEW, ROLLING, STANDBY, STARTED, Cluster, revision, service, status

from outrider.api.labels import ABORT_RELEASE, PAUSE_RELEASE, PROMOTE_RELEASE, SKIP_STEP
from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus, TrafficStatus
from outrider.api.modelrevision import ModelRevision
from outrider.cli import steering
from outrider.cli.errors import CliError, Exit
from outrider.cli.steer import Command, ask
from outrider.kube.api import Conflict
from outrider.plan.deployment.steps import Wishes, wishes

PAUSED = {PAUSE_RELEASE: STARTED}
ENDED = msgspec.structs.replace(CANARY, phase="Ended")
ROLLED_BACK = msgspec.structs.replace(CANARY, phase="RolledBack", reason="ErrorsWorse", message="14 of 62 failed.")
WORSE = msgspec.structs.replace(CANARY, verdict="RollBack", reason="ErrorsWorse", message="14 of 62 failed.")
LAST_STEP = msgspec.structs.replace(CANARY, step=1, weight=50, step_since="")

JUDGES: dict[str, steering.Judge] = {
    "pause": steering.pause,
    "resume": steering.resume,
    "skip": steering.skip,
    "promote": steering.promote,
    "abort": steering.abort,
}

Case = tuple[str, ReleaseStatus, dict[str, str], Mapping[str, str | None], str]
ORDERS: dict[str, Case] = {
    "a canary is paused at its step": (
        "pause",
        CANARY,
        {},
        PAUSED,
        "the release of v2.0.0 (revision 2) over v1.0.0 is paused at step 1 of 2, with 10 % of the traffic",
    ),
    "a preview is paused": ("pause", PREVIEW, {}, PAUSED, "is paused in its preview, without traffic"),
    "a rolling update is paused": ("pause", ROLLING, {}, PAUSED, "over v1.0.0 is paused"),
    "a pause of an earlier release of the same revision is none": (
        "pause",
        CANARY,
        {PAUSE_RELEASE: "2020-01-01T00:00:00Z"},
        PAUSED,
        "is paused",
    ),
    "what is paused is not paused again": ("pause", CANARY, PAUSED, {}, "is paused already at step 1 of 2"),
    "what is paused goes on": ("resume", CANARY, PAUSED, {PAUSE_RELEASE: None}, "goes on at step 1 of 2"),
    "what is not paused is left alone": ("resume", CANARY, {}, {}, "is not paused"),
    "a canary is promoted": ("promote", CANARY, {}, {PROMOTE_RELEASE: STARTED}, "v2.0.0 (revision 2) takes all"),
    "a preview is promoted": ("promote", PREVIEW, {}, {PROMOTE_RELEASE: STARTED}, "takes all traffic"),
    "what is paused is promoted, and the pause goes": (
        "promote",
        CANARY,
        PAUSED,
        {PROMOTE_RELEASE: STARTED, PAUSE_RELEASE: None},
        "takes all traffic",
    ),
    "what is promoted is not promoted again": ("promote", CANARY, {PROMOTE_RELEASE: STARTED}, {}, "promoted already"),
    "the present step is skipped": (
        "skip",
        CANARY,
        {},
        {SKIP_STEP: f"{STARTED}/0"},
        "step 1 of 2 of v2.0.0 (revision 2) ends; next is 50 % of the traffic",
    ),
    "the last step is skipped although the one before was, too": (
        "skip",
        LAST_STEP,
        {SKIP_STEP: f"{STARTED}/0"},
        {SKIP_STEP: f"{STARTED}/1"},
        "step 2 of 2 of v2.0.0 (revision 2) ends; next is all traffic",
    ),
    "a preview is skipped": ("skip", PREVIEW, {}, {SKIP_STEP: f"{STARTED}/0"}, "next is all traffic"),
    "a step is not skipped twice": ("skip", CANARY, {SKIP_STEP: f"{STARTED}/0"}, {}, "was skipped already"),
    "a canary is aborted": (
        "abort",
        CANARY,
        {},
        {ABORT_RELEASE: STARTED},
        "v2.0.0 (revision 2) is taken back; v1.0.0 takes its place",
    ),
    "a rolling update is aborted": ("abort", ROLLING, {}, {ABORT_RELEASE: STARTED}, "is taken back"),
    "what is paused is aborted, and the pause goes": (
        "abort",
        ROLLING,
        PAUSED,
        {ABORT_RELEASE: STARTED, PAUSE_RELEASE: None},
        "is taken back",
    ),
    "what has all traffic is aborted while it is still watched": (
        "abort",
        STANDBY,
        {},
        {ABORT_RELEASE: STARTED},
        "is taken back",
    ),
    "what is aborted is not aborted again": ("abort", CANARY, {ABORT_RELEASE: STARTED}, {}, "was aborted already"),
}


@pytest.mark.parametrize(("verb", "release", "said", "written", "told"), ORDERS.values(), ids=ORDERS.keys())
def test_what_is_written_and_told(
    verb: str, release: ReleaseStatus, said: dict[str, str], written: Mapping[str, str | None], told: str
) -> None:
    order = JUDGES[verb](service(release), release, revision(said=said))
    assert order.annotations == written
    assert told in order.told


READ = {
    "pause": (CANARY, {}, Wishes(paused=True)),
    "resume": (CANARY, PAUSED, Wishes()),
    "promote": (CANARY, PAUSED, Wishes(promote=True)),
    "skip": (LAST_STEP, {SKIP_STEP: f"{STARTED}/0"}, Wishes(skip=True)),
    "abort": (CANARY, PAUSED, Wishes(abort=True)),
}


@pytest.mark.parametrize(("verb", "expected"), READ.items(), ids=READ.keys())
def test_the_operator_reads_what_is_written(verb: str, expected: tuple[ReleaseStatus, dict[str, str], Wishes]) -> None:
    release, said, wish = expected
    order = JUDGES[verb](service(release), release, revision(said=said))
    after = {key: value for key, value in {**said, **order.annotations}.items() if value is not None}
    assert wishes(revision(said=after), release) == wish


NOTES = {
    "a pause says that the release is still watched": ("pause", CANARY, "It is still watched"),
    "a step that has not begun ends once it has": ("skip", LAST_STEP, "once its replicas are ready"),
    "a skip does not pass by the evidence": ("skip", WORSE, "once the evidence allows it (ErrorsWorse): 14 of 62"),
    "a promotion against the evidence says so": ("promote", WORSE, "does not speak for it (ErrorsWorse): 14 of 62"),
    "an abort says how to release it again": ("abort", CANARY, "outrider rollout retry llama --namespace production"),
}


@pytest.mark.parametrize(("verb", "release", "note"), NOTES.values(), ids=NOTES.keys())
def test_what_else_is_told(verb: str, release: ReleaseStatus, note: str) -> None:
    assert note in "\n".join(JUDGES[verb](service(release), release, revision()).notes)


REFUSED = {
    "a rolling update has nothing to promote": (
        "promote",
        service(ROLLING),
        {},
        "has no steps: its strategy is RollingUpdate. There is nothing to promote",
    ),
    "a rolling update has nothing to skip": ("skip", service(ROLLING), {}, "There is nothing to skip"),
    "there is no step left to skip": ("skip", service(STANDBY), {}, "all steps of the release of v2.0.0 are done"),
    "there is nothing left to promote": ("promote", service(STANDBY), {}, "There is nothing to promote"),
    "a paused step is not skipped": ("skip", service(), PAUSED, "is paused, and a step ends only while it is not"),
    "all traffic cannot be paused": ("pause", service(STANDBY), {}, "takes all traffic already"),
    "a finished rolling update cannot be paused": (
        "pause",
        service(ROLLING, ready=True, traffic=None),
        {},
        "nothing left to pause",
    ),
}


@pytest.mark.parametrize(("verb", "item", "said", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_refused(verb: str, item: LLMDeployment, said: dict[str, str], told: str) -> None:
    release = item.status.release
    assert release is not None
    with pytest.raises(CliError, match=r".") as refusal:
        JUDGES[verb](item, release, revision(said=said))
    assert told in refusal.value.message
    assert refusal.value.exit_code == Exit.CONFLICT
    assert all("outrider rollout " in hint and "--namespace production" in hint for hint in refusal.value.hints)


IDLE = {
    "nothing was released over another version": (None, "no release over another version is under way"),
    "the last one is over": (ENDED, "under way; the last one, v2.0.0 over v1.0.0, is over"),
    "the last one was rolled back": (ROLLED_BACK, "under way; the last one, v2.0.0 over v1.0.0, was rolled back"),
}


@pytest.mark.parametrize("verb", JUDGES)
@pytest.mark.parametrize(("release", "told"), IDLE.values(), ids=IDLE.keys())
def test_without_a_release_everything_is_refused_and_nothing_is_written(
    verb: str, release: ReleaseStatus | None, told: str, cluster: Path, outrider: Callable[..., tuple[int, str, str]]
) -> None:
    world = Cluster(cluster)
    world.has(status(release, ready=True), revision("aaaa"), revision())
    code, out, error = outrider("rollout", verb, "llama", "-n", "production")
    assert (code, out) == (Exit.CONFLICT, "")
    assert told in error
    assert "outrider rollback llama --namespace production" in error
    assert world.said() == {}


@pytest.mark.parametrize("verb", JUDGES)
def test_a_dry_run_says_the_same_and_writes_nothing(verb: str, cluster: Path, outrider) -> None:
    said = PAUSED if verb == "resume" else {}
    world = Cluster(cluster)
    world.has(status(), revision("aaaa"), revision(said=said))
    code, out, _ = outrider("rollout", verb, "llama", "-n", "production", "--dry-run")
    assert code == Exit.OK
    assert out.splitlines()[0].endswith(" (dry run)")
    assert world.said() == said


def test_a_release_is_paused_and_goes_on(cluster: Path, outrider) -> None:
    world = Cluster(cluster)
    world.has(status(), revision("aaaa"), revision(said={"team": "sre"}))
    assert outrider("rollout", "pause", "llama", "-n", "production")[0] == Exit.OK
    assert world.said() == {"team": "sre", **PAUSED}
    code, out, _ = outrider("rollout", "pause", "llama", "-n", "production")
    assert (code, "is paused already" in out) == (Exit.OK, True)
    code, out, _ = outrider("rollout", "resume", "llama", "-n", "production", "-o", "json")
    assert (code, json.loads(out)["changed"]) == (Exit.OK, True)
    assert world.said() == {"team": "sre"}
    code, out, _ = outrider("rollout", "resume", "llama", "-n", "production", "-o", "json")
    assert (code, json.loads(out)["changed"]) == (Exit.OK, False)


def test_what_was_done_is_told_to_programs(cluster: Path, outrider) -> None:
    world = Cluster(cluster)
    world.has(status(), revision("aaaa"), revision())
    code, out, _ = outrider("rollout", "promote", "llama", "-n", "production", "--no-wait", "-o", "json")
    told = json.loads(out)
    assert code == Exit.OK
    assert world.said() == {PROMOTE_RELEASE: STARTED}
    assert {key: told[key] for key in ("action", "version", "revision", "hash", "stableVersion", "steps")} == {
        "action": "promote",
        "version": "v2.0.0",
        "revision": 2,
        "hash": "bbbb",
        "stableVersion": "v1.0.0",
        "steps": 2,
    }
    assert (told["changed"], told["dryRun"], told["seconds"]) == (True, False, None)


def test_a_candidate_whose_revision_is_gone_is_said_to_be(cluster: Path, outrider) -> None:
    Cluster(cluster).has(status(), revision("aaaa"))
    code, _, error = outrider("rollout", "abort", "llama", "-n", "production")
    assert code == Exit.NOT_FOUND
    assert "the revision of v2.0.0, which is being released, is gone" in error


def test_a_wait_ends_at_once_where_what_was_asked_for_is_so_already(cluster: Path, outrider) -> None:
    world = Cluster(cluster)
    world.has(status(traffic=TrafficStatus("bbbb")), revision("aaaa"), revision())
    code, _, progress = outrider("rollout", "promote", "llama", "-n", "production")
    assert (code, "llama: v2.0.0 has all traffic (" in progress) == (Exit.OK, True)


def test_a_release_that_is_not_taken_back_in_time_says_what_is_awaited(cluster: Path, outrider) -> None:
    Cluster(cluster).has(status(), revision("aaaa"), revision())
    code, _, error = outrider("rollout", "abort", "llama", "-n", "production", "--timeout", "50ms")
    assert code == Exit.TIMED_OUT
    assert "timed out after 50ms waiting for llama" in error


SOLE, ALL_MOVED = TrafficStatus("aaaa"), TrafficStatus("aaaa", "bbbb", 100, "llama-bbbb")
SHARES = {
    "one revision has all of it": (service(traffic=SOLE), "aaaa", True),
    "another has all of it": (service(traffic=SOLE), "bbbb", False),
    "a tenth goes elsewhere": (service(traffic=DIVIDED), "aaaa", False),
    "a tenth is not all": (service(traffic=DIVIDED), "bbbb", False),
    "all goes to the candidate by weight": (service(traffic=ALL_MOVED), "bbbb", True),
    "nothing goes to the stable one by weight": (service(traffic=ALL_MOVED), "aaaa", False),
    "the candidate in preview has none": (service(traffic=TrafficStatus("aaaa", "bbbb", 0)), "aaaa", True),
    "a rolling update is complete": (service(ROLLING, traffic=None, ready=True), "bbbb", True),
    "a rolling update is not complete": (service(ROLLING, traffic=None), "bbbb", False),
}


@pytest.mark.parametrize(("item", "hash_", "expected"), SHARES.values(), ids=SHARES.keys())
def test_who_has_all_traffic(item: LLMDeployment, hash_: str, expected: bool) -> None:
    assert steering.has_all_traffic(item, hash_) is expected


LATER = msgspec.structs.replace(CANARY, started_time="2023-11-15T00:00:00Z")
AFTER_PROMOTION = {
    "it goes on": (service(), ""),
    "it was rolled back": (service(ROLLED_BACK, effective="aaaa"), "v2.0.0 was rolled back (ErrorsWorse): 14 of 62"),
    "something else is asked for": (service(ENDED, effective="aaaa"), "is over: v1.0.0 was asked for instead"),
    "another release has begun": (service(LATER), "the release of v2.0.0 is over"),
    "it has proven itself": (service(ENDED), ""),
}


@pytest.mark.parametrize(("item", "told"), AFTER_PROMOTION.values(), ids=AFTER_PROMOTION.keys())
def test_when_there_is_no_waiting_for_a_promotion(item: LLMDeployment, told: str) -> None:
    said = steering.why_never_promoted(item, CANARY)
    assert bool(said) == bool(told)
    assert told in said


AFTER_ABORT = {
    "the operator has not acted yet": (service(), False, ""),
    "it is rolled back, and the candidate still has a share": (service(ROLLED_BACK, effective="aaaa"), False, ""),
    "it is rolled back, and the old version has all traffic": (
        service(ROLLED_BACK, effective="aaaa", traffic=SOLE),
        True,
        "",
    ),
    "the old version had all traffic all the time, and it is not rolled back": (
        service(PREVIEW, traffic=SOLE),
        False,
        "",
    ),
    "it ended before": (service(ENDED), False, "was over before it was aborted; v2.0.0 serves"),
    "another release has begun": (service(LATER), False, "was over before"),
}


@pytest.mark.parametrize(("item", "done", "told"), AFTER_ABORT.values(), ids=AFTER_ABORT.keys())
def test_when_an_aborted_release_is_taken_back(item: LLMDeployment, done: bool, told: str) -> None:
    assert steering.is_taken_back(item, CANARY) is done
    said = steering.why_never_taken_back(item, CANARY)
    assert bool(said) == bool(told)
    assert told in said


class Busy:
    """A connection to a cluster in which the revision changes so often, each time just before it is written."""

    namespace = "production"

    def __init__(self, changes: int, said: dict[str, str] | None = None) -> None:
        self.changes = changes
        self.said = said or {}
        self.api = self
        self.patches: list[dict[str, Any]] = []

    async def find(self, *_: Any) -> LLMDeployment:
        return service()

    async def get(self, *_: Any) -> ModelRevision:
        found = revision(said=self.said)
        metadata = msgspec.structs.replace(found.metadata, uid="u", resource_version=str(len(self.patches)))
        return msgspec.structs.replace(found, metadata=metadata)

    async def patch(self, _kind: Any, _name: str, patch: dict[str, Any], *_: Any, **__: Any) -> None:
        self.patches.append(patch)
        if len(self.patches) <= self.changes:
            raise Conflict("the object has been modified")


PAUSE = Command("pause", "llama", steering.pause, "table", dry_run=False)


def test_a_revision_that_was_changed_meanwhile_is_looked_at_anew() -> None:
    busy: Any = Busy(changes=2)
    asyncio.run(ask(busy, PAUSE))
    assert [patch["metadata"]["resourceVersion"] for patch in busy.patches] == ["0", "1", "2"]
    assert busy.patches[-1]["metadata"]["uid"] == "u"


def test_a_revision_that_changes_all_the_time_is_a_conflict() -> None:
    busy: Any = Busy(changes=99)
    with pytest.raises(Conflict):
        asyncio.run(ask(busy, PAUSE))


def test_what_is_asked_for_already_is_not_written() -> None:
    busy: Any = Busy(changes=0, said=PAUSED)
    asyncio.run(ask(busy, PAUSE))
    assert busy.patches == []
