"""The conditions of an LLMDeployment. Each is one function; the first reason that applies decides.

Reasons are an interface: scripts and alerts match them. The table in `tests/plan` has every one.
"""

from collections.abc import Iterable

from outrider.api.capabilities import NOT_ACTED_ON, covering_line
from outrider.api.llmdeployment import ReleaseStatus
from outrider.api.meta import Condition, ConditionStatus, find_condition
from outrider.plan.deployment import fleet, front_door, gateway, standby, steps
from outrider.plan.deployment.capacity import are, count
from outrider.plan.deployment.effective import ROLLED_BACK, find_revision, previous_stable
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.rollout import IMAGE_REASONS
from outrider.plan.deployment.snapshot import PodView
from outrider.plan.evidence.verdict import UNREACHABLE_THROUGH_GATEWAY


def all_conditions(facts: Facts) -> tuple[Condition, ...]:
    generation = facts.snapshot.deployment.metadata.generation
    made = [
        ready(facts),
        progressing(facts),
        available(facts),
        spec_valid(facts),
        spec_honoured(facts),
        capacity_available(facts),
        synthetic_healthy(facts),
        route_accepted(facts),
        endpoint_picker(facts),
        pinned(facts),
        release_healthy(facts),
        candidate_reachable(facts),
        rolled_back(facts),
        rollback_ready(facts),
    ]
    return tuple(
        Condition(type=kind, status=status, reason=reason, message=message, observed_generation=generation)
        for kind, status, reason, message in (one for one in made if one is not None)
    )


ROLLED_OUT = "RolledOut"
"""Reason of Progressing=False: every replica runs the effective revision, and nothing else is left."""

Made = tuple[str, ConditionStatus, str, str]
"""(type, status, reason, message)"""


def ready(facts: Facts) -> Made:
    """True only when every wanted replica runs the effective revision, nothing else serves, and each of them answered a
    real request a moment ago.
    """
    kind, rollout, answers = "Ready", facts.rollout, facts.answers
    if facts.effective.hold is not None:
        return kind, "False", facts.effective.hold.reason, facts.effective.hold.message
    if rollout.wanted == 0:
        return kind, "False", "Suspended", "No replica is wanted (spec.replicas or spec.autoscaling.minReplicas is 0)."
    if rollout.broken:
        return kind, "False", "PodsFailing", _broken(rollout.broken)
    if facts.capacity.available is False:
        return kind, "False", facts.capacity.reason, facts.capacity.message
    if answers.failing:
        message = _failing(answers.failing) if rollout.complete else _how_far(facts)
        return kind, "False", "SyntheticCheckFailed", message
    if not rollout.complete:
        return kind, "False", "Degraded" if facts.settled_before else "RollingOut", _how_far(facts)
    if answers.unknown and not (answers.just_started and facts.was_ready):
        return kind, "False", "AwaitingAnswer", _unanswered(facts)
    serve = "serves" if rollout.wanted == 1 else "serve"
    message = f"{count(rollout.wanted, 'replica')} of {_what(facts)} {serve}.{_hardware(rollout.updated)}"
    return kind, "True", "Serving", message


def progressing(facts: Facts) -> Made:
    """True while something is under way; False when it is done, or cannot go on by itself."""
    kind, rollout = "Progressing", facts.rollout
    if facts.effective.hold is not None:
        return kind, "False", facts.effective.hold.reason, facts.effective.hold.message
    if rollout.wanted == 0 and not rollout.updated and not rollout.old:
        return kind, "False", "Suspended", "No replica is wanted."
    if rollout.complete:
        if facts.answers.unknown and not (facts.answers.just_started and facts.was_ready):
            return kind, "True", "AwaitingAnswer", _unanswered(facts)
        return kind, "False", ROLLED_OUT, f"{_what(facts)} is rolled out."
    if rollout.broken:
        return kind, "False", "PodsFailing", _broken(rollout.broken)
    if facts.capacity.available is False:
        return kind, "False", _room_reason(facts), _room_message(facts)
    if rollout.deadline_exceeded:
        return kind, "False", "ProgressDeadlineExceeded", f"The rollout has stood still for too long: {_how_far(facts)}"
    return kind, "True", "RollingBack" if facts.going_back else "RollingOut", _how_far(facts)


def _room_reason(facts: Facts) -> str:
    return "SurgeNeedsRoom" if _surge_is_stuck(facts) else facts.capacity.reason


def _surge_is_stuck(facts: Facts) -> bool:
    return bool(facts.rollout.old) and facts.wish.max_unavailable == 0


def _room_message(facts: Facts) -> str:
    if not _surge_is_stuck(facts):
        return facts.capacity.message
    return (
        f"A new replica has to be ready before an old one goes, and there is no room for it. {facts.capacity.message} "
        "Or let the rollout replace replicas in place, with less capacity while it lasts: "
        "spec.deployment.rollingUpdate {maxUnavailable: 1, maxSurge: 0}."
    )


def available(facts: Facts) -> Made:
    """Whether anything can answer requests, whatever its revision."""
    serving = facts.rollout.serving
    if not serving:
        return "Available", "False", "NothingServes", "No pod is ready to answer requests."
    versions = ", ".join(sorted({pod.version or pod.revision for pod in serving}))
    return "Available", "True", "PodsServe", f"{count(len(serving), 'pod')} can answer requests ({versions})."


def spec_valid(facts: Facts) -> Made:
    parsed = facts.snapshot.parsed
    if parsed.errors:
        found = "; ".join(str(error) for error in parsed.errors)
        return "SpecValid", "False", "InvalidSpec", f"{count(len(parsed.errors), 'error')}, nothing is changed: {found}"
    if parsed.warnings:
        return "SpecValid", "True", "ValidWithWarnings", "; ".join(parsed.warnings)
    return "SpecValid", "True", "Valid", "The spec is valid."


def spec_honoured(facts: Facts) -> Made:
    """Names every field that does not do what it says. Nothing is dropped in silence."""
    parsed, parts, reasons = facts.snapshot.parsed, [], []
    if parsed.ignored:
        reasons.append("FieldsIgnored")
        parts.append(f"unknown to this version: {', '.join(parsed.ignored)}")
    if parsed.not_acted_on:
        reasons.append("FieldsNotActedOn")
        parts.append(
            f"known, but not acted on by this version: {', '.join(_with_reason(path) for path in parsed.not_acted_on)}"
        )
    if facts.without_effect:
        reasons.append("FieldsNotActedOn")
        told = (f"{path} ({why})" for path, why in facts.without_effect.items())
        parts.append(f"without effect in this cluster: {', '.join(told)}")
    if facts.notes:
        reasons.append("FieldsLimited")
        parts.extend(facts.notes)
    if not parts:
        return "SpecHonoured", "True", "AllFields", "Every field has its effect."
    return "SpecHonoured", "False", reasons[0], "; ".join(parts)


def _with_reason(path: str) -> str:
    line = covering_line(path)
    return f"{path} ({NOT_ACTED_ON[line]})" if line is not None else path


def capacity_available(facts: Facts) -> Made:
    verdict = facts.capacity
    status: ConditionStatus = "Unknown" if verdict.available is None else "True" if verdict.available else "False"
    return "CapacityAvailable", status, verdict.reason, verdict.message


def synthetic_healthy(facts: Facts) -> Made:
    """What real requests to the pods of the effective revision say, whether or not the rollout is complete."""
    kind, answers = "SyntheticHealthy", facts.answers
    if answers.failing:
        return kind, "False", "SyntheticCheckFailed", _failing(answers.failing)
    if answers.faltering:
        window = f"{facts.snapshot.config.probe_freshness:.0f} s"
        said = _errors(answers.faltering)
        return kind, "False", "SyntheticCheckFaltering", f"Some real requests failed within {window}: {said}."
    if not facts.rollout.up:
        return kind, "Unknown", "NoReadyPods", "No pod of the effective revision is ready to be asked."
    if answers.unknown and not (answers.just_started and facts.was_ready):
        return kind, "Unknown", "AwaitingAnswer", _unanswered(facts)
    return kind, "True", "Answering", "Every ready pod answered a real request."


def route_accepted(facts: Facts) -> Made | None:
    """What the Gateway says of our HTTPRoutes; None without a Gateway, and for one that never reports."""
    kind, snapshot, config = "RouteAccepted", facts.snapshot, facts.snapshot.config
    if not config.gateway_name or not facts.service_name:
        return None
    name = f"{config.gateway_namespace or snapshot.namespace}/{config.gateway_name}"
    if snapshot.kinds.http_routes is False:
        message = (
            "This cluster has no HTTPRoute (gateway.networking.k8s.io/v1): install Gateway API, or run the operator "
            "without a Gateway. Inside the cluster the Service answers."
        )
        return kind, "False", "GatewayAPIMissing", message
    if snapshot.gateway is not None and not snapshot.gateway.exists:
        return kind, "False", "GatewayMissing", f"There is no Gateway {name}: create it, or name another one."
    for refusal in gateway.refusals(snapshot, facts.service_name):
        reason = "BackendRefused" if refusal.accepted else "RouteRefused"
        advice = gateway.ADVICE.get(refusal.reason)
        what = f"the backend of HTTPRoute {refusal.route}" if refusal.accepted else f"HTTPRoute {refusal.route}"
        message = f"Gateway {name} does not take {what}: {refusal.reason}: {refusal.message}"
        return kind, "False", reason, message + (f" ({advice})." if advice else "")
    taken = gateway.reported(snapshot, facts.service_name)
    if taken is None:
        return None
    if taken:
        return kind, "True", "Accepted", f"Gateway {name} takes the routes."
    before = find_condition(snapshot.deployment.status.conditions, kind)
    if before is not None:  # a moment after a change of the route nothing new is known
        return kind, before.status, before.reason, before.message
    return kind, "Unknown", "AwaitingGateway", f"Gateway {name} has not said yet whether it takes the routes."


def endpoint_picker(facts: Facts) -> Made | None:
    """Whether an endpoint picker chooses the replicas; None where the spec asks for none."""
    picker = facts.picker
    if not picker.asked:
        return None
    status: ConditionStatus = "Unknown" if picker.reason == "Unknown" else "True" if picker.routed else "False"
    return "EndpointPicker", status, picker.reason, f"{picker.message[:1].upper()}{picker.message[1:].rstrip('.')}."


def pinned(facts: Facts) -> Made | None:
    pin, effective = facts.snapshot.pin, facts.effective
    if pin is None:
        return None
    who = f" by {pin.spec.created_by}" if pin.spec.created_by else ""
    why = f" ({pin.spec.reason})" if pin.spec.reason else ""
    if effective.hold is not None:
        return (
            "Pinned",
            "False",
            effective.hold.reason,
            f"The pin{who}{why} cannot take effect: {effective.hold.message}",
        )
    wanted = effective.desired.version if effective.desired is not None else "what cannot be read"
    message = f"Held on {_what(facts)}{who}{why}; the spec asks for {wanted}. `outrider unpin` resumes the spec."
    return "Pinned", "True", "VersionPin", message


def release_healthy(facts: Facts) -> Made | None:
    """What is concluded from comparing the new version with the one before it; None while nothing is compared."""
    found = facts.release
    if found is None or found.phase != "Watching":
        return None
    status: ConditionStatus = "False" if found.verdict == "RollBack" else "Unknown"
    return "ReleaseHealthy", status, found.reason, found.message


def candidate_reachable(facts: Facts) -> Made | None:
    """Whether the Gateway reaches the candidate by the path that it has to itself; None where there is no such path,
    and where nobody asks there.
    """
    kind, release = "CandidateReachable", facts.release
    before = find_condition(facts.snapshot.deployment.status.conditions, kind)
    said = (kind, before.status, before.reason, before.message) if before is not None else None
    if release is None or release.phase != "Watching":
        return None
    if facts.snapshot.front_door is None:
        return said if facts.snapshot.probing_since is None else None
    found = front_door.reach(facts, release)
    if found.state == "Unreachable":
        return kind, "False", UNREACHABLE_THROUGH_GATEWAY, f"{front_door.unreachable(facts, release)}."
    if found.state == "Answers":
        return kind, "True", "Answering", f"A real request through the Gateway was answered by {release.version}."
    if found.state == "GatewaySilent":
        message = (
            f"The operator's own requests to the service through the Gateway are not answered ({found.message}). So "
            f"nothing is known of the way to {release.version}, and nothing waits for it."
        )
        return kind, "Unknown", "GatewaySilent", message
    if said is not None:
        return said
    return kind, "Unknown", "AwaitingAnswer", f"No request through the Gateway was answered by {release.version} yet."


def rolled_back(facts: Facts) -> Made | None:
    """That what the spec asks for was taken back by itself; None where it was not."""
    desired, effective = facts.effective.desired, facts.effective
    found = find_revision(facts.snapshot.revisions, desired.hash) if desired is not None else None
    if found is None or found.status.rejection is None or effective.source != ROLLED_BACK:
        return None
    message = (
        f"{found.spec.version} (revision {found.spec.hash}), which the spec asks for, was rolled back: "
        f"{found.status.rejection.message.rstrip('.')}. {_what(facts)} takes its place. Release another version, "
        f"or try this one again: `outrider rollout retry {facts.snapshot.name} --namespace {facts.snapshot.namespace}`."
    )
    return "RolledBack", "True", found.status.rejection.reason, message


def rollback_ready(facts: Facts) -> Made:
    target = previous_stable(facts.snapshot, facts.rollout.revision)
    if target is None:
        return "RollbackReady", "False", "NoPreviousStableVersion", "No other version has served yet."
    readiness, _, message = standby.readiness(facts, target)
    return (
        "RollbackReady",
        "True",
        readiness,
        f"{target.spec.version} (revision {target.spec.hash}) has served; {message}",
    )


def _what(facts: Facts) -> str:
    return f"{facts.version} (revision {facts.rollout.revision})"


def _how_far(facts: Facts) -> str:
    rollout = facts.rollout
    if not rollout.applied:
        return f"{_what(facts)} is about to be rolled out."
    ready_now = len(rollout.ready)
    text = f"{ready_now} of {count(rollout.wanted, 'replica')} of {_what(facts)} {are(ready_now)} ready"
    if rollout.old:
        others = ", ".join(sorted({pod.version or pod.revision for pod in rollout.old}))
        text += f"; {count(len(rollout.old), 'pod')} of {others} {are(len(rollout.old))} still there"
    text += f".{_hardware(pod for pod in rollout.updated if not pod.ready)}"
    return text + _present_step(facts) + (f" {_failing(facts.answers.failing)}" if facts.answers.failing else "")


def _hardware(pods: Iterable[PodView]) -> str:
    """A sentence for each that has something wrong beneath it."""
    return "".join(f" Beneath {pod.name}: {pod.fault.message}." for pod in pods if pod.fault is not None)


def _paused(facts: Facts, release: ReleaseStatus | None) -> str:
    """That a person has paused it, where it does not go by steps."""
    if release is None or (release.revision, release.phase) != (facts.rollout.revision, "Watching"):
        return ""
    if not steps.wishes(find_revision(facts.snapshot.revisions, release.revision), release).paused:
        return ""
    return f" It is paused by a person: {steps.RESUME} {facts.snapshot.name}."


def _present_step(facts: Facts) -> str:
    """Of a release by steps: which one it is at, and what it waits for."""
    release = facts.snapshot.deployment.status.release
    if release is None or not fleet.is_on_steps(release, facts.rollout.revision):
        return _paused(facts, release)
    awaited = f" It waits for {release.waits_for}." if release.waits_for else ""
    if release.stage == "Preview":
        return f" It is tried without traffic.{awaited}"
    return f" Step {release.step + 1} of {len(release.steps)}: {release.weight} % of the traffic.{awaited}"


def _unanswered(facts: Facts) -> str:
    names = ", ".join(pod.name for pod in facts.answers.unknown)
    return (
        f"Ready, but no real request has been answered within {facts.snapshot.config.probe_freshness:.0f} s by {names}."
    )


def _failing(pods: tuple[PodView, ...]) -> str:
    return f"Real requests fail: {_errors(pods)}."


def _errors(pods: tuple[PodView, ...]) -> str:
    return "; ".join(f"{pod.name}: {pod.probe.message if pod.probe else ''}" for pod in pods)


def _broken(pods: tuple[PodView, ...]) -> str:
    first = pods[0]
    more = f" ({count(len(pods), 'pod')} in all)" if len(pods) > 1 else ""
    why = f": {first.waiting_message}" if first.waiting_message else ""
    why += f"; {first.fault.message}" if first.fault is not None else ""
    told = "" if first.waiting in IMAGE_REASONS else f" See `outrider logs pod/{first.name}`."  # it has written nothing
    return f"{first.name} does not start: {first.waiting}{why}{more}.{told}"
