"""Services, EndpointSlices, and Gateway API's HTTPRoutes and Gateways, which are custom resources."""

from typing import Any

from parity.corpus_workloads import LABELS
from parity.steps import Corpus, apply, create, get, obj, patch

from outrider.kube.objects import ENDPOINT_SLICE, GATEWAY, HTTP_ROUTE, SERVICE


def service(name: str, **spec: Any) -> dict[str, Any]:
    return obj(SERVICE, name, spec={"selector": LABELS, "ports": [{"port": 80}], **spec})


def _slice(name: str, **more: Any) -> dict[str, Any]:
    return obj(
        ENDPOINT_SLICE,
        name,
        {"labels": {"kubernetes.io/service-name": "web"}},
        **{"addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": ["10.0.0.1"]}]}
        | more,
    )


def route(*backends: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return obj(
        HTTP_ROUTE,
        "web",
        spec={
            "parentRefs": [{"name": "front"}],
            "hostnames": ["web.example.com"],
            "rules": [{"backendRefs": list(backends)}],
            **spec,
        },
    )


def _backend(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "port": 8080, **more}


def _condition(kind: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def _listener(**more: Any) -> dict[str, Any]:
    return {"name": "http", "port": 80, "protocol": "HTTP", **more}


NETWORK: Corpus = {
    "a Service's defaults": [
        create(SERVICE, service("web")),
        create(SERVICE, service("headless", clusterIP="None")),
        create(
            SERVICE,
            service(
                "named",
                ports=[
                    {"port": 80, "name": "http", "targetPort": "http"},
                    {"port": 53, "name": "dns", "protocol": "UDP"},
                ],
            ),
        ),
        create(SERVICE, obj(SERVICE, "external", spec={"type": "ExternalName", "externalName": "example.com"})),
        get(SERVICE, "web"),
    ],
    "a Service is validated": [
        create(SERVICE, service("9starts-with-a-digit")),
        create(SERVICE, service("has.dots")),
        create(SERVICE, service("a" * 64)),
        create(SERVICE, service("none", ports=[])),
        create(SERVICE, service("zero", ports=[{"port": 0}])),
        create(SERVICE, service("unnamed", ports=[{"port": 80}, {"port": 81}])),
        create(SERVICE, service("twice", ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}])),
        create(SERVICE, service("same", ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}])),
        create(SERVICE, service("target", ports=[{"port": 80, "targetPort": 70000}])),
        create(SERVICE, service("targetname", ports=[{"port": 80, "targetPort": "Not A Name"}])),
        create(SERVICE, service("protocol", ports=[{"port": 80, "protocol": "QUIC"}])),
        create(SERVICE, service("type", type="Nonsense")),
        create(SERVICE, service("selector", selector={"a": "b c"})),
        create(SERVICE, service("affinity", sessionAffinity="Nonsense")),
        create(SERVICE, obj(SERVICE, "empty")),
    ],
    "a Service's selector and ports change, its address does not": [
        create(SERVICE, service("web")),
        patch(SERVICE, "merge", "web", {"spec": {"selector": {"app": "other"}}}),
        patch(SERVICE, "strategic", "web", {"spec": {"ports": [{"port": 90, "name": "more"}]}}),
        patch(
            SERVICE,
            "strategic",
            "web",
            {"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 90, "name": "more"}]}},
        ),
        patch(SERVICE, "merge", "web", {"spec": {"clusterIP": "10.96.77.77"}}),
        patch(SERVICE, "merge", "web", {"status": {"conditions": [_condition("Ready")]}}, "status"),
        get(SERVICE, "web"),
    ],
    "a headless Service's changes": [
        create(SERVICE, service("web", clusterIP="None")),
        patch(SERVICE, "json", "web", [{"op": "replace", "path": "/spec/selector/app", "value": "blue"}]),
        patch(SERVICE, "merge", "web", {"spec": {"ports": [{"port": 81, "name": "x"}]}}),
        patch(SERVICE, "merge", "web", {"spec": {"selector": None}}),
        get(SERVICE, "web", "status"),
    ],
    "an EndpointSlice's defaults and validation": [
        create(ENDPOINT_SLICE, _slice("one")),
        create(ENDPOINT_SLICE, _slice("two", ports=[{}], endpoints=[])),
        create(
            ENDPOINT_SLICE,
            _slice(
                "three",
                endpoints=[
                    {
                        "addresses": ["10.0.0.1"],
                        "conditions": {"ready": False, "terminating": True},
                        "targetRef": {"kind": "Pod", "name": "p"},
                        "nodeName": "n",
                    }
                ],
            ),
        ),
        create(ENDPOINT_SLICE, _slice("type", addressType=None)),
        create(ENDPOINT_SLICE, _slice("wrong", addressType="Nonsense")),
        create(ENDPOINT_SLICE, _slice("loopback", endpoints=[{"addresses": ["127.0.0.1"]}])),
        create(ENDPOINT_SLICE, _slice("text", endpoints=[{"addresses": ["not-an-address"]}])),
        create(ENDPOINT_SLICE, _slice("empty", endpoints=[{"addresses": []}])),
        create(ENDPOINT_SLICE, _slice("port", ports=[{"port": 0}])),
        create(ENDPOINT_SLICE, _slice("names", ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}])),
        patch(ENDPOINT_SLICE, "merge", "one", {"addressType": "IPv6"}),
        patch(ENDPOINT_SLICE, "merge", "one", {"endpoints": []}),
        patch(ENDPOINT_SLICE, "strategic", "one", {"endpoints": [{"addresses": ["10.0.0.2"]}]}),
        apply(ENDPOINT_SLICE, _slice("one", endpoints=[{"addresses": ["10.0.0.3"]}]), "owner", force="true"),
    ],
    "an HTTPRoute's defaults and weights": [
        create(HTTP_ROUTE, route(_backend("a", weight=90), _backend("b", weight=10))),
        patch(HTTP_ROUTE, "merge", "web", {"spec": {"rules": [{"backendRefs": [_backend("a")]}]}}),
        patch(HTTP_ROUTE, "strategic", "web", {"spec": {"hostnames": []}}),
        patch(HTTP_ROUTE, "json", "web", [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 0}]),
        get(HTTP_ROUTE, "web"),
        get(HTTP_ROUTE, "web", "scale"),
    ],
    "an HTTPRoute is validated by its schema": [
        create(HTTP_ROUTE, route(_backend("a", weight=-1))),
        create(HTTP_ROUTE, route(_backend("a", port=0))),
        create(HTTP_ROUTE, route({"name": "a"})),
        create(HTTP_ROUTE, route({"port": 80})),
        create(HTTP_ROUTE, route(_backend("a"), hostnames=["Not A Host"])),
        create(HTTP_ROUTE, route(_backend("a"), rules="text")),
        create(HTTP_ROUTE, obj(HTTP_ROUTE, "empty")),
        create(HTTP_ROUTE, route(_backend("a"), unknown="field")),
    ],
    "an HTTPRoute is applied by two": [
        apply(HTTP_ROUTE, route(_backend("a", weight=1)), "one"),
        apply(HTTP_ROUTE, obj(HTTP_ROUTE, "web", spec={"hostnames": ["other.example.com"]}), "two"),
        apply(HTTP_ROUTE, route(_backend("a", weight=1), _backend("b", weight=0)), "one"),
    ],
    "an HTTPRoute's status is apart": [
        create(HTTP_ROUTE, route(_backend("a"))),
        patch(
            HTTP_ROUTE,
            "merge",
            "web",
            {
                "status": {
                    "parents": [
                        {
                            "parentRef": {"name": "front"},
                            "controllerName": "example.com/gateway",
                            "conditions": [_condition("Accepted")],
                        }
                    ]
                }
            },
            "status",
        ),
        patch(HTTP_ROUTE, "merge", "web", {"spec": {"hostnames": ["x.example.com"]}, "status": {"parents": []}}),
    ],
    "a Gateway's defaults and listeners": [
        create(GATEWAY, obj(GATEWAY, "front", spec={"gatewayClassName": "local", "listeners": [_listener()]})),
        apply(
            GATEWAY,
            obj(GATEWAY, "front", spec={"gatewayClassName": "local", "listeners": [_listener(name="more", port=81)]}),
            "two",
        ),
        create(GATEWAY, obj(GATEWAY, "none", spec={"gatewayClassName": "local", "listeners": []})),
        create(GATEWAY, obj(GATEWAY, "port", spec={"gatewayClassName": "local", "listeners": [_listener(port=0)]})),
        create(GATEWAY, obj(GATEWAY, "class", spec={"listeners": [_listener()]})),
        patch(GATEWAY, "merge", "front", {"status": {"conditions": [_condition("Accepted")]}}, "status"),
    ],
}
