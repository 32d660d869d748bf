"""The operator: everything that controls, in one process."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry

from outrider.api.labels import GROUP
from outrider.controllers.config import GatewayConfig, OperatorConfig
from outrider.controllers.deployment.caches import Caches
from outrider.controllers.deployment.controller import DeploymentController
from outrider.controllers.deployment.front_door import FrontDoor
from outrider.controllers.deployment.sensors import Sensors
from outrider.controllers.deployment.watcher import Watcher
from outrider.controllers.monitoring.controller import MonitoringController
from outrider.kube.api import Api
from outrider.kube.clock import Clock
from outrider.kube.events import EventRecorder
from outrider.kube.informer import Informer
from outrider.kube.manager import Elected, Manager, Runnable
from outrider.kube.metrics import RuntimeMetrics
from outrider.kube.standstill import Standstill
from outrider.plan.deployment.front_door import INTERVAL, RETRY, TIMEOUT
from outrider.signals.gateway_reader import FetchPage, GatewayReader
from outrider.signals.polling import OnChange
from outrider.signals.prober import ProbeFunction, Prober
from outrider.signals.scrape import FetchFunction, Scraper

__all__ = ["GatewayConfig", "Operator", "OperatorConfig"]


class Operator:
    """Looks after all LLMDeployments of a cluster, or of some namespaces of it.

    `api` is read, and `writer` written to, which may refuse while another operator leads; without it both are one.
    Where there is `elected`, nothing but reading is done before it returns. `runnables` begin after it.
    `registry` takes the metrics of the controller runtime; without it there are none. `probe`, `fetch`,
    `fetch_page` and `gateway_probe` are for tests and simulation; by default real requests are sent to the pods and
    through the Gateway, and the metrics of both read, over HTTP. With `probe` alone nothing goes through the Gateway.
    `rng` is where jitter comes from; hand in a seeded one to have the same again.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        config: OperatorConfig,
        registry: CollectorRegistry | None = None,
        *,
        writer: Api | None = None,
        elected: Elected | None = None,
        runnables: Iterable[Runnable] = (),
        probe: ProbeFunction | None = None,
        fetch: FetchFunction | None = None,
        fetch_page: FetchPage | None = None,
        gateway_probe: ProbeFunction | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.metrics = RuntimeMetrics(registry) if registry is not None else None
        writer = writer or api
        self._prober = Prober(
            clock,
            interval=config.probe_interval,
            headers=config.headers,
            on_change=self._measured,
            probe_one=probe,
        )
        self._scraper = Scraper(clock, fetch=fetch)
        self._gateway_prober = _gateway_prober(clock, config, self._measured, gateway_probe, real=probe is None)
        urls = config.gateway.metrics_urls if config.gateway is not None else ()
        self._gateway = GatewayReader(clock, urls, fetch=fetch_page) if urls else None
        self.caches = Caches(api, clock, config.namespaces, config.gateway, on_kinds=self._kinds_changed, rng=rng)
        self._recorder = EventRecorder(
            writer, clock, controller=f"{GROUP}/outrider", instance=config.identity, metrics=self.metrics
        )
        self._deployments = DeploymentController(
            writer,
            clock,
            config,
            self.caches,
            Sensors(self._prober, self._scraper, probe_interval=config.probe_interval),
            Watcher(clock, self._prober, self._scraper, self._gateway),
            front_door=FrontDoor(self._gateway_prober, config.gateway.inside_url)
            if self._gateway_prober is not None and config.gateway is not None
            else None,
            recorder=self._recorder,
            metrics=self.metrics,
        )
        self._monitoring = MonitoringController(writer, clock, config, self.caches, metrics=self.metrics)
        self._manager = Manager(
            clock,
            controllers=[self._deployments.controller, self._monitoring.controller],
            runnables=[
                self._prober.run,
                self._scraper.run,
                *([self._gateway.run] if self._gateway is not None else ()),
                *([self._gateway_prober.run] if self._gateway_prober is not None else ()),
                self._recorder.run,
                Standstill(clock, self._deployments.stood_still).run,
                *runnables,
            ],
            metrics=self.metrics,
            elected=elected,
        )

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All caches that are read."""
        return self._manager.informers

    def waiting_for(self) -> dict[str, str]:
        """The kinds whose caches are not yet filled, and why as far as is known; empty once it is ready to work."""
        return self._manager.waiting_for()

    def _measured(self, owner: str) -> None:
        self._deployments.wake(owner)

    def _kinds_changed(self) -> None:
        self._deployments.wake_all()
        self._monitoring.wake_all()

    async def run(self) -> None:
        """Run until cancelled, or until `stop`."""
        discovery = self.caches.discovery
        await discovery.look()  # before anything is decided: what is not known would be reported as such
        looking = asyncio.create_task(discovery.run())  # also while another one leads
        try:
            await self._manager.run()
        finally:
            looking.cancel()

    def stop(self) -> None:
        """Finish what is under way, then end `run`."""
        self._manager.stop()


def _gateway_prober(
    clock: Clock, config: OperatorConfig, on_change: OnChange, probe: ProbeFunction | None, *, real: bool
) -> Prober | None:
    """What sends requests through the Gateway; None where there is none, and where requests are not `real` and nobody
    gives others.
    """
    if config.gateway is None or (probe is None and not real):
        return None
    return Prober(
        clock,
        interval=INTERVAL,
        retry_interval=RETRY,
        timeout=TIMEOUT,
        headers=config.headers,
        whom="the Gateway",
        on_change=on_change,
        probe_one=probe,
    )
