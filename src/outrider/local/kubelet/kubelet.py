"""A node whose pods are local processes."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from outrider.kube.api import Api, EventType
from outrider.kube.clock import Clock
from outrider.kube.informer import Informer
from outrider.local.kubelet.addresses import AddressPool
from outrider.local.kubelet.events import PodEvents
from outrider.local.kubelet.gpus import GpuPool
from outrider.local.kubelet.handlers import Handlers
from outrider.local.kubelet.identity import ServiceAccounts
from outrider.local.kubelet.images import ImageResolver
from outrider.local.kubelet.layout import PodFolder, pod_folders
from outrider.local.kubelet.leftovers import kill_leftovers
from outrider.local.kubelet.node import NodeAgent, NodeConfig
from outrider.local.kubelet.pod import PodWorker
from outrider.local.kubelet.runtime import Runtime, is_locked
from outrider.local.kubelet.services import Services
from outrider.local.kubelet.settings import Settings
from outrider.local.kubelet.simulated_gpus import SimulatedGpus
from outrider.local.kubelet.status_writer import POD_JSON

log = structlog.get_logger(__name__)


class Kubelet:
    """Registers a node and runs the pods that are bound to it.

    State lies in `folder/NODE`. What an earlier kubelet left there is adopted if its pod is still bound to this node,
    and ended otherwise. Several kubelets of one process share `folder` and `addresses`; all must be made before the
    first one runs, so that no address is handed out that another's pod has already.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        node: NodeConfig,
        folder: Path,
        images: ImageResolver,
        addresses: AddressPool,
        *,
        settings: Settings | None = None,
    ) -> None:
        settings = settings or Settings()
        self.node = node
        self.folder = folder.absolute() / node.name
        self._services = Services(
            api=api,
            clock=clock,
            node=node,
            settings=settings,
            runtime=Runtime(),
            images=images,
            addresses=addresses,
            gpus=GpuPool(node.gpus),
            simulated_gpus=self._simulated_gpus(),
            handlers=Handlers(clock),
            events=PodEvents(api, clock, node.name),
            service_accounts=ServiceAccounts(api, clock),
        )
        self._agent = NodeAgent(api, clock, node, settings, self._services.gpus)
        self._pods: Informer[dict[str, Any]] = Informer(api, POD_JSON, clock, fields=f"spec.nodeName={node.name}")
        self._pods.subscribe(self._on_pod)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: asyncio.Task[None] | None = None
        self._stopped = False
        self._reserve()

    @property
    def registered(self) -> asyncio.Event:
        """Set once the node is registered and its lease was renewed."""
        return self._agent.registered

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the node object as they were last seen."""
        return self._agent.labels

    @property
    def pods(self) -> list[PodWorker]:
        """The pods that this node has, in the order in which it took them on."""
        return list(self._workers.values())

    def pod(self, namespace: str, name: str) -> PodWorker | None:
        """The pod of that name, if there is one; of several (one made anew while the last one ends) the newest."""
        found = [pod for pod in self.pods if (pod.context.namespace, pod.context.name) == (namespace, name)]
        return found[-1] if found else None

    async def run(self) -> None:
        """Work until `stop`, or until cancelled; then pods go on running, to be adopted."""
        if self._stopped:
            return
        self._running = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._agent.run())
                group.create_task(self._pods.run())
                group.create_task(self._end_orphans())
                group.create_task(self._watch_gpus())
        except asyncio.CancelledError:
            if not self._stopped:
                await self._release()
                raise

    async def stop(self, *, end_pods: bool) -> None:
        """Stop working. With `end_pods` all containers are ended, and no process is left; the objects stay as they are.

        A container that was ended so is run again by the next kubelet, without counting as a crash.
        """
        self._stopped = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._services.runtime.close()
        if end_pods:
            await self._end_all()
        await self._release()
        if end_pods:
            await asyncio.to_thread(kill_leftovers, self.folder)

    # Beginning

    def _simulated_gpus(self) -> SimulatedGpus | None:
        if not self.node.gpus or not self.node.gpus_simulated:
            return None
        gpus = SimulatedGpus(self.folder, self.node)
        gpus.prepare()
        return gpus

    def _reserve(self) -> None:
        """What the pods of an earlier life have been given is theirs, until it is known that they are gone."""
        for folder in pod_folders(self.folder):
            record = folder.read()
            if record is None:
                continue
            self._services.gpus.adopt(record.uid, record.gpus)
            if record.address and record.address != self.node.address:
                self._services.addresses.adopt(record.uid, record.address, record.host_ports)

    async def _end_orphans(self) -> None:
        """End what belongs to pods that no longer exist, or are no longer bound to this node."""
        await self._pods.synced.wait()
        for folder in await asyncio.to_thread(pod_folders, self.folder):
            uid = folder.path.name
            if uid in self._workers:
                continue
            killed = await asyncio.to_thread(kill_leftovers, folder.path)
            log.info("an orphaned pod was ended", uid=uid, processes=killed)
            self._services.gpus.release(uid)
            self._services.addresses.release(uid)
            await asyncio.to_thread(folder.remove)
        for worker in self._workers.values():
            worker.wake()

    async def _watch_gpus(self) -> None:
        """Tell the pods, and with them the API server, what becomes of the node's GPUs."""
        services = self._services
        while services.simulated_gpus is not None:
            health = services.simulated_gpus.health() if services.simulated_gpus.changed() else None
            if health == {}:
                log.warning(
                    "the file of the simulated GPUs cannot be read: they stay as they were", node=self.node.name
                )
            if health and services.gpus.notice(health):
                log.info("the node's GPUs have changed", node=self.node.name, unhealthy=sorted(services.gpus.unhealthy))
                for worker in self._workers.values():
                    worker.wake()
            await services.clock.sleep(services.settings.gpu_interval)

    # Pods

    def _on_pod(self, event: EventType, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        if self._stopped:
            return
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if event == "DELETED":
            if worker is not None:
                worker.gone()
        elif worker is not None:
            worker.update(pod)
        else:
            worker = PodWorker(self._services, pod, PodFolder(self.folder / uid), self._pods.written)
            self._workers[uid] = worker
            self._tasks[uid] = asyncio.create_task(self._work(uid, worker))

    async def _work(self, uid: str, worker: PodWorker) -> None:
        await worker.run()
        del self._workers[uid], self._tasks[uid]
        for other in self._workers.values():
            other.wake()  # a GPU may have become free

    # Ending

    async def _end_all(self) -> None:
        """SIGTERM to every container, then SIGKILL to those that take too long."""
        grace = self._services.settings.stop_grace
        runs = []
        for worker in self._workers.values():
            worker.context.ending = True
            for container in (*worker.init, *worker.main):
                if container.run is not None:
                    container.run.stopping = True
                    container.run.terminate()
                    runs.append((container.run, min(grace, worker.context.grace)))
        await asyncio.gather(*(self._await_end(run, seconds) for run, seconds in runs))

    async def _await_end(self, run: Any, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await run.wait()
        except TimeoutError:
            run.kill()
            await run.wait()

    async def _release(self) -> None:
        """Let go of everything that is in this process."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for worker in self._workers.values():
            await worker.detach()
        self._workers.clear()
        self._tasks.clear()
        await self._services.events.close()
        await self._services.handlers.close()


def end_all_containers(folder: Path) -> int:
    """End every container of every node in `folder`, when no kubelet is running. Tells how many there were.

    Blocks; to be called without an event loop.
    """
    containers = 0
    with contextlib.suppress(OSError):
        for node in folder.absolute().iterdir():
            containers += sum(is_locked(run) for pod in pod_folders(node) for run in pod.runs())
    kill_leftovers(folder.absolute())
    return containers
