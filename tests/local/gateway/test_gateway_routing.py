"""Which backend a request reaches, as tables; and the promises of choosing, as properties."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from gateway_objects import exact, pod, prefix, route, service, slice_of, to
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from outrider.kube.objects import EndpointSlice, Service
from outrider.local.gateway.matching import Route, host_candidates, host_of
from outrider.local.gateway.pool import Endpoint, Pool, WeightedTurns
from outrider.local.gateway.routes import DeploymentName, Found, RoutingTable


def deployment(name: str, service_name: str = "", namespace: str = "production") -> DeploymentName:
    return msgspec.convert(
        {"metadata": {"name": name, "namespace": namespace}, "status": {"serviceName": service_name}}, DeploymentName
    )


def table_of(*objects: Any) -> RoutingTable:
    table = RoutingTable()
    for item in objects:
        put(table, item)
    return table


def put(table: RoutingTable, item: Any) -> None:
    if isinstance(item, Route):
        table.put_route(item)
    elif isinstance(item, Service):
        table.put_service(item)
    elif isinstance(item, DeploymentName):
        table.put_deployment(item)
    else:
        for piece in item:
            table.endpoints.put_slice(piece)


def reached(
    table: RoutingTable, host: str, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> str | None:
    """The first backend's Service and the path that it would see."""
    found = table.find(host_of(host), path, method, CIMultiDict(headers or {}))
    return f"{found.rule.backends[0].service} {found.path}" if found is not None else None


CHAT = route("llama-3-1-8b", hostnames=("llama-3-1-8b.production", "llama-3.1-8b.production"), rules=[to(("a", 1))])
LLAMA = (service("llama-3-1-8b"), deployment("llama-3.1-8b"))
HOSTS: dict[str, tuple[tuple[Any, ...], str, str, str | None]] = {
    "by a host name of the route": ((CHAT,), "llama-3-1-8b.production", "/v1", "production/a /v1"),
    "with a port, in capitals, with a trailing dot": (
        (CHAT,),
        "LLAMA-3.1-8B.production.:8080",
        "/v1",
        "production/a /v1",
    ),
    "by the path form with the route's name": (
        (CHAT,),
        "127.0.0.1:8080",
        "/production/llama-3-1-8b/v1",
        "production/a /v1",
    ),
    "by the path form with a Service's name": (
        LLAMA,
        "x",
        "/production/llama-3-1-8b/v1/models",
        "production/llama-3-1-8b /v1/models",
    ),
    "by the path form with an LLMDeployment's name": (
        LLAMA,
        "x",
        "/production/llama-3.1-8b/v1",
        "production/llama-3-1-8b /v1",
    ),
    "by the path form and nothing after it": (LLAMA, "x", "/production/llama-3.1-8b", "production/llama-3-1-8b /"),
    "by the path form with an LLMDeployment whose Service's name had to differ": (
        (
            service("llama-3-1-8b"),
            service("llama-3-1-8b-0a1b2c3d"),
            deployment("llama-3.1-8b", "llama-3-1-8b-0a1b2c3d"),
        ),
        "x",
        "/production/llama-3.1-8b/v1",
        "production/llama-3-1-8b-0a1b2c3d /v1",
    ),
    "the route goes before the Service of the same name": (
        (CHAT, *LLAMA),
        "x",
        "/production/llama-3-1-8b/v1",
        "production/a /v1",
    ),
    "an LLMDeployment's name leads to the route of its Service": (
        (CHAT, *LLAMA),
        "x",
        "/production/llama-3.1-8b/v1",
        "production/a /v1",
    ),
    "a Service by its cluster name, without any route": (
        LLAMA,
        "llama-3-1-8b.production.svc.cluster.local:8080",
        "/v1",
        "production/llama-3-1-8b /v1",
    ),
    "an LLMDeployment by the name that the guide's URL has": (
        LLAMA,
        "llama-3.1-8b.production:8080",
        "/v1",
        "production/llama-3-1-8b /v1",
    ),
    "another namespace's name is unknown": (LLAMA, "x", "/staging/llama-3-1-8b/v1", None),
    "a path too short for the path form": (LLAMA, "x", "/production", None),
    "a route without host names takes any host": (
        (route("any", rules=[to(("any", 1))]),),
        "what.ever",
        "/x",
        "production/any /x",
    ),
    "the path form goes before routes without host names": (
        (route("any", rules=[to(("any", 1))]), *LLAMA),
        "127.0.0.1",
        "/production/llama-3-1-8b/v1",
        "production/llama-3-1-8b /v1",
    ),
    "a wildcard takes one label": (
        (route("w", hostnames=("*.ex.com",), rules=[to(("w", 1))]),),
        "a.ex.com",
        "/",
        "production/w /",
    ),
    "a wildcard takes several labels": (
        (route("w", hostnames=("*.ex.com",), rules=[to(("w", 1))]),),
        "a.b.ex.com",
        "/",
        "production/w /",
    ),
    "a wildcard does not take its own domain": (
        (route("w", hostnames=("*.ex.com",), rules=[to(("w", 1))]),),
        "ex.com",
        "/",
        None,
    ),
    "an exact host goes before a wildcard": (
        (
            route("w", hostnames=("*.ex.com",), rules=[to(("w", 1))]),
            route("e", hostnames=("a.ex.com",), rules=[to(("e", 1))]),
        ),
        "a.ex.com",
        "/",
        "production/e /",
    ),
    "the longer wildcard goes first": (
        (
            route("w", hostnames=("*.ex.com",), rules=[to(("w", 1))]),
            route("l", hostnames=("*.b.ex.com",), rules=[to(("l", 1))]),
        ),
        "a.b.ex.com",
        "/",
        "production/l /",
    ),
    "where the exact host has no rule for the path, the wildcard is asked": (
        (
            route("w", hostnames=("*.ex.com",), rules=[to(("w", 1))]),
            route("e", hostnames=("a.ex.com",), rules=[to(("e", 1), path=prefix("/v1"))]),
        ),
        "a.ex.com",
        "/v2",
        "production/w /v2",
    ),
    "no route at all": ((), "x", "/", None),
}


@pytest.mark.parametrize("case", HOSTS)
def test_a_request_finds_its_route(case: str) -> None:
    objects, host, path, expected = HOSTS[case]
    assert reached(table_of(*objects), host, path) == expected
    assert reached(table_of(*reversed(objects)), host, path) == expected, "the order of arrival does not matter"


RULES = route(
    "rules",
    rules=[
        to(("root", 1)),
        to(("v1", 1), path=prefix("/v1")),
        to(("v1-models", 1), path=prefix("/v1/models/")),
        to(("exact", 1), path=exact("/v1/models")),
        to(("post", 1), path=prefix("/v1"), method="POST"),
        to(("header", 1), path=prefix("/v1"), headers=[{"name": "X-Arm", "value": "canary"}]),
        to(
            ("two-headers", 1),
            path=prefix("/v1"),
            headers=[{"name": "x-arm", "value": "canary"}, {"name": "y", "value": "1"}],
        ),
    ],
)
PRECEDENCE: dict[str, tuple[str, str, dict[str, str], str]] = {
    "nothing special": ("GET", "/", {}, "root"),
    "a prefix matches its own path": ("GET", "/v1", {}, "v1"),
    "a prefix matches a path below": ("GET", "/v1/completions", {}, "v1"),
    "a prefix matches whole segments only": ("GET", "/v1x", {}, "root"),
    "the longer prefix goes first": ("GET", "/v1/models/llama", {}, "v1-models"),
    "a prefix's trailing slash means nothing": ("GET", "/v1/models/", {}, "v1-models"),
    "an exact path goes before every prefix": ("GET", "/v1/models", {}, "exact"),
    "a method goes before none": ("POST", "/v1/completions", {}, "post"),
    "a method goes before headers": ("POST", "/v1/completions", {"x-arm": "canary"}, "post"),
    "a header, whatever its case, goes before none": ("GET", "/v1/completions", {"X-ARM": "canary"}, "header"),
    "more headers go first": ("GET", "/v1/completions", {"x-arm": "canary", "Y": "1"}, "two-headers"),
    "a header's value is exact": ("GET", "/v1/completions", {"x-arm": "Canary"}, "v1"),
}


@pytest.mark.parametrize("case", PRECEDENCE)
def test_the_most_specific_match_wins(case: str) -> None:
    method, path, headers, expected = PRECEDENCE[case]
    assert reached(table_of(RULES), "any", path, method, headers) == f"production/{expected} {path}"


def test_of_equal_matches_the_older_route_wins_then_the_alphabet() -> None:
    older = route("z", rules=[to(("older", 1))], created="2025-01-01T00:00:00Z")
    newer = route("a", rules=[to(("newer", 1))], created="2026-01-01T00:00:00Z")
    twin = route("b", rules=[to(("twin", 1))], created="2026-01-01T00:00:00Z")
    table = table_of(newer, twin, older)
    assert reached(table, "x", "/") == "production/older /"
    table.remove_route("production/z")
    assert reached(table, "x", "/") == "production/newer /"


def test_routes_follow_their_changes_and_go() -> None:
    table = table_of(route("r", hostnames=("one.x", "two.x"), rules=[to(("a", 1))]))
    table.put_route(route("r", hostnames=("two.x", "three.x"), rules=[to(("b", 1))]))
    assert [reached(table, host, "/") for host in ("one.x", "two.x", "three.x")] == [
        None,
        "production/b /",
        "production/b /",
    ]
    table.remove_route("production/r")
    assert [reached(table, host, "/") for host in ("one.x", "two.x", "three.x")] == [None, None, None]
    assert table.known() == []


def rewriting(at: str, replacement: str, **change: str) -> dict[str, Any]:
    """A rule that puts something else in the place of the path's beginning."""
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": replacement} | change
    return to(("a", 1), path=prefix(at)) | {"filters": [{"type": "URLRewrite", "urlRewrite": {"path": path}}]}


REWRITES: dict[str, tuple[str, str, str, str | None]] = {
    "the prefix is taken away": ("/production/chat", "/", "/production/chat/v1/models", "/v1/models"),
    "all of the path": ("/production/chat", "/", "/production/chat", "/"),
    "all of the path, with a slash": ("/production/chat", "/", "/production/chat/", "/"),
    "nothing instead of the prefix": ("/x", "", "/x/v1", "/v1"),
    "another prefix instead": ("/x/", "/y/", "/x/v1", "/y/v1"),
    "another prefix, and no more path": ("/x", "/y", "/x", "/y"),
    "no segment is cut in two": ("/production/chat", "/", "/production/chatter", None),
}


@pytest.mark.parametrize("sentence", REWRITES)
def test_a_route_says_what_pods_are_asked_for(sentence: str) -> None:
    at, replacement, path, expected = REWRITES[sentence]
    table = table_of(route("r", rules=[rewriting(at, replacement)]))
    found = reached(table, "10.0.0.9", path)
    assert found == (None if expected is None else f"production/a {expected}")
    assert table.describe()[0]["problems"] == []


def test_a_routes_own_word_about_a_path_counts_more_than_the_services_name() -> None:
    table = table_of(service("chat"), route("chat.path", rules=[rewriting("/production/chat", "/api")]))
    assert reached(table, "10.0.0.9", "/production/chat/v1") == "production/a /api/v1"
    assert table.known() == ["/production/chat/"]


def test_what_is_not_known_about_a_path_is_not_done() -> None:
    table = table_of(route("r", rules=[rewriting("/x", "/", type="ReplaceFullPath")]))
    found = table.find("x", "/x", "GET", CIMultiDict())
    assert found is not None
    assert "a URLRewrite other than ReplacePrefixMatch" in table.why_none(found.rule)


def test_no_timeout_is_kept_and_every_other_is_reported() -> None:
    none, some = (to(("a", 1)) | {"timeouts": {"request": duration}} for duration in ("0s", "10s"))
    assert table_of(route("r", rules=[none])).describe()[0]["problems"] == []
    assert table_of(route("r", rules=[some])).describe()[0]["problems"] == [
        "rule 0: timeouts are not kept by this gateway"
    ]


UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "a regular expression": (
        to(("a", 1), path={"type": "RegularExpression", "value": "/.*"}),
        "path match of type RegularExpression",
    ),
    "a header by regular expression": (
        to(("a", 1), headers=[{"name": "a", "type": "RegularExpression", "value": "."}]),
        "header match of type RegularExpression",
    ),
    "query parameters": (to(("a", 1), queryParams=[{"name": "a", "value": "b"}]), "queryParams match"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_a_match_that_cannot_be_honoured_is_never_met_and_is_said(case: str) -> None:
    rule, problem = UNSUPPORTED[case]
    table = table_of(route("r", rules=[rule]))
    assert reached(table, "x", "/") is None
    assert problem in table.describe()[0]["problems"][0]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "filters": (
        to(("a", 1)) | {"filters": [{"type": "RequestMirror"}]},
        "the HTTPRoute production/r has filters in rule 0, which this gateway does not have",
    ),
    "no backend": ({"backendRefs": []}, "the HTTPRoute production/r has no backend"),
    "weights all zero": (to(("a", 0), ("b", 0)), "all backends of the HTTPRoute production/r have weight 0"),
    "a Service that does not exist": (
        to(("nowhere", 1)),
        "no endpoint is ready: the Service production/nowhere does not exist",
    ),
    "a port that the Service has not": (
        {"backendRefs": [{"name": "a", "port": 9}]},
        "no endpoint is ready: the Service production/a has no port 9",
    ),
    "a Service without pods": (
        to(("b", 1)),
        (
            "no endpoint is ready: the Service production/b has no pod: is it scaled to zero, "
            "or are its pods waiting for a node?"
        ),
    ),
    "an InferencePool": (
        {"backendRefs": [{"name": "p", "kind": "InferencePool", "group": "inference.networking.k8s.io"}]},
        "no endpoint is ready: backend p is of kind InferencePool: this gateway sends to Services only",
    ),
    "another namespace": (
        {"backendRefs": [{"name": "a", "port": 8080, "namespace": "other"}]},
        "no endpoint is ready: backend a is in namespace other: this gateway does not read ReferenceGrants",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_rule_that_nothing_can_serve_says_why(case: str) -> None:
    rule, why = REFUSED[case]
    table = table_of(
        service("a"),
        service("b"),
        service("a", "other"),
        slice_of("a", {"p": ("10.0.0.1", 8080)}),
        route("r", rules=[rule]),
    )
    found = table.find("x", "/", "GET", CIMultiDict())
    assert isinstance(found, Found)
    assert table.choose(found.rule) is None
    assert table.why_none(found.rule) == why


def chosen(table: RoutingTable, requests: int, host: str = "x") -> Counter[str]:
    """Where so many requests go, one after the other."""
    counts: Counter[str] = Counter()
    for _ in range(requests):
        found = table.find(host, "/", "GET", CIMultiDict())
        assert found is not None
        endpoint = table.choose(found.rule)
        assert endpoint is not None
        counts[endpoint.pod_uid] += 1
        endpoint.begin()
        endpoint.end()
    return counts


def canary(stable: int, weight: int) -> RoutingTable:
    return table_of(
        service("stable"),
        service("canary"),
        slice_of("stable", {"s": ("10.0.0.1", 8080)}),
        slice_of("canary", {"c": ("10.0.0.2", 8080)}),
        route("r", rules=[to(("stable", stable), ("canary", weight))]),
    )


def test_weights_are_exact_over_every_round() -> None:
    table = canary(9, 1)
    for _ in range(5):
        assert chosen(table, 10) == {"s": 9, "c": 1}


def test_weight_zero_gets_nothing() -> None:
    assert chosen(canary(1, 0), 100) == {"s": 100}


def test_the_share_of_a_backend_without_ready_endpoints_goes_to_the_others() -> None:
    table = canary(1, 1)
    [piece] = slice_of("canary", {"c": ("10.0.0.2", 8080)}, unready=("c",))
    table.endpoints.put_slice(piece)
    assert chosen(table, 10) == {"s": 10}
    [piece] = slice_of("canary", {"c": ("10.0.0.2", 8080)})
    table.endpoints.put_slice(piece)
    assert chosen(table, 10) == {"s": 5, "c": 5}


def test_frequent_changes_of_weights_do_not_favour_the_heaviest() -> None:
    table = canary(80, 20)
    counts: Counter[str] = Counter()
    for round_number in range(100):
        counts += chosen(table, 1)
        share = 20 + round_number % 2
        table.put_route(route("r", rules=[to(("stable", 100 - share), ("canary", share))]))
    assert 19 <= counts["c"] <= 22


def test_endpoints_with_the_fewest_requests_go_first_and_ties_go_round() -> None:
    table = table_of(
        service("a"), slice_of("a", {uid: (f"10.0.0.{uid}", 8080) for uid in "123"}), route("r", rules=[to(("a", 1))])
    )
    assert chosen(table, 9) == {"1": 3, "2": 3, "3": 3}
    found = table.find("x", "/", "GET", CIMultiDict())
    assert found is not None
    busy = table.choose(found.rule)
    assert busy is not None
    busy.begin()
    assert busy.pod_uid not in chosen(table, 9)


GOING: dict[str, Any] = {
    "its slice says unready": lambda table: put(table, slice_of("a", {"p": ("10.0.0.1", 8080)}, unready=("p",))),
    "its slice says terminating": lambda table: put(
        table, slice_of("a", {"p": ("10.0.0.1", 8080)}, terminating=("p",))
    ),
    "its slice is gone": lambda table: [table.endpoints.remove_slice(piece) for piece in slice_of("a", {"p": ("", 0)})],
    "its pod is being deleted, though the slice does not say so yet": lambda table: table.endpoints.put_pod(
        pod("p", "r", going=True)
    ),
    "its pod is gone, though the slice does not say so yet": lambda table: table.endpoints.remove_pod("p"),
    "its Service is gone": lambda table: table.remove_service("production/a"),
}


@pytest.mark.parametrize("case", GOING)
def test_a_pod_gets_no_new_request_once(case: str) -> None:
    table = table_of(
        service("a"),
        slice_of("a", {"p": ("10.0.0.1", 8080), "q": ("10.0.0.2", 8080)}),
        route("r", rules=[to(("a", 1))]),
    )
    table.endpoints.put_pod(pod("p", "rev"))
    assert chosen(table, 2) == {"p": 1, "q": 1}
    GOING[case](table)
    if case == "its Service is gone":
        found = table.find("x", "/", "GET", CIMultiDict())
        assert found is not None
        assert table.choose(found.rule) is None
    else:
        assert chosen(table, 4) == {"q": 4}


LAST: dict[str, tuple[Any, dict[str, int]]] = {
    "it is being deleted, though its slice does not say so yet": (
        lambda table: table.endpoints.put_pod(pod("p", "r", going=True)),
        {"p": 2},
    ),
    "it terminates, and serves while it does": (
        lambda table: put(table, slice_of("a", {"p": ("10.0.0.1", 8080)}, terminating=("p",), serving=True)),
        {"p": 2},
    ),
    "it terminates, and serves no more": (
        lambda table: put(table, slice_of("a", {"p": ("10.0.0.1", 8080)}, terminating=("p",), serving=False)),
        {},
    ),
    "it is gone, though its slice does not say so yet": (lambda table: table.endpoints.remove_pod("p"), {}),
    "it is not ready": (
        lambda table: put(table, slice_of("a", {"p": ("10.0.0.1", 8080)}, unready=("p",), serving=False)),
        {},
    ),
    "it terminates, and another is ready": (
        lambda table: [
            table.endpoints.put_pod(pod("p", "r", going=True)),
            *map(table.endpoints.put_slice, slice_of("a", {"q": ("10.0.0.2", 8080)})),
        ],
        {"q": 2},
    ),
}


@pytest.mark.parametrize("case", LAST)
def test_the_last_pod_of_a_service_takes_requests_as_long_as_it_serves(case: str) -> None:
    happens, expected = LAST[case]
    table = table_of(service("a"), slice_of("a", {"p": ("10.0.0.1", 8080)}), route("r", rules=[to(("a", 1))]))
    table.endpoints.put_pod(pod("p", "rev"))
    assert chosen(table, 2) == {"p": 2}
    happens(table)
    if expected:
        assert chosen(table, 2) == expected
        return
    found = table.find("x", "/", "GET", CIMultiDict())
    assert found is not None
    assert table.choose(found.rule) is None


def test_an_endpoint_that_comes_back_still_has_its_requests_in_flight() -> None:
    table = table_of(service("a"), slice_of("a", {"p": ("10.0.0.1", 8080)}), route("r", rules=[to(("a", 1))]))
    found = table.find("x", "/", "GET", CIMultiDict())
    assert found is not None
    endpoint = table.choose(found.rule)
    assert endpoint is not None
    endpoint.begin()
    put(table, slice_of("a", {"p": ("10.0.0.1", 8080)}, unready=("p",)))
    assert table.choose(found.rule) is None
    put(table, slice_of("a", {"p": ("10.0.0.1", 8080)}))
    assert table.choose(found.rule) is endpoint
    endpoint.end()
    assert endpoint.in_flight == 0


def test_ports_are_matched_by_the_name_that_the_service_gives_them() -> None:
    two_ports = service("a", ports={"metrics": 8081, "http": 8080})
    piece: EndpointSlice = msgspec.convert(
        {
            "metadata": {"name": "s", "namespace": "production", "labels": {"kubernetes.io/service-name": "a"}},
            "ports": [{"name": "http", "port": 41000}, {"name": "metrics", "port": 41001}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        },
        EndpointSlice,
    )
    table = table_of(two_ports, [piece])

    def url(port: int) -> list[str]:
        pool = table.endpoints.pool("production/a", port)
        return [endpoint.base_url for endpoint in pool.members()] if pool is not None else []

    assert url(8080) == ["http://127.0.0.1:41000"]
    assert url(8081) == ["http://127.0.0.1:41001"]
    assert url(0) == ["http://127.0.0.1:41000"], "without a port: the one named http"
    table.put_service(service("a", ports={"http": 80}))
    assert (url(8080), url(80)) == ([], ["http://127.0.0.1:41000"])


HOST_HEADERS = {
    "Example.COM": "example.com",
    "example.com:8080": "example.com",
    "example.com.": "example.com",
    "127.0.0.1:80": "127.0.0.1",
    "[::1]:8080": "::1",
    "[::1]": "::1",
    "": "",
}


@pytest.mark.parametrize("header", HOST_HEADERS)
def test_the_host_of_a_header(header: str) -> None:
    assert host_of(header) == HOST_HEADERS[header]


def test_host_candidates_go_from_the_host_to_ever_shorter_wildcards() -> None:
    assert list(host_candidates("a.b.c")) == ["a.b.c", "*.b.c", "*.c"]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 4))
def test_turns_are_exact_over_each_round_whatever_the_weights(weights: list[int], rounds: int) -> None:
    turns = WeightedTurns(weights)
    able = list(range(len(weights)))
    for _ in range(rounds):
        counts = Counter(turns.next(able) for _ in range(sum(weights)))
        assert [counts[position] for position in able] == weights


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 9)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("replace"), st.sets(st.integers(0, 4))),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_pool_always_picks_one_with_the_fewest_requests_in_flight(steps: list[tuple[str, Any]]) -> None:
    endpoints = [Endpoint(f"10.0.0.{number}", 80, str(number)) for number in range(5)]
    pool, twin = Pool(), Pool()
    twin.replace(endpoints)  # the same endpoints behind another Service
    under_way: list[Endpoint] = []
    for action, value in steps:
        if action == "replace":
            pool.replace(endpoints[number] for number in sorted(value))
        elif action == "begin":
            endpoint = pool.pick() or endpoints[value % 5]
            endpoint.begin()
            under_way.append(endpoint)
        elif under_way:
            under_way.pop(value % len(under_way)).end()
        assert [endpoint.in_flight for endpoint in endpoints] == [under_way.count(endpoint) for endpoint in endpoints]
        for checked in (pool, twin):
            members = checked.members()
            picked = checked.pick()
            least = min((endpoint.in_flight for endpoint in members), default=None)
            assert (picked.in_flight if picked else None) == least
            avoiding = checked.pick(set(members[:2]))
            rest = members[2:]
            assert (avoiding in rest) if rest else avoiding is None
