"""The Gateway that requests come in through: its address, and what it says about our routes."""

import msgspec

from outrider.api.meta import Condition, find_condition
from outrider.plan.deployment.observed import ParentView, RouteView
from outrider.plan.deployment.render_routes import route_names
from outrider.plan.deployment.snapshot import Snapshot

ADVICE = {
    "NotAllowedByListeners": "let one of the Gateway's listeners take routes of this namespace "
    "(listeners[].allowedRoutes.namespaces)",
    "NoMatchingListenerHostname": "let one of the Gateway's listeners take these host names (listeners[].hostname)",
    "NoMatchingParent": "name a Gateway that exists (outrider operator --gateway)",
    "RefNotPermitted": "allow the reference with a ReferenceGrant",
    "BackendNotFound": "the backend is being created, or its namespace is not watched by the gateway's controller",
    "InvalidKind": "use a gateway that supports this kind of backend",
    "UnsupportedProtocol": "use a listener of protocol HTTP or HTTPS",
}
"""Gateway API's own reasons, and what to do."""


class Refusal(msgspec.Struct, frozen=True):
    """What a gateway will not do with a route."""

    route: str
    accepted: bool
    """True: the route is accepted, but its backend is not."""
    reason: str
    message: str


def base_url(snapshot: Snapshot) -> str:
    """Where people outside reach the Gateway; empty where nobody knows."""
    config = snapshot.config
    if not config.gateway_name:
        return ""
    return (config.base_url or (snapshot.gateway.base_url if snapshot.gateway is not None else "")).rstrip("/")


def routes_of(snapshot: Snapshot, service_name: str) -> dict[str, RouteView]:
    """Those of this LLMDeployment's routes that exist, by name."""
    return {
        name: view
        for name in route_names(service_name)
        if (view := snapshot.routes.get(name)) is not None and view.owned
    }


def refusals(snapshot: Snapshot, service_name: str) -> tuple[Refusal, ...]:
    """What the Gateway says no to, of the routes as they are now."""
    return tuple(
        Refusal(name, kind == "ResolvedRefs", condition.reason, condition.message)
        for name, view in routes_of(snapshot, service_name).items()
        for parent in _ours(snapshot, view)
        for kind in ("Accepted", "ResolvedRefs")
        if (condition := find_condition(parent.conditions, kind)) is not None
        and condition.status == "False"
        and _is_current(condition, view)
    )


def reported(snapshot: Snapshot, service_name: str) -> bool | None:
    """Whether the Gateway has taken notice of all routes as they are now; None where no gateway ever reports."""
    views = routes_of(snapshot, service_name)
    parents = [(view, parent) for view in views.values() for parent in _ours(snapshot, view)]
    controlled = snapshot.gateway is not None and snapshot.gateway.controlled
    if not parents and not controlled:
        return None
    known = {id(view) for view, parent in parents if _has_seen(parent, view)}
    return bool(views) and all(id(view) in known for view in views.values())


def _has_seen(parent: ParentView, view: RouteView) -> bool:
    accepted = find_condition(parent.conditions, "Accepted")
    return accepted is not None and _is_current(accepted, view)


def _is_current(condition: Condition, view: RouteView) -> bool:
    """A controller that tells no generation is taken to speak of the present one."""
    return condition.observed_generation == 0 or condition.observed_generation >= view.generation


def _ours(snapshot: Snapshot, view: RouteView) -> list[ParentView]:
    """What is said on behalf of the configured Gateway, and not of another one."""
    config = snapshot.config
    wanted = config.gateway_namespace or snapshot.namespace
    return [
        parent
        for parent in view.parents
        if (parent.name, parent.namespace or snapshot.namespace) == (config.gateway_name, wanted)
    ]
