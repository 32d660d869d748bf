"""Every outcome is given exactly once, whenever somebody asks; own probes are told apart, and nothing is made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manual_clock import ManualClock

from outrider.signals.histogram import Histogram
from outrider.signals.outcome_reader import OutcomeReader
from outrider.signals.outcomes import Counts, Edges, Outcomes, together
from outrider.signals.prober import ProbeCounts
from outrider.signals.scrape import ScrapeResult
from outrider.signals.vllm_metrics import ServerSample

WANTED = Edges(first_token=0.4, end_to_end=2.0)
KEPT = 14


def histogram(fast: float, slow: float) -> Histogram:
    return Histogram(("0.5", "2.0", "+Inf"), (fast, fast, fast + slow), 0.1 * fast + 3 * slow)


class World:
    """One pod, `p`, as a Scraper and a Prober know it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.samples: list[ServerSample] = []
        self.probed: ProbeCounts | None = None
        self.probe_age: float | None = None
        self.good = self.refused = self.failed = 0
        self.fast = self.slow = 0
        self.process = 1.0

    def latest(self, key: str) -> ScrapeResult | None:
        return ScrapeResult(at=0, error="", samples=tuple(self.samples[-KEPT:])) if key == "p" else None

    def counts(self, key: str) -> ProbeCounts | None:
        return self.probed if key == "p" else None

    def age(self, key: str) -> float | None:
        return self.probe_age if key == "p" else None

    def serve(self, good: int = 0, refused: int = 0, failed: int = 0, *, slow: int = 0) -> None:
        """Users' requests, and probes as the server sees them; `slow` of the good ones take longer than the edge."""
        self.good += good
        self.refused += refused
        self.failed += failed
        self.fast += good - slow
        self.slow += slow

    def restart(self) -> None:
        self.process += 1
        self.good = self.refused = self.failed = self.fast = self.slow = 0

    def probe(
        self, good: int = 0, *, failed: int = 0, refused: int = 0, timed_out: int = 0, not_connected: int = 0,
        seconds: float = 0.1,
    ) -> None:  # fmt: skip
        """As the prober counts; the server's part is the test's to play."""
        then = self.probed or ProbeCounts(0.0, 0, 0, 0, 0, 0, ())
        self.probed = ProbeCounts(
            since=then.since,
            good=then.good + good,
            bad=then.bad + failed + refused + timed_out + not_connected,
            counted_2xx=then.counted_2xx + good + timed_out,
            counted_4xx=then.counted_4xx + refused,
            counted_5xx=then.counted_5xx + failed,
            latencies=(*then.latencies, *[seconds] * good)[-64:],
        )

    def read(self, seconds: float = 5.0) -> None:
        """The scraper reads the page, so many seconds later."""
        self.clock.time += seconds
        self.samples.append(
            ServerSample(
                at=self.clock.time,
                process_start=self.process,
                requests=self.good + self.refused + self.failed,
                errors_4xx=self.refused,
                errors_5xx=self.failed,
                generation_tokens=10 * self.good,
                end_to_end=histogram(self.fast, self.slow),
                time_to_first_token=histogram(self.fast, self.slow),
                running=0,
            )
        )

    def reader(self) -> OutcomeReader:
        return OutcomeReader(self.clock, self, self)


def warm(world: World) -> OutcomeReader:
    """A reader that has known the pod for long."""
    reader = world.reader()
    world.serve(1000)
    world.read()
    reader.read(["p"], WANTED)
    world.read(60)
    reader.read(["p"], WANTED)
    return reader


def take(reader: OutcomeReader) -> Outcomes | None:
    return reader.read(["p"], WANTED).get("p")


def test_what_was_before_the_first_look_is_not_given_and_the_rest_is_given_once() -> None:
    world = World()
    reader = world.reader()
    world.serve(7)
    assert take(reader) is None, "never read"
    world.read()
    assert take(reader) is None
    world.serve(3, refused=2, failed=1)
    assert take(reader) is None, "not read again"
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert (outcomes["errors"], outcomes["rejections"], outcomes["stalled"]) == (
        Counts(1, 4),
        Counts(2, 6),
        Counts(0, 0),
    )
    assert take(reader) is None, "the same reading again"
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert outcomes["errors"] == Counts(0, 0), "a new reading, and nothing new in it"


def test_a_pod_that_was_not_asked_for_is_forgotten() -> None:
    world = World()
    reader = warm(world)
    world.serve(5)
    world.probe(3)
    world.read()
    assert reader.read([], WANTED) == {}
    assert take(reader) is None
    world.serve(failed=1)
    world.probe(failed=1)
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert outcomes["errors"] == Counts(1, 1)


def test_latency_is_left_out_until_a_process_is_warm() -> None:
    world = World()
    reader = world.reader()
    world.read()
    take(reader)
    for _ in range(13):  # the 13th begins 60 s after the first reading, the 4th after 20 requests
        assert "endToEnd" not in (take(reader) or {})
        world.serve(10, slow=5)
        world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert (outcomes["endToEnd"], outcomes["firstToken"], outcomes["errors"]) == (
        Counts(5, 10),
        Counts(5, 10),
        Counts(0, 10),
    )
    assert reader.edges == Edges(first_token=0.5, end_to_end=2.0)
    world.restart()
    world.serve(50, slow=50)
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert "endToEnd" not in outcomes
    assert outcomes["errors"] == Counts(0, 50), "errors are compared from the first one on"


def test_latency_is_left_out_until_enough_requests_were_answered() -> None:
    world = World()
    reader = world.reader()
    world.serve(19)
    world.read()
    take(reader)
    world.read(60)
    take(reader)
    world.serve(1)
    world.read()
    assert "endToEnd" not in (take(reader) or {})
    world.serve(1)
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert outcomes["endToEnd"] == Counts(0, 1)


def test_a_server_that_cannot_be_read_gives_nothing_and_later_all_of_it() -> None:
    world = World()
    reader = warm(world)
    world.serve(5)
    world.read()
    world.clock.time += 15.1
    assert take(reader) is None
    assert reader.age(["p"]) == pytest.approx(15.1)
    world.serve(5)
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert outcomes["errors"] == Counts(0, 10)
    assert reader.age(["p"]) == 0


def test_the_age_is_that_of_the_freshest_news() -> None:
    world = World()
    reader = world.reader()
    assert reader.age(["p", "q"]) is None
    world.read()
    world.clock.time += 7
    assert reader.age(["p", "q"]) == 7
    world.probe_age = 3.0
    assert reader.age(["q", "p"]) == 3
    assert reader.age(["q"]) is None
    assert reader.age([]) is None


OWN: dict[str, tuple[dict[str, int], dict[str, float], Outcomes]] = {
    "good ones are users' once and probes' once": (
        {"good": 5},
        {"good": 5},
        {"errors": Counts(0, 15), "rejections": Counts(0, 10), "endToEnd": Counts(1, 10)},
    ),
    "good ones that were slow": (
        {"good": 5, "slow": 5},
        {"good": 5, "seconds": 3.0},
        {"errors": Counts(0, 15), "rejections": Counts(0, 10), "endToEnd": Counts(1, 10)},
    ),
    "a failed one is one error": (
        {"failed": 2},
        {"failed": 2},
        {"errors": Counts(2, 12), "rejections": Counts(0, 10), "endToEnd": Counts(1, 10)},
    ),
    "a refused one is an error, and nobody's rejection": (
        {"refused": 2},
        {"refused": 2},
        {"errors": Counts(2, 12), "rejections": Counts(0, 10), "endToEnd": Counts(1, 10)},
    ),
    "one that got no connection is known to nobody else": (
        {},
        {"not_connected": 2},
        {"errors": Counts(2, 12), "rejections": Counts(0, 10), "endToEnd": Counts(1, 10)},
    ),
}


@pytest.mark.parametrize("case", OWN)
def test_own_probes_are_counted_as_probes_and_only_once(case: str) -> None:
    as_server, as_prober, expected = OWN[case]
    world = World()
    reader = warm(world)
    world.serve(10, slow=1)
    world.serve(**as_server)
    world.probe(**as_prober)  # type: ignore[arg-type]
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert {indicator: outcomes[indicator] for indicator in expected} == expected


def test_a_probe_that_timed_out_is_not_taken_for_a_good_answer() -> None:
    world = World()
    reader = warm(world)
    world.good += 1  # the web layer's 200 for a client that has gone: no histogram has it
    world.probe(timed_out=1)
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert (outcomes["errors"], outcomes["rejections"], outcomes["endToEnd"]) == (
        Counts(1, 1),
        Counts(0, 0),
        Counts(0, 0),
    )


def test_a_page_that_is_older_than_the_probes_shows_them_in_the_next_reading() -> None:
    world = World()
    reader = warm(world)
    world.read()
    world.probe(3)
    world.serve(3)
    outcomes = take(reader)
    assert outcomes is not None
    assert outcomes["errors"] == Counts(0, 3)
    world.serve(4)
    world.read()
    outcomes = take(reader)
    assert outcomes is not None
    assert outcomes["errors"] == Counts(0, 4)


def test_probes_that_the_server_never_counted_do_not_eat_users_requests_for_long() -> None:
    world = World()
    reader = warm(world)
    for _ in range(20):
        world.probe(timed_out=5)
        world.read()
        assert (take(reader) or {})["errors"] == Counts(5, 5)
    given = []
    for _ in range(3):
        world.serve(10)
        world.read()
        given.append((take(reader) or {})["errors"])
    assert given == [Counts(0, 5), Counts(0, 10), Counts(0, 10)]


def test_probes_alone_are_outcomes_too() -> None:
    world = World()
    reader = world.reader()
    world.probe(good=3)
    assert take(reader) is None, "before the first look"
    world.probe(good=1, not_connected=2)
    assert take(reader) == {"errors": Counts(2, 3)}
    assert take(reader) is None
    world.probed = ProbeCounts(99.0, 1, 4, 1, 0, 0, (0.1,))
    assert take(reader) == {"errors": Counts(4, 5)}, "another count"


Step = tuple[int, int, int, int]
STEPS = st.lists(st.tuples(*[st.integers(0, 40)] * 4), min_size=1, max_size=30)


def play(world: World, steps: list[Step], reads: list[bool], restarts: list[bool]) -> dict[str, Counts]:
    """Serve and read step by step, and consume where `reads` says, and at the end. All that was given."""
    reader = warm(world)
    given: list[Outcomes] = []
    for (good, refused, failed, slow), consumed, restart in zip(steps, reads, restarts, strict=False):
        if restart:
            world.restart()
        world.serve(good, refused, failed, slow=min(good, slow))
        world.read()
        if consumed:
            given.append(take(reader) or {})
    given.append(take(reader) or {})
    for outcomes in given:
        for counts in outcomes.values():
            assert 0 <= counts.bad <= counts.total
    return {str(indicator): counts for indicator, counts in together(given).items()}


@given(STEPS, st.lists(st.booleans(), min_size=30, max_size=30))
def test_however_readings_are_split_the_sum_is_the_whole(steps: list[Step], reads: list[bool]) -> None:
    given = play(World(), steps, reads, [False] * 30)
    good, refused, failed, slow = (sum(step[part] for step in steps) for part in range(4))
    slow = sum(min(step[0], step[3]) for step in steps)
    assert given["errors"] == Counts(failed, good + failed)
    assert given["rejections"] == Counts(refused, good + refused + failed)
    assert given["endToEnd"] == given["firstToken"] == Counts(slow, good)


@given(
    STEPS,
    st.lists(st.booleans(), min_size=30, max_size=30),
    st.lists(st.booleans(), min_size=30, max_size=30),
    st.lists(st.integers(0, 40), min_size=30, max_size=30),
)
def test_a_restart_loses_at_most_what_was_not_read(
    steps: list[Step], reads: list[bool], restarts: list[bool], unread: list[int]
) -> None:
    """What the old process counts between its last reading and its end (`unread`) is nowhere in the sums."""
    world = World()
    original = world.restart

    def die() -> None:
        world.serve(unread.pop(), failed=3)
        original()

    world.restart = die  # type: ignore[method-assign]
    given = play(world, steps, reads, restarts)
    good, refused, failed, _ = (sum(step[part] for step in steps) for part in range(4))
    assert given["errors"] == Counts(failed, good + failed)
    assert given["rejections"] == Counts(refused, good + refused + failed)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_users_and_probes_add_up_whether_the_page_or_the_probes_are_the_newer(
    steps: list[tuple[int, int, bool]],
) -> None:
    world = World()
    reader = warm(world)
    given: list[Outcomes] = []
    for users, probes, page_is_newer in steps:
        world.probe(probes)
        world.serve(users + (probes if page_is_newer else 0))
        world.read()
        world.serve(0 if page_is_newer else probes)
        given.append(take(reader) or {})
    world.read()
    given.append(take(reader) or {})
    users, probes = sum(step[0] for step in steps), sum(step[1] for step in steps)
    total = together(given)
    assert total["errors"] == Counts(0, users + probes)
    assert total["rejections"] == total["endToEnd"] == total["firstToken"] == Counts(0, users)


def test_what_a_pod_did_before_it_was_watched_is_told_apart() -> None:
    world = World()
    world.serve(good=90, failed=10)
    world.read()
    reader = OutcomeReader(world.clock, world, world)
    assert reader.read(["p"], WANTED) == {}
    assert reader.so_far(["p"])["errors"] == Counts(10, 100)
    assert reader.so_far(["gone"]) == {}
