"""VersionPin: an override of the version that Git does not own, so that no self-heal can undo an emergency rollback."""

import msgspec

from outrider.api.meta import Condition, ObjectMeta


class VersionPinSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Holds an LLMDeployment on a version until the pin is deleted. A pin is named after its LLMDeployment."""

    deployment: str = ""
    version: str = ""
    """The version to serve: `v1.2.0`, or the alias `previous-stable`."""
    revision: str = ""
    """Hash of the ModelRevision to serve; decides when two revisions have the same version."""
    rejects: str = ""
    """Hash of the revision that the pin moves away from: Quarantined while the pin stands."""
    reason: str = ""
    created_by: str = ""


class VersionPinStatus(msgspec.Struct, frozen=True, rename="camel"):
    revision: str = ""
    """Hash of the revision that the pin resolved to."""
    version: str = ""
    conditions: tuple[Condition, ...] = ()


class VersionPin(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: VersionPinSpec = VersionPinSpec()
    status: VersionPinStatus = VersionPinStatus()
