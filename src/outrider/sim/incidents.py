"""What can happen in a simulation: things that people do, that break, and that get lost on the way to the API server.

All of it is plain data with a time, so that a scenario can be written down, read by people, replayed and shortened.
"""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

VersionFault = Literal["crashes", "answers errors"]
ApiFault = Literal["refused", "unknown outcome", "throttled", "conflict", "slow"]
"""refused: 503 and nothing done. unknown outcome: done, and 503. slow: done, seconds later than asked for."""
WatchFault = Literal["lagging", "silent", "expired", "broken", "repeating"]
"""silent: nothing more arrives, and nobody says so, which is how events are lost. repeating: events come again, old
ones among them. Within one watch the API server keeps the order; kinds that lag differently are seen out of order."""
Meddling = Literal[
    "scales the workload to zero", "scales the workload up", "deletes the workload", "deletes the Service",
    "points the Service elsewhere", "changes the image", "deletes the budget",
]  # fmt: skip

Steering = Literal["pause", "resume", "promote", "skip", "abort"]


Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e7)]
"""Up to four months."""
Count = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Some = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Incident(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="what", tag=str.lower):
    at: Seconds
    """From the beginning."""

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + float(getattr(self, "seconds", 0.0))


# People


class Apply(Incident, frozen=True):
    """The whole manifest is applied: by Git, or, where there is nothing yet, by whoever installs it."""

    deployment: str
    spec: dict[str, Any]


class Edit(Incident, frozen=True):
    """Somebody edits the spec: a JSON merge patch."""

    deployment: str
    spec: dict[str, Any]


class Remove(Incident, frozen=True):
    """Somebody deletes the LLMDeployment."""

    deployment: str


class Pin(Incident, frozen=True):
    """An emergency rollback: the version is held, whatever the spec says."""

    deployment: str
    version: str
    rejects: bool = False
    """As `outrider rollback` writes it: it names the revision, too, and rejects the one that it leaves."""


class Unpin(Incident, frozen=True):
    deployment: str


class Meddle(Incident, frozen=True):
    """Somebody lays hands on what the operator owns."""

    deployment: str
    how: Meddling


class DeletePod(Incident, frozen=True):
    """`kubectl delete pod`: the pod that comes at this place in the list of names, counted round and round."""

    deployment: str
    place: Count


class Steer(Incident, frozen=True):
    """Somebody has a hand in the release that is under way, as `outrider rollout` does."""

    deployment: str
    how: Steering


class Retry(Incident, frozen=True):
    """Somebody has what was taken back last released again, as `outrider rollout retry` does."""

    deployment: str


class Drill(Incident, frozen=True):
    """Somebody asks for a drill of going back, as `outrider rollback --drill` does."""

    deployment: str


# The cluster


class BadVersion(Incident, frozen=True):
    """Every pod of a version has a fault, for a time."""

    seconds: Seconds
    version: str
    how: VersionFault


class PodFault(Incident, frozen=True):
    """One pod has a fault, for a time."""

    seconds: Seconds
    deployment: str
    place: Count
    how: VersionFault


class GpuLost(Incident, frozen=True):
    """The GPU of one pod is lost: whatever is started in that pod crashes, as long as it is there."""

    deployment: str
    place: Count


class NodeLost(Incident, frozen=True):
    """A node is silent for a time; then it is back, with its containers started anew."""

    seconds: Seconds
    node: Count


class SlowLoads(Incident, frozen=True):
    """Pods that start in this time take so long to load their model."""

    seconds: Seconds
    load_seconds: Seconds


# The operator and its way to the API server


class ApiTrouble(Incident, frozen=True):
    """Some of the operator's calls fail in one way."""

    seconds: Seconds
    how: ApiFault
    share: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """Of the calls in this time, 0 to 1."""


class WatchTrouble(Incident, frozen=True):
    """The operator's watches of one kind are in trouble; of all kinds where `plural` is empty."""

    seconds: Seconds
    how: WatchFault
    plural: str = ""


class Crash(Incident, frozen=True):
    """The operator is killed right after so many more calls that change something, and another one starts later."""

    calls: Some
    down_seconds: Seconds


class Stop(Incident, frozen=True):
    """The operator's process stands still for a time, as a suspended machine's does, and then goes on."""

    seconds: Seconds


AnyIncident: TypeAlias = (
    Apply | Edit | Remove | Pin | Unpin | Meddle | DeletePod | Steer | Retry | Drill
    | BadVersion | PodFault | GpuLost | NodeLost | SlowLoads
    | ApiTrouble | WatchTrouble | Crash | Stop
)  # fmt: skip


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cluster and what happens in it, in the order of time."""

    seed: int
    """Decides how long calls take and which of them fail."""
    incidents: tuple[AnyIncident, ...]
    nodes: Some = 3
    gpus: Count = 8
    """Per node."""
    load_seconds: Seconds = 20.0
    """How long a pod takes to load its model."""
    operators: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    """With more than one they elect a leader."""
    gateway: bool = True
    """Whether routes divide the traffic; else the numbers of pods do."""

    @property
    def ends(self) -> float:
        """When the last incident is over, in seconds from the beginning; a crash has its own time to come."""
        return max((one.until for one in self.incidents), default=0.0)


def describe(incident: AnyIncident) -> str:
    """The incident as one line for people."""
    fields = msgspec.to_builtins(incident)
    fields.pop("at")
    what = fields.pop("what")
    told = ", ".join(f"{name} {_short(value)}" for name, value in fields.items() if value not in ("", {}))
    return f"{what}: {told}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
