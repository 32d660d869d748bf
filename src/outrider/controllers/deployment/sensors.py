"""What is measured at the pods themselves: whether they answer real requests, and how their users fare."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from outrider.api.labels import HOST_PORTS, HTTP_PORT
from outrider.api.meta import Instant
from outrider.kube.objects import Pod
from outrider.plan.deployment.snapshot import Measurements, ProbeView
from outrider.signals import measurements
from outrider.signals.prober import Prober, ProbeTarget
from outrider.signals.scrape import Scraper, ScrapeTarget

T = TypeVar("T")


def pod_url(pod: Pod) -> str:
    """Where the pod's model server listens. Where all pods share one address, an annotation says at which port."""
    return f"http://{pod.status.pod_ip}:{host_port(pod)}"


def host_port(pod: Pod) -> int:
    text = pod.metadata.annotations.get(HOST_PORTS)
    if not text:
        return HTTP_PORT
    try:
        return int(json.loads(text)[str(HTTP_PORT)])
    except (ValueError, KeyError, TypeError):
        return HTTP_PORT


class Sensors:
    """Probes the pods of each LLMDeployment, reads their counters, and remembers when each last answered well.

    A pod becomes ready only after its first answer (plan/deployment/gates.py), so it is probed as soon as it is up.

    What it remembers are measurements: a new operator makes its own, and until then they are unknown.
    """

    def __init__(self, prober: Prober, scraper: Scraper | None = None, *, probe_interval: float = 10.0) -> None:
        self._prober = prober
        self._scraper = scraper
        self._probe_interval = probe_interval
        self._last_success: dict[str, dict[str, Instant]] = {}
        self._last_failure: dict[str, dict[str, tuple[Instant, str]]] = {}

    def probes(self, owner: str, pods: Sequence[Pod], models: Mapping[str, str]) -> dict[str, ProbeView]:
        """What is known of each pod, by its uid; unknown ones are left out.

        `models` maps the uid of a pod to the name that requests to it use for its model.
        """
        up = [pod for pod in pods if pod.containers_ready and pod.status.pod_ip and pod.metadata.uid in models]
        targets = [ProbeTarget(pod.metadata.uid, pod_url(pod), models[pod.metadata.uid]) for pod in up]
        results = self._prober.watch(owner, targets)
        successes = _still(self._last_success.get(owner, {}), results)
        failures = _still(self._last_failure.get(owner, {}), results)
        views = {}
        for uid, result in results.items():
            if result is None or result.ok is None:
                continue
            if result.ok:
                successes[uid] = result.at
            else:
                failures[uid] = result.at, result.error
            failed_at, why = failures.get(uid, (None, ""))
            views[uid] = ProbeView(
                ok=result.ok, at=result.at, last_success=successes.get(uid), last_failure=failed_at, message=why
            )
        self._last_success[owner], self._last_failure[owner] = successes, failures
        return views

    def measure(self, owner: str, pods: Sequence[Pod]) -> Measurements | None:
        """What the ready pods' counters say of the last minute; None where only our probes were answered."""
        if self._scraper is None:
            return None
        targets = [ScrapeTarget(pod.metadata.uid, pod_url(pod)) for pod in pods if pod.ready and pod.status.pod_ip]
        self._scraper.watch(owner, targets)
        total = self._scraper.total([target.key for target in targets])
        return users_part(total, self._probe_interval) if total is not None else None

    def forget(self, owner: str) -> None:
        self._prober.watch(owner, ())
        if self._scraper is not None:
            self._scraper.watch(owner, ())
        self._last_success.pop(owner, None)
        self._last_failure.pop(owner, None)


def _still(known: Mapping[str, T], pods: Collection[str]) -> dict[str, T]:
    return {uid: what for uid, what in known.items() if uid in pods}


def users_part(total: measurements.Measurements, probe_interval: float) -> Measurements | None:
    """What people see, or None: as few requests as the probes alone make say nothing about them."""
    probes = total.pods * (total.window_seconds / probe_interval + 2)
    if total.requests is None or total.requests <= probes:
        return None
    latency = total.end_to_end.quantile(0.95) if total.end_to_end is not None else None
    return Measurements(latency_p95=latency, error_rate=total.error_rate)
