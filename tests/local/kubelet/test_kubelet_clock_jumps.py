"""Somebody sets the machine's time, an hour forward or back: grace periods and tokens go by time that has passed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from manual_clock import ManualClock

from outrider.kube.clock import SystemClock
from outrider.local.kubelet.identity import ServiceAccounts

from .conftest import POD_JSON, until, world
from .test_kubelet_identity import POD, Issuer

HOUR = 3600.0
ENDS_WHEN_TOLD = "trap 'until [ -e {0}/go ]; do sleep 0.02; done; touch {0}/done; exit 0' TERM; touch {0}/up; {1}"
FOR_EVER = "while true; do sleep 0.02; done"


class SetClock(SystemClock):
    """The machine's clock, which can be set."""

    set_forward = 0.0

    def now(self) -> float:
        return super().now() + self.set_forward


@pytest.mark.e2e
@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_pod_that_is_draining_keeps_its_grace_period(folder: Path, tmp_path: Path, jump: float) -> None:
    async def story() -> None:
        clock = SetClock()
        async with world(folder, clock=clock) as w:
            script = ENDS_WHEN_TOLD.format(tmp_path, FOR_EVER)
            await w.create("a", "sh", "-c", script, terminationGracePeriodSeconds=300)
            await until((tmp_path / "up").exists, "it runs")
            await w.delete("a")
            (worker,) = w.kubelet.pods
            await until(lambda: worker.context.record.deletion_deadline, "it is asked to end")
            clock.set_forward = jump
            patch = {"metadata": {"annotations": {"looked": "at"}}}
            changed = await w.api.patch(POD_JSON, "a", patch, "default")
            version = changed["metadata"]["resourceVersion"]
            await until(lambda: int(worker.context.pod["metadata"]["resourceVersion"]) >= int(version), "it is seen")
            (tmp_path / "go").touch()
            await w.removed("a")
            assert (tmp_path / "done").exists(), "it ended by itself, and was not killed"

    asyncio.run(story())


@pytest.mark.parametrize(("jump", "wait"), [(HOUR, 60.0), (-HOUR, 2881.0)], ids=["forward", "back"])
def test_a_token_is_renewed_in_time_by_the_clock_of_the_api_server_and_by_ours(
    tmp_path: Path, jump: float, wait: float
) -> None:
    async def story() -> None:
        clock = ManualClock()
        issuer: Any = Issuer(clock, refusals=0)
        token = tmp_path / ".kube" / "token"
        task = asyncio.create_task(ServiceAccounts(issuer, clock).keep(POD, tmp_path, asyncio.Event()))
        try:
            await until(lambda: clock._sleepers and token.exists(), "it waits for the renewal")
            clock.set_forward = jump
            passed = 0.0
            while passed < wait:
                assert token.read_text() == "token-1"
                await clock.advance(60.5)
                passed += 60.5
                if passed < wait:
                    await until(lambda: clock._sleepers, "it waits on")
            await until(lambda: token.read_text() == "token-2", "the token was renewed")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
