"""`outrider rollback --drill`: what it writes, when it is refused, what it tells, and how it ends."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import msgspec
import pytest
from released_service import CANARY, ROLLING, STARTED, STARTED_AT, Cluster, revision, service

from outrider.api.labels import DRILL
from outrider.api.llmdeployment import DrillStatus, LLMDeployment, RollbackStatus
from outrider.api.meta import Condition
from outrider.api.modelrevision import ModelRevision
from outrider.cli import drill
from outrider.cli.errors import CliError, Exit
from outrider.cli.release_words import drill_text
from outrider.kube.api import Api, ListResult, WatchEvent

Command = Callable[..., tuple[int, str, str]]
LATER = "2023-11-14T22:30:00Z"
RUNNING = DrillStatus(STARTED, "v1.0.0", "aaaa", STARTED, "", "Running", "Loading", None, "llama-1 loads the model")
PASSED = DrillStatus(
    STARTED, "v1.0.0", "aaaa", STARTED, LATER, "Passed", "Answered", 42.0, "a pod of it loaded and answered"
)
FAILED = msgspec.structs.replace(PASSED, outcome="Failed", reason="LoadFailed", seconds=None, message="no such weights")
ENDED = msgspec.structs.replace(ROLLING, phase="Ended")


def served(last: DrillStatus | None = None) -> LLMDeployment:
    """v2.0.0 serves, and a rollback would go to v1.0.0."""
    told = RollbackStatus(True, "v1.0.0", "aaaa", "Cold", 60.0, "Cold: its pods would have to load.", last)
    return service(ENDED, traffic=None, ready=True, rollback=told)


def _with(**changes: object) -> LLMDeployment:
    item = served()
    return msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, **changes))


INVALID = Condition("SpecValid", "False", "InvalidSpec", "1 error: replicas", observed_generation=1)
PROGRESSING = Condition("Progressing", "True", "RollingOut", "1 of 4 replicas", observed_generation=1)
NOT_READY = Condition("Ready", "False", "RollingOut", "1 of 4 replicas are ready", observed_generation=1)

REFUSED: dict[str, tuple[LLMDeployment, str, str, Exit]] = {
    "the version is what serves": (served(), "bbbb", "v2.0.0 is what serves", Exit.CONFLICT),
    "the spec is invalid": (_with(conditions=(INVALID,)), "aaaa", "the spec is invalid", Exit.INVALID),
    "nothing is wanted": (_with(phase="Suspended"), "aaaa", "no replica is wanted", Exit.CONFLICT),
    "a canary is on its steps": (_with(release=CANARY), "aaaa", "a release is under way", Exit.CONFLICT),
    "a rollout is under way": (
        _with(conditions=(NOT_READY, PROGRESSING)),
        "aaaa",
        "a release is under way: llama v2.0.0: 4/4 ready, Ready: 1 of 4 replicas are ready",
        Exit.CONFLICT,
    ),
    "another drill is under way": (
        served(msgspec.structs.replace(RUNNING, revision="cccc", version="v0.9.0")),
        "aaaa",
        "a drill of v0.9.0 is under way",
        Exit.CONFLICT,
    ),
}


@pytest.mark.parametrize(("item", "target", "told", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(item: LLMDeployment, target: str, told: str, code: Exit) -> None:
    with pytest.raises(CliError, match=told) as refusal:
        drill.refuse(item, revision(target))
    assert refusal.value.exit_code == code


ALLOWED = {
    "it serves, and no release is compared": served(),
    "it serves, and the release is still watched": _with(release=ROLLING),
    "it serves badly: whether the way back is open is the question": _with(conditions=(NOT_READY,), phase="Degraded"),
    "the last drill failed": served(FAILED),
}


@pytest.mark.parametrize("item", ALLOWED.values(), ids=ALLOWED.keys())
def test_it_is_not_refused(item: LLMDeployment) -> None:
    drill.refuse(item, revision("aaaa"))


REQUESTS = {
    "the first": (served(), [revision("aaaa")], STARTED),
    "after one in the same second": (served(PASSED), [revision("aaaa")], "2023-11-14T22:13:21Z"),
    "after one of a clock that is ahead": (
        served(),
        [revision("aaaa"), revision("bbbb", said={DRILL: LATER})],
        "2023-11-14T22:30:01Z",
    ),
    "after something that is no time": (served(), [revision("aaaa", said={DRILL: "soon"})], STARTED),
}


@pytest.mark.parametrize(("item", "revisions", "wanted"), REQUESTS.values(), ids=REQUESTS.keys())
def test_every_request_is_later_than_all_before(
    item: LLMDeployment, revisions: list[ModelRevision], wanted: str
) -> None:
    assert drill.next_request(item, revisions, STARTED_AT) == wanted


def test_what_is_called_off_is_the_drill_under_way_or_to_come() -> None:
    asked = revision("aaaa", said={DRILL: STARTED})
    for item in (served(RUNNING), served()):
        assert drill.pending(item, [revision("bbbb"), asked]) is asked
    with pytest.raises(CliError, match="no drill is under way"):
        drill.pending(served(PASSED), [revision("bbbb"), asked])


WORDS = {
    "none": (None, ""),
    "passed": (PASSED, "drilled 3h ago: back in 42 s"),
    "passed, and was loaded": (
        msgspec.structs.replace(PASSED, reason="Loaded", seconds=2.0),
        "drilled 3h ago: its loaded pods answered",
    ),
    "failed": (FAILED, "a drill 3h ago failed: no such weights"),
    "had no room": (
        msgspec.structs.replace(FAILED, outcome="NotPossible", message="1 GPU is missing"),
        "a drill 3h ago was not possible: 1 GPU is missing",
    ),
    "gave way": (
        msgspec.structs.replace(FAILED, outcome="Interrupted", message="a release is under way"),
        "a drill 3h ago was interrupted: a release is under way",
    ),
    "runs": (RUNNING, "a drill of v1.0.0 is under way: llama-1 loads the model"),
}


@pytest.mark.parametrize(("last", "told"), WORDS.values(), ids=WORDS.keys())
def test_the_last_drill_and_its_age_in_words(last: DrillStatus | None, told: str) -> None:
    assert drill_text(last, STARTED_AT + 1000 + 3 * 3600) == told


CONTRADICTIONS = {
    "what is to be ended is no drill": (["--cancel"], "give --drill, too"),
    "what is to be ended has a version already": (["--drill", "--cancel", "--to", "v1.0.0"], "leave out --to"),
    "a reason for what is in no history": (["--drill", "--reason", "why"], "a drill is not in it"),
    "no duration": (["--drill", "--timeout", "soon"], "--timeout soon"),
}


@pytest.mark.parametrize(("options", "told"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_options_that_mean_nothing(options: list[str], told: str, outrider: Command) -> None:
    code, _, error = outrider("rollback", "llama", *options)
    assert (code, told in error) == (Exit.USAGE, True), error


DRILL_IT = ("rollback", "llama", "-n", "production", "--drill")


def has(cluster: Path, last: DrillStatus | None = None) -> Cluster:
    world = Cluster(cluster)
    world.has(served(last).status, revision("aaaa", said={"team": "sre"}), revision("bbbb"))
    return world


def asked(world: Cluster) -> str | None:
    return world.said("llama-aaaa").get(DRILL)


@contextlib.contextmanager
def operator(world: Cluster, *ends: DrillStatus) -> Iterator[None]:
    """One that begins the drill as soon as it is asked for, and tells of these ends, one after another."""

    def work() -> None:
        requested = until(lambda: asked(world))
        for end in ends:
            world.reports(served(msgspec.structs.replace(end, requested_at=requested)).status)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        yield
        done.result(30)


def until(found: Callable[[], str | None]) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if value := found():
            return value
    raise AssertionError("it never came")


def test_a_drill_is_asked_for_and_its_end_is_told(cluster: Path, outrider: Command) -> None:
    world = has(cluster)
    with operator(world, RUNNING, PASSED):
        code, out, progress = outrider(*DRILL_IT)
    assert code == Exit.OK, progress
    assert "llama: drill of v1.0.0 (revision 1, Cold, about 60 s)" in out
    assert "v1.0.0 would come back: a pod of it loaded and answered" in out
    assert "the drill of v1.0.0 has ended" in progress
    assert world.said("llama-aaaa").keys() == {"team", DRILL}


def test_a_drill_that_failed_fails_the_command(cluster: Path, outrider: Command) -> None:
    with operator(has(cluster), FAILED):
        code, _, error = outrider(*DRILL_IT)
    assert code == Exit.FAILED
    assert "v1.0.0 would not come back (LoadFailed): no such weights" in error


def test_programs_are_told_the_end_too(cluster: Path, outrider: Command) -> None:
    with operator(has(cluster), FAILED):
        code, out, _ = outrider(*DRILL_IT, "-o", "json")
    told = json.loads(out)
    assert code == Exit.FAILED
    assert (told["outcome"], told["reason"], told["seconds"]) == ("Failed", "LoadFailed", None)
    assert (told["version"], told["hash"]) == ("v1.0.0", "aaaa")


def test_whoever_does_not_wait_is_told_how_to_follow(cluster: Path, outrider: Command) -> None:
    world = has(cluster)
    code, out, _ = outrider(*DRILL_IT, "--no-wait")
    assert (code, "outrider rollout status llama --namespace production" in out) == (Exit.OK, True)
    assert asked(world)


def test_a_drill_that_does_not_end_in_time_goes_on(cluster: Path, outrider: Command) -> None:
    world = has(cluster)
    code, _, error = outrider(*DRILL_IT, "--timeout", "50ms")
    assert code == Exit.TIMED_OUT
    assert "the operator has not begun it yet" in error
    assert asked(world)


def test_a_dry_run_asks_for_nothing(cluster: Path, outrider: Command) -> None:
    world = has(cluster)
    code, out, _ = outrider(*DRILL_IT, "--dry-run")
    assert (code, "dry run: nothing was changed" in out, asked(world)) == (Exit.OK, True, None)


def test_a_drill_that_runs_already_is_followed_and_not_asked_for_again(cluster: Path, outrider: Command) -> None:
    world = has(cluster, RUNNING)
    code, out, error = outrider(*DRILL_IT, "--timeout", "50ms")
    assert (code, "a drill of it runs already" in out) == (Exit.TIMED_OUT, True)
    assert "llama-1 loads the model" in error
    assert asked(world) is None


def test_a_drill_is_called_off(cluster: Path, outrider: Command) -> None:
    world = has(cluster)
    outrider(*DRILL_IT, "--no-wait")
    code, out, _ = outrider(*DRILL_IT, "--cancel")
    assert (code, "the drill of v1.0.0 is called off" in out) == (Exit.OK, True)
    assert world.said("llama-aaaa") == {"team": "sre"}
    assert outrider(*DRILL_IT, "--cancel")[0] == Exit.CONFLICT


def test_without_a_version_to_go_back_to_nothing_is_asked_for(cluster: Path, outrider: Command) -> None:
    world = Cluster(cluster)
    none = msgspec.structs.replace(served().status, rollback=RollbackStatus())
    world.has(none, revision("aaaa"), revision("bbbb"))
    code, _, error = outrider(*DRILL_IT)
    assert (code, "has no earlier version that worked" in error) == (Exit.NOT_FOUND, True)
    assert asked(world) is None


def test_others_show_the_last_drill(cluster: Path, outrider: Command) -> None:
    has(cluster, PASSED)
    where = ("llama", "-n", "production")
    for command in (("rollout", "status", *where), ("rollback", *where, "--dry-run"), ("status", *where, "-o", "wide")):
        assert "ago: back in 42 s" in outrider(*command)[1], command
    assert "ago: back in 42 s" in outrider("describe", "llmdeployment", *where)[1]
    found = json.loads(outrider("rollback", *where, "--dry-run", "-o", "json")[1])["lastDrill"]
    assert (found["outcome"], found["seconds"]) == ("Passed", 42.0)


def test_whoever_stops_waiting_is_told_how_to_follow_and_how_to_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    class Seen:
        """An API that shows a drill under way, and then nothing new."""

        def __init__(self) -> None:
            self.watched = asyncio.Event()

        async def list(self, *_: object, **__: object) -> ListResult[LLMDeployment]:
            return ListResult((served(RUNNING),), "1")

        async def watch(self, *_: object, **__: object) -> AsyncIterator[WatchEvent[LLMDeployment]]:
            self.watched.set()
            await asyncio.Event().wait()
            yield  # type: ignore[misc]

    async def story() -> None:
        api = Seen()
        order = drill.Order("llama", wait=True, timeout="600s", dry_run=False, output="table")
        waiting = asyncio.create_task(drill.begin(order, revision("aaaa"), served(RUNNING), cast("Api", api)))
        await api.watched.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(story())
    told = capsys.readouterr().err
    assert "no longer waiting; the drill goes on by itself" in told
    assert "outrider rollout status llama --namespace production" in told
    assert "outrider rollback llama --drill --cancel --namespace production" in told
