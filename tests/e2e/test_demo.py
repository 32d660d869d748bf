"""`make run` runs `outrider demo`: the first thing that anybody sees."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from story_world import Finished, LocalWorld, ended

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=2)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[LocalWorld, Finished]]]:
    """The demo for people and the one for programs, each in its own world, and at once: mostly they wait."""
    asked = {"people": ("demo",), "programs": ("demo", "--exit", "--output", "json")}
    worlds = {who: LocalWorld(tmp_path_factory.mktemp(who) / "home") for who in asked}
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        for world in worlds.values():
            stack.enter_context(ended(world))
        running = {who: pool.submit(worlds[who].outrider, *words, timeout=240) for who, words in asked.items()}
        yield {who: (worlds[who], one.result()) for who, one in running.items()}


def test_the_demo_measures_releases_and_rollbacks_and_only_the_canary_fails_requests(
    shown: dict[str, tuple[LocalWorld, Finished]],
) -> None:
    world, told = shown["programs"]
    result = json.loads(told.out)
    assert result["failed_requests"] == result["canary_failed_requests"] > 0
    assert result["canary_requests"] < result["requests"] / 4
    assert result["requests"] > 200
    assert result["streams"] >= result["requests"] // 2 - 1
    for key in ("ready_seconds", "release_seconds", "canary_seconds", "rollback_seconds"):
        assert 0 < result[key] < 120, result
    assert result["latency_p95_bad"] > 2 * result["latency_p95_before"], "the slow version is slow"
    assert result["latency_p95_after"] < result["latency_p95_bad"] / 2, "the rollback helped"
    assert world.processes() == []


def test_without_a_terminal_the_demo_tells_its_story_and_ends(shown: dict[str, tuple[LocalWorld, Finished]]) -> None:
    world, told = shown["people"]
    assert "rollback" in told.out
    assert "0 failed" in told.out
    assert world.processes() == []
