"""What to do about one LLMDeployment: the status to write first, then the actions, and why."""

from collections.abc import Iterable
from typing import Any

import msgspec

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeploymentStatus, ReleaseStatus, TrafficStatus
from outrider.api.meta import Condition, Instant, find_condition, merge_conditions, parse_time
from outrider.api.modelrevision import ModelRevision, ModelRevisionSpec
from outrider.api.names import service_name
from outrider.api.versionpin import VersionPin, VersionPinStatus
from outrider.plan.actions import Action, Apply, Create, Delete, Emit, PatchStatus, Plan
from outrider.plan.deployment import capacity, drift, drill, engine, fleet, gates, optional, replacement, steps, traffic
from outrider.plan.deployment.beginning import begun
from outrider.plan.deployment.changes import events
from outrider.plan.deployment.conditions import ready
from outrider.plan.deployment.effective import ROLLED_BACK, Effective, Hold, current_revision, decide
from outrider.plan.deployment.facts import Facts, Wish
from outrider.plan.deployment.objects import Objects, manifests, objects
from outrider.plan.deployment.rejection import ABORTED
from outrider.plan.deployment.release import Release, look, with_rejection
from outrider.plan.deployment.revision import revision_body
from outrider.plan.deployment.rolling import max_unavailable
from outrider.plan.deployment.rollout import Rollout, answers, next_staleness, observe
from outrider.plan.deployment.snapshot import Snapshot
from outrider.plan.deployment.standby import with_loads
from outrider.plan.deployment.states import Judgement, judge, prunable, verified_at
from outrider.plan.deployment.status import make_status

NAME_TAKEN = "NameTaken"
SERVING = frozenset({"Service", "HTTPRoute", "Deployment"})
"""Kinds without which, as they are wanted, nobody can say that the wanted revision serves."""


def plan(snapshot: Snapshot, now: Instant) -> Plan:
    """The plan for what `snapshot` shows at `now`. Empty, but for `requeue_at`, when everything is as it should be.

    While an LLMDeployment is being deleted nothing is planned: what it owns goes with it.
    """
    if snapshot.deployment.metadata.deletion_timestamp is not None:
        return Plan(because=("It is being deleted; what it owns goes with it.",))
    effective = _unless_name_taken(snapshot, decide(snapshot))
    service = service_name(snapshot.name, snapshot.service_owners)
    under_way = begun(snapshot, effective, now)
    divided = _divided(snapshot, effective, under_way, service)
    made = objects(snapshot, effective, service, under_way, divided, now)
    applies = made.applies
    facts = _facts(snapshot, now, effective, service, made, divided, under_way)
    judgement = _judgement(facts)
    facts = msgspec.structs.replace(facts, states=judge(snapshot, judgement, facts.wish.bake_seconds, now))
    release = look(facts, under_way)
    if release is not None:
        facts = msgspec.structs.replace(facts, release=release.status, states=with_rejection(facts.states, release))
    facts = msgspec.structs.replace(facts, states=with_loads(facts, judgement.ready))
    drilled = drill.look(facts)
    facts = msgspec.structs.replace(facts, drill=drilled.status, states=drill.with_load(facts, drilled.status))
    replaced = replacement.look(facts)
    status = make_status(facts)
    before = snapshot.deployment.status
    changed = status != before
    target = effective.target.hash if effective.target is not None else ""
    actions: list[Action] = [
        *drilled.removed,
        *gates.opened(snapshot, now, divided, target),
        *_created(snapshot, effective),
        *_revision_statuses(facts),
        *_pin_status(facts),
        *made.actions,
        *gates.shut(snapshot, now, divided, target),  # now that the Service leads elsewhere
        *drilled.applies,
        *replaced.actions,
        *_pruned(facts, status),
        *_told(facts, before, status, applies, changed=changed),
    ]
    return Plan(
        status=msgspec.to_builtins(status) if changed else None,
        actions=tuple(actions),
        because=_because(facts, status, applies),
        requeue_at=_requeue_at(
            facts,
            judgement,
            release,
            (
                drilled.looks_again_at,
                replaced.looks_again_at,
                fleet.looks_again_at(snapshot, now),
                facts.rollout.deadline_at,
            ),
        ),
        confirm_first=traffic.gives_more(before.traffic, divided)
        or traffic.moves(snapshot, divided)
        or made.ends_others
        or (release is not None and release.rejection is not None and release.rejection.reason != ABORTED),
    )


def desired(snapshot: Snapshot, now: Instant) -> tuple[dict[str, Any], ...]:
    """Every object that there should be, whether or not it is there, in the order in which they are applied.

    Empty while nothing is to be changed: the plan says why.
    """
    effective = _unless_name_taken(snapshot, decide(snapshot))
    service = service_name(snapshot.name, snapshot.service_owners)
    under_way = begun(snapshot, effective, now)
    divided = _divided(snapshot, effective, under_way, service)
    return manifests(snapshot, effective, service, under_way, divided, now)


def _divided(
    snapshot: Snapshot, effective: Effective, release: ReleaseStatus | None, service: str
) -> TrafficStatus | None:
    if effective.target is None:
        return snapshot.deployment.status.traffic
    return traffic.divide(snapshot, effective.target.hash, release, service)


def _unless_name_taken(snapshot: Snapshot, effective: Effective) -> Effective:
    """Never take over what is somebody else's: hold, and say whose name it is."""
    taken = [
        f"{kind} {snapshot.name}"
        for kind, child in (("Deployment", snapshot.workload), ("PodDisruptionBudget", snapshot.budget))
        if child is not None and not child.owned
    ]
    if not taken or effective.hold is not None:
        return effective
    message = (
        f"{' and '.join(taken)} in {snapshot.namespace} belongs to something else: "
        "delete or rename it, or rename this LLMDeployment."
    )
    return msgspec.structs.replace(effective, target=None, is_new=False, hold=Hold(NAME_TAKEN, message))


def _facts(
    snapshot: Snapshot,
    now: Instant,
    effective: Effective,
    service: str,
    made: Objects,
    divided: TrafficStatus | None,
    release: ReleaseStatus | None,
) -> Facts:
    wish = _wish(snapshot)
    revision = effective.target.hash if effective.target is not None else current_revision(snapshot)
    place = fleet.home(snapshot, revision)
    pending = any(
        apply.body["kind"] in SERVING
        and apply.body["metadata"]["name"] != snapshot.picker_name
        and (apply.body["kind"] != "Deployment" or apply.body["metadata"]["name"] == place)
        and not drift.leads_alike(apply.body, snapshot.service, revision)
        for apply in made.applies
    )
    pending = pending or bool(made.scaled)
    rollout = observe(
        snapshot, revision, wish.replicas, now=now, pending_write=pending, traffic=divided, release=release
    )
    need = capacity.Need(
        key=snapshot.deployment.metadata.key,
        gpus_per_replica=wish.gpus_per_replica,
        wanted=wish.replicas,
        unplaced=_unplaced(rollout, wish) if effective.target is not None else 0,
    )
    spec = snapshot.parsed.spec
    return Facts(
        snapshot=snapshot,
        now=now,
        effective=effective,
        wish=wish,
        rollout=rollout,
        answers=answers(snapshot, rollout, now),
        capacity=capacity.assess(need, snapshot.gpus),
        traffic=divided,
        service_name=service if snapshot.service is not None or effective.target is not None else "",
        notes=engine.limits(spec) if spec is not None else (),
        picker=made.picker,
        without_effect=optional.without_effect(snapshot, made.picker),
    )


def _unplaced(rollout: Rollout, wish: Wish) -> int:
    """Replicas without a node; and before a rollout that may not go below full strength, the one that it adds first."""
    first_surge = bool(rollout.old) and not rollout.updated and wish.max_unavailable == 0 and wish.replicas > 0
    return max(rollout.unplaced, 1 if first_surge else 0)


def _wish(snapshot: Snapshot) -> Wish:
    spec, status = snapshot.parsed.spec, snapshot.deployment.status
    if spec is not None:
        return Wish(
            replicas=spec.desired_replicas,
            gpus_per_replica=spec.resources.gpus,
            bake_seconds=spec.rollback.auto_rollback.bake_time.seconds,
            model=(spec.model.served_names or (snapshot.name,))[0],
            stage=spec.stage,
            max_unavailable=max_unavailable(spec),
        )
    return Wish(
        replicas=_replicas_as_applied(snapshot),
        gpus_per_replica=max((pod.gpus for pod in snapshot.pods), default=0),
        bake_seconds=float("inf"),
        model=status.model,
        stage=status.stage,
        max_unavailable=0,
    )


def _replicas_as_applied(snapshot: Snapshot) -> int:
    held = fleet.holder(snapshot, current_revision(snapshot)) or snapshot.workload
    return held.spec_replicas if held is not None else 0


def _judgement(facts: Facts) -> Judgement:
    """Who serves alone and since when, by the condition Ready as it will be written."""
    kind, state, reason, message = ready(facts)
    before = facts.snapshot.deployment.status
    (merged,) = merge_conditions(
        before.conditions, [Condition(type=kind, status=state, reason=reason, message=message)], facts.now
    )
    is_ready = state == "True"
    old = find_condition(before.conditions, kind)
    return Judgement(
        ready=facts.rollout.revision if is_ready or _serves_on_hold(facts) else "",
        ready_since=parse_time(merged.last_transition_time) if is_ready else None,
        answering=frozenset(pod.revision for pod in facts.rollout.serving),
        just_became_ready=is_ready and (old is None or old.status != "True"),
    )


def _serves_on_hold(facts: Facts) -> bool:
    """Whether all replicas of one revision answer, and it is only not Ready because something else is asked for."""
    answers = facts.answers
    return facts.effective.hold is not None and facts.rollout.complete and not (answers.failing or answers.unknown)


def _created(snapshot: Snapshot, effective: Effective) -> list[Action]:
    """The snapshot of a release exists before the first pod of it."""
    if not effective.is_new or effective.target is None:
        return []
    body = revision_body(snapshot.deployment, effective.target)
    return [Create(body=body, why=f"{effective.target.version} is released for the first time in this form.")]


def _revision_statuses(facts: Facts) -> list[Action]:
    return [
        _patch(
            one.metadata.namespace,
            one.metadata.name,
            "ModelRevision",
            state,
            f"{one.spec.version} is {state.state}: {state.message}",
        )
        for one in facts.snapshot.revisions
        if (state := facts.states[one.spec.hash]) != one.status
    ]


def _pin_status(facts: Facts) -> list[Action]:
    pin = facts.snapshot.pin
    if pin is None:
        return []
    status = _pin_status_of(pin, facts)
    if status == pin.status:
        return []
    return [
        _patch(pin.metadata.namespace, pin.metadata.name, "VersionPin", status, "What the pin means is kept with it.")
    ]


def _pin_status_of(pin: VersionPin, facts: Facts) -> VersionPinStatus:
    hold, target = facts.effective.hold, facts.effective.target
    if hold is not None or target is None:
        reason, message = (hold.reason, hold.message) if hold is not None else ("Unknown", "")
        conditions = [Condition("Resolved", "False", reason, message, observed_generation=pin.metadata.generation)]
        return msgspec.structs.replace(
            pin.status, conditions=merge_conditions(pin.status.conditions, conditions, facts.now)
        )
    message = f"The pin means {target.version}, revision {target.hash}."
    conditions = [Condition("Resolved", "True", "Resolved", message, observed_generation=pin.metadata.generation)]
    return VersionPinStatus(
        revision=target.hash,
        version=target.version,
        conditions=merge_conditions(pin.status.conditions, conditions, facts.now),
    )


def _patch(namespace: str, name: str, kind: str, status: Any, why: str) -> PatchStatus:
    return PatchStatus(
        api_version=labels.API_VERSION,
        kind=kind,
        namespace=namespace,
        name=name,
        status=msgspec.to_builtins(status),
        why=why,
    )


def _pruned(facts: Facts, status: LLMDeploymentStatus) -> list[Action]:
    in_use = {
        status.effective_revision,
        status.desired_revision,
        status.stable_revision,
        status.rollback.target_revision,
        status.alias.revision if status.alias is not None else "",
        facts.drill.revision if facts.drill is not None and facts.drill.outcome == "Running" else "",
    }
    return [_delete(one) for one in prunable(facts.snapshot, facts.states, in_use)]


def _delete(revision: ModelRevision) -> Delete:
    meta = revision.metadata
    why = f"{revision.spec.version} (number {revision.spec.sequence}) is beyond the history that is kept."
    return Delete(
        api_version=labels.API_VERSION,
        kind="ModelRevision",
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        why=why,
    )


def _told(
    facts: Facts, before: LLMDeploymentStatus, status: LLMDeploymentStatus, applies: tuple[Apply, ...], *, changed: bool
) -> list[Action]:
    corrected = [Emit("Warning", "DriftCorrected", apply.why) for apply in applies if "somebody" in apply.why]
    return [*(events(facts, before, status) if changed else ()), *corrected]


def _because(facts: Facts, status: LLMDeploymentStatus, applies: tuple[Apply, ...]) -> tuple[str, ...]:
    effective = facts.effective
    parts = []
    if effective.hold is not None:
        parts.append(f"{effective.hold.reason}: {effective.hold.message}")
    if effective.target is not None:
        parts.append(_asked(effective, effective.target, status))
    parts += [apply.why for apply in applies]
    condition = find_condition(status.conditions, "Ready")
    if condition is not None and effective.hold is None:
        parts.append(f"Ready is {condition.status} ({condition.reason}): {condition.message}")
    return tuple(parts)


def _asked(effective: Effective, target: ModelRevisionSpec, status: LLMDeploymentStatus) -> str:
    what = f"{target.version}, revision {target.hash}"
    if effective.source == ROLLED_BACK:
        asked = effective.desired.version if effective.desired is not None else "a version"
        return f"The spec asks for {asked}, which was rolled back: {what} takes its place."
    alias = status.alias.name if status.alias else "alias"
    who = {"Pinned": "The pin", "PreviousStable": f"The spec ({alias})"}.get(effective.source, "The spec")
    return f"{who} asks for {what}."


def _requeue_at(
    facts: Facts, judgement: Judgement, release: Release | None, others: Iterable[Instant | None]
) -> Instant | None:
    """The next moment at which the same snapshot would lead to another plan."""
    window = facts.snapshot.config.probe_freshness
    moments = [
        next_staleness(facts.rollout, facts.now, window),
        verified_at(facts.snapshot, judgement, facts.wish.bake_seconds),
        facts.snapshot.probing_since + window
        if facts.answers.unknown and facts.snapshot.probing_since is not None
        else None,
        steps.next_moment(facts.release),
        *others,
        facts.now + release.looks_again_in
        if release is not None and release.looks_again_in is not None and facts.snapshot.watch is not None
        else None,
    ]
    return min((moment for moment in moments if moment is not None and moment > facts.now), default=None)
