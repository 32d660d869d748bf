"""A release in words and numbers: its steps, its traffic, what it waits for, and what was counted of both versions."""

from collections.abc import Sequence
from typing import Any

import msgspec

from outrider.api.labels import GPU_RESOURCE, HTTP_PORT
from outrider.api.llmdeployment import DrillStatus, LLMDeployment, ReleaseStatus, RollbackStatus, StepStatus
from outrider.api.meta import Instant, parse_time
from outrider.cli.output import human_age
from outrider.cli.tables import dig
from outrider.kube.api import Object

_STAGES = {
    "Trial": "the first replicas serve beside the old ones",
    "Canary": "the new version has a share of the traffic",
    "Preview": "the new version runs, and has no traffic",
    "Rollout": "the rest follow",
    "Standby": "the new version has all traffic, and the old one stays loaded",
}
_WORTH_TELLING = 1.0
"""Seconds above which a time that is left is worth a number."""


class Standby(msgspec.Struct, frozen=True, rename="camel"):
    """The old version, kept loaded after a release took its traffic."""

    version: str
    until: str
    seconds_left: float
    pods: int | None = None
    """Pods of it; None where they may not be seen."""
    gpus: int | None = None
    cost_per_hour: float | None = None
    """US dollars: its share, by GPUs, of what all pods of the service cost. None where nobody knows."""


def told_of(release: ReleaseStatus) -> dict[str, Any]:
    """The release as in the status, without what only the operator reads."""
    told: dict[str, Any] = msgspec.to_builtins(release)
    del told["evidence"]
    return told


def strategy_text(release: ReleaseStatus) -> str:
    """How it is released: `Canary: 10 % for 10m, 50 % for 30m, then all`."""
    if release.strategy == "BlueGreen" and release.steps:
        return f"BlueGreen: without traffic for {human_age(release.steps[0].seconds)}, then all of it"
    if not release.steps:
        return release.strategy
    return f"{release.strategy}: {', '.join(_step(step) for step in release.steps)}, then all"


def _step(step: StepStatus) -> str:
    return f"{step.weight} % for {human_age(step.seconds)}"


def progress(release: ReleaseStatus, now: Instant) -> dict[str, Any] | None:
    """The present step for programs, counted from 1; None where the release is not on steps."""
    if release.stage not in ("Canary", "Preview") or release.step >= len(release.steps):
        return None
    step = release.steps[release.step]
    return {
        "step": release.step + 1,
        "of": len(release.steps),
        "weight": step.weight,
        "since": release.step_since or None,
        "secondsLeft": _left(release, step, now),
    }


def _left(release: ReleaseStatus, step: StepStatus, now: Instant) -> float | None:
    since = parse_time(release.step_since)
    return None if since is None else round(max(0.0, since + step.seconds - now), 1)


def stage_text(release: ReleaseStatus, now: Instant) -> str:
    """Where it is: `Canary, step 1 of 2: 10 % of the traffic, for another 4m`."""
    at = progress(release, now)
    if at is None:
        return f"{release.stage}: {_STAGES[release.stage]}"
    place = f"{release.stage}, step {at['step']} of {at['of']}: {at['weight']} % of the traffic"
    if at["secondsLeft"] is None:
        return f"{place}, as soon as its replicas are ready"
    if at["secondsLeft"] < _WORTH_TELLING:
        return f"{place}; its time is over"
    return f"{place}, for another {human_age(at['secondsLeft'])}"


def traffic_text(item: LLMDeployment) -> str:
    """Who has which share of the traffic; empty where the pods share it as they are."""
    traffic = item.status.traffic
    if traffic is None or not traffic.revision:
        return ""
    if not traffic.candidate:
        return f"all to {version_of(item, traffic.revision)}"
    rest = f"{100 - traffic.weight} % to {version_of(item, traffic.revision)}"
    return f"{traffic.weight} % to {version_of(item, traffic.candidate)}, {rest}"


def version_of(item: LLMDeployment, revision: str) -> str:
    """The version that people call a revision by; its hash where the status does not say."""
    release = item.status.release
    if release is not None and revision in (release.revision, release.stable_revision):
        return release.version if revision == release.revision else release.stable_version
    return next((one.version for one in item.status.history if one.revision == revision), revision)


def preview_url(item: LLMDeployment) -> str:
    """Where the candidate alone can be asked, inside the cluster; empty where it has no Service of its own."""
    traffic = item.status.traffic
    if traffic is None or not traffic.candidate or not traffic.service:
        return ""
    return f"http://{traffic.service}.{item.metadata.namespace}:{HTTP_PORT}"


def standby(item: LLMDeployment, pods: Sequence[Object] | None, now: Instant) -> Standby | None:
    """The old version that is kept loaded; None where none is. `pods`: those of it, None where they cannot be seen."""
    release = item.status.release
    until = parse_time(release.standby_until) if release is not None and release.stage == "Standby" else None
    if release is None or until is None or until <= now or release.phase == "RolledBack":
        return None
    if item.status.effective_revision != release.revision:
        return None  # something else is made true since
    kept = Standby(release.stable_version, release.standby_until, round(until - now, 1))
    if pods is None:
        return kept
    placed = [pod for pod in pods if dig(pod, "spec", "nodeName") and not _is_ending(pod)]
    if not placed:
        return None  # it was given up before its time: its GPUs were needed
    gpus = sum(_gpus(pod) for pod in placed)
    return msgspec.structs.replace(kept, pods=len(placed), gpus=gpus, cost_per_hour=_cost(item, gpus))


def _is_ending(pod: Object) -> bool:
    return bool(dig(pod, "metadata", "deletionTimestamp")) or dig(pod, "status", "phase") in ("Succeeded", "Failed")


def _gpus(pod: Object) -> int:
    found = 0
    for container in dig(pod, "spec", "containers") or []:
        resources = container.get("resources") or {}
        amount = dig(resources, "limits", GPU_RESOURCE) or dig(resources, "requests", GPU_RESOURCE)
        found += int(amount) if str(amount).isdecimal() else 0
    return found


def _cost(item: LLMDeployment, gpus: int) -> float | None:
    total = item.status.cost_per_hour.removeprefix("$")
    try:
        return round(float(total) * gpus / int(item.status.gpus), 2)
    except (ValueError, ZeroDivisionError):
        return None


def standby_text(kept: Standby) -> str:
    """`v1.0.0 stays loaded for another 11m (until ...): 2 GPUs, about $5.00 per hour`."""
    text = f"{kept.version} stays loaded for another {human_age(kept.seconds_left)} (until {kept.until})"
    price = []
    if kept.gpus is not None:
        price.append(f"{kept.gpus} GPU{'' if kept.gpus == 1 else 's'}")
    if kept.cost_per_hour is not None:
        price.append(f"about ${kept.cost_per_hour:.2f} per hour")
    return f"{text}: {', '.join(price)}" if price else text


def readiness_text(rollback: RollbackStatus) -> str:
    """How soon it would be back: `Warm, about 5 s`; empty where the operator does not say."""
    if not rollback.readiness:
        return ""
    return f"{rollback.readiness}, {about(rollback.estimated_seconds)}"


def drill_text(drill: DrillStatus | None, now: Instant) -> str:
    """The last drill and its age: `drilled 3h ago: back in 42 s`; empty where there was none."""
    if drill is None:
        return ""
    if drill.outcome == "Running":
        return f"a drill of {drill.version} is under way: {drill.message}"
    ended = parse_time(drill.ended_at)
    age = "" if ended is None else f" {human_age(now - ended)} ago"
    if drill.outcome != "Passed":
        how = {"Failed": "failed", "NotPossible": "was not possible"}.get(drill.outcome, "was interrupted")
        return f"a drill{age} {how}: {drill.message}"
    if drill.seconds is None or drill.reason == "Loaded":
        return f"drilled{age}: its loaded pods answered"
    return f"drilled{age}: back in {drill.seconds:.0f} s"


def about(seconds: float | None) -> str:
    """A rough time in words."""
    if seconds is None:
        return "nobody knows how long it takes"
    return f"about {seconds:.0f} s" if seconds < 120 else f"about {human_age(seconds)}"


def evidence_table(release: ReleaseStatus) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: of each indicator that was counted, how many were bad, of how many."""
    rows = [
        [
            one.name + (f" > {one.slower_than:g} s" if one.slower_than is not None else ""),
            f"{one.candidate_bad:.0f} of {one.candidate_total:.0f}",
            f"{one.stable_bad:.0f} of {one.stable_total:.0f}",
        ]
        for one in release.indicators
        if one.candidate_total or one.stable_total
    ]
    return ["BAD", release.version, release.stable_version], rows


def chance_text(release: ReleaseStatus) -> str:
    return f"by chance alone: {release.p_value:.2g} (rolled back below 0.005)"
