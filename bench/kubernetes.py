"""1,000 LLMDeployments on a real API server: new ones, a new version of all, and a restart of the operator over them.

The LLMDeployments have 0 replicas, so that nothing but the control plane and the operator works: no pod, no kubelet.
Requests and times are the API server's own, from its audit log. A phase ends with the operator's last write after which
it was quiet and every object's status was of its present generation; how often an event has happened is written half a
minute after the fact, so that events count among the requests but end no phase. The control plane, this program and the
operator share the machine's cores: the CPU time of the API server and of Kubernetes' own controllers is printed, too.

The yardstick is Argo Rollouts 1.10.1 with its client limits lifted and Rollouts with 0 replicas. With `--beside` and a
checkout of its source, its controller built, it is measured in the same run, on a control plane of its own; else the
figures are of another day and a machine of the same size (2 cores).
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from contenders.rollouts import NAMESPACE, ArgoRollouts, Contender, Outrider

from outrider.controllers.operator import Operator, OperatorConfig
from outrider.kube.api import Api
from outrider.kube.clock import SystemClock
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig, load_kubeconfig, write_kubeconfig
from outrider.local.controlplane.programs import find_programs

ACCOUNT = "bench-operator"
USER = f"system:serviceaccount:kube-system:{ACCOUNT}"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
QUIET_SECONDS = 3.0
PATIENCE_SECONDS = 900.0
WRITES = ("create", "update", "patch", "delete")
ARGO = {
    "new": {"seconds": 30.8, "requests": 6.4, "cpu_seconds": 12.0, "megabytes": 164},
    "new version": {"seconds": 53.0, "requests": 9.1, "cpu_seconds": 23.0, "megabytes": 188},
    "restart": {"seconds": 1.80, "requests": 0.075, "cpu_seconds": 2.0, "megabytes": 157},
}
"""Requests are per object; of the restart it were 75 in all."""


class Phase(msgspec.Struct):
    """What one phase took."""

    name: str
    seconds: float
    requests: int
    cpu_seconds: float
    megabytes: float
    server_cpu_seconds: float
    manager_cpu_seconds: float
    """Of Kubernetes' own controllers, which answer every Deployment and Service with writes of their own."""
    sorts: dict[str, int]


class AuditLog:
    """The requests of the operator, as the API server counted them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""
        self.requests: list[tuple[float, float, str, str]] = []
        """Received, answered (epoch seconds), verb and resource, of each request since the last `clear`."""

    def clear(self) -> None:
        self.update()
        self.requests.clear()

    def update(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            about = event.get("objectRef") or {}
            if event["user"].get("username") != USER or event["stage"] == "ResponseStarted":
                continue
            resource_name = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
            times = (_epoch(event["requestReceivedTimestamp"]), _epoch(event["stageTimestamp"]))
            self.requests.append((*times, event["verb"], resource_name))

    @property
    def writes(self) -> list[tuple[float, float, str, str]]:
        return [each for each in self.requests if each[2] in WRITES and each[3] not in ("leases", "events")]


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Process:
    """CPU time and memory of a process, from /proc."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)

    @property
    def cpu_seconds(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def megabytes(self) -> float:
        """The most memory that it has had resident."""
        found = next(line for line in (self._folder / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(found.split()[1]) / 1024


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ClusterConfig]:
    policy = folder / "policy.json"
    policy.write_text(json.dumps(POLICY))
    argv = [sys.executable, "-m", "outrider.local.controlplane", str(folder), "--audit-policy", str(policy)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as plane:
        try:
            assert plane.stdout is not None
            if not plane.stdout.readline().startswith("ready"):
                sys.exit("the control plane did not come up: run `make kubernetes` first")
            yield load_kubeconfig([folder / "kubeconfig"])
        finally:
            plane.terminate()
            plane.wait(60)


def program_of_plane(folder: Path, program: str) -> Process:
    """A program of the control plane in this folder."""
    for entry in Path("/proc").iterdir():
        words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else [b""]
        if words[0].endswith(program.encode()) and any(str(folder).encode() in word for word in words):
            return Process(int(entry.name))
    raise LookupError(f"no {program} runs in this folder")


def prepare(folder: Path, config: ClusterConfig, contender: Contender) -> Path:
    """Install the CRDs; give the controller an account of its own, so that its requests can be told apart."""

    def kubectl(*arguments: str, stdin: str = "") -> str:
        argv = [str(find_programs().kubectl), "--kubeconfig", str(folder / "kubeconfig"), *arguments]
        return subprocess.run(argv, input=stdin, text=True, check=True, capture_output=True).stdout

    kubectl(
        "apply",
        "--server-side",
        "--filename=-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": contender.definitions()}),
    )
    kubectl("wait", "customresourcedefinitions", "--all", "--for=condition=Established", "--timeout=60s")
    kubectl("create", "namespace", NAMESPACE)
    kubectl("create", "serviceaccount", ACCOUNT, "--namespace=kube-system")
    kubectl(
        "create",
        "clusterrolebinding",
        ACCOUNT,
        "--clusterrole=cluster-admin",
        f"--serviceaccount=kube-system:{ACCOUNT}",
    )
    token = kubectl("create", "token", ACCOUNT, "--namespace=kube-system", "--duration=2h").strip()
    kubeconfig = folder / "operator.kubeconfig"
    authority = config.certificate_authority_data
    write_kubeconfig(kubeconfig, server=config.server, token=token, certificate_authority_data=authority)
    return kubeconfig


@contextlib.contextmanager
def controller(argv: list[str], log: Path, profile: Path | None = None) -> Iterator[Process]:
    """The controller, in a process of its own."""
    if profile:
        argv = [argv[0], "-m", "cProfile", "-o", str(profile), *argv[1:]]
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        yield Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def run_operator(kubeconfig: Path) -> None:
    async with HttpApi(load_kubeconfig([kubeconfig])) as api:
        running = Operator(api, SystemClock(), OperatorConfig())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.stop)
        await running.run()


async def write_all(api: Api, contender: Contender, count: int, version: str) -> None:
    """Create the objects, or give them another version, sixteen at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            for kind, manifest in contender.written(number, version):
                await api.apply(kind, manifest, owner="bench")

    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(work())


async def until_quiet(audit: AuditLog, least: float) -> None:
    """Wait until the operator has done nothing but watch and renew leases for a while, from `least` on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        audit.update()
        done = [each[1] for each in audit.requests if each[2] != "watch" and each[3] != "leases"]
        if done and time.time() - max(least, *done) > QUIET_SECONDS:
            return
    raise TimeoutError(f"the operator is not quiet after {PATIENCE_SECONDS:.0f} s")


class Bench:
    """Runs the phases one after the other, on one control plane."""

    def __init__(self, api: Api, contender: Contender, folder: Path, count: int) -> None:
        self.api = api
        self.contender = contender
        self.count = count
        self.audit = AuditLog(folder / "audit.log")
        self.server = program_of_plane(folder, "kube-apiserver")
        self.manager = program_of_plane(folder, "kube-controller-manager")
        self.phases: list[Phase] = []

    async def phase(self, name: str, version: str, process: Process, *, begun: float, writing: bool) -> None:
        cpu, server_cpu = (0.0 if not writing else process.cpu_seconds), self.server.cpu_seconds
        manager_cpu = self.manager.cpu_seconds
        if writing:
            await write_all(self.api, self.contender, self.count, version)
        while True:
            await until_quiet(self.audit, begun)
            if await self.contender.all_current(self.api, self.count, version):
                break
        done = self.audit.writes or self.audit.requests
        self.phases.append(
            Phase(
                name=name,
                seconds=max(each[1] for each in done) - begun,
                requests=len(self.audit.requests),
                cpu_seconds=process.cpu_seconds - cpu,
                megabytes=process.megabytes,
                server_cpu_seconds=self.server.cpu_seconds - server_cpu,
                manager_cpu_seconds=self.manager.cpu_seconds - manager_cpu,
                sorts=dict(Counter(f"{each[2]} {each[3]}" for each in self.audit.requests).most_common()),
            )
        )
        print(f"  {name}: {self.phases[-1].seconds:.1f} s", file=sys.stderr, flush=True)


async def measure(
    contender: Contender, folder: Path, config: ClusterConfig, count: int, profile: Path | None
) -> list[Phase]:
    print(f"{contender.name}:", file=sys.stderr, flush=True)
    argv = contender.command(prepare(folder, config, contender))
    log = folder / "controller.log"
    async with HttpApi(config) as api:
        bench = Bench(api, contender, folder, count)
        with controller(argv, log, profile) as process:
            await until_quiet(bench.audit, time.time())
            for name, version in (("new", "v1.0.0"), ("new version", "v1.1.0")):
                bench.audit.clear()
                await bench.phase(name, version, process, begun=time.time(), writing=True)
        bench.audit.clear()
        begun = time.time()
        with controller(argv, log) as process:
            await bench.phase("restart", "v1.1.0", process, begun=begun, writing=False)
        return bench.phases


def figures(phases: list[Phase], count: int) -> dict[str, dict[str, float]]:
    """Of each phase what is compared; requests are per object."""
    return {
        phase.name: {
            "seconds": phase.seconds,
            "requests": phase.requests / count,
            "cpu_seconds": phase.cpu_seconds,
            "megabytes": phase.megabytes,
            "server_cpu_seconds": phase.server_cpu_seconds,
            "manager_cpu_seconds": phase.manager_cpu_seconds,
        }
        for phase in phases
    }


def show(phases: list[Phase], other: dict[str, dict[str, float]], count: int, beside: str) -> None:
    print(f"{count:,} LLMDeployments with 0 replicas; in brackets {beside}")
    head = ("", "seconds", "requests each", "operator CPU s", "operator MB", "API server CPU s", "controllers CPU s")
    print(f"{head[0]:<14}" + "".join(f"{one:>20}" for one in head[1:]))
    for phase, found in zip(phases, figures(phases, count).values(), strict=True):
        than = other[phase.name]
        cells = [f"{value:.3g} ({than[name]:.3g})" if name in than else f"{value:.3g}" for name, value in found.items()]
        print(f"{phase.name:<14}" + "".join(f"{cell:>20}" for cell in cells))
        print("              " + ", ".join(f"{number} {sort}" for sort, number in phase.sorts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="how many objects")
    parser.add_argument("--profile", type=Path, help="write the operator's profile (cProfile) of the first two phases")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="CHECKOUT",
        help="source of Argo Rollouts, with its controller built, to measure too",
    )
    parser.add_argument("--services", action="store_true", help="with a Service beside each Rollout, as we make one")
    parser.add_argument("--operator", type=Path, metavar="KUBECONFIG", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.operator is not None:
        asyncio.run(run_operator(arguments.operator))
        return

    def run(contender: Contender, profile: Path | None = None) -> list[Phase]:
        with tempfile.TemporaryDirectory() as name, control_plane(Path(name)) as config:
            return asyncio.run(measure(contender, Path(name), config, arguments.count, profile))

    other, beside = ARGO, "Argo Rollouts 1.10.1 with 1,000 Rollouts on another day"
    if arguments.beside is not None:
        other = figures(run(ArgoRollouts(arguments.beside, services=arguments.services)), arguments.count)
        beside = f"Argo Rollouts with {arguments.count:,} Rollouts in the same run"
    phases = run(Outrider(), arguments.profile)
    show(phases, other, arguments.count, beside)
    print(
        json.dumps({"outrider": {phase.name: msgspec.to_builtins(phase) for phase in phases}, "argo_rollouts": other})
    )


if __name__ == "__main__":
    main()
