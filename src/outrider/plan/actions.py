"""What a plan can ask for: a closed union of frozen structs. `controllers/act.py` carries them out.

Every action is named after its intent and may be repeated after a crash at any point.
"""

from typing import Any, Literal

import msgspec

from outrider.api.meta import Condition, Instant


class Apply(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    """Server-side apply of an object that Outrider owns whole: `body` is all that it wants of it."""

    body: dict[str, Any]
    why: str


class Scale(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    """Set the number of a Deployment's replicas, and nothing else of it."""

    namespace: str
    name: str
    uid: str
    """Only this very Deployment; gone already is as good."""
    replicas: int
    why: str


class Create(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    """Create an immutable object; one that exists already is as good."""

    body: dict[str, Any]
    why: str


class Delete(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    """Only this very object; gone already is as good."""
    why: str


class PatchStatus(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    """Merge into the status of an object other than the one being reconciled."""

    api_version: str
    kind: str
    namespace: str
    name: str
    status: dict[str, Any]
    why: str


class SetPodCondition(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    """Set one condition of a pod, and leave those of others as they are."""

    namespace: str
    name: str
    uid: str
    """Only this very pod; gone already is as good."""
    condition: Condition
    why: str


class Evict(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    """Ask for a pod to go, by leave of the disruption budgets, so that its controller makes another; where they refuse,
    it stays. Once it is granted, an Event says why.
    """

    namespace: str
    name: str
    uid: str
    """Only this very pod; gone already is as good."""
    reason: str
    """Of the Event."""
    why: str


class Emit(msgspec.Struct, frozen=True, tag=True, tag_field="action"):
    """An Event on the object being reconciled; repeats of the same reason and note are counted, not multiplied."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


Action = Apply | Scale | Create | Delete | PatchStatus | SetPodCondition | Evict | Emit


class Plan(msgspec.Struct, frozen=True):
    """What to do about one object, and why. `outrider plan` prints it; the controller executes it."""

    status: dict[str, Any] | None = None
    """The whole new status, patched once and *before* the actions, so that nobody who reads it after his own edit can
    still see the old answer; None when the status is already so."""
    actions: tuple[Action, ...] = ()
    because: tuple[str, ...] = ()
    """The reasons, in sentences, with the evidence that led to them."""
    requeue_at: Instant | None = None
    """When to look again although nothing changes."""
    confirm_first: bool = False
    """Much depends on its pods, for a version is taken back for what they did, or requests are sent where fewer went
    before: they are to be read anew, and this planned again, before it is carried out."""
