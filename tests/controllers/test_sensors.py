"""What is remembered of the answers of each pod."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from outrider.controllers.deployment.sensors import Sensors
from outrider.kube.objects import Pod
from outrider.plan.deployment.snapshot import ProbeView
from outrider.signals.probe import ProbeResult
from outrider.signals.prober import Prober, ProbeTarget

UP: dict[str, Any] = {"podIP": "127.64.0.3", "conditions": [{"type": "ContainersReady", "status": "True"}]}


class Answers:
    """A prober whose newest results are these."""

    def __init__(self) -> None:
        self.results: dict[str, ProbeResult] = {}

    def watch(self, _owner: str, targets: Sequence[ProbeTarget]) -> Mapping[str, ProbeResult | None]:
        return {target.key: self.results.get(target.key) for target in targets}


def pods(*uids: str) -> list[Pod]:
    return [
        msgspec.convert({"metadata": {"name": uid, "namespace": "production", "uid": uid}, "status": UP}, Pod)
        for uid in uids
    ]


def test_the_last_good_and_the_last_bad_answer_of_a_pod_are_remembered_while_it_is_there() -> None:
    prober = Answers()
    sensors = Sensors(cast("Prober", prober))

    def look(uid: str, *, ok: bool | None, at: float, error: str = "") -> ProbeView | None:
        prober.results[uid] = ProbeResult(ok=ok, at=at, latency_seconds=0.1, error=error)
        return sensors.probes("production/llama", pods(uid), {uid: "llama"}).get(uid)

    assert look("a", ok=None, at=1, error="nothing was sent") is None
    assert look("a", ok=True, at=2) == ProbeView(ok=True, at=2, last_success=2)
    failed = look("a", ok=False, at=3, error="it answered 500")
    assert failed == ProbeView(ok=False, at=3, last_success=2, last_failure=3, message="it answered 500")
    good = look("a", ok=True, at=4)
    assert good == ProbeView(ok=True, at=4, last_success=4, last_failure=3, message="it answered 500")
    assert look("b", ok=True, at=5) == ProbeView(ok=True, at=5, last_success=5)
    assert look("a", ok=True, at=6) == ProbeView(ok=True, at=6, last_success=6), "it was gone meanwhile"
    look("a", ok=False, at=7, error="it answered 500")
    sensors.forget("production/llama")
    assert look("a", ok=True, at=8) == ProbeView(ok=True, at=8, last_success=8)
