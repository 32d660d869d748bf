"""Runs one operator in a cluster: probes and metrics, leader election, and an orderly end.

A process that stands by has its caches filled and works on nothing. Once it leads, it writes through a fence that lets
nothing pass without the lease (`kube.fence`), and when the lease is lost it ends: its memory may be of the past.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector

from outrider import __version__
from outrider.controllers.config import OperatorConfig
from outrider.controllers.operator import Operator
from outrider.controllers.process.access import MetricsAccess
from outrider.controllers.process.certificate import keep_fresh, serving_context
from outrider.controllers.process.endpoints import Server, health_app, metrics_app
from outrider.controllers.process.settings import ProcessSettings
from outrider.controllers.process.startup import StartupFailed, check_cluster
from outrider.controllers.published import publish
from outrider.kube.api import Api, ApiError, Forbidden, NotFound
from outrider.kube.clock import Clock
from outrider.kube.fence import FencedApi
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig
from outrider.kube.lease import LeaderElection, LeaseLost
from outrider.kube.metrics import ClientMetrics

PUBLISH_RETRY_SECONDS = 30.0

log = structlog.get_logger(__name__)


class OperatorProcess:
    """One operator process on the cluster of `config`."""

    def __init__(
        self, cluster: ClusterConfig, clock: Clock, operator: OperatorConfig, settings: ProcessSettings
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._operator_config = operator
        self._settings = settings
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._client_metrics = ClientMetrics(self._registry)
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._election: LeaderElection | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._writer: Api | None = None
        self._operator: Operator | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set: then finish the reconciles that are under way and give up the lease.

        Raises:
            StartupFailed: it cannot work like this; says why.
            LeaseLost: it led, and does so no longer.
            KubeconfigError: certificates cannot be loaded.
            OSError: an address cannot be listened on.
        """
        log.info("starting", version=__version__, cluster=self._cluster.server, identity=self._operator_config.identity)
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(
                HttpApi(self._cluster, clock=self._clock, metrics=self._client_metrics)
            )
            operator = self._operator = await self._make_operator(api, stack)
            await self._serve(api, stack)
            if await self._until(stop, check_cluster(
                api, operator.informers, self._clock, self._settings.api_patience
            )):  # fmt: skip
                return
            await self._work(operator, stop)

    async def _make_operator(self, api: HttpApi, stack: AsyncExitStack) -> Operator:
        self._writer = writer = await self._make_writer(api, stack)
        return Operator(
            api,
            self._clock,
            self._operator_config,
            self._registry,
            writer=writer,
            elected=self._lead if self._election is not None else None,
            runnables=(self._publish,),
        )

    async def _make_writer(self, api: HttpApi, stack: AsyncExitStack) -> Api:
        settings = self._settings.election
        leads = Gauge(
            "leader_election_master_status",
            "Whether this process leads: 1, or stands by: 0.",
            ("name",),
            registry=self._registry,
        )
        if settings is None:
            leads.labels("").set(1)
            return api
        # Its own connections: what the controllers do must not come between the leader and its lease.
        own = await stack.enter_async_context(HttpApi(self._cluster, clock=self._clock, metrics=self._client_metrics))
        election = self._election = LeaderElection(
            own,
            self._clock,
            name=settings.name,
            namespace=settings.namespace,
            identity=settings.identity,
            timings=settings.timings,
        )
        leads.labels(settings.name).set_function(lambda: float(election.held))
        return FencedApi(api.guarded(election.check), election, self._clock)

    # Serving

    async def _serve(self, api: HttpApi, stack: AsyncExitStack) -> None:
        settings = self._settings
        if settings.health is not None:
            server = Server("probes", health_app(self._waiting_for), settings.health)
            stack.push_async_callback(server.close)
            await server.start()
        if settings.metrics is not None:
            tls = None
            if not settings.metrics_insecure:
                host = f"outrider-operator.{settings.namespace}.svc"
                tls = serving_context(settings.metrics_certificate, (host, "localhost"))
                if settings.metrics_certificate is not None:
                    fresh = asyncio.create_task(keep_fresh(tls, settings.metrics_certificate, self._clock))
                    stack.callback(fresh.cancel)
            access = None if settings.metrics_insecure else MetricsAccess(api, self._clock)
            server = Server("metrics", metrics_app(self._registry, access), settings.metrics, tls)
            stack.push_async_callback(server.close)
            await server.start()

    def _waiting_for(self) -> dict[str, str]:
        return self._operator.waiting_for() if self._operator is not None else {"the operator": "starting"}

    # Working

    async def _work(self, operator: Operator, stop: asyncio.Event) -> None:
        running = asyncio.create_task(operator.run())
        try:
            if await self._until(stop, self._ended(running)):
                log.info("stopping: reconciles that are under way are finished")
                operator.stop()
                await self._ended(running)
        finally:
            for task in (running, self._keeping):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
        if self._election is not None:
            await self._election.release()
        log.info("stopped")

    async def _ended(self, running: "asyncio.Task[None]") -> None:
        """Wait for the operator's end. Raises what ended it: a lost lease first of all."""
        await asyncio.wait({running, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        (self._lost if self._lost.done() else running).result()

    async def _until(self, stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for the work, or for `stop`; whether it was `stop`. What the work raises is raised."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
            return not tasks[0].done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _lead(self) -> None:
        """Return once this process leads; from then on the lease is kept."""
        election = self._election
        assert election is not None
        try:
            await election.acquire()
        except (Forbidden, NotFound) as error:
            hints = (error.message, "make its namespace, and give the operator its role:  outrider install")
            message = f"leader election cannot use the lease {election.namespace}/{election.name}"
            self._lost.set_exception(StartupFailed(message, hints))
            await asyncio.Event().wait()  # until it is cancelled, which comes at once
        self._keeping = asyncio.create_task(self._keep(election))

    async def _keep(self, election: LeaderElection) -> None:
        try:
            await election.keep()
        except LeaseLost as error:
            self._lost.set_exception(error)

    async def _publish(self) -> None:
        """Tell `outrider plan` what this operator plans with."""
        assert self._writer is not None
        while True:
            try:
                await publish(self._writer, self._operator_config.for_plans(), self._settings.namespace)
            except ApiError as error:
                log.warning("cannot publish the operator's settings", error=f"{type(error).__name__}: {error}")
                await self._clock.sleep(PUBLISH_RETRY_SECONDS)
            else:
                return
