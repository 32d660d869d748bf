"""The prober's promises to a controller: never wait, never guess, wake when the answer changes."""

import asyncio
from collections.abc import Callable

from manual_clock import ManualClock, running, settle

from outrider.signals.probe import ProbeResult
from outrider.signals.prober import Prober, ProbeTarget


class Pods:
    """Answers probes as the test says, and notes them."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.error: dict[str, str] = {}
        self.hung: set[str] = set()
        self.unreached: set[str] = set()
        self.probed: list[str] = []
        self.under_way = 0
        self.most_under_way = 0

    async def probe(self, target: ProbeTarget) -> ProbeResult:
        self.probed.append(target.url)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if target.key in self.hung:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        reached = target.key not in self.unreached
        error = self.error.get(target.key, "") if reached else "no connection"
        return ProbeResult(ok=not error, at=self.clock.now(), latency_seconds=0.1, error=error, reached=reached)


def pod(name: str, port: int = 8080) -> ProbeTarget:
    return ProbeTarget(key=name, url=f"http://{name}:{port}", model="m")


def make(on_change: Callable[[str], None] | None = None, concurrency: int = 32) -> tuple[Prober, Pods, ManualClock]:
    clock = ManualClock()
    pods = Pods(clock)
    return Prober(clock, on_change=on_change, probe_one=pods.probe, concurrency=concurrency), pods, clock


def test_a_new_target_is_unknown_then_known_and_its_owner_is_woken() -> None:
    async def main() -> None:
        woken: list[str] = []
        prober, _, clock = make(woken.append)
        async with running(prober.run()):
            assert prober.watch("ns/a", [pod("p")]) == {"p": None}
            await settle()
            result = prober.watch("ns/a", [pod("p")])["p"]
            assert result is not None
            assert result.ok
            assert woken == ["ns/a"]
            await clock.advance(4)
            assert prober.age("p") == 4

    asyncio.run(main())


def test_the_owner_is_woken_only_when_the_answer_changes() -> None:
    async def main() -> None:
        woken: list[str] = []
        prober, pods, clock = make(woken.append)
        async with running(prober.run()):
            prober.watch("ns/a", [pod("p")])
            await settle()
            await clock.advance(10)
            assert (len(pods.probed), len(woken)) == (2, 1)
            pods.error["p"] = "no answer within 5 s"
            await clock.advance(10)
            await clock.advance(2)  # a failure is looked at again sooner
            assert (len(pods.probed), len(woken)) == (4, 2)
            pods.error["p"] = "connection refused"
            await clock.advance(2)
            assert len(woken) == 3
            pods.error.clear()
            await clock.advance(2)
            assert len(woken) == 4

    asyncio.run(main())


def test_targets_that_are_gone_are_forgotten_and_no_longer_probed() -> None:
    async def main() -> None:
        prober, pods, clock = make()
        async with running(prober.run()):
            prober.watch("ns/a", [pod("p"), pod("q")])
            await settle()
            prober.watch("ns/a", [pod("q")])
            pods.probed.clear()
            await clock.advance(10)
            assert pods.probed == ["http://q:8080"]
            assert prober.latest("p") is None
            prober.watch("ns/a", ())
            await clock.advance(10)
            assert pods.probed == ["http://q:8080"]

    asyncio.run(main())


def test_a_target_that_moved_is_unknown_until_it_is_probed_again() -> None:
    async def main() -> None:
        prober, pods, _ = make()
        async with running(prober.run()):
            prober.watch("ns/a", [pod("p")])
            await settle()
            assert prober.watch("ns/a", [pod("p", 9090)]) == {"p": None}
            await settle()
            assert pods.probed == ["http://p:8080", "http://p:9090"]
            assert prober.latest(pod("p")) is not None

    asyncio.run(main())


def test_a_pod_that_changed_hands_stays_with_its_new_owner() -> None:
    async def main() -> None:
        prober, _, _ = make()
        async with running(prober.run()):
            prober.watch("ns/a", [pod("p")])
            prober.watch("ns/b", [pod("p")])
            prober.watch("ns/a", ())
            await settle()
            assert prober.latest("p") is not None

    asyncio.run(main())


def test_a_result_that_is_not_renewed_becomes_unknown() -> None:
    async def main() -> None:
        prober, pods, clock = make()
        async with running(prober.run()):
            prober.watch("ns/a", [pod("p")])
            await settle()
            pods.hung.add("p")
            await clock.advance(35)
            assert prober.latest("p") is not None
            await clock.advance(0.1)
            assert prober.latest("p") is None
            assert prober.age("p") == 35.1

    asyncio.run(main())


def test_a_pod_that_cannot_be_reached_does_not_answer_and_has_failed_nothing() -> None:
    async def main() -> None:
        prober, pods, clock = make()
        async with running(prober.run()):
            prober.watch("ns/a", [pod("p")])
            await settle()
            pods.unreached.add("p")
            await clock.advance(10)
            result, counted = prober.latest("p"), prober.counts("p")
            assert result is not None
            assert result.ok is False
            assert counted is not None
            assert (counted.good, counted.bad) == (1, 0)
            assert prober.age("p") == 10, "nothing has been learnt of it since"

    asyncio.run(main())


def test_no_more_than_the_limit_are_probed_at_once() -> None:
    async def main() -> None:
        prober, pods, _ = make(concurrency=3)
        prober.watch("ns/a", [pod(f"p{number}") for number in range(10)])
        async with running(prober.run()):
            await settle()
            await settle()
            assert len(pods.probed) == 10
            assert pods.most_under_way == 3

    asyncio.run(main())
