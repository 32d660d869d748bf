"""Drills of the way back: one pod of the version, beside the service and out of its traffic, has to load and to answer.

A drill is asked for by an annotation of the ModelRevision, and told in `status.rollback.lastDrill`. Only that status
says whether one runs: its Deployment is there as long as it does, so a crash between any two writes leaves nothing that
the next look does not put right. Nothing that is decided about the service looks at a drill's pod: its labels are such
that nothing selects it, and its readiness gate is never opened.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from outrider.api import labels
from outrider.api.llmdeployment import DrillOutcome, DrillStatus, LLMDeploymentStatus
from outrider.api.meta import Instant, format_time, parse_time
from outrider.api.modelrevision import LoadStatus, ModelRevision, ModelRevisionStatus
from outrider.plan.actions import Apply, Delete, Scale
from outrider.plan.deployment import drift, drill_pods, fleet, obstacles, standby, weights
from outrider.plan.deployment.drill_pods import LOADED
from outrider.plan.deployment.effective import find_revision
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.render_drill import drill_body

REQUEST_LASTS = 3600.0
"""Seconds after which a drill that was asked for is not begun any more: the operator was away, and so is whoever asked.
It is also what keeps an old request from being run when the status that tells of it is lost."""


class Drilled(msgspec.Struct, frozen=True):
    """What one look at the drills found."""

    status: DrillStatus | None = None
    """As it should be stored."""
    applies: tuple[Apply, ...] = ()
    removed: tuple[Scale | Delete, ...] = ()
    """To be done before anything else, so that what needs its GPUs gets them."""
    looks_again_at: Instant | None = None


def is_running(status: LLMDeploymentStatus) -> bool:
    """Whether the status tells of a drill under way."""
    return status.rollback.last_drill is not None and status.rollback.last_drill.outcome == "Running"


def look(facts: Facts) -> Drilled:
    """How the drill fares that is under way, or begins now."""
    before = facts.snapshot.deployment.status.rollback.last_drill
    status, again = before, None
    if before is not None and before.outcome == "Running":
        status, again = _went_on(facts, before)
    elif (asked := _asked(facts.snapshot.revisions, before)) is not None:
        status = _begun(facts, *asked)
        again = facts.now + drill_pods.PAUSE if status.outcome == "Running" else None
    if again is None and _asked(facts.snapshot.revisions, status) is not None:
        again = facts.now + drill_pods.PAUSE
    body = _body(facts, status)
    return Drilled(status, _applies(facts, body), _removed(facts, body), again)


def _asked(revisions: Sequence[ModelRevision], last: DrillStatus | None) -> tuple[ModelRevision, str] | None:
    """The newest request that is newer than the last drill, and of which revision; None where there is none."""
    done = parse_time(last.requested_at) if last is not None else None
    found = [
        (moment, one)
        for one in revisions
        if (moment := parse_time(one.metadata.annotations.get(labels.DRILL))) is not None
        and (done is None or moment > done)
    ]
    if not found:
        return None
    _, newest = max(found, key=lambda pair: (pair[0], pair[1].spec.hash))
    return newest, newest.metadata.annotations[labels.DRILL]


def _begun(facts: Facts, revision: ModelRevision, requested: str) -> DrillStatus:
    """The drill, or why there is none."""
    begun = DrillStatus(
        requested_at=requested,
        version=revision.spec.version,
        revision=revision.spec.hash,
        started_at=format_time(facts.now),
    )
    asked = parse_time(requested)
    if asked is None or facts.now - asked > REQUEST_LASTS:
        message = f"it was asked for at {requested}, and is not begun so long after"
        return ended(facts, begun, "NotPossible", "TooLate", message)
    found = obstacles.to_begin(facts, revision)
    if found is not None:
        return ended(facts, begun, "NotPossible", *found)
    loaded = fleet.ready(facts.snapshot, revision.spec.hash)
    if loaded:
        return msgspec.structs.replace(begun, reason=LOADED, message=drill_pods.asks_loaded(loaded))
    return msgspec.structs.replace(begun, reason="Starting", message="its pod is about to be started")


def _went_on(facts: Facts, drill: DrillStatus) -> tuple[DrillStatus, Instant | None]:
    """The drill after another look, and when to look again although nothing changes."""
    revision = find_revision(facts.snapshot.revisions, drill.revision)
    if revision is None:
        return ended(facts, drill, "Interrupted", "RevisionGone", "its ModelRevision is gone"), None
    if revision.metadata.annotations.get(labels.DRILL) != drill.requested_at:
        return ended(facts, drill, "Interrupted", "CalledOff", "it was called off"), None
    found = obstacles.to_go_on(facts, revision, drill)
    if found is not None:
        return ended(facts, drill, "Interrupted", *found), None
    judged = drill_pods.judge_loaded(facts, drill) if drill.reason == LOADED else drill_pods.judge_started(facts, drill)
    if judged.outcome == "Running":
        return msgspec.structs.replace(drill, reason=judged.reason, message=judged.message), judged.looks_again_at
    told = msgspec.structs.replace(drill, seconds=judged.seconds)
    return ended(facts, told, judged.outcome, judged.reason, judged.message), None


def ended(facts: Facts, drill: DrillStatus, outcome: DrillOutcome, reason: str, message: str) -> DrillStatus:
    """The drill with its end."""
    return msgspec.structs.replace(
        drill, outcome=outcome, reason=reason, message=message, ended_at=format_time(facts.now)
    )


def with_load(facts: Facts, drilled: DrillStatus | None) -> dict[str, ModelRevisionStatus]:
    """The states of all revisions, with what a drill that has just passed has measured."""
    spec, before = facts.snapshot.parsed.spec, facts.snapshot.deployment.status.rollback.last_drill
    revision = find_revision(facts.snapshot.revisions, drilled.revision) if drilled is not None else None
    if drilled is None or drilled == before or drilled.outcome != "Passed" or drilled.reason == LOADED:
        return facts.states
    if spec is None or revision is None or drilled.seconds is None or drilled.revision not in facts.states:
        return facts.states
    found, status = weights.store(spec, revision.spec), facts.states[drilled.revision]
    nodes = found.nodes(drill_pods.answered(facts, drilled))
    measured = LoadStatus(drilled.ended_at, drilled.seconds, "Drill", found.name, nodes)
    load = standby.drilled(status.load, measured)
    return dict(facts.states) | {drilled.revision: msgspec.structs.replace(status, load=load)}


def _body(facts: Facts, drill: DrillStatus | None) -> dict[str, Any] | None:
    """The Deployment that there should be; None where nothing is to run."""
    spec = facts.snapshot.parsed.spec
    if drill is None or drill.outcome != "Running" or drill.reason == LOADED or spec is None:
        return None
    revision = find_revision(facts.snapshot.revisions, drill.revision)
    if revision is None:
        return None
    return drill_body(facts.snapshot.deployment, spec, revision.spec, facts.snapshot.config, drill.requested_at)


def _applies(facts: Facts, body: dict[str, Any] | None) -> tuple[Apply, ...]:
    if body is None:
        return ()
    name = body["metadata"]["name"]
    seen = next((one for one in facts.snapshot.drill_workloads if one.name == name), None)
    why = drift.workload(body, seen)
    return (Apply(body, f"Deployment {name}: {why}."),) if why is not None else ()


def _removed(facts: Facts, body: dict[str, Any] | None) -> tuple[Scale | Delete, ...]:
    """What is left of drills. First their pods end, then their Deployments go: the garbage collector, which ends the
    pods of a Deployment that is gone, may take minutes.
    """
    wanted = body["metadata"]["name"] if body is not None else ""
    namespace = facts.snapshot.namespace
    found: list[Scale | Delete] = []
    for one in (one for one in facts.snapshot.drill_workloads if one.name != wanted):
        if one.spec_replicas:
            found.append(Scale(namespace, one.name, one.uid, 0, f"Deployment {one.name}: no drill needs its pod."))
        elif one.is_observed and not one.replicas:
            found.append(Delete("apps/v1", "Deployment", namespace, one.name, one.uid, "no drill needs it any more."))
    return tuple(found)
