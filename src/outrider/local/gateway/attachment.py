"""Which routes belong to which listeners of our Gateways, and what is said about it in their status.

Pure: objects in, the status that they should have out. Rules, condition types and reasons are Gateway API's own
(https://gateway-api.sigs.k8s.io/reference/spec/, v1.6).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from outrider.api.meta import ObjectMeta
from outrider.kube.objects import LabelSelector
from outrider.kube.selectors import label_selector
from outrider.local.gateway.compiled import compile_route
from outrider.local.gateway.matching import Route

CONTROLLER = "inference.llm-d.io/outrider-local-gateway"
"""`spec.controllerName` of the GatewayClasses that are ours."""
GROUP = "gateway.networking.k8s.io"
PROTOCOL = "HTTP"

Object = dict[str, Any]
ServiceExists = Callable[[str, str, int | None], bool]
"""Whether a Service (namespace, name) exists and has the port, or, with None, any."""


class ClassSpec(msgspec.Struct, frozen=True, rename="camel"):
    controller_name: str = ""


class GatewayClassView(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: ClassSpec = ClassSpec()
    status: Object = {}


class AllowedNamespaces(msgspec.Struct, frozen=True, rename="camel"):
    from_: str = msgspec.field(name="from", default="Same")
    selector: LabelSelector | None = None


class AllowedRoutes(msgspec.Struct, frozen=True, rename="camel"):
    namespaces: AllowedNamespaces = AllowedNamespaces()
    kinds: tuple[Object, ...] = ()


class Listener(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    port: int = 0
    protocol: str = PROTOCOL
    hostname: str = ""
    allowed_routes: AllowedRoutes = AllowedRoutes()


class ListenersSpec(msgspec.Struct, frozen=True, rename="camel"):
    gateway_class_name: str = ""
    listeners: tuple[Listener, ...] = ()


class GatewayView(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    spec: ListenersSpec = ListenersSpec()
    status: Object = {}


@dataclass(frozen=True)
class Attached:
    """What became of one of a route's parents."""

    listeners: tuple[str, ...]
    reason: str = "Accepted"
    message: str = ""

    @property
    def accepted(self) -> bool:
        return bool(self.listeners)


def parents(route: Route) -> Iterator[tuple[Object, str]]:
    """The Gateways that a route names: each reference, and the Gateway's key."""
    for reference in route.spec.parent_refs:
        if reference.get("group", GROUP) == GROUP and reference.get("kind", "Gateway") == "Gateway":
            namespace = reference.get("namespace") or route.metadata.namespace
            yield reference, f"{namespace}/{reference.get('name', '')}"


def attach(route: Route, reference: Object, gateway: GatewayView, labels: Mapping[str, str]) -> Attached:
    """Whether the Gateway takes the route that names it so. `labels` are those of the route's namespace."""
    named = [each for each in gateway.spec.listeners if _is_named(each, reference) and each.protocol == PROTOCOL]
    if not named:
        return Attached((), "NoMatchingParent", f"the Gateway {gateway.metadata.key} has no such HTTP listener")
    allowed = [each for each in named if _is_allowed(each, gateway, route.metadata.namespace, labels)]
    if not allowed:
        text = f"no listener of the Gateway {gateway.metadata.key} takes HTTPRoutes of {route.metadata.namespace}"
        return Attached((), "NotAllowedByListeners", text)
    met = [each for each in allowed if _hosts_meet(each.hostname, route.spec.hostnames)]
    if not met:
        text = f"no listener of the Gateway {gateway.metadata.key} has one of the route's host names"
        return Attached((), "NoMatchingListenerHostname", text)
    return Attached(tuple(each.name for each in met), "Accepted", "the route is served")


def class_status(view: GatewayClassView, now: str) -> Object:
    generation = view.metadata.generation
    return {"conditions": _kept(view.status, [_condition("Accepted", "Accepted", "", generation)], now)}


def gateway_status(view: GatewayView, attached: Mapping[str, int], addresses: Sequence[str], now: str) -> Object:
    """`attached`: how many routes each listener has."""
    generation = view.metadata.generation
    before = {each.get("name"): each for each in view.status.get("listeners") or ()}
    listeners = [
        _listener_status(each, attached, before.get(each.name, {}), generation, now) for each in view.spec.listeners
    ]
    served = any(each.protocol == PROTOCOL for each in view.spec.listeners)
    whole = len({each.protocol for each in view.spec.listeners} | {PROTOCOL}) == 1
    accepted = ("Accepted", "") if whole else ("ListenersNotValid", f"only listeners of protocol {PROTOCOL} are served")
    conditions = [
        _condition("Accepted", *accepted, generation, status=served),
        _condition(
            "Programmed", *(("Programmed", "") if served else ("Invalid", accepted[1])), generation, status=served
        ),
    ]
    return {
        "addresses": [{"type": "IPAddress", "value": address} for address in addresses],
        "conditions": _kept(view.status, conditions, now),
        "listeners": listeners,
    }


def route_parents(
    route: Route,
    gateways: Mapping[str, GatewayView],
    labels: Mapping[str, str],
    service_exists: ServiceExists,
    now: str,
) -> list[Object]:
    """`status.parents`: what we say is about those of `gateways` that the route names. What others said stays, and
    stays where it is, or two controllers that put themselves last would write for ever.
    """
    wanted = [(reference, gateways[key]) for reference, key in parents(route) if key in gateways]
    result: list[Object] = []
    for entry in route.status.get("parents") or ():
        if entry.get("controllerName") != CONTROLLER:
            result.append(entry)
        elif (found := next((each for each in wanted if each[0] == entry.get("parentRef")), None)) is not None:
            wanted.remove(found)
            result.append(_parent(route, *found, entry, labels, service_exists, now))
    return result + [_parent(route, *each, {}, labels, service_exists, now) for each in wanted]


def _parent(
    route: Route,
    reference: Object,
    gateway: GatewayView,
    before: Object,
    labels: Mapping[str, str],
    service_exists: ServiceExists,
    now: str,
) -> Object:
    conditions = _route_conditions(route, attach(route, reference, gateway, labels), service_exists)
    return {"parentRef": reference, "controllerName": CONTROLLER, "conditions": _kept(before, conditions, now)}


def _route_conditions(route: Route, attached: Attached, service_exists: ServiceExists) -> list[Object]:
    generation = route.metadata.generation
    problem = next(_unresolved(route, service_exists), None)
    resolved = problem or ("ResolvedRefs", "")
    conditions = [
        _condition("Accepted", attached.reason, attached.message, generation, status=attached.accepted),
        _condition("ResolvedRefs", *resolved, generation, status=problem is None),
    ]
    if problem is None and (left_out := compile_route(route).problems):
        conditions.append(_condition("PartiallyInvalid", "UnsupportedValue", "; ".join(left_out), generation))
    return conditions


def _unresolved(route: Route, service_exists: ServiceExists) -> Iterator[tuple[str, str]]:
    """Reason and message of each backend that cannot be used."""
    namespace = route.metadata.namespace
    for reference in (each for rule in route.spec.rules for each in rule.backend_refs):
        if reference.kind != "Service" or reference.group:
            yield "InvalidKind", f"backend {reference.name} is of kind {reference.kind}: only Services are served"
        elif reference.namespace and reference.namespace != namespace:
            where = f"backend {reference.name} is in namespace {reference.namespace}"
            yield "RefNotPermitted", f"{where}: this gateway does not read ReferenceGrants"
        elif not service_exists(namespace, reference.name, reference.port):
            port = f" with port {reference.port}" if reference.port else ""
            yield "BackendNotFound", f"there is no Service {namespace}/{reference.name}{port}"


def _listener_status(
    listener: Listener, attached: Mapping[str, int], before: Object, generation: int, now: str
) -> Object:
    served = listener.protocol == PROTOCOL
    problem = ("UnsupportedProtocol", f"only {PROTOCOL} is served")
    conditions = [
        _condition("Accepted", *(("Accepted", "") if served else problem), generation, status=served),
        _condition("Programmed", *(("Programmed", "") if served else ("Invalid", "")), generation, status=served),
        _condition("ResolvedRefs", "ResolvedRefs", "", generation),
    ]
    return {
        "name": listener.name,
        "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}] if served else [],
        "attachedRoutes": attached.get(listener.name, 0),
        "conditions": _kept(before, conditions, now),
    }


def _is_named(listener: Listener, reference: Object) -> bool:
    return reference.get("sectionName") in (None, listener.name) and reference.get("port") in (None, listener.port)


def _is_allowed(listener: Listener, gateway: GatewayView, namespace: str, labels: Mapping[str, str]) -> bool:
    allowed = listener.allowed_routes
    if allowed.kinds and not any(
        each.get("kind") == "HTTPRoute" and each.get("group", GROUP) == GROUP for each in allowed.kinds
    ):
        return False
    match allowed.namespaces.from_:
        case "All":
            return True
        case "Same":
            return namespace == gateway.metadata.namespace
        case "Selector":
            return label_selector(allowed.namespaces.selector).matches(labels)
        case _:
            return False


def _hosts_meet(listener: str, hosts: Iterable[str]) -> bool:
    return not listener or not (names := tuple(hosts)) or any(_host_meets(listener, name) for name in names)


def _host_meets(one: str, other: str) -> bool:
    """Whether some host has both names, of which each may be a wildcard (`*.example.com`)."""
    one, other = one.lower(), other.lower()
    return one == other or any(
        wild.startswith("*.") and name.removeprefix("*").endswith(wild[1:]) and name != wild[2:]
        for wild, name in ((one, other), (other, one))
    )


def _condition(kind: str, reason: str, message: str, generation: int, *, status: bool = True) -> Object:
    return {
        "type": kind,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def _kept(before: Mapping[str, Any], conditions: list[Object], now: str) -> list[Object]:
    """With the time at which each got its present status: the old one, unless it is another status now."""
    times = {
        (each.get("type"), each.get("status")): each.get("lastTransitionTime")
        for each in before.get("conditions") or ()
    }
    return [{**each, "lastTransitionTime": times.get((each["type"], each["status"])) or now} for each in conditions]
