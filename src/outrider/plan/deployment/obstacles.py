"""What keeps a drill from being begun, or ends it: anything real that goes on, and whoever needs its GPUs."""

from outrider.api.llmdeployment import DrillStatus
from outrider.api.modelrevision import ModelRevision
from outrider.plan.deployment import drill_pods, fleet
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.snapshot import Capacity, PodView

NEEDED = "GPUsNeeded"

Obstacle = tuple[str, str]
"""(reason, message as a clause)"""


def to_begin(facts: Facts, revision: ModelRevision) -> Obstacle | None:
    """Why a drill of the revision is not begun; None where nothing speaks against it."""
    found = _in_the_way(facts, revision)
    if found is not None or fleet.ready(facts.snapshot, revision.spec.hash):
        return found
    missing = drill_pods.no_room(facts)
    return ("NoGPUs", missing) if missing else None


def to_go_on(facts: Facts, revision: ModelRevision, drill: DrillStatus) -> Obstacle | None:
    """Why a drill under way is ended now; None where it may go on."""
    found = _in_the_way(facts, revision)
    return found if found is not None else _wanted_by_others(facts, drill_pods.of(facts, drill))


def _in_the_way(facts: Facts, revision: ModelRevision) -> Obstacle | None:
    effective, release, rollout = facts.effective, facts.release, facts.rollout
    if facts.snapshot.parsed.spec is None or effective.hold is not None:
        why = effective.hold.message if effective.hold is not None else "it is invalid"
        return "SpecRejected", f"what is asked for cannot be made true, and that comes first: {why.rstrip('.')}"
    if not facts.wish.replicas:
        return "Suspended", "no replica of the service is wanted"
    if revision.spec.hash == rollout.revision:
        return "Serving", f"{revision.spec.version} is what is served, or about to be"
    watched = release is not None and release.phase == "Watching" and release.revision == rollout.revision
    on_trial = release is not None and watched and release.stage == "Trial"
    by_steps = release is not None and fleet.is_on_steps(release, rollout.revision)
    divided = facts.traffic is not None and bool(facts.traffic.candidate)
    if not rollout.applied or rollout.old or on_trial or by_steps or divided:
        verb = "going back" if facts.going_back else "a release"
        return "ReleaseUnderWay", f"{verb} to {facts.version} is under way"
    short = any(pod.unschedulable and not pod.node for pod in rollout.updated)
    if short or facts.capacity.available is False:
        return NEEDED, f"the service itself needs GPUs: {facts.capacity.message.rstrip('.')}"
    return None


def _wanted_by_others(facts: Facts, pods: tuple[PodView, ...]) -> Obstacle | None:
    """Whether a pod that found no node would find one if the drill gave up its GPUs."""
    found = facts.snapshot.capacity
    if found is None:
        return None
    for pod in pods:
        for other in found.waiting:
            if pod.gpus and _would_fit(found, pod, other.gpus):
                return NEEDED, f"pod {other.name} needs its GPUs on {pod.node}"
    return None


def _would_fit(found: Capacity, pod: PodView, gpus: int) -> bool:
    node = next((one for one in found.nodes if one.name == pod.node and one.schedulable), None)
    return node is not None and node.free < gpus <= node.free + pod.gpus
