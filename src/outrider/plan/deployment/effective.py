"""Which revision to make true: the pin's, else the spec's, else what serves now."""

from collections.abc import Sequence

import msgspec

from outrider.api.llmdeployment import AliasResolution
from outrider.api.model_uri import ModelUri
from outrider.api.modelrevision import ModelRevision, ModelRevisionSpec
from outrider.api.parse import Parsed
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.version import Version, is_previous_stable
from outrider.api.versionpin import VersionPin
from outrider.plan.deployment import rejection
from outrider.plan.deployment.revision import revision_spec
from outrider.plan.deployment.snapshot import Snapshot

INVALID_SPEC = "InvalidSpec"
NO_PREVIOUS_STABLE = "NoPreviousStableVersion"
UNKNOWN_REVISION = "UnknownRevision"
PINNED = "Pinned"
SPEC = "Spec"
ALIAS = "PreviousStable"
ROLLED_BACK = "RolledBack"


class Hold(msgspec.Struct, frozen=True):
    """Why what is asked for cannot be made true, so that what serves keeps serving."""

    reason: str
    message: str


class Effective(msgspec.Struct, frozen=True):
    """The decision."""

    source: str
    """PINNED, SPEC or ALIAS: who asked for it; ROLLED_BACK: what was asked for was rolled back by itself."""
    target: ModelRevisionSpec | None
    """The complete snapshot to make true. On hold: what serves now, or what takes its place once it was rolled back;
    None if nothing does, or the spec is invalid."""
    is_new: bool = False
    """No ModelRevision holds it yet."""
    desired: ModelRevisionSpec | None = None
    """What the spec asks for, aliases resolved; None when that cannot be said."""
    alias: AliasResolution | None = None
    """What the alias in the spec means, to be kept in the status while the spec says it."""
    hold: Hold | None = None


def find_revision(revisions: Sequence[ModelRevision], revision_hash: str) -> ModelRevision | None:
    return next((one for one in revisions if revision_hash and one.spec.hash == revision_hash), None)


def has_served(revision: ModelRevision) -> bool:
    """Whether it was once fully rolled out and answered a real request."""
    return revision.status.first_served_time is not None


def rejected(snapshot: Snapshot, revision: ModelRevision) -> bool:
    """Whether nothing may go back to it: quarantined by the pin that stands, or by anything else."""
    pin = snapshot.pin
    if pin is not None and pin.spec.rejects == revision.spec.hash:
        return True
    return rejection.stands(revision)


def recency(revision: ModelRevision) -> tuple[str, str, int]:
    """Orders revisions by when they last served; RFC 3339 in UTC sorts as text."""
    return (revision.status.last_served_time or "", revision.status.first_served_time or "", revision.spec.sequence)


def previous_stable(snapshot: Snapshot, current: str) -> ModelRevision | None:
    """Where a rollback goes: the last Verified revision other than `current`, else the last that has fully served, else
    the one beside which `current` is released, if it answers requests.
    """
    others = [
        one
        for one in snapshot.revisions
        if one.spec.hash != current and has_served(one) and not rejected(snapshot, one)
    ]
    verified = [one for one in others if one.status.verified_time is not None]
    return max(verified or others, key=recency, default=None) or _beside(snapshot, current)


def _beside(snapshot: Snapshot, current: str) -> ModelRevision | None:
    """A first version of which a node was lost before all of its replicas were ready has never served in full: it is
    better than nothing all the same.
    """
    release = snapshot.deployment.status.release
    if release is None or release.revision != current:
        return None
    found = find_revision(snapshot.revisions, release.stable_revision)
    if found is None or rejected(snapshot, found):
        return None
    return found if any(pod.ready and pod.revision == found.spec.hash for pod in snapshot.pods) else None


def current_revision(snapshot: Snapshot) -> str:
    """The hash of what Outrider last made true, or of what its pods say when the status is lost. Empty where nothing of
    it exists: the status is written first, and the operator may have been killed right after it.
    """
    said = snapshot.deployment.status.effective_revision
    if find_revision(snapshot.revisions, said) is not None or any(
        said and pod.revision == said for pod in snapshot.pods
    ):
        return said
    serving = {pod.revision for pod in snapshot.pods if pod.ready}
    known = [one for one in snapshot.revisions if one.spec.hash in serving]
    # What was only being released has not served: it is not true by itself that it is newer.
    best = max(known, key=lambda one: (has_served(one) and not rejection.stands(one), one.spec.sequence), default=None)
    return best.spec.hash if best is not None else ""


def decide(snapshot: Snapshot) -> Effective:
    """The effective revision. Reads the snapshot only; the same snapshot gives the same answer."""
    wish = _from_spec(snapshot)
    choice = _unless_rejected(snapshot, wish) if snapshot.pin is None else _from_pin(snapshot, snapshot.pin, wish)
    if choice.hold is None or snapshot.parsed.spec is None:
        return _if_readable(choice)
    return _if_readable(_as_it_is(snapshot, choice))


def _as_it_is(snapshot: Snapshot, choice: Effective) -> Effective:
    """What serves now goes on, while what is asked for cannot be made true; unless it was rolled back, by evidence or
    by a person: then what takes its place.
    """
    serving = find_revision(snapshot.revisions, current_revision(snapshot))
    instead = _fallback(snapshot, serving) if serving is not None and rejection.stands(serving) else None
    if instead is not None:
        return msgspec.structs.replace(instead, desired=choice.desired, alias=choice.alias, hold=choice.hold)
    return msgspec.structs.replace(choice, target=serving.spec if serving is not None else None)


def _unless_rejected(snapshot: Snapshot, wish: Effective) -> Effective:
    """What took its place, where what the spec asks for was rolled back: being asked for again, by Git every few
    seconds, does not make it better. Where another version has served since, that one goes on: nobody asked for what
    took its place back then. With nothing to go back to, what is asked for is better than nothing.
    """
    found = find_revision(snapshot.revisions, wish.target.hash) if wish.target is not None else None
    if found is None or not rejection.stands(found):
        return wish
    later = _served_since(snapshot, found)
    instead = Effective(ROLLED_BACK, later.spec) if later is not None else _fallback(snapshot, found)
    if instead is None:
        return wish
    return msgspec.structs.replace(instead, source=ROLLED_BACK, desired=wish.desired, alias=wish.alias)


def _served_since(snapshot: Snapshot, found: ModelRevision) -> ModelRevision | None:
    """What was made true by the spec after `found` had been rolled back: the current revision, or the one beside which
    that is released. None where a pin made it so, or it is no good.
    """
    current, release = current_revision(snapshot), snapshot.deployment.status.release
    if snapshot.deployment.status.pinned or current == found.spec.hash:
        return None
    beside = release.stable_revision if release is not None and release.revision == current else ""
    for one in (find_revision(snapshot.revisions, current), find_revision(snapshot.revisions, beside)):
        if one is not None and one is not found and has_served(one) and not rejected(snapshot, one):
            return one
    return None


def _fallback(snapshot: Snapshot, found: ModelRevision) -> Effective | None:
    """What takes the place of a rejected revision: what was chosen when it was rejected, so that it stays the same;
    else the last good revision, else the first of `spec.rollback.previousVersions` that is not rejected itself.
    """
    chosen = found.status.rejection.fallback if found.status.rejection is not None else ""
    kept = find_revision(snapshot.revisions, chosen)
    if kept is not None and not rejected(snapshot, kept):
        return Effective(source=ROLLED_BACK, target=kept.spec)
    good = previous_stable(snapshot, found.spec.hash)
    if good is not None:
        return Effective(source=ROLLED_BACK, target=good.spec)
    return listed_fallback(snapshot, found.spec.hash)


def listed_fallback(snapshot: Snapshot, current: str) -> Effective | None:
    """The first of `spec.rollback.previousVersions`, best first, that is neither `current` nor was rolled back."""
    spec = snapshot.parsed.spec
    for version in spec.rollback.previous_versions if spec is not None else ():
        assert spec is not None, "it has versions"
        made = _version(snapshot, spec, version, source=ROLLED_BACK)
        known = find_revision(snapshot.revisions, made.target.hash) if made.target is not None else None
        if made.target is not None and made.target.hash != current and not (known and rejected(snapshot, known)):
            return made
    return None


def _if_readable(choice: Effective) -> Effective:
    """The choice, or a hold: a ModelRevision that was not written by Outrider may say anything."""
    if choice.target is None:
        return choice
    try:
        ModelUri.parse(choice.target.model_uri)
    except ValueError as error:
        message = (
            f"the ModelRevision of {choice.target.hash} has the modelUri {choice.target.model_uri!r}. {error}. "
            "Delete it, and it is made anew from the spec."
        )
        hold = choice.hold or Hold(UNKNOWN_REVISION, message)
        return msgspec.structs.replace(choice, target=None, is_new=False, desired=None, hold=hold)
    return choice


def _from_spec(snapshot: Snapshot) -> Effective:
    parsed = snapshot.parsed
    if parsed.spec is None:
        # The alias stays: what it means must not change because the spec was unreadable for a while.
        alias = snapshot.deployment.status.alias
        return Effective(source=SPEC, target=None, alias=alias, hold=Hold(INVALID_SPEC, _errors(parsed)))
    if parsed.spec.model.version.kind == "previous-stable":
        return _from_alias(snapshot, parsed.spec)
    return _resolved(snapshot, wanted_revision(snapshot, parsed.spec, parsed.spec.model.version), source=SPEC)


def wanted_revision(snapshot: Snapshot, spec: LLMDeploymentSpec, version: Version) -> ModelRevisionSpec:
    """What the spec asks for at `version`. Where it leaves the engine's image to the operator, a revision that differs
    only in the image, and had it from an operator, is what is meant: an upgrade of the operator must not restart every
    model in the cluster. An image that the spec once named goes when the spec no longer names it.
    """
    made = revision_spec(snapshot.name, spec, snapshot.config.engine_image, version=version)
    if spec.model.image:
        return made
    same = [
        one
        for one in snapshot.revisions
        if not one.spec.image_from_spec
        and revision_spec(snapshot.name, spec, one.spec.image, version=version).hash == one.spec.hash
    ]
    current = current_revision(snapshot)
    best = max(same, key=lambda one: (one.spec.hash == current, has_served(one), one.spec.sequence), default=None)
    return best.spec if best is not None else made


def _errors(parsed: Parsed) -> str:
    return "; ".join(str(error) for error in parsed.errors)


def _from_alias(snapshot: Snapshot, spec: LLMDeploymentSpec) -> Effective:
    name = spec.model.version.text
    kept = snapshot.deployment.status.alias
    if kept is not None and kept.name == name and kept.revision and _unreadable(kept.version) is None:
        found = find_revision(snapshot.revisions, kept.revision)
        target = found.spec if found is not None else wanted_revision(snapshot, spec, Version.parse(kept.version))
        return _resolved(snapshot, target, source=ALIAS, alias_name=name)
    found = previous_stable(snapshot, current_revision(snapshot))
    if found is not None:
        return _resolved(snapshot, found.spec, source=ALIAS, alias_name=name)
    if spec.rollback.previous_versions:
        return _version(snapshot, spec, spec.rollback.previous_versions[0], source=ALIAS, alias_name=name)
    message = (
        f"{name} means the last version that served well before this one, and there is none: "
        "name a version in spec.model.version, or list one in spec.rollback.previousVersions."
    )
    return Effective(source=ALIAS, target=None, hold=Hold(NO_PREVIOUS_STABLE, message))


def _from_pin(snapshot: Snapshot, pin: VersionPin, wish: Effective) -> Effective:
    found, hold = _pinned_revision(snapshot, pin)
    if found is not None and snapshot.parsed.spec is None and not _has_everything(snapshot, found.spec.hash):
        hold = Hold(
            INVALID_SPEC,
            f"the pin asks for {found.spec.version}, and as long as the spec is invalid nothing can be changed. "
            f"Apply the last spec that was valid, and it is made true at once. {_errors(snapshot.parsed)}",
        )
        return Effective(source=PINNED, target=None, desired=wish.desired, alias=wish.alias, hold=hold)
    if found is not None:
        return Effective(source=PINNED, target=found.spec, desired=wish.desired, alias=wish.alias)
    if hold is None and snapshot.parsed.spec is None:
        hold = Hold(
            INVALID_SPEC,
            f"{pin.spec.version} has never been released, so the spec is needed: {_errors(snapshot.parsed)}",
        )
    if hold is not None or snapshot.parsed.spec is None:
        return Effective(source=PINNED, target=None, desired=wish.desired, alias=wish.alias, hold=hold)
    spec = snapshot.parsed.spec
    version = (
        spec.rollback.previous_versions[0] if is_previous_stable(pin.spec.version) else Version.parse(pin.spec.version)
    )
    made = _version(snapshot, spec, version, source=PINNED)
    return msgspec.structs.replace(made, desired=wish.desired, alias=wish.alias)


def _has_everything(snapshot: Snapshot, revision: str) -> bool:
    """Whether nothing has to be changed for requests to go to the revision alone."""
    traffic = snapshot.deployment.status.traffic
    led = traffic is None or (traffic.revision, traffic.weight) == (revision, 0)
    return led and all(pod.revision == revision for pod in snapshot.pods if pod.alive)


def _pinned_revision(snapshot: Snapshot, pin: VersionPin) -> tuple[ModelRevision | None, Hold | None]:
    """The ModelRevision that the pin names; (None, None) when a revision has to be made for its version."""
    if pin.spec.revision:
        found = find_revision(snapshot.revisions, pin.spec.revision)
        if (
            found is not None
            and pin.spec.version
            and found.spec.version != pin.spec.version
            and not is_previous_stable(pin.spec.version)
        ):
            both = f"version {pin.spec.version} and revision {pin.spec.revision}"
            return None, Hold(UNKNOWN_REVISION, f"the pin names {both}, which is {found.spec.version}.")
        if found is None and _is_made_from_spec(snapshot, pin):
            return None, None  # as after a restore, or where the service was deleted and made anew
        known = ", ".join(f"{one.spec.hash} ({one.spec.version})" for one in snapshot.revisions) or "none"
        return found, None if found else Hold(
            UNKNOWN_REVISION, f"the pin names revision {pin.spec.revision}; known are: {known}."
        )
    if not is_previous_stable(pin.spec.version):
        return best_of_version(snapshot, pin.spec.version), _unreadable(pin.spec.version)
    resolved = find_revision(snapshot.revisions, pin.status.revision)
    if resolved is not None and not rejected(snapshot, resolved):
        return resolved, None
    # Once pinned, the status already says where the pin went; what it left is what the spec desired.
    status = snapshot.deployment.status
    left = status.desired_revision if status.pinned else current_revision(snapshot)
    found = previous_stable(snapshot, pin.spec.rejects or left)
    listed = snapshot.parsed.spec is not None and bool(snapshot.parsed.spec.rollback.previous_versions)
    if found is not None or listed:
        return found, None
    return None, Hold(
        NO_PREVIOUS_STABLE, f"the pin asks for {pin.spec.version}, and no other version has served yet: name a version."
    )


def _is_made_from_spec(snapshot: Snapshot, pin: VersionPin) -> bool:
    """Whether the revision that the pin names is what the spec gives at the version that it names."""
    spec = snapshot.parsed.spec
    if spec is None or not pin.spec.version or _unreadable(pin.spec.version) is not None:
        return False
    version = Version.parse(pin.spec.version)
    return version.kind != "previous-stable" and (wanted_revision(snapshot, spec, version).hash == pin.spec.revision)


def _unreadable(version: str) -> Hold | None:
    try:
        Version.parse(version)
    except ValueError as error:
        return Hold(UNKNOWN_REVISION, f"the pin's spec.version {version!r} {error}")
    return None


def best_of_version(snapshot: Snapshot, version: str) -> ModelRevision | None:
    """The revision that a bare version means: one that has served rather than one that has not, then the newest."""
    same = [one for one in snapshot.revisions if one.spec.version == version and not rejected(snapshot, one)]
    return max(same, key=lambda one: (has_served(one), one.spec.sequence), default=None)


def _version(
    snapshot: Snapshot, spec: LLMDeploymentSpec, version: Version, *, source: str, alias_name: str = ""
) -> Effective:
    """A version that people named: the revision that ran it, else the present spec with that version."""
    found = best_of_version(snapshot, version.text)
    target = found.spec if found is not None else wanted_revision(snapshot, spec, version)
    return _resolved(snapshot, target, source=source, alias_name=alias_name)


def _resolved(snapshot: Snapshot, target: ModelRevisionSpec, *, source: str, alias_name: str = "") -> Effective:
    known = find_revision(snapshot.revisions, target.hash)
    spec = (
        known.spec if known is not None else msgspec.structs.replace(target, sequence=next_sequence(snapshot.revisions))
    )
    alias = AliasResolution(name=alias_name, version=spec.version, revision=spec.hash) if alias_name else None
    return Effective(source=source, target=spec, is_new=known is None, desired=spec, alias=alias)


def next_sequence(revisions: Sequence[ModelRevision]) -> int:
    return max((one.spec.sequence for one in revisions), default=0) + 1
