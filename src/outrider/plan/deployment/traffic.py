"""Which revisions requests go to, where old and new pods are in Deployments of their own.

The Service selects one revision. A second one beside it has a Service of its own, and the routes divide the traffic
between the two by weight. Where nothing routes, the Service selects both, and the numbers of their pods divide it.
All traffic moves at once by the Service's selector, which every client follows, also those that ask no gateway. It
never comes to select a revision of which no pod is ready (argoproj/argo-rollouts#4750: a selector that matched nothing
took all of a service down).
"""

import msgspec

from outrider.api.llmdeployment import ReleaseStatus, TrafficStatus
from outrider.api.names import candidate_service_name
from outrider.plan.deployment import fleet, rejection
from outrider.plan.deployment.effective import current_revision, find_revision, rejected
from outrider.plan.deployment.snapshot import PodView, Snapshot


def divide(snapshot: Snapshot, target: str, release: ReleaseStatus | None, service: str) -> TrafficStatus | None:
    """The traffic as it should be now; None where requests go to every ready pod."""
    spec, before = snapshot.parsed.spec, snapshot.deployment.status.traffic
    if spec is None:
        return before
    compared = release.stable_revision if release is not None and fleet.is_on_steps(release, target) else ""
    divided = fleet.is_stepwise(snapshot) or snapshot.own_workloads or fleet.is_left(snapshot, target)
    if not compared and not divided:
        return None
    wanted = spec.desired_replicas
    main = _main(snapshot, target, wanted, compared, release)
    if main == target:
        known = before is not None or _is_alone(snapshot, target) or _has_taken_over(snapshot, target, wanted)
        shared = _still_shared(snapshot, target, wanted) or _stood_in_for(snapshot, target, release, service)
        return shared or (TrafficStatus(target) if known else None)
    if not compared and _is_rolled_in_place(snapshot, main, target):
        # A third version, of a release by steps that is given up, is nobody's wish: it goes before all pods are asked.
        is_third = fleet.is_in_the_way(snapshot, (main, target)) and _carries(snapshot, main, wanted)
        return TrafficStatus(main) if is_third else None
    weight = _weight(snapshot, main, target, release, wanted)
    if weight is None:
        return TrafficStatus(target)
    return TrafficStatus(main, target, weight, candidate_service_name(service, target))


def gives_more(before: TrafficStatus | None, after: TrafficStatus | None) -> bool:
    """Whether all requests go elsewhere, or the candidate gets a larger share of them."""
    if after is None:
        return False
    if before is None or after.candidate != before.candidate:
        return after.weight > 0 or (before is not None and after.revision != before.revision)
    return after.revision != before.revision or after.weight > before.weight


def moves(snapshot: Snapshot, after: TrafficStatus | None) -> bool:
    """Whether the Service is to select another revision than it does, be that decided now or before a crash."""
    if after is None or snapshot.service is None:
        return False
    return service_selects(snapshot, after) not in ("", fleet.selected_revision(snapshot.service.selector))


def _main(snapshot: Snapshot, target: str, wanted: int, compared: str, release: ReleaseStatus | None) -> str:
    """The revision that requests go to until others take over.

    `compared` is what a release is compared with that is on its steps, else empty. It takes over by its steps alone:
    while there is no pod of the other, it only stands in.
    """
    before, selected = snapshot.deployment.status.traffic, fleet.selected(snapshot)
    if before is not None:
        said = fleet.carrying(snapshot, before, target)
        if said == target and selected not in ("", target):
            # Killed before the Service was changed; what was ready then may not be any more.
            enough = min(wanted, fleet.ready(snapshot, selected))
            said = said if fleet.ready(snapshot, said) >= enough else selected
        said = _instead_of_bad(snapshot, said, target, wanted, release)
    elif selected:
        said = selected
    elif compared:
        said = compared
    else:
        is_released = release is not None and (release.revision, release.phase) == (target, "Watching")
        said = release.stable_revision if release is not None and is_released else current_revision(snapshot)
        most = max((fleet.ready(snapshot, pod.revision) for pod in fleet.alive(snapshot)), default=0)
        if fleet.ready(snapshot, said) < min(wanted, most):
            return target  # requests go to all: they are not all for what has just begun to take the place of others
    is_compared = compared and find_revision(snapshot.revisions, said) is not None
    return said if is_compared or any(pod.revision == said for pod in fleet.alive(snapshot)) else target


def _instead_of_bad(snapshot: Snapshot, said: str, target: str, wanted: int, release: ReleaseStatus | None) -> str:
    """What was taken back had the traffic until the version before it was loaded, and then another one was released:
    the version before it takes over all the same, and is what that one is compared with.
    """
    found = find_revision(snapshot.revisions, said)
    if release is None or (release.revision, release.phase) != (target, "Watching") or said == target:
        return said
    if found is None or not rejected(snapshot, found) or release.stable_revision in ("", said):
        return said
    able = fleet.ready(snapshot, release.stable_revision)
    return release.stable_revision if able and able >= _served_well(snapshot, said, target, wanted) else said


def _served_well(snapshot: Snapshot, revision: str, target: str, wanted: int) -> int:
    """How many pods of the revision are worth to wait for others: none where it hardly answers anything."""
    bad = revision in rejection.severe(snapshot.revisions, target)
    return 0 if bad else min(wanted, fleet.ready(snapshot, revision))


def _is_alone(snapshot: Snapshot, revision: str) -> bool:
    return all(pod.revision == revision for pod in fleet.alive(snapshot))


def _has_taken_over(snapshot: Snapshot, target: str, wanted: int) -> bool:
    """Whether the target has all its replicas, beside Deployments of other revisions: after the strategy changed in the
    middle of a release, or a status that was lost, nothing else says where requests go, and the others would stay.
    """
    place = fleet.home(snapshot, target)
    others = any(one.name != place and one.revision != target for one in fleet.workloads(snapshot))
    return others and fleet.ready(snapshot, target) >= wanted > 0


def _still_shared(snapshot: Snapshot, target: str, wanted: int) -> TrafficStatus | None:
    """Going back in the middle of a release, to what lost pods meanwhile: what those that are left cannot carry stays
    with the candidate, unless it was taken back, by itself or by a person. Where none is left it has everything, and
    what has everything keeps it until the others are back in full.
    """
    before = snapshot.deployment.status.traffic
    if before is None or before.revision != target or before.candidate in ("", target):
        return None
    able, candidate = fleet.ready(snapshot, target), find_revision(snapshot.revisions, before.candidate)
    bad = candidate is None or rejected(snapshot, candidate)
    if able >= wanted or (bad and able) or not fleet.ready(snapshot, before.candidate):
        return None
    everything = not able or before.weight == 100
    weight = 100 if everything else min(before.weight, 100 * (wanted - able) // wanted)
    return msgspec.structs.replace(before, weight=weight) if weight else None


def _carries(snapshot: Snapshot, main: str, wanted: int) -> bool:
    """Whether all requests may be for these pods alone: there are enough, or it is so already."""
    able = fleet.ready(snapshot, main)
    return able > 0 and (able >= wanted > 0 or fleet.selected(snapshot) == main)


def _stood_in_for(snapshot: Snapshot, target: str, release: ReleaseStatus | None, service: str) -> TrafficStatus | None:
    """While no pod of what was promoted answers, as on a node that is gone, the version on standby has everything."""
    if release is None or (release.revision, release.stage) != (target, "Standby") or fleet.ready(snapshot, target):
        return None
    stable = find_revision(snapshot.revisions, release.stable_revision)
    if stable is None or rejected(snapshot, stable) or not fleet.ready(snapshot, stable.spec.hash):
        return None
    return TrafficStatus(target, stable.spec.hash, 100, candidate_service_name(service, stable.spec.hash))


def _is_rolled_in_place(snapshot: Snapshot, main: str, target: str) -> bool:
    """Whether the Deployment that serves has become, or is to become, that of the target."""
    held = fleet.holder(snapshot, main)
    return held is None or held.name == fleet.home(snapshot, target)


def _weight(snapshot: Snapshot, main: str, target: str, release: ReleaseStatus | None, wanted: int) -> int | None:
    """Percent of the traffic for the target; None: all of it, and the Service selects it alone."""
    able, old = fleet.ready(snapshot, target), _served_well(snapshot, main, target, wanted)
    if not wanted:
        return 0  # what serves goes, too: until then it has what still comes
    if release is not None and fleet.is_on_steps(release, target):
        return _step_weight(snapshot, release, able, old, wanted)
    if able >= wanted or (able and not old):
        return None
    asked = release.weight if release is not None and release.revision == target else 0
    if release is not None and release.revision == target and release.strategy == "BlueGreen":
        return 0
    return max(asked, 100 * able // wanted) if able else 0


def _step_weight(snapshot: Snapshot, release: ReleaseStatus, able: int, old: int, wanted: int) -> int:
    """Of a release on its steps. While the old version cannot answer, as on a node that is gone, the candidate has
    everything; that is no promotion, and ends when the old one is back in full.
    """
    before = snapshot.deployment.status.traffic
    alone = before is not None and (before.candidate, before.weight) == (release.revision, 100)
    if not able:
        return 0
    return 100 if not old or (alone and old < wanted) else release.weight


def gate_waits(snapshot: Snapshot, traffic: TrafficStatus | None, pod: PodView) -> bool:
    """Whether the pod may not be ready yet: the Service still selects every pod, and would send it more than its share.

    Once it does not, a pod of another revision can be ready and take nothing.
    """
    if traffic is None or pod.revision == traffic.revision:
        return False
    if pod.revision == traffic.candidate and not service_selects(snapshot, traffic):
        return False
    service = snapshot.service
    return service is None or fleet.selected_revision(service.selector) in ("", pod.revision)


def service_selects(snapshot: Snapshot, traffic: TrafficStatus | None) -> str:
    """The revision that the Service is to select; empty: every one."""
    if traffic is None or traffic.weight == 100 or (traffic.weight and not fleet.is_routed(snapshot)):
        return ""
    return traffic.revision
