"""Which routes a Gateway takes, and what its status and theirs say."""

from typing import Any

import msgspec
import pytest

from outrider.local.gateway.attachment import (
    CONTROLLER,
    GatewayClassView,
    GatewayView,
    attach,
    class_status,
    gateway_status,
    parents,
    route_parents,
)
from outrider.local.gateway.matching import Route

BEFORE, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"
ALL = {"namespaces": {"from": "All"}}
TEAM = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "search"}}}}


def gateway(*listeners: dict[str, Any], status: dict[str, Any] | None = None) -> GatewayView:
    listed = listeners or ({"name": "http", "port": 8080, "protocol": "HTTP", "allowedRoutes": ALL},)
    metadata = {"name": "outrider", "namespace": "outrider-system", "generation": 3}
    body = {"metadata": metadata, "spec": {"gatewayClassName": "outrider-local", "listeners": list(listed)}}
    return msgspec.convert(body | {"status": status or {}}, GatewayView)


def listener(**fields: Any) -> dict[str, Any]:
    return {"name": "http", "port": 8080, "protocol": "HTTP", "allowedRoutes": ALL, **fields}


PARENT = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "outrider", "namespace": "outrider-system"}


def route(parent: dict[str, Any] | None = None, **spec: Any) -> Route:
    backends = [{"name": "chat", "port": 8080}]
    body = {
        "metadata": {"name": "chat", "namespace": "production", "generation": 2},
        "spec": {"parentRefs": [PARENT | (parent or {})], "rules": [{"backendRefs": backends}], **spec},
    }
    return msgspec.convert(body, Route)


ATTACHED = {
    "a Gateway takes routes of the namespaces that it allows": (gateway(), route(), "Accepted"),
    "no listener of that name": (gateway(), route({"sectionName": "https"}), "NoMatchingParent"),
    "the listener of that name": (gateway(), route({"sectionName": "http"}), "Accepted"),
    "no listener on that port": (gateway(), route({"port": 80}), "NoMatchingParent"),
    "a protocol that is not served": (gateway(listener(protocol="HTTPS")), route(), "NoMatchingParent"),
    "without a word only its own namespace": (gateway(listener(allowedRoutes={})), route(), "NotAllowedByListeners"),
    "namespaces by label, and it has the label": (gateway(listener(allowedRoutes=TEAM)), route(), "Accepted"),
    "namespaces by label, and it lacks the label": (
        gateway(listener(allowedRoutes={"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}})),
        route(),
        "NotAllowedByListeners",
    ),
    "other kinds of routes only": (
        gateway(listener(allowedRoutes=ALL | {"kinds": [{"kind": "GRPCRoute"}]})),
        route(),
        "NotAllowedByListeners",
    ),
    "a host name of the listener's domain": (
        gateway(listener(hostname="*.example.com")),
        route(hostnames=["chat.example.com"]),
        "Accepted",
    ),
    "another domain": (
        gateway(listener(hostname="*.example.com")),
        route(hostnames=["chat.example.org"]),
        "NoMatchingListenerHostname",
    ),
    "the domain itself is not below it": (
        gateway(listener(hostname="*.example.com")),
        route(hostnames=["example.com"]),
        "NoMatchingListenerHostname",
    ),
    "a route for any host": (gateway(listener(hostname="chat.example.com")), route(), "Accepted"),
}


@pytest.mark.parametrize("case", ATTACHED)
def test_a_route_is_taken_or_refused_with_the_gateway_apis_reason(case: str) -> None:
    view, wanted, reason = ATTACHED[case]
    [(reference, key)] = parents(wanted)
    assert key == "outrider-system/outrider"
    attached = attach(wanted, reference, view, {"team": "search"})
    assert attached.reason == reason
    assert attached.accepted == (reason == "Accepted")


def told(wanted: Route, *, services: tuple[str, ...] = ("production/chat",)) -> list[dict[str, Any]]:
    def exists(namespace: str, name: str, port: int | None) -> bool:
        return f"{namespace}/{name}" in services and port in (None, 8080)

    return route_parents(wanted, {"outrider-system/outrider": gateway()}, {}, exists, NOW)


def reasons(entry: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in entry["conditions"]}


RESOLVED = {
    "its Service is there": ([{"name": "chat", "port": 8080}], "True", "ResolvedRefs"),
    "its Service is missing": ([{"name": "nobody", "port": 8080}], "False", "BackendNotFound"),
    "the Service has no such port": ([{"name": "chat", "port": 1}], "False", "BackendNotFound"),
    "a pool": (
        [{"name": "chat", "kind": "InferencePool", "group": "inference.networking.k8s.io"}],
        "False",
        "InvalidKind",
    ),
    "another namespace": ([{"name": "chat", "namespace": "staging", "port": 8080}], "False", "RefNotPermitted"),
}


@pytest.mark.parametrize("case", RESOLVED)
def test_a_routes_references_are_resolved_or_not(case: str) -> None:
    backends, status, reason = RESOLVED[case]
    [entry] = told(route(rules=[{"backendRefs": backends}]))
    assert entry["parentRef"] == PARENT
    assert entry["controllerName"] == CONTROLLER
    assert reasons(entry)["Accepted"] == ("True", "Accepted")
    assert reasons(entry)["ResolvedRefs"] == (status, reason)
    assert all(each["observedGeneration"] == 2 for each in entry["conditions"])


def test_what_is_left_out_of_a_route_is_said() -> None:
    matches = [{"path": {"type": "RegularExpression", "value": "/v[12]"}}]
    [entry] = told(route(rules=[{"matches": matches, "backendRefs": [{"name": "chat", "port": 8080}]}]))
    assert reasons(entry)["PartiallyInvalid"] == ("True", "UnsupportedValue")


def test_what_other_controllers_said_stays_where_it_is() -> None:
    theirs = {"parentRef": {"name": "traefik"}, "controllerName": "traefik.io/gateway-controller", "conditions": []}
    gone = {"parentRef": {"name": "gone"}, "controllerName": CONTROLLER, "conditions": []}
    [ours] = told(route())
    before = msgspec.structs.replace(route(), status={"parents": [gone, ours, theirs]})
    assert told(before) == [ours, theirs]
    assert told(msgspec.structs.replace(before, spec=msgspec.structs.replace(before.spec, parent_refs=()))) == [theirs]


def test_a_condition_keeps_the_time_of_its_status() -> None:
    [entry] = told(route())
    old = msgspec.json.decode(msgspec.json.encode(entry).replace(NOW.encode(), BEFORE.encode()))
    before = msgspec.structs.replace(route(), status={"parents": [old]})
    assert told(before) == [old], "nothing changed, so nothing is different"
    [now] = told(before, services=())
    times = {each["type"]: each["lastTransitionTime"] for each in now["conditions"]}
    assert times == {"Accepted": BEFORE, "ResolvedRefs": NOW}


def test_a_gateway_is_programmed_with_its_address_and_its_routes_counted() -> None:
    status = gateway_status(gateway(), {"http": 2}, ["192.168.77.250"], NOW)
    assert status["addresses"] == [{"type": "IPAddress", "value": "192.168.77.250"}]
    assert reasons(status) == {"Accepted": ("True", "Accepted"), "Programmed": ("True", "Programmed")}
    [one] = status["listeners"]
    assert (one["name"], one["attachedRoutes"], one["supportedKinds"][0]["kind"]) == ("http", 2, "HTTPRoute")
    assert gateway_status(gateway(status=status), {"http": 2}, ["192.168.77.250"], "later") == status


def test_listeners_that_are_not_served_are_named() -> None:
    tls = listener(name="https", protocol="HTTPS", port=443)
    mixed = gateway_status(gateway(listener(), tls), {}, [], NOW)
    assert reasons(mixed)["Accepted"] == ("True", "ListenersNotValid")
    assert [reasons(each)["Accepted"] for each in mixed["listeners"]] == [
        ("True", "Accepted"),
        ("False", "UnsupportedProtocol"),
    ]
    assert reasons(gateway_status(gateway(tls), {}, [], NOW))["Programmed"] == ("False", "Invalid")


def test_a_class_is_accepted() -> None:
    assert reasons(class_status(GatewayClassView(), NOW)) == {"Accepted": ("True", "Accepted")}
