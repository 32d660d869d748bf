"""One pod on this node: brought about, kept, ended. A worker per pod, woken whenever something may have changed."""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import structlog

from outrider.api.labels import HOST_PORTS
from outrider.api.meta import parse_time
from outrider.kube.api import ApiError, Conflict, NotFound
from outrider.kube.objects import POD
from outrider.local.kubelet.addresses import AddressesExhaustedError, Lease
from outrider.local.kubelet.container import Container
from outrider.local.kubelet.gpus import GpusTakenError, wanted_gpus
from outrider.local.kubelet.identity import FIRST_SECONDS, token_request
from outrider.local.kubelet.layout import PodFolder, PodRecord
from outrider.local.kubelet.podcontext import PodContext
from outrider.local.kubelet.services import Services
from outrider.local.kubelet.status import PodView, pod_status
from outrider.local.kubelet.status_writer import POD_JSON, StatusWriter, Written

RETRY_SECONDS = 1.0
SUPPORTED_VOLUMES = {"emptyDir"}
TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  (a name's beginning)
"""An API server adds this volume to every pod. That it is not mounted is no news: `identity.py` stands in for it."""

log = structlog.get_logger(__name__)


class PodWorker:
    """Makes one pod true. `update` and `gone` say what the API server knows; `run` does the rest."""

    def __init__(self, services: Services, pod: Mapping[str, Any], folder: PodFolder, written: Written) -> None:
        self._services = services
        self._clock = services.clock
        self._written = written
        self._wake = asyncio.Event()
        self.context = PodContext(services, pod, folder, self._wake.set)
        self._status = StatusWriter(self.context, written, self.gone)
        spec = pod["spec"]
        policy = spec.get("restartPolicy") or "Always"
        self.init = [
            Container(self.context, container, restart_policy=policy, init=True)
            for container in spec.get("initContainers") or ()
        ]
        self.main = [Container(self.context, container, restart_policy=policy) for container in spec["containers"]]
        self.removed = False
        """The object is no longer there."""
        self._started = self._clock.now()
        self._loaded = False
        self._admitted = False
        self._failure: tuple[str, str] | None = None
        self._deadline: float | None = None
        """Monotonic time at which the grace period of the deletion ends."""
        self._delete_sent = False
        self._identity: asyncio.Task[None] | None = None
        """Keeps the pod's service account token alive."""

    # What the API server says

    def update(self, pod: Mapping[str, Any]) -> None:
        self.context.pod = pod
        self._wake.set()

    def gone(self) -> None:
        """The object was removed: whatever still runs is killed at once."""
        self.removed = True
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    # Running

    async def run(self) -> None:
        """Work until the pod is gone from the API server and nothing of it is left here."""
        while not (self._loaded and self.removed and self._all_ended):
            self._wake.clear()
            pause = await self._attempt()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue
        await self._clean_up()

    async def detach(self) -> None:
        """Let go of all containers, which go on running."""
        if self._identity is not None:
            self._identity.cancel()
            await asyncio.gather(self._identity, return_exceptions=True)
        for container in self._containers:
            await container.detach()

    async def _load(self) -> None:
        """Take up what an earlier kubelet left."""
        status: Mapping[str, Any] = self.context.pod.get("status") or {}
        self._started = parse_time(status.get("startTime")) or self._clock.now()
        record = self.context.folder.read()
        if record is not None:
            self._take(record)
        self.context.ending = self._ending or status.get("phase") in ("Succeeded", "Failed")
        if status.get("phase") == "Failed" and status.get("reason"):
            self._failure = (status["reason"], status.get("message") or "")
        for containers, field in ((self.init, "initContainerStatuses"), (self.main, "containerStatuses")):
            known = {entry.get("name"): entry for entry in status.get(field) or ()}
            for container in containers:
                await container.load(known.get(container.name) or {})
        self._loaded = True

    async def _attempt(self) -> float | None:
        """One step; how many seconds until the next one, None for as long as nothing happens."""
        try:
            if not self._loaded:
                await self._load()
            await self._sync()
        except ApiError as error:
            log.warning("a pod could not be synced", pod=self.context.name, error=str(error))
            return error.retry_after or RETRY_SECONDS
        except Exception:
            # One strange pod must not take down the node.
            log.exception("syncing a pod failed", pod=self.context.name)
            return RETRY_SECONDS
        return self._pause()

    async def _sync(self) -> None:
        if self.removed:
            self.context.ending = True
            for container in self._containers:
                container.kill()
        elif self._ending:
            await self._end()
        elif self._over:
            self.context.ending = True
            self._stop_all(hook=False)
            await self._publish()
            self._give_gpus_back()
        else:
            await self._keep()

    # Keeping

    async def _keep(self) -> None:
        if not self._admitted:
            await self._admit()
        if self._admitted:
            self._check_deadline()
            await self._advance()
        await self._publish()

    async def _admit(self) -> None:
        """Give the pod what it needs from the node; without it, it waits."""
        context = self.context
        try:
            gpus = context.record.gpus or self._services.gpus.allocate(context.uid, wanted_gpus(context.pod))
            lease = self._lease()
        except (GpusTakenError, AddressesExhaustedError) as error:
            for container in self.main:
                container.waiting = ("ContainerCreating", str(error))
                container.retry_at = self._clock.monotonic() + self._services.settings.config_retry
            return
        record = msgspec.structs.replace(
            context.record,
            begun=context.record.begun or self._clock.now(),
            containers=[container.name for container in self._containers],
            restart_policy=self.main[0].restart_policy if self.main else "Always",
            address=lease.address,
            host_ports=dict(lease.ports),
            gpus=gpus,
        )
        context.folder.write(record)
        self._take(record)
        await self._annotate_ports()
        await self._identify()
        self._tell_volumes()
        for container in self.main:
            container.waiting, container.retry_at = None, None
        self._admitted = True

    def _lease(self) -> Lease:
        context = self.context
        if context.record.address:
            return context.lease
        if context.pod["spec"].get("hostNetwork"):
            return Lease(self._services.node.address, {})
        if known := (context.pod.get("status") or {}).get("podIP"):
            # A kubelet that lost its state must not change the address: clients and EndpointSlices have it.
            return self._services.addresses.adopt(context.uid, known)
        return self._services.addresses.allocate(context.uid, _container_ports(context.pod))

    def _take(self, record: PodRecord) -> None:
        self.context.record = record
        self.context.lease = Lease(record.address, record.host_ports)

    async def _identify(self) -> None:
        """Let the pod's processes act as its service account. Its start waits for that, but not for long."""
        if self._identity is not None or token_request(self.context.pod) is None:
            return
        first = asyncio.Event()
        keeping = self._services.service_accounts.keep(self.context.pod, self.context.folder.home, first)
        self._identity = asyncio.create_task(keeping)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await first.wait()

    async def _annotate_ports(self) -> None:
        """Where all pods share one address, others must learn the ports."""
        ports = self.context.lease.ports
        annotations = self.context.pod["metadata"].get("annotations") or {}
        text = json.dumps({str(port): real for port, real in ports.items()})
        if not ports or annotations.get(HOST_PORTS) == text:
            return
        patch = {"metadata": {"annotations": {HOST_PORTS: text}}}
        self._written(await self._services.api.patch(POD_JSON, self.context.name, patch, self.context.namespace))

    def _tell_volumes(self) -> None:
        for volume in self.context.pod["spec"].get("volumes") or ():
            name = volume.get("name", "")
            kinds = set(volume) - {"name"} - SUPPORTED_VOLUMES
            if kinds and not name.startswith(TOKEN_VOLUME):
                note = f'volume "{name}" ({", ".join(sorted(kinds))}) is not mounted: pods here are local processes'
                self.context.event("VolumeNotMounted", note, warning=True)

    def _check_deadline(self) -> None:
        seconds = self.context.pod["spec"].get("activeDeadlineSeconds")
        if seconds is not None and self._clock.now() >= self._started + seconds:
            self._fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")

    def _fail(self, reason: str, message: str) -> None:
        self._failure = (reason, message)
        self.context.event(reason, message, warning=True)
        self._wake.set()

    async def _advance(self) -> None:
        """Start what is to run now: init containers one after the other, then all the others."""
        for container in self._containers:
            container.escalate()
        if not any(container.begun for container in self.main):
            for container in self.init:
                await container.start()
                if not container.view().initialized:
                    return
        else:
            for container in self.init:
                if container.sidecar:
                    await container.start()
        for container in self.main:
            await container.start()

    # Ending

    async def _end(self) -> None:
        """Graceful deletion: ask, wait, kill, say so, and give the object free."""
        self.context.ending = True
        self._set_deadline()
        self._stop_all(hook=True)
        if not self._all_ended:
            await self._publish()
            return
        if self._delete_sent:
            return
        await self._publish(deleted=True)
        try:
            await self._services.api.delete(
                POD, self.context.name, self.context.namespace, uid=self.context.uid, grace_seconds=0
            )
        except (NotFound, Conflict):
            self.gone()
        self._delete_sent = True

    def _give_gpus_back(self) -> None:
        """A pod that is over keeps its logs and its address, but its GPUs are for others, as the scheduler sees it."""
        if not self._all_ended or not self.context.record.gpus:
            return
        self.context.record = msgspec.structs.replace(self.context.record, gpus={})
        self.context.folder.write(self.context.record)
        self._services.gpus.release(self.context.uid)

    def _set_deadline(self) -> None:
        """The grace period begins when this node first hears of the deletion, and goes on through our own crashes."""
        grace = self.context.pod["metadata"].get("deletionGracePeriodSeconds")
        seconds = self.context.grace if grace is None else float(grace)
        now, steady, record = self._clock.now(), self._clock.monotonic(), self.context.record
        before = self._deadline
        if before is None and record.deletion_deadline is not None:  # an earlier kubelet of ours began it
            before = steady + max(0.0, record.deletion_deadline - now)
        # From then on by the steady clock: somebody who sets the machine's time must not cut a pod short.
        self._deadline = steady + seconds if before is None else min(before, steady + seconds)
        if record.deletion_deadline is None or before is None or self._deadline < before:
            record = msgspec.structs.replace(record, deletion_deadline=now + self._deadline - steady)
            self.context.folder.write(record)
            self.context.record = record

    def _stop_all(self, *, hook: bool) -> None:
        """End the containers, sidecars last: the others may need them until then."""
        deadline = self._deadline
        if deadline is None:
            deadline = self._deadline = self._clock.monotonic() + self.context.grace
        grace = max(0.0, deadline - self._clock.monotonic())
        sidecars = [container for container in self.init if container.sidecar]
        others = [container for container in self._containers if not container.sidecar]
        for container in others if any(container.running for container in others) else sidecars:
            container.stop(grace, hook=hook)
        for container in self._containers:
            container.escalate()

    async def _clean_up(self) -> None:
        await self.detach()
        self._services.gpus.release(self.context.uid)
        self._services.addresses.release(self.context.uid)
        await asyncio.to_thread(self.context.folder.remove)

    # Telling

    async def _publish(self, *, deleted: bool = False) -> None:
        await self._status.write(lambda: pod_status(self._view(deleted=deleted), self._clock.now()))

    def _view(self, *, deleted: bool) -> PodView:
        return PodView(
            pod=self.context.pod,
            address=self.context.lease.address,
            host_address=self._services.node.address,
            start_time=self._started,
            init=[container.view() for container in self.init],
            main=[container.view() for container in self.main],
            deleted=deleted,
            failure=self._failure,
        )

    # Questions

    def container(self, name: str) -> Container | None:
        """The container of that name, init containers included; the only one for "". None if there is no such one."""
        if not name:
            return self.main[0] if len(self._containers) == 1 else None
        return next((container for container in self._containers if container.name == name), None)

    @property
    def _containers(self) -> list[Container]:
        return [*self.init, *self.main]

    @property
    def _ending(self) -> bool:
        return bool(self.context.pod["metadata"].get("deletionTimestamp"))

    @property
    def _over(self) -> bool:
        """Whether the pod has done what it was for, or failed as a whole."""
        if self._failure is not None or (self.context.ending and not self._ending):
            return True
        init_failed = any(c.finished and c.exit is not None and c.exit.exit_code for c in self.init if not c.sidecar)
        return init_failed or (bool(self.main) and all(container.finished for container in self.main))

    @property
    def _all_ended(self) -> bool:
        return not any(container.running for container in self._containers)

    def _pause(self) -> float | None:
        """Seconds until something is due."""
        times: Iterable[float | None] = (
            *(container.retry_at for container in self._containers if container.startable),
            *(container.kill_at for container in self._containers),
        )
        now = self._clock.monotonic()
        due = [time - now for time in times if time is not None]
        deadline = self.context.pod["spec"].get("activeDeadlineSeconds")
        if deadline is not None and not self.context.ending:
            due.append(self._started + deadline - self._clock.now())
        return max(0.01, min(due)) if due else None


def _container_ports(pod: Mapping[str, Any]) -> list[int]:
    return [
        int(port["containerPort"])
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
        for port in container.get("ports") or ()
    ]
