"""What one look at a snapshot found out, handed to everything that reports on it."""

import msgspec

from outrider.api.llmdeployment import NONE, DrillStatus, ReleaseStatus, TrafficStatus
from outrider.api.meta import Instant, find_condition
from outrider.api.modelrevision import ModelRevisionStatus
from outrider.plan.deployment.capacity import Verdict
from outrider.plan.deployment.effective import Effective
from outrider.plan.deployment.picker import Picker
from outrider.plan.deployment.rollout import Answers, Rollout
from outrider.plan.deployment.snapshot import Snapshot


class Wish(msgspec.Struct, frozen=True):
    """What the spec says about everything but the revision. Where the spec is invalid: what was applied last."""

    replicas: int
    gpus_per_replica: int
    bake_seconds: float
    model: str
    stage: str
    max_unavailable: int
    """Replicas that a rollout may take away before their replacements are ready."""


class Facts(msgspec.Struct, frozen=True):
    snapshot: Snapshot
    now: Instant
    effective: Effective
    wish: Wish
    rollout: Rollout
    answers: Answers
    capacity: Verdict
    states: dict[str, ModelRevisionStatus] = {}
    release: ReleaseStatus | None = None
    """How the last release fares, as it should be stored."""
    drill: DrillStatus | None = None
    """How the last drill fares, as it should be stored."""
    traffic: TrafficStatus | None = None
    """Which revisions requests go to; None where it is every ready pod."""
    service_name: str = ""
    notes: tuple[str, ...] = ()
    """What the revision cannot honour although the spec says it."""
    picker: Picker = Picker("NotAsked")
    without_effect: dict[str, str] = {}
    """Paths that the spec says and that this cluster cannot do, with the reason."""

    @property
    def version(self) -> str:
        """The version being made true, or what the status last said of what there is."""
        target = self.effective.target
        if target is not None:
            return target.version
        return self.snapshot.deployment.status.effective_version if self.rollout.revision else NONE

    @property
    def was_ready(self) -> bool:
        """Whether the status says Ready for this very generation and revision."""
        status = self.snapshot.deployment.status
        ready = find_condition(status.conditions, "Ready")
        return (
            ready is not None
            and ready.status == "True"
            and status.observed_generation == self.snapshot.deployment.metadata.generation
            and status.effective_revision == self.rollout.revision
        )

    @property
    def settled_before(self) -> bool:
        """Whether this generation and revision were Ready once, so that what is wrong now is a fault, not a rollout."""
        status = self.snapshot.deployment.status
        return (
            status.phase in {"Ready", "RolledBack", "Degraded", "Failed"}
            and status.observed_generation == self.snapshot.deployment.metadata.generation
            and status.effective_revision == self.rollout.revision
            and self.rollout.applied
            and not self.rollout.old
            and self.snapshot.deployment.status.stable_revision == self.rollout.revision
        )

    @property
    def going_back(self) -> bool:
        """Whether the rollout under way goes to a revision older than one that it replaces."""
        target = self.effective.target
        if target is None:
            return False
        sequences = {one.spec.hash: one.spec.sequence for one in self.snapshot.revisions}
        replaced = [sequences.get(pod.revision, 0) for pod in self.rollout.old]
        return any(sequence > target.sequence for sequence in replaced)
