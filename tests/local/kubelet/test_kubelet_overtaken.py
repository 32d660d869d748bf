"""A watch may bring a newer pod before the answer to an own, earlier write has come."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from outrider.kube.clock import SystemClock
from outrider.local.store import Store, StoreApi

from .conftest import World, until

pytestmark = pytest.mark.e2e


class LateAnswers(StoreApi):
    """Does at once what it is asked for. The answer to the first status that says Running is held until `release`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.held = asyncio.Event()
        self.release = asyncio.Event()

    async def patch_status(self, *args: Any, **options: Any) -> Any:
        answer = await super().patch_status(*args, **options)
        if not self.held.is_set() and (answer.get("status") or {}).get("phase") == "Running":
            self.held.set()
            await self.release.wait()
        return answer


def test_a_deletion_that_overtakes_the_answer_to_a_status_is_not_forgotten(folder: Path) -> None:
    """Found by killing everything, again and again: the pod went on serving for ever, marked as deleted."""

    async def scenario() -> None:
        async with Store.opened(SystemClock()) as store:
            api = LateAnswers(store)
            world = World(api, folder)
            world.start()
            try:
                await world.create("fox", "sleep", "1000")
                await api.held.wait()
                await world.delete("fox")
                (worker,) = world.kubelet._workers.values()
                await until(lambda: worker.context.pod["metadata"].get("deletionTimestamp"), "the kubelet knows of it")
                api.release.set()
                await world.removed("fox")
            finally:
                api.release.set()
                await world.stop()

    asyncio.run(scenario())
