"""Keeps one ServiceMonitor in each namespace with LLMDeployments, where the cluster has such objects."""

from collections.abc import Iterable
from typing import Any

import structlog

from outrider.api.meta import ObjectMeta
from outrider.controllers.act import execute
from outrider.controllers.config import OperatorConfig
from outrider.controllers.deployment.caches import BY_NAMESPACE, Caches
from outrider.controllers.monitoring.gather import build_snapshot, interval_of
from outrider.kube.api import Api
from outrider.kube.clock import Clock
from outrider.kube.controller import Controller, Result
from outrider.kube.metadata import metadata_of
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.objects import SERVICE_MONITOR
from outrider.kube.predicates import any_of, content_changed, deletion_requested, generation_changed
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.monitoring import NAME, plan

log = structlog.get_logger(__name__)


class MonitoringController:
    """One per operator; its keys are namespaces."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        config: OperatorConfig,
        caches: Caches,
        *,
        metrics: RuntimeMetrics | None = None,
    ) -> None:
        self._api = api
        self._config = config
        self._caches = caches
        self._intervals: dict[str, dict[tuple[str, int], float | None]] = {}
        """By namespace, then by uid and generation, so that no spec is read again because another one changed."""
        self.controller = Controller("servicemonitor", self.reconcile, clock=clock, metrics=metrics)
        changed = any_of(generation_changed, deletion_requested)
        for deployments in caches.deployments.members:
            self.controller.maps(deployments, _namespace, changed)
        for monitors in caches.monitors.members:
            self.controller.maps(monitors, _namespace, content_changed)

    def wake_all(self) -> None:
        """ServiceMonitors came to the cluster, or went."""
        for one in self._caches.deployments.list():
            self.controller.enqueue(one.metadata.namespace)

    async def reconcile(self, namespace: str) -> Result | None:
        if self._config.namespaces and namespace not in self._config.namespaces:
            return None
        available = self._caches.discovery.has(SERVICE_MONITOR)
        if not available:
            return None
        snapshot = build_snapshot(
            namespace,
            self._intervals_in(namespace),
            self._caches.monitors.get(f"{namespace}/{NAME}"),
            available=available,
            extra_labels=self._config.monitor_labels,
        )
        decided = plan(snapshot)
        writes = await execute(self._api, decided, LLM_DEPLOYMENT, ObjectMeta(), written=self._caches.written)
        if writes:
            log.info("reconciled", writes=writes, because=decided.because)
        return None

    def _intervals_in(self, namespace: str) -> list[float | None]:
        known, found = self._intervals.pop(namespace, {}), {}
        for one in self._caches.deployments.by_index(BY_NAMESPACE, namespace):
            if one.metadata.deletion_timestamp is None:
                key = (one.metadata.uid, one.metadata.generation)
                found[key] = known[key] if key in known else interval_of(one)
        if found:
            self._intervals[namespace] = found
        return list(found.values())


def _namespace(obj: Any) -> Iterable[str]:
    return (metadata_of(obj).namespace,)
