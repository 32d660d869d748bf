"""All objects of one LLMDeployment, in the order in which they are needed: what carries traffic first."""

import msgspec

from outrider.api.llmdeployment import LLMDeploymentStatus
from outrider.api.meta import find_condition
from outrider.plan.actions import Action, Apply, Delete
from outrider.plan.deployment import drift, gateway, render, render_picker, render_routes, trial
from outrider.plan.deployment.conditions import ROLLED_OUT
from outrider.plan.deployment.effective import Effective
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
    def actions(self) -> tuple[Action, ...]:
        return (*self.applies, *self.removed)


def objects(snapshot: Snapshot, effective: Effective, service: str) -> Objects:
    """What there should be; nothing where the spec cannot be acted on, so that what is there stays."""
    spec, target, owner, config = snapshot.parsed.spec, effective.target, snapshot.deployment, snapshot.config
    if spec is None or target is None:
        return Objects()
    picker = decide_picker(snapshot, spec, service)
    body = render.service_body(owner, spec, service)
    found = [Wanted(body, drift.service(body, snapshot.service))]
    if picker.objects:
        found += _picker(snapshot, service)
    routes = _routes(snapshot, picker, service)
    found += routes
    # Without pods there is nothing to disrupt, and Kubernetes keeps complaining of a budget that has none.
    if spec.desired_replicas or snapshot.budget is not None:
        body = render.budget_body(owner, spec)
        found.append(Wanted(body, drift.budget(body, snapshot.budget)))
    body = render.deployment_body(owner, spec, target, config, snapshot.workload)
    if trial.pauses(snapshot, target.hash, body["spec"]["template"]):
        body = render.deployment_body(owner, spec, target, config, snapshot.workload, paused=True)
    found.append(Wanted(body, drift.workload(body, snapshot.workload, rolled_out=_rolled_out(owner.status))))
    return Objects(tuple(found), picker, tuple(_surplus_picker(snapshot, picker, routes, service)))


def manifests(snapshot: Snapshot, effective: Effective, service: str) -> tuple[Body, ...]:
    """The same objects, whether or not they are there, and the ModelRevision first: what `outrider plan` prints."""
    made = objects(snapshot, effective, service)
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


def _routes(snapshot: Snapshot, picker: Picker, service: str) -> list[Wanted]:
    config, owner = snapshot.config, snapshot.deployment
    if not config.gateway_name or snapshot.kinds.http_routes is False:
        return []
    backend = render_routes.pool_backend(service) if picker.routed else render_routes.service_backend(service)
    bodies = [render_routes.host_route_body(owner, service, backend, config)]
    if url := gateway.base_url(snapshot):
        bodies.append(render_routes.path_route_body(owner, service, backend, config, url))
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
