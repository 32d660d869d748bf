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


class RollbackStatus(msgspec.Struct, frozen=True, rename="camel"):
    ready: bool = False
    target: str = NONE
    """Version that `outrider rollback` without `--to` goes to."""
    target_revision: str = ""
    message: str = ""


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
    history: tuple[HistoryEntry, ...] = ()
    ignored_fields: tuple[str, ...] = ()
    """Paths in the spec that this version neither honours nor passes through to the pod."""
    conditions: tuple[Condition, ...] = ()


class LLMDeployment(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: LLMDeploymentStatus = LLMDeploymentStatus()
