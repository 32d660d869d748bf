"""Routes, and what a Gateway says about them."""

from typing import Any

import pytest
from plan_gateway import ACCEPTED, gateway, say
from plan_world import LLAMA, PlanWorld, merged

from outrider.api.meta import find_condition
from outrider.plan.deployment.observed import ClusterKinds
from outrider.plan.deployment.snapshot import PlanConfig

CONFIG = PlanConfig(gateway_name="front", gateway_namespace="infra")
PARENT = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "front", "namespace": "infra"}


def world(name: str = "llama", config: PlanConfig = CONFIG, **gateway_said: Any) -> PlanWorld:
    made = PlanWorld(merged(LLAMA, {"metadata": {"name": name}}), config=config)
    made.gateway = gateway(**gateway_said)
    made.settle()
    return made


URLS: dict[str, tuple[PlanConfig, dict[str, Any], str]] = {
    "the address that the configuration tells": (
        PlanConfig(gateway_name="front", gateway_namespace="infra", base_url="https://llm.example.com/"),
        {"addresses": ["192.0.2.1"]},
        "https://llm.example.com/production/llama",
    ),
    "the address that the Gateway tells": (
        CONFIG,
        {"addresses": ["192.0.2.1", "192.0.2.2"]},
        "http://192.0.2.1/production/llama",
    ),
    "a port that is not the usual one": (
        CONFIG,
        {"addresses": ["192.0.2.1"], "port": 8000},
        "http://192.0.2.1:8000/production/llama",
    ),
    "the only host name that the listener serves": (
        CONFIG,
        {"addresses": ["192.0.2.1"], "port": 443, "protocol": "HTTPS", "hostname": "llm.example.com"},
        "https://llm.example.com/production/llama",
    ),
    "any host name will do": (
        CONFIG,
        {"addresses": ["2001:db8::1"], "hostname": "*.example.com"},
        "http://[2001:db8::1]/production/llama",
    ),
    "a Gateway without an address": (CONFIG, {}, "http://llama.production:8080"),
    "a Gateway for something else": (
        CONFIG,
        {"addresses": ["192.0.2.1"], "protocol": "TCP"},
        "http://llama.production:8080",
    ),
    "no Gateway": (PlanConfig(), {"addresses": ["192.0.2.1"]}, "http://llama.production:8080"),
}


@pytest.mark.parametrize("sentence", URLS)
def test_the_url_is_where_requests_are_answered(sentence: str) -> None:
    config, said, expected = URLS[sentence]
    made = world(config=config, **said)
    assert made.status.url == expected
    prefix = "/production/llama"
    path_route = made.objects.get(("HTTPRoute", "llama.path"))
    assert (path_route is not None) == expected.endswith(prefix), "a path is promised where a route takes it away"


def test_requests_by_path_arrive_without_it() -> None:
    made = world("llama-3.1-8b", addresses=["192.0.2.1"])
    spec = made.objects["HTTPRoute", "llama-3-1-8b.path"]["spec"]
    assert spec["parentRefs"] == [PARENT]
    assert "hostnames" not in spec, "an address is no host name: Gateway API refuses it"
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    backend = {"group": "", "kind": "Service", "name": "llama-3-1-8b", "port": 8080, "weight": 1}
    assert spec["rules"] == [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": f"/production/{name}"}}],
            "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}],
            "backendRefs": [backend],
            "timeouts": {"request": "0s"},
        }
        for name in ("llama-3-1-8b", "llama-3.1-8b")
    ]


def test_a_host_name_and_a_path_of_the_address_are_the_routes_too() -> None:
    config = PlanConfig(gateway_name="front", base_url="https://example.com/models")
    spec = world(config=config).objects["HTTPRoute", "llama.path"]["spec"]
    assert spec["hostnames"] == ["example.com"]
    assert spec["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/models/production/llama"}}]
    assert spec["parentRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "front"}]


def test_names_that_are_too_long_for_a_host_are_left_out() -> None:
    name = "a" * 240
    made = world(name)
    (route,) = [body for (kind, _), body in made.objects.items() if kind == "HTTPRoute"]
    assert route["spec"]["hostnames"]
    assert all(len(host) <= 253 for host in route["spec"]["hostnames"])


def test_no_timeout_is_written_where_none_is_wanted() -> None:
    config = PlanConfig(gateway_name="front", request_timeout="")
    assert "timeouts" not in world(config=config).objects["HTTPRoute", "llama"]["spec"]["rules"][0]


SAID: dict[str, tuple[dict[str, tuple[str, str]], tuple[str, str, str]]] = {
    "it takes the route": (ACCEPTED, ("True", "Accepted", "Gateway infra/front takes the routes.")),
    "its listeners take no routes of this namespace": (
        {"Accepted": ("False", "NotAllowedByListeners")},
        ("False", "RouteRefused", "allowedRoutes.namespaces"),
    ),
    "none of its listeners has such a host name": (
        {"Accepted": ("False", "NoMatchingListenerHostname")},
        ("False", "RouteRefused", "listeners[].hostname"),
    ),
    "it does not find the Service": (
        {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")},
        ("False", "BackendRefused", "the backend of HTTPRoute llama: BackendNotFound: because"),
    ),
    "for a reason of its own": (
        {"Accepted": ("False", "example.com/Mood")},
        ("False", "RouteRefused", "does not take HTTPRoute llama: example.com/Mood: because"),
    ),
    "nothing yet": ({}, ("Unknown", "AwaitingGateway", "has not said yet")),
}


@pytest.mark.parametrize("sentence", SAID)
def test_what_the_gateway_says_is_told(sentence: str) -> None:
    conditions, (status, reason, message) = SAID[sentence]
    made = world()
    say(made, "llama", **conditions)
    made.settle()
    found = made.condition("RouteAccepted")
    assert (found.status, found.reason) == (status, reason)
    assert message in found.message
    assert made.condition("Ready").status == "True", "inside the cluster the Service answers"
    assert (reason in {event.reason for event in made.events}) == (status == "False")


def test_a_gateway_that_has_not_seen_a_change_yet_says_nothing_new() -> None:
    made = world()
    say(made, "llama", **ACCEPTED)
    made.settle()
    made.objects["HTTPRoute", "llama"]["metadata"]["generation"] += 1
    assert made.plan().status is None


def test_a_gateway_that_does_not_exist_is_told() -> None:
    made = PlanWorld(config=CONFIG)
    made.gateway_looked_for = True
    made.settle()
    assert made.condition("RouteAccepted").reason == "GatewayMissing"
    assert "infra/front" in made.condition("RouteAccepted").message


def test_of_a_gateway_that_never_reports_nothing_is_said() -> None:
    made = PlanWorld(config=CONFIG)
    made.gateway = {"metadata": {"name": "front", "namespace": "infra"}}
    made.settle()
    assert find_condition(made.status.conditions, "RouteAccepted") is None


def test_a_cluster_without_gateway_api_gets_no_routes() -> None:
    made = PlanWorld(config=CONFIG)
    made.kinds = ClusterKinds(http_routes=False)
    made.settle()
    assert made.condition("RouteAccepted").reason == "GatewayAPIMissing"
    assert not [name for kind, name in made.objects if kind == "HTTPRoute"]
    assert made.status.phase == "Ready"
