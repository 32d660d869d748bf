"""What gateways count of each version, from the pages of the real ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.routes import Identity
from outrider.signals.gateway_metrics import (
    GatewayPage,
    UnknownGatewayError,
    VersionSample,
    between,
    read_gateway,
    revision_key,
    service_key,
)
from outrider.signals.outcomes import Counts
from outrider.signals.prometheus_text import PrometheusTextError

KEY = revision_key("production", "chat", "chat-1")
TRAEFIK_PAGE = (Path(__file__).parents[1] / "golden" / "traefik-metrics.txt").read_text()


class Gateway:
    """Our gateway's own metrics, of revisions of one deployment."""

    def __init__(self) -> None:
        self.metrics = GatewayMetrics()

    def serve(self, *codes: str, revision: str = "chat-1", version: str = "v1", probe: bool = False) -> None:
        series = self.metrics.series(Identity("production", "chat", revision, version), probe=probe)
        for code in codes:
            series.begin()
            match code:
                case "cut":
                    series.broken()
                    series.end("200", 0.1)
                case "not connected":
                    series.not_sent()
                    series.end(None, 0.1)
                case "not answered":
                    series.unanswered()
                    series.end("502", 0.1)
                case "goes on":
                    pass
                case _:
                    series.end(code, 0.1)

    def page(self, at: float = 0.0) -> GatewayPage:
        return read_gateway(self.metrics.text().decode(), at)


def test_a_page_of_our_own_is_read_by_revision() -> None:
    gateway = Gateway()
    gateway.serve("200", "204", "404", "499", "503", "not answered", "cut", "not connected", "goes on")
    gateway.serve("200", version="v1-again")
    gateway.serve("500", revision="chat-2")
    gateway.serve("500", "500", probe=True)
    gateway.serve("503", revision="")
    page = gateway.page(at=7.0)
    assert page.at == 7.0
    assert set(page.versions) == {KEY, revision_key("production", "chat", "chat-2")}
    sample = page.versions[KEY]
    assert sample.began is not None
    assert sample == VersionSample(attempts=8, failed=3, began=sample.began)


def test_a_real_page_of_traefik_is_read_by_service() -> None:
    """Of Traefik 3.7.15: a canary release with half of the traffic, whose pod died under one request."""
    page = read_gateway(TRAEFIK_PAGE, 0)
    assert page.versions == {
        service_key("production", "chat"): VersionSample(attempts=13, failed=0, began=1795744046.67),
        service_key("production", "chat-3b4789e5d9"): VersionSample(attempts=13, failed=1, began=1795744046.67),
    }


LABELS: dict[str, tuple[str, set[str]]] = {
    "a route of a Service": ("httproute-production-chat-gw-t-t-ep-web-0-svc-production-chat-0", {"production-chat"}),
    "dashes in the names": ("httproute-a-b-c-gw-t-t-ep-web-0-svc-a-b-c-12", {"a-b-c"}),
    "a name with the separator in it may mean two": (
        "httproute-production-x-svc-y-gw-t-t-ep-web-0-svc-production-x-svc-y-0",
        {"y-gw-t-t-ep-web-0-svc-production-x-svc-y", "production-x-svc-y", "y"},
    ),
    "all of a rule, where no pod was there": ("httproute-production-chat-gw-t-t-ep-web-0-wrr", set()),
    "something else": ("ping", set()),
}


@pytest.mark.parametrize("case", LABELS)
def test_the_labels_of_traefiks_services(case: str) -> None:
    label, expected = LABELS[case]
    page = f'traefik_service_requests_total{{code="200",service="{label}@kubernetesgateway"}} 3\n'
    assert set(read_gateway(page, 0).versions) == expected
    other = page.replace("@kubernetesgateway", "@file")
    assert read_gateway(other, 0).versions == {}


TRAEFIK_CODES: dict[str, tuple[dict[str, int], VersionSample]] = {
    "good and refused": ({"200": 7, "404": 2}, VersionSample(attempts=9, failed=0)),
    "what pods answer themselves is their business": ({"200": 7, "500": 2, "503": 1}, VersionSample(10, 0)),
    "no connection, and no answer in time": ({"200": 7, "502": 2, "504": 1}, VersionSample(10, 3)),
    "a client that gave up is neither good nor bad": ({"200": 7, "499": 2}, VersionSample(7, 0)),
}


@pytest.mark.parametrize("case", TRAEFIK_CODES)
def test_the_codes_that_are_traefiks_own(case: str) -> None:
    codes, expected = TRAEFIK_CODES[case]
    label = "httproute-production-chat-gw-t-t-ep-web-0-svc-production-chat-0@kubernetesgateway"
    lines = (f'traefik_service_requests_total{{code="{code}",service="{label}"}} {n}\n' for code, n in codes.items())
    assert read_gateway("".join(lines), 0).versions == {"production-chat": expected}


def test_a_page_of_something_else_is_refused_and_not_taken_for_a_gateway_without_requests() -> None:
    with pytest.raises(UnknownGatewayError):
        read_gateway("python_info 1\n", 0)
    with pytest.raises(PrometheusTextError):
        read_gateway("outrider_gateway_requests_total{ oops\n", 0)
    assert read_gateway("traefik_config_reloads_total 1\n", 0).versions == {}
    assert Gateway().page().versions == {}


STEPS: dict[str, tuple[list[str], Counts]] = {
    "nothing": ([], Counts(0, 0)),
    "what pods answer, well or not, has not failed at the gateway": (["200", "200", "404", "500", "503"], Counts(0, 5)),
    "a client that gave up is neither good nor bad": (["200", "499"], Counts(0, 1)),
    "an answer that was cut off has failed, though it began well": (["200", "cut"], Counts(1, 2)),
    "a request that went elsewhere is a failed attempt, and one that was answered": (
        ["not connected", "200"],
        Counts(1, 2),
    ),
    "a pod that died under a request": (["200", "not answered"], Counts(1, 2)),
    "what is under way has not ended": (["goes on"], Counts(0, 0)),
}


@pytest.mark.parametrize("case", STEPS)
def test_what_is_counted_between_two_pages(case: str) -> None:
    codes, expected = STEPS[case]
    gateway = Gateway()
    gateway.serve("200", "500", "499", "cut", "not connected", "404", "not answered")
    before = gateway.page().versions[KEY]
    gateway.serve(*codes)
    assert between(before, gateway.page(5).versions[KEY]) == expected


def test_a_version_that_is_asked_for_the_first_time_gives_all() -> None:
    assert between(None, VersionSample(attempts=2, failed=1)) == Counts(1, 2)


def test_a_gateway_that_was_restarted_gives_its_own_counts_also_where_they_are_higher() -> None:
    old, new = Gateway(), Gateway()
    old.serve("200", "cut")
    new.serve("200", "200", "cut", "cut", "cut")
    assert between(old.page().versions[KEY], new.page(5).versions[KEY]) == Counts(3, 5)


def test_a_counter_that_fell_was_started_anew() -> None:
    assert between(VersionSample(attempts=10, failed=1), VersionSample(attempts=3, failed=1)) == Counts(1, 3)
    assert between(VersionSample(attempts=10, failed=5), VersionSample(attempts=12, failed=1)) == Counts(1, 12)


CODES = st.lists(st.sampled_from(["200", "404", "499", "500", "not answered", "cut", "not connected"]), max_size=6)


@given(st.lists(st.tuples(CODES, st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_however_pages_are_split_the_sum_is_the_whole_and_a_restart_loses_what_was_not_read(
    steps: list[tuple[list[str], bool, bool]],
) -> None:
    gateway = Gateway()
    last = gateway.page()
    given = Counts(0, 0)
    read: list[str] = []
    pending: list[str] = []
    for number, (codes, is_read, restarts) in enumerate([*steps, ([], True, False)]):
        if restarts:
            gateway = Gateway()
            pending = []
        gateway.serve(*codes)
        pending += codes
        if not is_read:
            continue
        page = gateway.page(number)
        if KEY in page.versions:
            counts = between(last.versions.get(KEY), page.versions[KEY])
            assert 0 <= counts.bad <= counts.total
            given = given + counts
        read, pending, last = read + pending, [], page
    failed = sum(read.count(code) for code in ("not answered", "cut", "not connected"))
    assert given == Counts(failed, len(read) - read.count("499"))
