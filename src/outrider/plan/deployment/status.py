"""The whole status of an LLMDeployment. Printed columns are never empty, and what is unknown says so."""

from collections.abc import Callable

from outrider.api.catalog import gpu_price
from outrider.api.llmdeployment import NONE, UNKNOWN, HistoryEntry, LLMDeploymentStatus, Phase, RollbackStatus
from outrider.api.meta import Condition, find_condition, merge_conditions
from outrider.api.modelrevision import ModelRevisionStatus
from outrider.plan.deployment import fleet, gateway, standby
from outrider.plan.deployment.conditions import all_conditions
from outrider.plan.deployment.effective import ROLLED_BACK, previous_stable
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.render import selector_text
from outrider.plan.deployment.states import stable

STEADY_SHARE = 0.25
"""A measured column is rewritten when the value has moved by more than a quarter: a status is no time series."""


def make_status(facts: Facts) -> LLMDeploymentStatus:
    """What the status should be now. It equals the stored one when nothing worth saying has changed."""
    snapshot, rollout = facts.snapshot, facts.rollout
    before = snapshot.deployment.status
    conditions = merge_conditions(before.conditions, all_conditions(facts), facts.now)
    steady = stable(snapshot, facts.states, rollout.revision)
    desired = facts.effective.desired
    return LLMDeploymentStatus(
        observed_generation=snapshot.deployment.metadata.generation,
        phase=phase(facts, conditions),
        ready=f"{len(rollout.ready)}/{rollout.wanted}",
        replicas=len(rollout.updated) + len(rollout.old),
        ready_replicas=len(rollout.serving),
        updated_replicas=len(rollout.updated),
        available_replicas=sum(one.available_replicas for one in fleet.workloads(snapshot)),
        selector=selector_text(snapshot.name),
        model=facts.wish.model or NONE,
        stage=facts.wish.stage or NONE,
        desired_version=desired.version if desired is not None else UNKNOWN,
        effective_version=facts.version,
        serving_version=",".join(sorted({pod.version or pod.revision for pod in rollout.serving})) or NONE,
        stable_version=steady.spec.version if steady is not None else NONE,
        desired_revision=desired.hash if desired is not None else "",
        effective_revision=rollout.revision,
        stable_revision=steady.spec.hash if steady is not None else "",
        gpus=str(sum(pod.gpus for pod in snapshot.pods if pod.node and not pod.finished)),
        latency_p95=latency(facts),
        error_rate=error_rate(facts),
        cost_per_hour=cost(facts),
        url=url(facts),
        service_name=facts.service_name,
        pinned=snapshot.pin is not None and facts.effective.hold is None,
        alias=facts.effective.alias,
        rollback=rollback(facts),
        release=facts.release,
        traffic=facts.traffic,
        history=history(facts),
        ignored_fields=tuple(sorted({*snapshot.parsed.reported, *facts.without_effect})),
        conditions=conditions,
    )


def phase(facts: Facts, conditions: tuple[Condition, ...]) -> Phase:
    """One word for people and for `awk`. Conditions say the rest."""
    rollout, hold = facts.rollout, facts.effective.hold
    ready = find_condition(conditions, "Ready")
    serves = bool(rollout.serving)
    if hold is not None:
        return "Degraded" if serves else "Failed"
    if rollout.wanted == 0:
        return "Suspended"
    if ready is not None and ready.status == "True":
        return "RolledBack" if _elsewhere(facts) else "Ready"
    if rollout.broken:
        return "Degraded" if serves else "Failed"
    if facts.capacity.available is False and not serves:
        return "Pending"
    if facts.settled_before:
        # What nobody has asked of late may well answer: unknown is not failed.
        return "Degraded" if serves and (facts.answers.good or facts.answers.unknown) else "Failed"
    if rollout.complete and facts.answers.failing:
        return "Degraded"
    if rollout.deadline_exceeded:
        return "Degraded" if serves else "Failed"
    if facts.going_back:
        return "RollingBack"
    return "Progressing" if rollout.updated or serves else "Pending"


def _elsewhere(facts: Facts) -> bool:
    """Whether a pin or a rollback holds the service on another revision than the spec asks for."""
    desired, effective = facts.effective.desired, facts.effective
    held = facts.snapshot.pin is not None or effective.source == ROLLED_BACK
    return held and desired is not None and desired.hash != facts.rollout.revision


def latency(facts: Facts) -> str:
    measured = facts.snapshot.measurements
    value = measured.latency_p95 if measured is not None else None
    if value is None:
        return UNKNOWN
    text = f"{value * 1000:.0f}ms" if value < 10 else f"{value:.1f}s"
    return _steady(facts.snapshot.deployment.status.latency_p95, text, value, _seconds)


def _seconds(text: str) -> float | None:
    number, scale = (text[:-2], 0.001) if text.endswith("ms") else (text[:-1], 1.0)
    try:
        return float(number) * scale
    except ValueError:
        return None


def error_rate(facts: Facts) -> str:
    measured = facts.snapshot.measurements
    value = measured.error_rate if measured is not None else None
    if value is None:
        return UNKNOWN
    return _steady(facts.snapshot.deployment.status.error_rate, f"{value * 100:.1f}%", value, _share)


def _share(text: str) -> float | None:
    try:
        return float(text.removesuffix("%")) / 100
    except ValueError:
        return None


def _steady(shown: str, text: str, value: float, read: Callable[[str], float | None]) -> str:
    before = read(shown)
    if before is None or (before == 0) != (value == 0):
        return text
    return shown if abs(value - before) <= STEADY_SHARE * before else text


def cost(facts: Facts) -> str:
    """GPUs on nodes times their price per hour; unknown as soon as one price is."""
    snapshot = facts.snapshot
    total = 0.0
    for pod in snapshot.pods:
        if not pod.node or pod.finished or not pod.gpus:
            continue
        known = gpu_price(pod.gpu_product)
        price = known.dollars_per_hour if known is not None else snapshot.config.gpu_price_per_hour
        if price is None:
            return UNKNOWN
        total += pod.gpus * price
    return f"${total:.2f}"


def url(facts: Facts) -> str:
    """Where requests go: through the gateway's outside address where it has one, else inside the cluster."""
    snapshot = facts.snapshot
    if not facts.service_name:
        return NONE
    base = gateway.base_url(snapshot)
    if base and snapshot.kinds.http_routes is not False:
        return f"{base}/{snapshot.namespace}/{facts.service_name}"
    return f"http://{facts.service_name}.{snapshot.namespace}:8080"


def rollback(facts: Facts) -> RollbackStatus:
    target = previous_stable(facts.snapshot, facts.rollout.revision)
    if target is None:
        return RollbackStatus(message="No other version has served yet.", last_drill=facts.drill)
    readiness, seconds, message = standby.readiness(facts, target)
    return RollbackStatus(
        ready=True,
        target=target.spec.version,
        target_revision=target.spec.hash,
        readiness=readiness,
        estimated_seconds=seconds,
        message=f"{readiness}: {message}",
        last_drill=facts.drill,
    )


def history(facts: Facts) -> tuple[HistoryEntry, ...]:
    """The newest releases, newest first. The one that this plan begins is there too, or it would take another write."""
    newest = sorted(facts.snapshot.revisions, key=lambda one: one.spec.sequence, reverse=True)
    target, limit = facts.effective.target, facts.snapshot.config.history_limit
    begun = (
        (HistoryEntry(target.sequence, target.hash, target.version, ModelRevisionStatus().state),)
        if target is not None and facts.effective.is_new
        else ()
    )
    known = tuple(
        HistoryEntry(
            sequence=one.spec.sequence,
            revision=one.spec.hash,
            version=one.spec.version,
            state=facts.states[one.spec.hash].state,
            first_served_time=facts.states[one.spec.hash].first_served_time,
        )
        for one in newest[:limit]
    )
    return (*begun, *known)[:limit]
