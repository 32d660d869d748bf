"""Which optional kinds a cluster has, and what is said when that changes or cannot be asked."""

import asyncio
from typing import Any

from virtual_kube import LoopClock, run_virtually

from outrider.kube.api import Unavailable
from outrider.kube.discovery import INTERVAL, RETRY, Discovery
from outrider.kube.objects import HTTP_ROUTE, INFERENCE_POOL


class Server:
    """Answers only what it serves; `None` is a server that does not answer."""

    def __init__(self, *kinds: str) -> None:
        self.kinds: frozenset[str] | None = frozenset(kinds)
        self.asked: list[str] = []

    async def served(self, api_version: str) -> frozenset[str]:
        self.asked.append(api_version)
        if self.kinds is None:
            raise Unavailable("no answer")
        return self.kinds


def discovery(server: Any, told: list[str]) -> Discovery:
    return Discovery(server, LoopClock(), (HTTP_ROUTE, INFERENCE_POOL), on_change=lambda: told.append("changed"))


def test_what_was_not_asked_is_not_known() -> None:
    async def scenario() -> None:
        server, told = Server("HTTPRoute"), list[str]()
        made = discovery(server, told)
        assert made.has(HTTP_ROUTE) is None
        await made.look()
        assert (made.has(HTTP_ROUTE), made.has(INFERENCE_POOL)) == (True, False)
        assert told == ["changed"]
        await made.look()
        assert told == ["changed"], "nothing new"

    run_virtually(scenario)


def test_a_server_that_does_not_answer_changes_nothing() -> None:
    async def scenario() -> None:
        server, told = Server("HTTPRoute"), list[str]()
        made = discovery(server, told)
        await made.look()
        server.kinds = None
        await made.look()
        assert made.has(HTTP_ROUTE) is True
        assert "no answer" in made.last_error
        assert told == ["changed"]

    run_virtually(scenario)


def test_it_looks_every_few_minutes_with_one_request_for_each_group_and_sooner_while_it_knows_nothing() -> None:
    async def scenario() -> None:
        clock = LoopClock()
        server, told = Server("HTTPRoute"), list[str]()
        server.kinds = None
        made = discovery(server, told)
        task = asyncio.create_task(made.run())
        await clock.sleep(RETRY * 1.5)
        assert len(server.asked) == 4, "at once, and once more"
        server.kinds = frozenset({"HTTPRoute"})
        await clock.sleep(RETRY)
        assert told == ["changed"]
        before = len(server.asked)
        await clock.sleep(INTERVAL * 10)
        assert len(server.asked) - before == 20
        server.kinds = frozenset({"HTTPRoute", "InferencePool"})
        await clock.sleep(INTERVAL)
        assert made.has(INFERENCE_POOL) is True
        assert told == ["changed", "changed"]
        task.cancel()

    run_virtually(scenario)
