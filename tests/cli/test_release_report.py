"""What `outrider rollout status`, `history`, `rollback`, `describe` and `status` tell of a release."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from released_service import (
    CANARY,
    DIVIDED,
    PREVIEW,
    REJECTION,
    ROLLING,
    STANDBY,
    STARTED,
    STARTED_AT,
    Cluster,
    revision,
    service,
    status,
)

from outrider.api.labels import GPU_RESOURCE, PAUSE_RELEASE
from outrider.api.llmdeployment import LLMDeployment, ReleaseStatus, RollbackStatus, TrafficStatus
from outrider.api.meta import Condition, format_time
from outrider.api.modelrevision import ModelRevisionStatus
from outrider.cli import release_words as words
from outrider.cli.describe import rollback_text
from outrider.cli.errors import Exit
from outrider.cli.release_report import Seen, facts_of

Run = Callable[..., tuple[int, str, str]]
NOW = STARTED_AT + 400  # 300 s of the first step are over
NOT_BEGUN = msgspec.structs.replace(CANARY, step_since="", weight=0, waits_for="1 replica, of which 0 are ready")

STAGES = {
    "a step that lasts on": (CANARY, NOW, "Canary, step 1 of 2: 10 % of the traffic, for another 5m"),
    "a step whose time is over": (CANARY, NOW + 900, "Canary, step 1 of 2: 10 % of the traffic; its time is over"),
    "a step that awaits its replicas": (NOT_BEGUN, NOW, "10 % of the traffic, as soon as its replicas are ready"),
    "a preview": (PREVIEW, STARTED_AT + 110, "Preview, step 1 of 1: 0 % of the traffic, for another 50s"),
    "a rolling update": (ROLLING, NOW, "Rollout: the rest follow"),
    "a standby": (STANDBY, NOW, "Standby: the new version has all traffic, and the old one stays loaded"),
}


@pytest.mark.parametrize(("release", "now", "told"), STAGES.values(), ids=STAGES.keys())
def test_where_a_release_is(release: ReleaseStatus, now: float, told: str) -> None:
    assert told in words.stage_text(release, now)


STRATEGIES = {
    "a canary": (CANARY, "Canary: 10 % for 10m, 50 % for 30m, then all"),
    "blue-green": (PREVIEW, "BlueGreen: without traffic for 1m, then all of it"),
    "a rolling update": (ROLLING, "RollingUpdate"),
}


@pytest.mark.parametrize(("release", "told"), STRATEGIES.values(), ids=STRATEGIES.keys())
def test_how_it_is_released(release: ReleaseStatus, told: str) -> None:
    assert words.strategy_text(release) == told


SHARES = {
    "a tenth for the candidate": (service(), "10 % to v2.0.0, 90 % to v1.0.0"),
    "all to one": (service(traffic=TrafficStatus("bbbb")), "all to v2.0.0"),
    "as the pods share it": (service(ROLLING, traffic=None), ""),
    "a revision that nobody knows": (service(None, traffic=TrafficStatus("cccc")), "all to cccc"),
}


@pytest.mark.parametrize(("item", "told"), SHARES.values(), ids=SHARES.keys())
def test_who_has_which_share(item: LLMDeployment, told: str) -> None:
    assert words.traffic_text(item) == told


def pod(gpus: int = 1, *, node: str = "n", **metadata: str) -> dict[str, Any]:
    container = {"name": "engine", "resources": {"limits": {GPU_RESOURCE: str(gpus)}}}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}, "status": {"phase": "Running"}}


KEPT = service(STANDBY, traffic=TrafficStatus("bbbb"), ready=True)
UNPRICED = service(STANDBY, traffic=TrafficStatus("bbbb"), ready=True, cost_per_hour="<unknown>")
STANDBYS = {
    "it costs its share of the whole": (
        KEPT,
        [pod(), pod()],
        f"v1.0.0 stays loaded for another 53m (until {STANDBY.standby_until}): 2 GPUs, about $4.00 per hour",
    ),
    "nobody knows a price": (UNPRICED, [pod()], f"(until {STANDBY.standby_until}): 1 GPU"),
    "its pods may not be seen": (KEPT, None, f"v1.0.0 stays loaded for another 53m (until {STANDBY.standby_until})"),
    "pods that end or have no node do not count": (KEPT, [pod(), pod(deletionTimestamp="t"), pod(node="")], ": 1 GPU,"),
    "its pods were given up before": (KEPT, [], None),
    "it was rolled back": (service(msgspec.structs.replace(STANDBY, phase="RolledBack")), [pod()], None),
    "a pin holds another version": (service(STANDBY, effective="aaaa"), [pod()], None),
    "it is a canary still": (service(), [pod()], None),
}


@pytest.mark.parametrize(("item", "pods", "told"), STANDBYS.values(), ids=STANDBYS.keys())
def test_what_is_kept_loaded(item: LLMDeployment, pods: list[dict[str, Any]] | None, told: str | None) -> None:
    kept = words.standby(item, pods, NOW)
    assert (kept is None) == (told is None)
    if kept is not None and told is not None:
        assert told in words.standby_text(kept)


def test_a_standby_whose_time_is_over_is_none() -> None:
    assert words.standby(KEPT, [pod()], STARTED_AT + 3600) is None


FACTS = {
    "a canary waits for its time": (Seen(service(), NOW), {"Waits for": "its time"}, {"Paused", "Standby"}),
    "the candidate can be asked alone": (
        Seen(service(), NOW),
        {"Preview": "http://llama-bbbb.production:8080 answers with v2.0.0 alone"},
        set[str](),
    ),
    "a paused canary says only how to go on": (
        Seen(service(), NOW, paused=True),
        {"Paused": "a person holds it. To go on:  outrider rollout resume llama --namespace production"},
        {"Waits for"},
    ),
    "a rolling update has no shares": (
        Seen(service(ROLLING, traffic=None), NOW),
        {"Stage": "Rollout: the rest follow"},
        {"Traffic", "Preview", "Waits for"},
    ),
    "a candidate that the gateway cannot reach": (
        Seen(service(conditions=(Condition("CandidateReachable", "False", "R", "The Gateway cannot reach it."),)), NOW),
        {"Gateway": "The Gateway cannot reach it."},
        set[str](),
    ),
    "a candidate that the gateway reaches": (
        Seen(service(conditions=(Condition("CandidateReachable", "True", "R", "It answers."),)), NOW),
        {},
        {"Gateway"},
    ),
    "nothing was released": (Seen(service(None), NOW), {}, {"Stage"}),
}


@pytest.mark.parametrize(("seen", "told", "silent"), FACTS.values(), ids=FACTS.keys())
def test_the_facts_of_a_release(seen: Seen, told: dict[str, str], silent: set[str]) -> None:
    facts = facts_of(seen)
    assert told.items() <= facts.items()
    assert not silent & facts.keys()


def test_rollout_status_shows_a_canary(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status(), revision("aaaa"), revision(said={PAUSE_RELEASE: STARTED}))
    code, out, _ = outrider("rollout", "status", "llama", "-n", "production", "--no-watch")
    assert code == Exit.FAILED
    for told in (
        "v2.0.0 beside v1.0.0",
        "Strategy:   Canary: 10 % for 10m, 50 % for 30m, then all",
        "Stage:      Canary, step 1 of 2: 10 % of the traffic",
        "Traffic:    10 % to v2.0.0, 90 % to v1.0.0",
        "Paused:     a person holds it",
        "firstToken > 2 s   4 of 119   60 of 1997",
        "by chance alone: 0.42",
    ):
        assert told in out


def test_rollout_status_tells_programs_all_of_it(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status(), revision("aaaa"), revision(said={PAUSE_RELEASE: STARTED}))
    told = json.loads(outrider("rollout", "status", "llama", "-n", "production", "--no-watch", "-o", "json")[1])
    assert told["progress"] == {
        "step": 1,
        "of": 2,
        "weight": 10,
        "since": CANARY.step_since,
        "secondsLeft": 0.0,
    }
    assert told["release"]["waitsFor"] == "its time"
    assert "evidence" not in told["release"]
    assert (told["paused"], told["standby"], told["traffic"]) == (True, None, msgspec.to_builtins(DIVIDED))
    assert told["previewUrl"] == "http://llama-bbbb.production:8080"
    assert told["rollback"]["readiness"] == "Warm"


def test_rollout_status_says_what_is_kept_of_a_release_that_is_over(cluster: Path, outrider: Run) -> None:
    until = format_time(4_000_000_000.0)
    ended = msgspec.structs.replace(STANDBY, phase="Ended", standby_until=until)
    world = Cluster(cluster)
    world.has(status(ended, traffic=TrafficStatus("bbbb"), ready=True), revision("aaaa"), revision())
    code, out, _ = outrider("rollout", "status", "llama", "-n", "production")
    assert (code, out) == (Exit.OK, "llama: version v2.0.0 is rolled out, 4/4 replicas ready\n"), "no pods are left"


def test_rollout_status_works_where_the_revision_is_gone(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status())
    told = json.loads(outrider("rollout", "status", "llama", "-n", "production", "--no-watch", "-o", "json")[1])
    assert told["paused"] is False


TAKEN_BACK = ModelRevisionStatus(
    state="Quarantined", reason="ErrorsWorse", message=REJECTION.message, rejection=REJECTION
)  # fmt: skip


def test_history_says_when_and_why_a_revision_was_rolled_back(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status(), revision("aaaa"), revision(state=TAKEN_BACK))
    _, out, _ = outrider("rollout", "history", "llama", "-n", "production", "-o", "wide")
    headers, newest, oldest = out.splitlines()
    assert headers.endswith("ROLLED-BACK   WHY")
    when, _, why = newest.partition(" ago ")
    assert when.split()[-1].endswith("d")
    assert why.strip() == f"ErrorsWorse: {REJECTION.message}"
    assert oldest.split()[-2:] == ["-", "-"]
    told = json.loads(outrider("rollout", "history", "llama", "-n", "production", "-o", "json")[1])
    assert told[0]["rolledBack"]["time"] == REJECTION.time
    assert told[1]["rolledBack"] is None


def test_history_says_who_rejected_a_revision_by_a_pin(cluster: Path, outrider: Run) -> None:
    pinned = ModelRevisionStatus(state="Quarantined", reason="Pinned", message="Rejected by the pin by ada.")
    Cluster(cluster).has(status(), revision("aaaa"), revision(state=pinned))
    _, out, _ = outrider("rollout", "history", "llama", "-n", "production", "-o", "wide")
    assert out.splitlines()[1].endswith("-             Rejected by the pin by ada.")


READINESS = {
    "warm": (RollbackStatus(True, "v1.0.0", "aaaa", "Warm", 5.0, "m"), "to v1.0.0: Warm, about 5 s"),
    "cold for minutes": (RollbackStatus(True, "v1.0.0", "aaaa", "Cold", 210.0, "m"), "to v1.0.0: Cold, about 3m30s"),
    "cold, and unknown": (
        RollbackStatus(True, "v1.0.0", "aaaa", "Cold", None, "m"),
        "to v1.0.0: Cold, nobody knows how long it takes",
    ),
    "nowhere to go": (RollbackStatus(message="No other version has served yet."), "No other version has served yet."),
}


@pytest.mark.parametrize(("rollback", "told"), READINESS.values(), ids=READINESS.keys())
def test_how_soon_a_rollback_would_be_there(rollback: RollbackStatus, told: str) -> None:
    assert rollback_text(msgspec.to_builtins(rollback)) == told


def test_a_rollback_says_how_soon_it_will_be_there(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status(), revision("aaaa"), revision())
    _, out, _ = outrider("rollback", "llama", "-n", "production", "--dry-run")
    assert out.startswith("llama: v2.0.0 -> v1.0.0 (revision 1, Candidate, Warm, about 5 s)\n")
    told = json.loads(outrider("rollback", "llama", "-n", "production", "--dry-run", "-o", "json")[1])
    assert (told["readiness"], told["estimatedSeconds"]) == ("Warm", 5.0)


def test_a_rollback_elsewhere_promises_nothing(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status(), revision("aaaa"), revision())
    _, out, _ = outrider("rollback", "llama", "--to", "v2.0.0", "-n", "production", "--dry-run")
    assert out.startswith("llama: v2.0.0 -> v2.0.0 (revision 2, Candidate)\n")


def test_describe_and_status_say_how_soon_a_rollback_would_be_there(cluster: Path, outrider: Run) -> None:
    Cluster(cluster).has(status(), revision("aaaa"), revision())
    assert "Rollback:          to v1.0.0: Warm, about 5 s\n" in outrider("describe", "llama", "-n", "production")[1]
    assert "v1.0.0 (Warm, about 5 s)" in outrider("status", "llama", "-n", "production", "-o", "wide")[1]
