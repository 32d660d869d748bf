"""Probing on the beat during a release: at once, overlapping, bounded, and counted exactly once."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from manual_clock import ManualClock, running, settle

from outrider.signals.probe import ProbeResult
from outrider.signals.prober import KEPT_LATENCIES, Prober, ProbeTarget

TIMEOUT = 5.0


class Pods:
    """Answer at once; the hung ones not before the probe's timeout."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.hung: set[str] = set()
        self.began: list[tuple[str, float]] = []
        self.ended = 0
        self.under_way = 0

    async def probe(self, target: ProbeTarget) -> ProbeResult:
        self.began.append((target.key, self.clock.time))
        self.under_way += 1
        hangs, began = target.key in self.hung, self.clock.time
        try:
            await (self.clock.sleep(TIMEOUT) if hangs else asyncio.sleep(0))
        finally:
            self.under_way -= 1
        self.ended += 1
        return ProbeResult(
            ok=not hangs, at=self.clock.now(), latency_seconds=self.clock.time - began, error="hangs" if hangs else ""
        )

    def times(self, key: str) -> list[float]:
        return [at for began, at in self.began if began == key]


def pod(key: str, port: int = 8080) -> ProbeTarget:
    return ProbeTarget(key=key, url=f"http://{key}:{port}", model="m")


def play(story: Callable[[Prober, Pods, ManualClock], Awaitable[None]], *, slots: int = 128) -> None:
    async def main() -> None:
        clock = ManualClock()
        pods = Pods(clock)
        prober = Prober(clock, probe_one=pods.probe, hurried_concurrency=slots)
        async with running(prober.run()):
            await story(prober, pods, clock)

    asyncio.run(main())


async def seconds(clock: ManualClock, count: int) -> None:
    await settle()
    for _ in range(count):
        await clock.advance(1)


def test_the_pods_of_an_owner_in_a_hurry_are_probed_every_second_and_others_as_usual() -> None:
    async def story(prober: Prober, pods: Pods, clock: ManualClock) -> None:
        prober.watch("ns/a", [pod("p")])
        prober.watch("ns/b", [pod("q")])
        await seconds(clock, 3)
        prober.hurry("ns/a")
        await seconds(clock, 7)
        prober.watch("ns/a", [pod("p"), pod("new")])
        await settle()
        assert pods.times("p") == [0, 3, 4, 5, 6, 7, 8, 9, 10]
        assert pods.times("q") == [0, 10]
        await seconds(clock, 2)
        assert pods.times("new") == [10, 11, 12]

    play(story)


def test_a_hurry_that_ends_goes_on_as_usual_from_the_last_answer() -> None:
    async def story(prober: Prober, pods: Pods, clock: ManualClock) -> None:
        prober.hurry("ns/a")
        prober.watch("ns/a", [pod("p")])
        await seconds(clock, 3)
        prober.hurry("ns/a", None)
        assert prober.latest("p") is not None
        pods.began.clear()
        await seconds(clock, 25)
        assert pods.times("p") == [13, 23]
        counts = prober.counts("p")
        assert counts is not None
        assert (counts.good, counts.bad) == (6, 0)

    play(story)


def test_hung_probes_overlap_and_hold_up_nobody() -> None:
    async def story(prober: Prober, pods: Pods, clock: ManualClock) -> None:
        pods.hung.add("p")
        prober.hurry("ns/a")
        prober.watch("ns/a", [pod("p"), pod("q")])
        await seconds(clock, 4)
        assert (pods.times("p"), pods.times("q")) == ([0, 1, 2, 3, 4],) * 2
        assert (pods.under_way, prober.latest("p")) == (5, None)
        await seconds(clock, 2)
        counts, result = prober.counts("p"), prober.latest("p")
        assert counts is not None
        assert (counts.good, counts.bad) == (0, 2)
        assert result is not None
        assert result.error == "hangs"
        pods.hung.clear()
        await seconds(clock, 1)
        result = prober.latest("p")
        assert result is not None
        assert result.ok
        await seconds(clock, 4)
        result = prober.latest("p")
        assert result is not None
        assert result.ok, "what hung had begun before"
        counts = prober.counts("p")
        assert counts is not None
        assert (counts.good, counts.bad) == (5, 7), "but it is counted"

    play(story)


def test_the_slots_of_the_hurried_are_bounded_and_their_own() -> None:
    async def story(prober: Prober, pods: Pods, clock: ManualClock) -> None:
        names = [f"p{number}" for number in range(10)]
        pods.hung.update(names)
        prober.hurry("ns/a")
        prober.watch("ns/a", [pod(name) for name in names])
        prober.watch("ns/b", [pod("q")])
        await seconds(clock, 4)
        assert pods.under_way == 3
        assert pods.times("q") == [0]
        await seconds(clock, 16)
        assert {name for name, _ in pods.began} == {*names, "q"}, "each gets its turn"
        assert pods.times("q") == [0, 10, 20]

    play(story, slots=3)


def test_a_pod_that_moved_is_counted_anew() -> None:
    async def story(prober: Prober, _: Pods, clock: ManualClock) -> None:
        prober.watch("ns/a", [pod("p")])
        await seconds(clock, 20)
        before = prober.counts("p")
        prober.watch("ns/a", [pod("p", 9090)])
        assert prober.counts("p") is None
        await settle()
        after = prober.counts("p")
        assert before is not None
        assert after is not None
        assert (before.since, before.good, after.since, after.good) == (0, 3, 20, 1)
        prober.watch("ns/a", ())
        assert prober.counts("p") is None

    play(story)


def test_as_many_latencies_are_kept_as_are_needed() -> None:
    async def story(prober: Prober, _: Pods, clock: ManualClock) -> None:
        prober.hurry("ns/a")
        prober.watch("ns/a", [pod("p")])
        await seconds(clock, KEPT_LATENCIES + 10)
        counts = prober.counts("p")
        assert counts is not None
        assert counts.good == KEPT_LATENCIES + 11
        assert len(counts.latencies) == KEPT_LATENCIES

    play(story)


STATUSES = {
    "good": (ProbeResult(ok=True, at=0, latency_seconds=0.1), (1, 0, 1, 0, 0)),
    "refused": (ProbeResult(ok=False, at=0, latency_seconds=0.1, counted_as="4xx"), (0, 1, 0, 1, 0)),
    "failed": (ProbeResult(ok=False, at=0, latency_seconds=0.1, counted_as="5xx"), (0, 1, 0, 0, 1)),
    "empty": (ProbeResult(ok=False, at=0, latency_seconds=0.1, counted_as="2xx"), (0, 1, 1, 0, 0)),
    "no connection": (ProbeResult(ok=False, at=0, latency_seconds=0.1), (0, 1, 0, 0, 0)),
    "nothing was sent": (ProbeResult(ok=None, at=0, latency_seconds=0.1), (0, 0, 0, 0, 0)),
}


def test_probes_are_counted_as_the_server_counts_them() -> None:
    for result, expected in STATUSES.values():

        async def answer(_: ProbeTarget, result: ProbeResult = result) -> ProbeResult:
            return result

        async def main(
            expected: tuple[int, ...] = expected, probe: Callable[..., Awaitable[ProbeResult]] = answer
        ) -> None:
            prober = Prober(ManualClock(), probe_one=probe)
            async with running(prober.run()):
                prober.watch("ns/a", [pod("p")])
                await settle()
                counts = prober.counts("p")
                assert counts is not None
                found = (counts.good, counts.bad, counts.counted_2xx, counts.counted_4xx, counts.counted_5xx)
                assert found == expected

        asyncio.run(main())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["hurry", "as usual", "hang", "answer", "second", "ten seconds"]), max_size=25))
def test_every_probe_that_ended_is_counted_once_however_the_pace_changes(steps: list[str]) -> None:
    async def story(prober: Prober, pods: Pods, clock: ManualClock) -> None:
        prober.watch("ns/a", [pod("p")])
        last = 0
        for step in steps:
            match step:
                case "hurry":
                    prober.hurry("ns/a")
                case "as usual":
                    prober.hurry("ns/a", None)
                case "hang":
                    pods.hung.add("p")
                case "answer":
                    pods.hung.clear()
                case "second":
                    await seconds(clock, 1)
                case _:
                    await seconds(clock, 10)
            await settle()
            counts = prober.counts("p")
            known = counts.good + counts.bad if counts is not None else 0
            assert known == pods.ended >= last
            last = known
        pods.hung.clear()
        await seconds(clock, 16)
        assert pods.ended == len(pods.began), "none was cut off"

    play(story)
