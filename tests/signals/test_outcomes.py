"""From two readings to outcomes: unknown is never zero, a restart is never negative, and edges are those that exist."""

import pytest
from vllm_page import VLLM_PAGE, value_of

from outrider.signals.histogram import Histogram
from outrider.signals.outcomes import Counts, Edges, Outcomes, between, snap, snap_all, so_far, together
from outrider.signals.vllm_metrics import ServerSample, read_server


def histogram(*counts: float, bounds: tuple[str, ...] = ("0.5", "2.0", "+Inf")) -> Histogram:
    return Histogram(bounds, counts, sum(counts))


ALL = Edges(first_token=0.5, inter_token=0.5, end_to_end=2.0)
BEFORE = ServerSample(
    at=0,
    process_start=1.0,
    requests=100,
    errors_4xx=10,
    errors_5xx=5,
    generation_tokens=1000,
    end_to_end=histogram(10, 20, 30),
    time_to_first_token=histogram(25, 30, 30),
    inter_token_latency=histogram(900, 990, 1000),
    running=2,
)
AFTER = ServerSample(
    at=5,
    process_start=1.0,
    requests=120,
    errors_4xx=13,
    errors_5xx=7,
    generation_tokens=1100,
    end_to_end=histogram(12, 27, 40),
    time_to_first_token=histogram(31, 40, 40),
    inter_token_latency=histogram(990, 1089, 1100),
    running=1,
)


def changed(sample: ServerSample, **fields: object) -> ServerSample:
    values = {name: getattr(sample, name) for name in sample.__struct_fields__}
    return ServerSample(**(values | fields))


RUNS = Counts(0, 1)
STEPS: dict[str, tuple[ServerSample, ServerSample, Edges, Outcomes]] = {
    "what grew, by indicator": (
        BEFORE,
        AFTER,
        ALL,
        {
            "errors": Counts(2, 17),
            "rejections": Counts(3, 20),
            "firstToken": Counts(4, 10),
            "interToken": Counts(10, 100),
            "endToEnd": Counts(3, 10),
            "stalled": RUNS,
        },
    ),
    "nothing happened is known, and is zero": (
        changed(BEFORE, running=0),
        changed(BEFORE, running=0, at=5),
        ALL,
        dict.fromkeys(("errors", "rejections", "firstToken", "interToken", "endToEnd", "stalled"), Counts(0, 0)),
    ),
    "another process gives its own counts, also where they are higher than the old ones": (
        BEFORE,
        changed(AFTER, process_start=2.0),
        ALL,
        {
            "errors": Counts(7, 107),
            "rejections": Counts(13, 120),
            "firstToken": Counts(9, 40),
            "interToken": Counts(110, 1100),
            "endToEnd": Counts(13, 40),
        },
    ),
    "counters that fell began anew, where nobody says when the process started": (
        changed(BEFORE, process_start=None),
        changed(AFTER, process_start=None, requests=6, errors_4xx=1, errors_5xx=5, end_to_end=histogram(1, 2, 3)),
        Edges(end_to_end=2.0),
        {"errors": Counts(5, 5), "rejections": Counts(1, 6), "endToEnd": Counts(1, 3), "stalled": RUNS},
    ),
    "good ones that fell while no counter did": (
        changed(BEFORE, process_start=None),
        changed(BEFORE, process_start=None, errors_5xx=60),
        Edges(),
        {"errors": Counts(60, 90), "rejections": Counts(10, 100), "stalled": Counts(1, 1)},
    ),
    "a process start that one page lacks is no restart": (
        changed(BEFORE, process_start=None),
        AFTER,
        Edges(),
        {"errors": Counts(2, 17), "rejections": Counts(3, 20), "stalled": RUNS},
    ),
    "streams that the engine gave up are errors, though their status is 200": (
        changed(BEFORE, given_up=1),
        changed(AFTER, given_up=8),
        Edges(),
        {"errors": Counts(7, 17), "rejections": Counts(3, 20), "stalled": RUNS},
    ),
    "what the engine gave up before the answer began is a 500 already": (
        changed(BEFORE, given_up=1),
        changed(AFTER, given_up=3),
        Edges(),
        {"errors": Counts(2, 17), "rejections": Counts(3, 20), "stalled": RUNS},
    ),
    "more given up than there were answers, as a reading is torn": (
        changed(BEFORE, given_up=1),
        changed(AFTER, given_up=100),
        Edges(),
        {"errors": Counts(17, 17), "rejections": Counts(3, 20), "stalled": RUNS},
    ),
    "a page that does not have what was given up": (
        changed(BEFORE, given_up=1),
        changed(AFTER, given_up=None),
        Edges(),
        {"errors": Counts(2, 17), "rejections": Counts(3, 20), "stalled": RUNS},
    ),
    "pages that know nothing": (ServerSample(at=0), ServerSample(at=5), ALL, {}),
    "what one of the two pages lacks": (
        changed(BEFORE, requests=None, end_to_end=None, generation_tokens=None, inter_token_latency=None),
        AFTER,
        ALL,
        {"firstToken": Counts(4, 10)},
    ),
    "an edge that the histogram does not have": (
        BEFORE,
        AFTER,
        Edges(first_token=0.6, end_to_end=2.0),
        {"errors": Counts(2, 17), "rejections": Counts(3, 20), "endToEnd": Counts(3, 10), "stalled": RUNS},
    ),
    "an engine that observed its first requests": (
        changed(BEFORE, time_to_first_token=Histogram((), (), 0)),
        changed(AFTER, time_to_first_token=histogram(1, 2, 2)),
        Edges(first_token=0.5),
        {"errors": Counts(2, 17), "rejections": Counts(3, 20), "firstToken": Counts(1, 2), "stalled": RUNS},
    ),
    "buckets as Go writes them": (
        ServerSample(at=0, end_to_end=histogram(0, 0, bounds=("2", "+Inf"))),
        ServerSample(at=5, end_to_end=histogram(3, 4, bounds=("2", "+Inf"))),
        Edges(end_to_end=2.0),
        {"endToEnd": Counts(1, 4)},
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_outcomes_between_two_readings(case: str) -> None:
    before, after, edges, expected = STEPS[case]
    assert between(before, after, edges) == expected


HUNG = changed(BEFORE, running=3)
STALLS: dict[str, tuple[ServerSample, ServerSample, Counts | None]] = {
    "requests run, and nothing comes": (HUNG, changed(HUNG, at=5), Counts(1, 1)),
    "a token came": (HUNG, changed(HUNG, at=5, generation_tokens=1001), Counts(0, 1)),
    "a request ended": (HUNG, changed(HUNG, at=5, end_to_end=histogram(10, 20, 31)), Counts(0, 1)),
    "clients gave up, which only the web layer takes for an end": (
        HUNG,
        changed(HUNG, at=5, requests=109),
        Counts(1, 1),
    ),
    "an engine that does not tell when requests end": (
        changed(HUNG, end_to_end=None),
        changed(HUNG, at=5, end_to_end=None, requests=109),
        Counts(0, 1),
    ),
    "nothing ran at the first reading": (changed(HUNG, running=0), changed(HUNG, at=5), Counts(0, 0)),
    "nothing runs any more": (HUNG, changed(HUNG, at=5, running=0), Counts(0, 0)),
    "nobody knows what runs": (HUNG, changed(HUNG, at=5, running=None), None),
    "nobody counts tokens": (changed(HUNG, generation_tokens=None), changed(HUNG, at=5), None),
    "nobody counts ends": (
        changed(HUNG, end_to_end=None, requests=None),
        changed(HUNG, at=5, end_to_end=None, requests=None),
        None,
    ),
    "another process": (HUNG, changed(HUNG, at=5, process_start=2.0), None),
}


@pytest.mark.parametrize("case", STALLS)
def test_stalled(case: str) -> None:
    before, after, expected = STALLS[case]
    assert between(before, after, Edges()).get("stalled") == expected


def test_a_real_page_gives_every_indicator() -> None:
    doubled = "".join(
        line
        if line.startswith(("#", "process_start"))
        else f"{line.rsplit(' ', 1)[0]} {2 * float(line.rsplit(' ')[-1])}\n"
        for line in VLLM_PAGE.splitlines(keepends=True)
    )
    before, after = read_server(VLLM_PAGE, at=0), read_server(doubled, at=5)
    edges = snap_all(Edges(first_token=0.45, inter_token=0.06, end_to_end=1.9), [before, after])
    assert edges == Edges(first_token=0.5, inter_token=0.075, end_to_end=2.0)
    requests = int(value_of("http_requests_total{"))
    outcomes = between(before, after, edges)
    given_up = int(value_of('vllm:request_success_total{engine="0",finished_reason="error"'))
    assert (outcomes["errors"], outcomes["rejections"]) == (Counts(given_up, requests), Counts(0, requests))
    for indicator, name, edge in (
        ("firstToken", "vllm:time_to_first_token_seconds", "0.5"),
        ("interToken", "vllm:inter_token_latency_seconds", "0.075"),
        ("endToEnd", "vllm:e2e_request_latency_seconds", "2.0"),
    ):
        total = value_of(f'{name}_bucket{{engine="0",le="+Inf"')
        fast = value_of(f'{name}_bucket{{engine="0",le="{edge}"')
        assert outcomes[indicator] == Counts(int(total - fast), int(total))  # type: ignore[index]
    assert outcomes["stalled"] == Counts(0, 1)


VLLM = histogram(0, 0, 0, 0, bounds=("0.3", "0.5", "2.0", "+Inf"))
GO = histogram(0, 0, 0, 0, bounds=("0.4", "0.5", "2", "+Inf"))
EDGES: dict[str, tuple[float, list[Histogram], float | None]] = {
    "an edge itself": (0.5, [VLLM], 0.5),
    "between two edges: the higher one": (0.45, [VLLM], 0.5),
    "below all edges: the lowest": (0.001, [VLLM], 0.3),
    "above all edges: the highest": (1000, [VLLM], 2.0),
    "only edges that all have": (0.35, [VLLM, GO], 0.5),
    "a bound is a number, however it is written": (1.5, [VLLM, GO], 2.0),
    "one that has not observed anything yet": (0.45, [VLLM, Histogram((), (), 0)], 0.5),
    "nothing known": (0.5, [], None),
    "nothing in common": (0.5, [VLLM, histogram(0, 0, bounds=("7", "+Inf"))], None),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges_are_taken_from_those_that_exist(case: str) -> None:
    seconds, histograms, expected = EDGES[case]
    assert snap(seconds, histograms) == expected


def test_only_wanted_edges_are_taken_and_only_where_they_are_known() -> None:
    assert snap_all(Edges(first_token=0.45, inter_token=1), [ServerSample(at=0), BEFORE]) == Edges(0.5, 2.0, None)
    assert snap_all(ALL, [ServerSample(at=0)]) == Edges()


def test_outcomes_add_up_indicator_by_indicator() -> None:
    assert together([{"errors": Counts(1, 2)}, {"errors": Counts(0, 3), "stalled": Counts(0, 1)}, {}]) == {
        "errors": Counts(1, 5),
        "stalled": Counts(0, 1),
    }
    assert together([]) == {}


def test_what_a_server_has_counted_so_far_is_what_it_counted_from_nothing() -> None:
    nothing = changed(
        AFTER, requests=0, errors_4xx=0, errors_5xx=0, generation_tokens=0, end_to_end=histogram(0, 0, 0),
        time_to_first_token=histogram(0, 0, 0), inter_token_latency=histogram(0, 0, 0),
    )  # fmt: skip
    grown = dict(between(nothing, AFTER, ALL))
    grown.pop("stalled")
    assert so_far(AFTER, ALL) == grown
    assert so_far(ServerSample(at=0), ALL) == {}
