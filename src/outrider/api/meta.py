"""What every Kubernetes object carries: metadata, owners, conditions, and time as text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

Instant = float
"""A moment as seconds since the Unix epoch, UTC. `plan/` receives it; nobody below the shell asks a clock."""

ConditionStatus = Literal["True", "False", "Unknown"]


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", gc=False):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The part of `metadata` that Outrider reads. Every field has a default, so that BOOKMARK objects decode."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` for a cluster-scoped object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def controller(self) -> OwnerReference | None:
        """The one owner that manages this object, if any."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class Condition(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One line of `status.conditions`, as `kubectl wait --for=condition=TYPE` reads it."""

    type: str = ""
    status: ConditionStatus = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int = 0


def format_time(instant: Instant, *, micro: bool = False) -> str:
    """RFC 3339 in UTC: whole seconds as `metav1.Time` writes them, or microseconds as `metav1.MicroTime` does."""
    moment = datetime.fromtimestamp(instant, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> Instant | None:
    """The instant that an RFC 3339 text names; None for None, empty or unreadable text: unknown is a value."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def find_condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def merge_conditions(before: Sequence[Condition], desired: Sequence[Condition], now: Instant) -> tuple[Condition, ...]:
    """`desired`, each with the transition time it had in `before` unless its status changed, then `now`.

    The order is that of `desired`; a condition that is no longer desired goes.
    """
    merged = []
    for condition in desired:
        old = find_condition(before, condition.type)
        unchanged = old is not None and old.status == condition.status and old.last_transition_time
        when = old.last_transition_time if old is not None and unchanged else format_time(now)
        merged.append(msgspec.structs.replace(condition, last_transition_time=when))
    return tuple(merged)
