"""A node of the real control plane, whose pods are processes of this machine."""

import asyncio
import fcntl
import functools
import os
import pty
import socket
import ssl
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from control_plane import RunningPlane

from outrider.kube.api import Kind, NotFound
from outrider.kube.clock import SystemClock
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig
from outrider.kube.objects import POD
from outrider.local.controlplane.pki import Authority, KeyPair
from outrider.local.kubelet import AddressPool, Kubelet, NodeConfig, Settings, make_image_resolver
from outrider.local.kubelet.leftovers import kill_leftovers, marked
from outrider.local.kubelet.server import KubeletServer
from outrider.local.kubelet.usage import UsageMonitor

POD_JSON = POD.into(dict)
SERVICE_ACCOUNT: Kind[Any] = Kind("", "v1", "ServiceAccount", "serviceaccounts", True, dict)
QUICK = Settings(backoff_first=0.2, backoff_max=0.5, config_retry=0.2, lease_interval=1.0, stop_grace=1.0)
PATIENCE = 120.0
SLEEPER = (sys.executable, "-c", "import time\nprint('begun', flush=True)\ntime.sleep(600)")


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, and give its value."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (value := await _value(condition)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return value
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None


async def _value(condition: Callable[[], Any]) -> Any:
    value = condition()
    return await value if isinstance(value, Awaitable) else value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server_tls(pair: KeyPair, clients: Authority) -> ssl.SSLContext:
    """For a server that demands certificates of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(clients.pair.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class KubeletWorld:
    """One node with its kubelet and its API, and an administrator's view of the cluster."""

    def __init__(self, plane: RunningPlane, folder: Path, name: str, **node: Any) -> None:
        self.plane = plane
        self.folder = folder
        self.namespace = name
        self.authority = Authority(plane.folder / "pki", "cluster-ca")
        pair = self.authority.issue(f"node-{name}", f"system:node:{name}", ["system:nodes"], names=("127.0.0.1",))
        self.node = NodeConfig(name=name, kubelet_port=free_port(), **node)
        self.admin = HttpApi(plane.config)
        self.api = HttpApi(self.as_client(pair))
        self.tls = server_tls(pair, self.authority)
        self._threads = ThreadPoolExecutor(32)
        self.usage = UsageMonitor(folder, SystemClock())
        self.kubelet: Kubelet
        self._task: asyncio.Task[None]

    def as_client(self, pair: KeyPair) -> ClusterConfig:
        """How to speak to the API server as the user of a certificate."""
        return ClusterConfig(
            server=self.plane.config.server,
            certificate_authority=self.authority.pair.certificate,
            client_certificate=pair.certificate,
            client_key=pair.key,
        )

    async def start(self) -> None:
        images = make_image_resolver(self.admin)  # a node may read only the ConfigMaps that its pods name
        addresses = AddressPool("own", seed=str(self.folder))
        self.kubelet = Kubelet(self.api, SystemClock(), self.node, self.folder, images, addresses, settings=QUICK)
        self._task = asyncio.create_task(self.kubelet.run())

    async def stop(self, *, end_pods: bool = True) -> None:
        await self.kubelet.stop(end_pods=end_pods)
        await self._task

    async def create(self, name: str, *command: str, **spec: Any) -> dict[str, Any]:
        """A pod on this node, with one container `main` that runs the command."""
        container = {"name": "main", "image": "program", "command": list(command)} | spec.pop("container", {})
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace} | spec.pop("metadata", {}),
            "spec": {
                "nodeName": self.node.name,
                "terminationGracePeriodSeconds": 2,
                "containers": [container],
                **spec,
            },
        }
        return await self.admin.create(POD_JSON, body)

    async def pod(self, name: str) -> dict[str, Any]:
        return await self.admin.get(POD_JSON, name, self.namespace)

    async def condition(self, name: str, kind: str) -> str:
        conditions = (await self.pod(name)).get("status", {}).get("conditions", [])
        return next((str(entry["status"]) for entry in conditions if entry["type"] == kind), "")

    async def ready(self, name: str) -> dict[str, Any]:
        async def is_ready() -> bool:
            return await self.condition(name, "Ready") == "True"

        await until(is_ready, f"{name} ready")
        return await self.pod(name)

    async def gone(self, name: str) -> None:
        async def absent() -> bool:
            try:
                await self.pod(name)
            except NotFound:
                return True
            return False

        await until(absent, f"{name} gone")

    async def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace of this world."""
        words = ("--namespace", self.namespace, *arguments)
        # Threads of its own: those of the event loop are needed by the kubelet that kubectl waits for.
        run = functools.partial(self.plane.kubectl, *words, stdin=stdin, check=check)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    @contextmanager
    def started(self, *arguments: str) -> Iterator["Terminal"]:
        """Start kubectl with a terminal of 80 columns and 24 lines; it is ended at the end."""
        assert self.plane.programs.kubectl is not None
        env = {**os.environ, "KUBECONFIG": str(self.plane.kubeconfig), "HOME": str(self.folder), "TERM": "xterm"}
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        argv = [str(self.plane.programs.kubectl), "--namespace", self.namespace, *arguments]
        with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True) as run:
            os.close(theirs)
            os.set_blocking(ours, False)
            try:
                yield Terminal(run, ours)
            finally:
                run.kill()
                os.close(ours)


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self.shown = ""
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    async def until(self, text: str) -> None:
        """Wait until it has shown the text."""
        await until(lambda: text in self._read(), f"{text!r} is shown by {self.process.args!r}")

    async def code(self) -> int:
        await until(lambda: (self._read(), self.process.poll())[1] is not None, "it ended")
        return int(self.process.returncode)

    def _read(self) -> str:
        try:
            while data := os.read(self._descriptor, 65536):
                self.shown += data.decode()
        except OSError:
            pass
        return self.shown


@asynccontextmanager
async def kubelet_world(plane: RunningPlane, folder: Path, name: str, **node: Any) -> AsyncIterator[KubeletWorld]:
    """A node called `name`, in a namespace of that name. At its end no process is left."""
    world = KubeletWorld(plane, folder, name, **node)
    async with world.admin, world.api:
        await asyncio.to_thread(plane.kubectl, "create", "namespace", name)

        async def may_have_pods() -> bool:
            try:
                await world.admin.get(SERVICE_ACCOUNT, "default", name)
            except NotFound:
                return False
            return True

        await until(may_have_pods, "the namespace has its service account")
        await world.start()
        try:
            async with KubeletServer(world.kubelet, world.usage, world.tls):
                await asyncio.wait_for(world.kubelet.registered.wait(), PATIENCE)
                yield world
        finally:
            await world.stop()
            left = marked(folder)
            kill_leftovers(folder)
    assert left == [], f"processes left behind: {left}"


def story(
    plane: RunningPlane,
    folder: Path,
    name: str,
    scenario: Callable[[KubeletWorld], Awaitable[None]],
    **node: Any,
) -> None:
    """Play a scenario on a node and in a namespace of that name."""

    async def run() -> None:
        async with kubelet_world(plane, folder / "pods", name, **node) as world:
            await scenario(world)

    asyncio.run(run())
