"""The control plane: etcd, API server, controller-manager and scheduler, started in order and kept running."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from outrider.kube.api import ApiError
from outrider.kube.clock import Clock
from outrider.kube.files import make_private_folder
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig, write_kubeconfig
from outrider.local.controlplane.flags import (
    API_SERVICE_ADDRESS,
    PlaneSettings,
    api_server_flags,
    controller_manager_flags,
    etcd_flags,
    scheduler_flags,
)
from outrider.local.controlplane.pki import KeyPair, Pki
from outrider.local.controlplane.process import SupervisedProcess
from outrider.local.controlplane.programs import Programs

START_SECONDS = 60.0
"""A slow machine needs ten; what takes longer than this does not come up."""
POLL_SECONDS = 0.05
RESTARTS_TOLERATED = 2
"""A program that ends so often before the API server is ready has a reason to."""
SERVER_NAMES = (
    *(
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ),
    *("127.0.0.1", API_SERVICE_ADDRESS),
)


class ControlPlaneFailed(Exception):
    """A program of the control plane does not come up; the message holds its last words."""


class ControlPlane:
    """One control plane, in one folder: its database, certificates, kubeconfigs and logs.

    `run` brings it up, keeps it up, and ends it when cancelled. Whoever kills this process kills its programs; the next
    start on the same folder finds every object as it was.
    """

    def __init__(self, programs: Programs, folder: Path, clock: Clock, settings: PlaneSettings | None = None) -> None:
        self.settings = settings or PlaneSettings()
        self.folder = folder
        self.ready = asyncio.Event()
        """Set when the API server answers that it is ready."""
        self._programs = programs
        self._clock = clock
        self._logs = folder / "logs"
        make_private_folder(self._logs)
        self.pki = Pki(folder / "pki", server_names=(*SERVER_NAMES, self.settings.address))
        self._processes: dict[str, SupervisedProcess] = {}

    @property
    def server(self) -> str:
        """The API server's URL, as this process reaches it."""
        return f"https://127.0.0.1:{self.settings.ports.api}"

    @property
    def processes(self) -> Mapping[str, SupervisedProcess]:
        """The programs by name, once `run` has begun."""
        return self._processes

    def cluster_config(self, client: KeyPair) -> ClusterConfig:
        """How this process speaks to the API server, as the user that the certificate names."""
        return ClusterConfig(
            server=self.server,
            source="the local control plane",
            certificate_authority=self.pki.cluster.pair.certificate,
            client_certificate=client.certificate,
            client_key=client.key,
        )

    def write_kubeconfig(self, path: Path, client: KeyPair, *, server: str = "", context: str = "outrider") -> None:
        """A kubeconfig that stands alone: certificates are in it, not beside it."""
        write_kubeconfig(
            path,
            server=server or self.server,
            context=context,
            certificate_authority_data=self.pki.cluster.certificate_data,
            client_certificate_data=client.certificate_data,
            client_key_data=client.key_data,
        )

    async def run(self, mark: Callable[[str], None] = lambda _: None) -> None:
        """Run until cancelled. `mark` is told what has come up.

        Raises:
            ControlPlaneFailed: a program does not come up.
        """
        supervisors: list[asyncio.Task[None]] = []

        def start(name: str, flags: list[str], stop_signal: signal.Signals = signal.SIGTERM) -> None:
            argv = [str(self._programs.path(name)), *flags]
            process = SupervisedProcess(name, argv, self._logs, self._clock, stop_signal=stop_signal)
            self._processes[name] = process
            supervisors.append(asyncio.create_task(process.run(), name=name))

        try:
            start("etcd", etcd_flags(self.settings, self.folder, self.pki))
            # On SIGTERM it waits a minute for its watchers. All its state is in etcd.
            start("kube-apiserver", api_server_flags(self.settings, self.folder, self.pki), signal.SIGKILL)
            if self.settings.controllers:
                manager = self._own_kubeconfig("kube-controller-manager", self.pki.controller_manager)
                scheduler = self._own_kubeconfig("kube-scheduler", self.pki.scheduler)
            await self._until_ready()
            mark("api server")
            if self.settings.controllers:
                start("kube-controller-manager", controller_manager_flags(self.settings, manager, self.pki))
                start("kube-scheduler", list(scheduler_flags(scheduler)))
            self.ready.set()
            await asyncio.gather(*supervisors)
        finally:
            # Clients of the API server first, the database last.
            for task in reversed(supervisors):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _own_kubeconfig(self, name: str, client: KeyPair) -> Path:
        path = self.folder / f"{name}.kubeconfig"
        self.write_kubeconfig(path, client)
        return path

    async def _until_ready(self) -> None:
        deadline = self._clock.monotonic() + START_SECONDS
        async with HttpApi(self.cluster_config(self.pki.admin)) as api:
            while True:
                try:
                    await api.raw("GET", "/readyz")
                except ApiError as error:
                    self._check(deadline, str(error))
                    await self._clock.sleep(POLL_SECONDS)
                else:
                    return

    def _check(self, deadline: float, last_error: str) -> None:
        """Give up where waiting longer brings nothing."""
        for process in self._processes.values():
            if process.restarts > RESTARTS_TOLERATED:
                raise ControlPlaneFailed(f"{process.name} does not start; its last words:\n{process.tail()}")
        if self._clock.monotonic() > deadline:
            raise ControlPlaneFailed(f"the API server is not ready after {START_SECONDS:.0f} s: {last_error}")
