"""What clients saw, by revision, from the pages of the real gateway."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.routes import Identity
from outrider.signals.gateway_metrics import (
    GatewayIndicator,
    GatewayOutcomes,
    GatewayPage,
    RevisionKey,
    RevisionSample,
    between,
    read_gateway,
)
from outrider.signals.outcomes import Counts
from outrider.signals.prometheus_text import PrometheusTextError

KEY = RevisionKey("production", "chat", "chat-1")


class Gateway:
    """The gateway's own metrics, of revisions of one deployment."""

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
                case "goes on":
                    pass
                case _:
                    series.end(code, 0.1)

    def page(self, at: float = 0.0) -> GatewayPage:
        return read_gateway(self.metrics.text().decode(), at)


def test_a_page_is_read_by_revision() -> None:
    gateway = Gateway()
    gateway.serve("200", "204", "404", "499", "503", "502", "cut", "not connected", "goes on")
    gateway.serve("200", version="v1-again")
    gateway.serve("500", revision="chat-2")
    gateway.serve("500", "500", probe=True)
    page = gateway.page(at=7.0)
    assert page.at == 7.0
    assert set(page.revisions) == {KEY, RevisionKey("production", "chat", "chat-2")}
    sample = page.revisions[KEY]
    assert sample.began is not None
    assert sample == RevisionSample(
        began=sample.began, good=4, refused=1, failed=2, gave_up=1, broken_streams=1, connection_failures=1, in_flight=1
    )


def test_what_a_page_does_not_have_is_unknown() -> None:
    page = read_gateway('outrider_gateway_in_flight_requests{namespace="n",deployment="d",revision="r"} 2\n', 0)
    assert page.revisions == {RevisionKey("n", "d", "r"): RevisionSample(in_flight=2)}
    assert between(page, page) == {RevisionKey("n", "d", "r"): {}}
    assert read_gateway("python_info 1\n", 0).revisions == {}
    with pytest.raises(PrometheusTextError):
        read_gateway("outrider_gateway_requests_total{ oops\n", 0)


STEPS: dict[str, tuple[list[str], GatewayOutcomes]] = {
    "nothing": ([], {"errors": Counts(0, 0), "rejections": Counts(0, 0), "connections": Counts(0, 0)}),
    "good, refused and failed": (
        ["200", "200", "404", "503"],
        {"errors": Counts(1, 3), "rejections": Counts(1, 4), "connections": Counts(0, 4)},
    ),
    "a client that gave up is neither good nor bad": (
        ["200", "499"],
        {"errors": Counts(0, 1), "rejections": Counts(0, 1), "connections": Counts(0, 2)},
    ),
    "an answer that was cut off is an error, though it began well": (
        ["200", "cut"],
        {"errors": Counts(1, 2), "rejections": Counts(0, 2), "connections": Counts(0, 2)},
    ),
    "a request that went elsewhere is a failure to connect, and no error": (
        ["not connected", "200"],
        {"errors": Counts(0, 1), "rejections": Counts(0, 1), "connections": Counts(1, 2)},
    ),
    "what is under way has not ended": (
        ["goes on"],
        {"errors": Counts(0, 0), "rejections": Counts(0, 0), "connections": Counts(0, 0)},
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_outcomes_between_two_pages(case: str) -> None:
    codes, expected = STEPS[case]
    gateway = Gateway()
    gateway.serve("200", "500", "499", "cut", "not connected", "404")
    before = gateway.page()
    gateway.serve(*codes)
    assert between(before, gateway.page(5))[KEY] == expected


def test_a_revision_that_is_asked_for_the_first_time_gives_all() -> None:
    gateway = Gateway()
    before = gateway.page()
    gateway.serve("200", "500")
    assert between(before, gateway.page(5))[KEY]["errors"] == Counts(1, 2)


def test_a_gateway_that_was_restarted_gives_its_own_counts_also_where_they_are_higher() -> None:
    old, new = Gateway(), Gateway()
    old.serve("200", "500")
    new.serve("200", "200", "500", "500", "500")
    assert between(old.page(), new.page(5))[KEY]["errors"] == Counts(3, 5)


UNDATED: dict[str, tuple[RevisionSample, RevisionSample, GatewayOutcomes]] = {
    "a counter that fell": (
        RevisionSample(good=10, refused=0, failed=1, gave_up=0),
        RevisionSample(good=2, refused=0, failed=1, gave_up=0),
        {"errors": Counts(1, 3), "rejections": Counts(0, 3)},
    ),
    "a page that has it and one that has not": (
        RevisionSample(good=None, refused=0, failed=1, gave_up=0),
        RevisionSample(good=2, refused=0, failed=1, gave_up=0),
        {},
    ),
    "cut answers that were bad already": (
        RevisionSample(good=0, refused=0, failed=0, gave_up=0, broken_streams=0),
        RevisionSample(good=0, refused=0, failed=1, gave_up=0, broken_streams=1),
        {"errors": Counts(1, 1), "rejections": Counts(0, 1)},
    ),
}


@pytest.mark.parametrize("case", UNDATED)
def test_pages_that_do_not_say_when_they_began(case: str) -> None:
    before, after, expected = UNDATED[case]
    assert between(GatewayPage(0, {KEY: before}), GatewayPage(5, {KEY: after})) == {KEY: expected}


CODES = st.lists(st.sampled_from(["200", "404", "499", "502", "cut", "not connected"]), max_size=6)


@given(st.lists(st.tuples(CODES, st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_however_pages_are_split_the_sum_is_the_whole_and_a_restart_loses_what_was_not_read(
    steps: list[tuple[list[str], bool, bool]],
) -> None:
    gateway = Gateway()
    last = gateway.page()
    given: dict[GatewayIndicator, Counts] = {}
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
        for indicator, counts in between(last, page).get(KEY, {}).items():
            assert 0 <= counts.bad <= counts.total
            given[indicator] = given.get(indicator, Counts(0, 0)) + counts
        read, pending, last = read + pending, [], page
    of = {code: read.count(code) for code in ("200", "404", "499", "502", "cut", "not connected")}
    ended = of["200"] + of["502"] + of["cut"]
    assert given["errors"] == Counts(of["502"] + of["cut"], ended)
    assert given["rejections"] == Counts(of["404"], ended + of["404"])
    assert given["connections"] == Counts(of["not connected"], len(read))
