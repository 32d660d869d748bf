"""All objects of one LLMDeployment, in the order in which they are needed: what carries traffic first."""

from functools import partial

import msgspec

from outrider.api.llmdeployment import LLMDeploymentStatus, ReleaseStatus, TrafficStatus
from outrider.api.meta import Instant, find_condition
from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.names import revision_name
from outrider.api.spec import LLMDeploymentSpec
from outrider.plan.actions import Action, Apply, Delete, Scale
from outrider.plan.deployment import (
    drift,
    fleet,
    gateway,
    render,
    render_picker,
    render_routes,
    rolling,
    traffic,
    trial,
)
from outrider.plan.deployment.conditions import ROLLED_OUT
from outrider.plan.deployment.effective import Effective, find_revision
from outrider.plan.deployment.observed import ExtraView
from outrider.plan.deployment.picker import Picker
from outrider.plan.deployment.picker import decide as decide_picker
from outrider.plan.deployment.render import Body
from outrider.plan.deployment.revision import revision_body
from outrider.plan.deployment.snapshot import Snapshot


class Wanted(msgspec.Struct, frozen=True):
    body: Body
    why: str | None
    """Why it has to be applied; None when it is as it should be."""


class Objects(msgspec.Struct, frozen=True):
    wanted: tuple[Wanted, ...] = ()
    picker: Picker = Picker("NotAsked")
    scaled: tuple[Scale, ...] = ()
    """Deployments of other revisions that are to have another number of pods."""
    removed: tuple[Delete, ...] = ()
    """What is there and no longer wanted. Nothing sends requests to it any more."""

    @property
    def applies(self) -> tuple[Apply, ...]:
        return tuple(
            Apply(body=one.body, why=f"{one.body['kind']} {one.body['metadata']['name']}: {one.why}.")
            for one in self.wanted
            if one.why is not None
        )

    @property
    def ends_others(self) -> bool:
        """Whether pods of another revision are to end, since others do without them: it had better be so."""
        return bool(self.scaled) or any(one.kind == "Deployment" for one in self.removed)

    @property
    def actions(self) -> tuple[Action, ...]:
        return (*self.applies, *self.scaled, *self.removed)


def objects(
    snapshot: Snapshot,
    effective: Effective,
    service: str,
    release: ReleaseStatus | None,
    divided: TrafficStatus | None,
    now: Instant,
) -> Objects:
    """What there should be; nothing where the spec cannot be acted on, so that what is there stays."""
    spec, target, owner = snapshot.parsed.spec, effective.target, snapshot.deployment
    if spec is None or target is None:
        return Objects()
    picker = decide_picker(snapshot, spec, service)
    body = render.service_body(owner, spec, service, traffic.service_selects(snapshot, divided))
    found = [Wanted(body, drift.service(body, snapshot.service))]
    found += _candidate_service(snapshot, spec, divided)
    if picker.objects:
        found += _picker(snapshot, service)
    routes = _routes(snapshot, picker, service, divided)
    found += routes
    # Without pods there is nothing to disrupt, and Kubernetes keeps complaining of a budget that has none.
    if spec.desired_replicas or snapshot.budget is not None:
        body = render.budget_body(owner, spec)
        found.append(Wanted(body, drift.budget(body, snapshot.budget)))
    moved = all(one.why is None for one in found)  # nothing is left to be done before what took requests may go
    sizes = fleet.others(snapshot, target.hash, divided, release, now)
    found += _made_anew(snapshot, spec, target.hash, release, divided)
    found += _put_right(snapshot, spec, sizes)
    left = fleet.is_left(snapshot, target.hash, ending=rolling.recreates(spec))
    if fleet.holder(snapshot, target.hash) is not None or not (left or any(one.replicas is None for one in sizes)):
        # Else there would be three versions at once, or with Recreate two.
        found.append(_workload(snapshot, spec, target, release, now))
    removed = [
        *_surplus_workloads(snapshot, sizes if moved else []),
        *_surplus_services(snapshot, divided, routes, service),
        *_surplus_picker(snapshot, picker, routes, service),
    ]
    return Objects(tuple(found), picker, tuple(_scaled(snapshot, sizes)), tuple(removed))


def _workload(
    snapshot: Snapshot, spec: LLMDeploymentSpec, target: ModelRevisionSpec, release: ReleaseStatus | None, now: Instant
) -> Wanted:
    """The Deployment of the revision that is made true."""
    owner, place = snapshot.deployment, fleet.home(snapshot, target.hash)
    seen = fleet.workload_at(snapshot, place)
    size = rolling.replicas(spec, seen, fleet.replicas(snapshot, spec, target.hash, release))
    missing = max(
        fleet.may_be_missing(snapshot, spec, target.hash, place, now),
        fleet.missing_already(snapshot, spec, target.hash),
    )

    def body(*, paused: bool) -> Body:
        return render.deployment_body(
            owner, spec, target, snapshot.config, seen, place=place, replicas=size, paused=paused, unavailable=missing
        )

    wanted = body(paused=False)
    if place == snapshot.name and trial.pauses(snapshot, target.hash, wanted["spec"]["template"]):
        wanted = body(paused=True)
    differs = drift.workload(wanted, seen, rolled_out=_rolled_out(owner.status))
    return Wanted(wanted, differs if not rolling.is_on_hold(spec, seen) else None)


def _made_anew(
    snapshot: Snapshot,
    spec: LLMDeploymentSpec,
    target: str,
    release: ReleaseStatus | None,
    divided: TrafficStatus | None,
) -> list[Wanted]:
    """The Deployment of what a release on its steps is compared with, where somebody has deleted it: the candidate has
    replicas for its step only.
    """
    if release is None or divided is None or not fleet.is_on_steps(release, target) or divided.revision == target:
        return []
    stable = find_revision(snapshot.revisions, divided.revision)
    gone = fleet.holder(snapshot, divided.revision) is None
    if stable is None or not gone or any(pod.revision == divided.revision for pod in fleet.alive(snapshot)):
        return []
    place = revision_name(snapshot.name, divided.revision)
    body = render.deployment_body(snapshot.deployment, spec, stable.spec, snapshot.config, place=place)
    return [Wanted(body, drift.NOT_THERE)]


def _put_right(snapshot: Snapshot, spec: LLMDeploymentSpec, sizes: list[fleet.Resize]) -> list[Wanted]:
    """Deployments of other revisions that stay, and whose pod template is not what was applied: whose hash says that it
    is from this very spec, so that a hand has changed it, and not this operator's idea of a pod.
    """
    found = []
    for one in sizes:
        revision, seen = find_revision(snapshot.revisions, one.workload.revision), one.workload
        if revision is None or one.replicas is None:
            continue
        body = partial(
            render.deployment_body,
            snapshot.deployment, spec, revision.spec, snapshot.config, seen, place=seen.name,
        )  # fmt: skip
        applied = body(replicas=spec.desired_replicas)
        where = drift.difference(applied["spec"]["template"], seen.template)
        if where and seen.applied_hash == render.signature(applied):
            found.append(Wanted(body(replicas=one.replicas), f"somebody changed the pod template: {where}"))
    return found


def _candidate_service(snapshot: Snapshot, spec: LLMDeploymentSpec, divided: TrafficStatus | None) -> list[Wanted]:
    if divided is None or not divided.candidate:
        return []
    body = render.service_body(snapshot.deployment, spec, divided.service, divided.candidate)
    seen = next((one for one in snapshot.candidate_services if one.name == divided.service), None)
    return [Wanted(body, drift.service(body, seen))]


def _scaled(snapshot: Snapshot, sizes: list[fleet.Resize]) -> list[Scale]:
    return [
        Scale(
            namespace=snapshot.namespace,
            name=one.workload.name,
            uid=one.workload.uid,
            replicas=one.replicas,
            why=f"Deployment {one.workload.name}: {one.why}.",
        )
        for one in sizes
        if one.replicas is not None and one.replicas != one.workload.spec_replicas
    ]


def _surplus_workloads(snapshot: Snapshot, sizes: list[fleet.Resize]) -> list[Delete]:
    return [
        Delete("apps/v1", "Deployment", snapshot.namespace, one.workload.name, one.workload.uid, f"{one.why}.")
        for one in sizes
        if one.replicas is None
    ]


def _surplus_services(
    snapshot: Snapshot, divided: TrafficStatus | None, routes: list[Wanted], service: str
) -> list[Delete]:
    """Services of former candidates, once no route leads to them and the gateway has taken notice of that."""
    if any(one.why is not None for one in routes) or gateway.reported(snapshot, service) is False:
        return []
    why = "its revision is no candidate any more."
    return [
        Delete("v1", "Service", snapshot.namespace, one.name, one.uid, why)
        for one in snapshot.candidate_services
        if one.owned and (divided is None or one.name != divided.service)
    ]


def manifests(
    snapshot: Snapshot,
    effective: Effective,
    service: str,
    release: ReleaseStatus | None,
    divided: TrafficStatus | None,
    now: Instant,
) -> tuple[Body, ...]:
    """The same objects, whether or not they are there, and the ModelRevision first: what `outrider plan` prints."""
    made = objects(snapshot, effective, service, release, divided, now)
    if effective.target is None:
        return ()
    revision = revision_body(snapshot.deployment, effective.target)
    return (revision, *(one.body for one in made.wanted))


def _picker(snapshot: Snapshot, service: str) -> list[Wanted]:
    owner, name = snapshot.deployment, snapshot.picker_name
    found = [Wanted(body, _drift_of_whole(snapshot, body)) for body in render_picker.access_bodies(owner, name)]
    body = render_picker.picker_service_body(owner, name)
    found.append(Wanted(body, drift.service(body, snapshot.picker_service)))
    body = render_picker.picker_body(owner, service, name, snapshot.config)
    found.append(Wanted(body, drift.workload(body, snapshot.picker)))
    body = render_picker.pool_body(owner, service, name)
    found.append(Wanted(body, _drift_of_whole(snapshot, body)))
    return found


def _drift_of_whole(snapshot: Snapshot, body: Body) -> str | None:
    key = (body["kind"], body["metadata"]["name"])
    return drift.whole(body, next((one for one in snapshot.extras if (one.kind, one.name) == key), None))


def _rolled_out(status: LLMDeploymentStatus) -> str:
    """The revision of which the last status said that its rollout has ended; empty while one is under way."""
    progressing = find_condition(status.conditions, "Progressing")
    return status.effective_revision if progressing is not None and progressing.reason == ROLLED_OUT else ""


def _routes(snapshot: Snapshot, picker: Picker, service: str, divided: TrafficStatus | None) -> list[Wanted]:
    config, owner = snapshot.config, snapshot.deployment
    if not config.gateway_name or snapshot.kinds.http_routes is False:
        return []
    candidate = divided.service if divided is not None else ""
    if picker.routed:
        backends = [render_routes.pool_backend(service)]
    elif divided is not None and candidate:
        backends = [
            render_routes.service_backend(service, 100 - divided.weight),
            render_routes.service_backend(candidate, divided.weight),
        ]
    else:
        backends = [render_routes.service_backend(service)]
    bodies = [render_routes.host_route_body(owner, service, backends, config)]
    if url := gateway.base_url(snapshot):
        bodies.append(render_routes.path_route_body(owner, service, backends, config, url, candidate))
    return [Wanted(body, drift.route(body, snapshot.routes.get(body["metadata"]["name"]))) for body in bodies]


def _surplus_picker(snapshot: Snapshot, picker: Picker, routes: list[Wanted], service: str) -> list[Delete]:
    """The picker's objects, once no route leads to its pool and the gateway has taken notice of that."""
    if picker.objects is not False:
        return []
    if any(one.why is not None for one in routes) or gateway.reported(snapshot, service) is False:
        return []
    seen = [one for one in snapshot.extras if one.owned]
    for view, kind, version in (
        (snapshot.picker, "Deployment", "apps/v1"),
        (snapshot.picker_service, "Service", "v1"),
    ):
        if view is not None and view.owned:
            seen.append(ExtraView(uid=view.uid, api_version=version, kind=kind, name=snapshot.picker_name))
    return [
        Delete(
            api_version=one.api_version, kind=one.kind, namespace=snapshot.namespace, name=one.name, uid=one.uid,
            why="no endpoint picker is wanted any more.",
        )
        for one in seen
    ]  # fmt: skip
