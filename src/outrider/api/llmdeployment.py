"""LLMDeployment: one LLM service, as people describe it (`spec`) and as Outrider reports it (`status`).

The typed form of the spec is `spec.LLMDeploymentSpec`; here it stays undecoded, because an object that is stored and
bad must be reported in its status and harm no other: `parse.parse_spec` decodes it, or says all that is wrong with it.
"""

from typing import Literal

import msgspec

from outrider.api.meta import Condition, ObjectMeta

Phase = Literal[
    "Pending", "Progressing", "Ready", "Degraded", "RollingBack", "RolledBack", "Failed", "Unknown", "Suspended"
]

ReleasePhase = Literal["Watching", "Ended", "RolledBack"]
"""Watching: it may still be rolled back by itself. Ended: it has proven itself, or something else was asked for."""

ReleaseStage = Literal["Trial", "Canary", "Preview", "Rollout", "Standby"]
"""Trial: the first replicas serve beside the old ones, and no further ones are replaced. Canary: the candidate has a
share of the traffic. Preview: it runs and has none. Rollout: the rest follow. Standby: the candidate has all traffic,
and the stable version stays loaded to go back to."""

DrillOutcome = Literal["Running", "Passed", "Failed", "NotPossible", "Interrupted"]
"""Running: it is under way. Passed: a pod of the version answered a real completion. Failed: the version could not be
loaded, or answered badly. NotPossible: there was no room for it, or it made no sense; that says nothing about the
version. Interrupted: it was ended before it could tell."""

UNKNOWN = "<unknown>"
"""What a printed column says when nobody knows. Columns are never empty: an empty cell shifts `awk`'s fields."""
NONE = "<none>"


class HistoryEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One line of `status.history`, newest first: the same facts as the ModelRevision."""

    sequence: int = 0
    revision: str = ""
    version: str = ""
    state: str = ""
    first_served_time: str | None = None


class AliasResolution(msgspec.Struct, frozen=True, rename="camel"):
    """What `previous-stable` meant when it was written, kept for as long as the spec says it."""

    name: str = ""
    version: str = ""
    revision: str = ""


class DrillStatus(msgspec.Struct, frozen=True, rename="camel"):
    """A drill of the way back: one pod of the version, beside the service and without its traffic, had to answer."""

    requested_at: str = ""
    """When it was asked for (RFC 3339). It also names the drill: what was asked for until then never runs again."""
    version: str = NONE
    revision: str = ""
    started_at: str = ""
    ended_at: str = ""
    """Empty while it runs."""
    outcome: DrillOutcome = "Running"
    reason: str = ""
    """One word for the outcome, or for what a running drill does."""
    seconds: float | None = None
    """From the creation of the pod to its first good answer; where the version was loaded already, from the beginning
    of the drill. None where there was no good answer."""
    message: str = ""


class RollbackStatus(msgspec.Struct, frozen=True, rename="camel"):
    ready: bool = False
    target: str = NONE
    """Version that `outrider rollback` without `--to` goes to."""
    target_revision: str = ""
    readiness: str | None = None
    """Warm: its replicas are loaded and ready. Cached: they would have to load the model, from a volume or a node where
    a pod of it has loaded before. Cold: they would have to fetch it. None where there is none."""
    estimated_seconds: float | None = None
    """How long going back would take; None where nobody knows."""
    message: str = ""
    last_drill: DrillStatus | None = None
    """The last drill of a rollback, whichever version it was of. None where there was none."""


class IndicatorStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What was counted of one indicator: requests that ended, and how many of them badly. Of the candidate since the
    release began; of the stable version also up to 2,000 of those before.
    """

    name: str = ""
    """errors, rejections, firstToken, interToken, endToEnd, stalled or gatewayFailures."""
    slower_than: float | None = None
    """Seconds above which an answer counts as bad; only for latencies."""
    candidate_bad: float = 0.0
    candidate_total: float = 0.0
    stable_bad: float = 0.0
    stable_total: float = 0.0


class StepStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One step of a release that goes step by step, as the spec had it when the release began."""

    weight: int = 0
    """Percent of the traffic."""
    seconds: float = 0.0
    """How long it lasts, from when its replicas are ready and its traffic is theirs."""


class TrafficStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Which revisions requests go to, where that is not every ready pod."""

    revision: str = ""
    """The one that the Service selects."""
    candidate: str = ""
    """The one beside it, if any; it has a Service of its own."""
    weight: int = 0
    """Percent of the traffic that goes to the candidate."""
    service: str = ""
    """The candidate's Service: by its name the candidate can be asked on purpose."""


class ReleaseStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The last release that was compared with the revision before it, and how it fares."""

    revision: str = ""
    version: str = NONE
    """The one that is released: the candidate."""
    stable_revision: str = ""
    stable_version: str = NONE
    """The one that it is compared with, and that takes its place if it is worse."""
    started_time: str = ""
    phase: ReleasePhase = "Watching"
    stage: ReleaseStage = "Rollout"
    trial_since: str = ""
    """Since when the first replicas of the candidate take requests beside the stable ones."""
    strategy: str = "RollingUpdate"
    """How it is released: fixed when it begins, as its steps are."""
    steps: tuple[StepStatus, ...] = ()
    step: int = 0
    """The present one, counted from 0. As many as there are steps: all of them are done."""
    step_since: str = ""
    """Since when the present step has what it needs: its replicas are ready. Empty while it has not."""
    weight: int = 0
    """Percent of the traffic that the candidate is to have now."""
    waits_for: str = ""
    """What has to happen before it goes on: time, replicas, a person. Empty where nothing is awaited."""
    served_time: str = ""
    """When it had all replicas and all of the traffic for the first time: its bake time runs from then on."""
    suspended_since: str = ""
    """Since when no replica is wanted, while that is so. Its bake time stands still."""
    suspended_seconds: int = 0
    """For how long that was so before."""
    standby_until: str = ""
    """Until when the stable version stays loaded after the candidate took all traffic."""
    verdict: str = "Watching"
    """Watching, RollBack, Hold or Good: what the evidence says, whether or not it is acted upon."""
    reason: str = ""
    message: str = ""
    updated_time: str = ""
    """When verdict, message and evidence were written: not more often than is of use."""
    indicators: tuple[IndicatorStatus, ...] = ()
    p_value: float = 1.0
    """The chance that a version that is no worse would ever look as bad as this one has. A rollback needs 0.005."""
    evidence: str = ""
    """All that was concluded, as JSON, so that another process can go on from there. Not for people; no interface."""


class LLMDeploymentStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Strings that printed columns show are never empty. The CRD gives the same defaults."""

    observed_generation: int = 0
    phase: Phase = "Pending"
    ready: str = "0/0"
    """Ready replicas of the desired revision, of how many are wanted: `2/2`."""
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    selector: str = ""
    """Label selector of the pods, as the scale subresource shows it."""
    model: str = NONE
    stage: str = NONE
    desired_version: str = NONE
    """What the spec asks for, aliases resolved."""
    effective_version: str = NONE
    """What Outrider is making true: the pin, else the desired version, else what serves now."""
    serving_version: str = NONE
    """What answers requests now; several, joined by `,`, while a release is under way."""
    stable_version: str = NONE
    """The newest version that has fully served and is not quarantined."""
    desired_revision: str = ""
    effective_revision: str = ""
    stable_revision: str = ""
    gpus: str = "0"
    """GPUs that its pods hold now."""
    latency_p95: str = UNKNOWN
    error_rate: str = UNKNOWN
    cost_per_hour: str = UNKNOWN
    url: str = NONE
    service_name: str = ""
    pinned: bool = False
    alias: AliasResolution | None = None
    rollback: RollbackStatus = RollbackStatus()
    release: ReleaseStatus | None = None
    """None while nothing was released over another version."""
    traffic: TrafficStatus | None = None
    """None where requests go to every ready pod, as with rolling updates."""
    history: tuple[HistoryEntry, ...] = ()
    ignored_fields: tuple[str, ...] = ()
    """Paths in the spec that this version neither honours nor passes through to the pod."""
    conditions: tuple[Condition, ...] = ()


class LLMDeployment(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: LLMDeploymentStatus = LLMDeploymentStatus()
