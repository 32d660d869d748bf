"""One container of a pod: its runs, one after the other, with probes, hooks and back-off."""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from outrider.api.meta import parse_time
from outrider.kube.api import ApiError, Forbidden
from outrider.local.kubelet.addresses import rewrite_ports
from outrider.local.kubelet.backoff import BackOff, go_duration
from outrider.local.kubelet.environment import ConfigError, Environment
from outrider.local.kubelet.expansion import expand
from outrider.local.kubelet.gpus import gpu_environment, resources_status
from outrider.local.kubelet.handlers import Target
from outrider.local.kubelet.images import ImageNotAvailable
from outrider.local.kubelet.layout import container_id
from outrider.local.kubelet.leftovers import MARKER
from outrider.local.kubelet.logs import termination_message
from outrider.local.kubelet.podcontext import PodContext
from outrider.local.kubelet.probes import ContainerProbes, ProbeKind, ProbeState
from outrider.local.kubelet.runtime import Run, RunExit, RunSpec, ShimFailedError, read_exit
from outrider.local.kubelet.status import ContainerView

MINIMUM_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL even when the preStop hook has used up the grace period (as the kubelet does)."""
DEADLINE_PRECISION = 0.01
"""Seconds. Deadlines closer than this are the same: they are computed anew from what is left of a grace period."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

API_RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Container:
    """A container. What it does happens in tasks of its own; `context.wake` is called after everything that matters."""

    def __init__(
        self, context: PodContext, spec: Mapping[str, Any], *, restart_policy: str, init: bool = False
    ) -> None:
        self.context = context
        self.spec = spec
        self.name: str = spec["name"]
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self.restart_policy = _init_policy(self.sidecar, restart_policy) if init else restart_policy
        self.run: Run | None = None
        self.exit: RunExit | None = None
        self.last_exit: RunExit | None = None
        self.waiting: tuple[str, str] | None = None
        self.retry_at: float | None = None
        """Monotonic time before which nothing is started."""
        self.kill_at: float | None = None
        """Monotonic time at which the run, asked to end, is killed."""
        self._attempt = -1
        self._services = context.services
        self._clock = context.services.clock
        self._restarts = BackOff(self._services.settings)
        self._pulls = BackOff(self._services.settings)
        self._probes: ContainerProbes | None = None
        self._environment: dict[str, str] = {}
        self._cwd: Path = context.folder.home
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._deadline = 0.0
        """Monotonic time at which the grace period of `stop` ends."""

    # What is known

    @property
    def running(self) -> bool:
        return self.run is not None

    @property
    def begun(self) -> bool:
        """Whether it was ever run."""
        return self._attempt >= 0

    @property
    def will_restart(self) -> bool:
        if self.exit is None or self.context.ending:
            return False
        return self.restart_policy == "Always" or (self.restart_policy == "OnFailure" and self.exit.exit_code != 0)

    @property
    def finished(self) -> bool:
        """Whether it has ended and stays so."""
        return not self.running and (self.exit is not None or self.context.ending) and not self.will_restart

    @property
    def startable(self) -> bool:
        return not self.running and (self.exit is None or self.will_restart) and not self.context.ending

    def view(self) -> ContainerView:
        """The container as its status shows it."""
        probed = self._probes.state if self._probes is not None and self.running else ProbeState(False, False)
        ending, last, last_attempt = self.exit, self.last_exit, self._attempt - 1
        if self.waiting is not None and ending is not None:
            ending, last, last_attempt = None, ending, self._attempt
        uid = self.context.uid
        return ContainerView(
            name=self.name,
            image=str(self.spec.get("image") or ""),
            restart_count=max(0, self._attempt),
            container_id=container_id(uid, self.name, self._attempt) if self.begun else "",
            last_container_id=container_id(uid, self.name, last_attempt),
            started=probed.started,
            ready=probed.ready and not self._stopping,
            running_since=self.run.info.started_at if self.run is not None else None,
            waiting=self.waiting if not self.running else None,
            exit=ending if not self.running else None,
            last_exit=last,
            will_restart=self.will_restart,
            devices=resources_status(self._services.gpus, self.context.record.gpus.get(self.name, [])),
            restartable=self.sidecar,
        )

    # Beginning

    async def load(self, status: Mapping[str, Any]) -> None:
        """Find out what became of it while no kubelet was running: adopt the run, or learn how it ended.

        `status` is its last `containerStatuses` entry, if any.
        """
        if self.running:
            return
        attempts = self.context.folder.attempts(self.name)
        if not attempts:
            self._attempt = int(status.get("restartCount") or 0) if status.get("containerID") else -1
            if self.begun:
                self.exit = _lost(status)
            return
        self._attempt = attempts[-1]
        folder = self.context.folder.run(self.name, self._attempt)
        if len(attempts) > 1:
            self.last_exit = read_exit(self.context.folder.run(self.name, attempts[-2]))
        run = await self._services.runtime.adopt(folder)
        if run is None:
            self.exit = await self._services.runtime.settle(folder)
            if self.exit is None:  # the shim never got to start anything: this attempt did not happen
                self._attempt -= 1
                self.exit, self.last_exit = self.last_exit, None
            elif not self.exit.intended:
                self._restarts = BackOff(self._services.settings, failures=self._attempt)
            return
        same = status.get("containerID") == container_id(self.context.uid, self.name, self._attempt)
        before = ProbeState(bool(status.get("started")), bool(status.get("ready"))) if same else None
        await self._remember_surroundings()
        self._begin(run, before)

    async def start(self) -> None:
        """Run it, if its time has come. What is in the way is told by `waiting`, and tried again later."""
        if not self.startable or (self.retry_at is not None and self._clock.monotonic() < self.retry_at):
            return
        try:
            spec = await self._run_spec()
            folder = self.context.folder.run(self.name, self._attempt + 1)
            run = await self._services.runtime.start(folder, spec)
        except ConfigError as error:
            self._wait("CreateContainerConfigError", str(error), self._services.settings.config_retry)
        except ImageNotAvailable as error:
            self._image_missing(error.message)
        except Forbidden as error:
            self._wait("CreateContainerConfigError", error.message, self._services.settings.config_retry)
        except ApiError as error:
            # Nothing is wrong with the container: a new pod's Secrets are denied until the authorizer knows of the pod.
            self._wait("ContainerCreating", f"the API server did not answer: {error}", API_RETRY_SECONDS)
        except (ShimFailedError, OSError) as error:
            self._wait("RunContainerError", str(error), self._services.settings.config_retry)
        else:
            self._attempt += 1
            self.context.folder.forget_before(self.name, self._attempt - 1)
            self._pulls = BackOff(self._services.settings)
            self.last_exit = self.exit or self.last_exit
            self._begin(run, None)
            self.context.event("Started", f"Container started (process {run.info.pid})", container=self.name)
            self._spawn(self._post_start(run))

    async def _run_spec(self) -> RunSpec:
        variables = await self._variables()
        expanded = dict(self.spec)
        for part in ("command", "args"):
            if self.spec.get(part):
                expanded[part] = [expand(str(word), variables) for word in self.spec[part]]
        program = await self._services.images(self.context.namespace, self.context.pod, expanded)
        self._environment = self._base_environment() | dict(program.env) | variables
        self._cwd = self._working_directory(variables)
        return RunSpec(
            argv=tuple(rewrite_ports(program.argv, self.context.lease.ports)),
            env=self._environment,
            cwd=self._cwd,
            log_bytes=self._services.settings.log_bytes,
            log_files=self._services.settings.log_files,
        )

    async def _variables(self) -> dict[str, str]:
        environment = Environment(self._services.api, self.context.pod, self.context.facts, self._clock)
        return await environment.of(self.spec)

    def _base_environment(self) -> dict[str, str]:
        """What every container has. Nothing of the operator's own environment but where programs are found."""
        environment = {
            "PATH": os.environ.get("PATH") or DEFAULT_PATH,
            "HOME": str(self.context.folder.home),
            "LANG": "C.UTF-8",
            "TMPDIR": tempfile.gettempdir(),
            "HOSTNAME": self.context.name,
        }
        if self._services.gpus.count:
            environment |= gpu_environment(self.context.record.gpus.get(self.name, []))
        if self._services.simulated_gpus is not None:
            environment |= self._services.simulated_gpus.environment(environment["PATH"])
        return environment

    async def _remember_surroundings(self) -> None:
        """For probes, hooks and commands in an adopted run: as good as can be told now."""
        try:
            variables = await self._variables()
        except (ConfigError, ApiError):
            variables = {}
        self._environment = self._base_environment() | variables
        self._cwd = self._working_directory(variables)

    def _working_directory(self, variables: Mapping[str, str]) -> Path:
        wanted = expand(str(self.spec.get("workingDir") or ""), variables)
        if not wanted:
            return self.context.folder.home
        if not os.path.isdir(wanted):  # noqa: PTH112  (as quick as a look-up gets)
            self.context.event(
                "WorkingDirMissing",
                f'workingDir "{wanted}" is not on this machine: the container runs in its home folder instead',
                warning=True,
                container=self.name,
            )
            return self.context.folder.home
        return Path(wanted)

    def _begin(self, run: Run, before: ProbeState | None) -> None:
        self.run = run
        self.exit = None
        self.waiting = None
        self.retry_at = None
        self.kill_at = None
        self._stopping = False
        self._probes = ContainerProbes(
            self.spec,
            self.target,
            self._services.handlers,
            self._clock,
            until_ready=self._services.settings.probe_until_ready,
            changed=self.context.wake,
            failed=self._probe_failed,
            unhealthy=self._unhealthy,
            before=before,
        )
        self._spawn(self._accompany(run, self._probes))
        self.context.wake()

    @property
    def target(self) -> Target:
        """Where probes, hooks and commands find the container."""
        ports = {port["name"]: int(port["containerPort"]) for port in self.spec.get("ports") or () if port.get("name")}
        folder = self.context.folder.run(self.name, max(0, self._attempt))
        return Target(
            address=self.context.lease.address,
            port=self.context.lease.port,
            named_ports=ports,
            env={**self._environment, MARKER: str(folder)},
            cwd=self._cwd,
        )

    def _wait(self, reason: str, message: str, seconds: float) -> None:
        if self.waiting != (reason, message):
            self.context.event("Failed", f"Error: {message}", warning=True, container=self.name)
        self.waiting = (reason, message)
        self.retry_at = self._clock.monotonic() + seconds
        self.context.wake()

    def _image_missing(self, message: str) -> None:
        delay = self._pulls.next_delay(0.0)
        if delay == 0:
            self._wait("ErrImagePull", message, min(1.0, self._services.settings.backoff_first))
            return
        image = self.spec.get("image")
        self._wait("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {message}', delay)

    async def _post_start(self, run: Run) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if not hook:
            return
        outcome = await self._services.handlers.run(hook, self.target, self.context.grace)
        if not outcome.ok and run.exit is None:
            self.context.event(
                "FailedPostStartHook", f"PostStartHook failed: {outcome.message}", warning=True, container=self.name
            )
            self.stop(self.context.grace, hook=False)

    # Under way

    async def _accompany(self, run: Run, probes: ContainerProbes) -> None:
        """Probe the run until it ends, then decide what comes next."""
        running_for = max(0.0, self._clock.now() - run.info.started_at)
        probing = asyncio.create_task(probes.run(running_for))
        try:
            ending = await run.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        if self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and ending.exit_code:
            ending = await termination_message(run.folder, ending)
        self._ended(ending)

    def _ended(self, ending: RunExit) -> None:
        self.run = None
        self.exit = ending
        self.kill_at = None
        self._stopping = False
        if self.will_restart and not ending.intended:
            delay = self._restarts.next_delay(ending.finished_at - ending.started_at)
            self.retry_at = self._clock.monotonic() + delay
            if delay:
                pod = f"{self.context.name}_{self.context.namespace}({self.context.uid})"
                message = f"back-off {go_duration(delay)} restarting failed container={self.name} pod={pod}"
                self.waiting = ("CrashLoopBackOff", message)
                self.context.event("BackOff", message.capitalize(), warning=True, container=self.name)
        self.context.wake()

    def _probe_failed(self, message: str) -> None:
        if not self.context.ending:
            self.context.event("Unhealthy", message, warning=True, container=self.name)

    def _unhealthy(self, kind: ProbeKind, message: str) -> None:
        if self.context.ending:
            return
        probe = self.spec.get(f"{kind}Probe") or {}
        grace = probe.get("terminationGracePeriodSeconds")
        note = f"Container {self.name} {message}, will be restarted"
        self.context.event("Killing", note, container=self.name)
        self.stop(self.context.grace if grace is None else float(grace), hook=True)

    # Ending

    def stop(self, grace: float, *, hook: bool) -> None:
        """Ask the run to end within so many seconds. Asked again, the shorter time holds."""
        if self.run is None:
            return
        deadline = self._clock.monotonic() + grace
        if self._stopping:
            if deadline < self._deadline - DEADLINE_PRECISION:
                self._deadline = self.kill_at = deadline
            return
        self._stopping = True
        self._deadline = deadline
        pre_stop = (self.spec.get("lifecycle") or {}).get("preStop") if hook and grace > 0 else None
        self.kill_at = deadline + (MINIMUM_GRACE if pre_stop else 0.0)
        self._spawn(self._stop(self.run, pre_stop, grace))
        self.context.wake()

    async def _stop(self, run: Run, pre_stop: Mapping[str, Any] | None, grace: float) -> None:
        if pre_stop:
            outcome = await self._services.handlers.run(pre_stop, self.target, grace)
            if not outcome.ok:
                note = f"PreStopHook failed: {outcome.message}"
                self.context.event("FailedPreStopHook", note, warning=True, container=self.name)
            if self.run is run:
                self.kill_at = max(self._deadline, self._clock.monotonic() + MINIMUM_GRACE)
        run.terminate()
        self.context.wake()

    def escalate(self) -> None:
        """Kill the run if its time to end by itself is over."""
        if self.run is not None and self.kill_at is not None and self._clock.monotonic() >= self.kill_at:
            self.run.kill()
            self.kill_at = None

    def kill(self) -> None:
        if self.run is not None:
            self.run.kill()

    async def detach(self) -> None:
        """Let go of the run, which goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.run is not None:
            self.run.abandon()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a container's task failed", container=self.name, pod=self.context.name, exc_info=error)


def _init_policy(sidecar: bool, pod_policy: str) -> str:
    """Init containers run until they succeed, unless the pod says Never; sidecars run for ever."""
    if sidecar:
        return "Always"
    return "Never" if pod_policy == "Never" else "OnFailure"


def _lost(status: Mapping[str, Any]) -> RunExit:
    """What the status said of a container of which nothing is left on disk."""
    state = status.get("state") or {}
    ended = state.get("terminated")
    if ended:
        return RunExit(
            exit_code=int(ended.get("exitCode") or 0),
            signal=int(ended.get("signal") or 0),
            reason=str(ended.get("reason") or "Error"),
            message=str(ended.get("message") or ""),
            started_at=parse_time(ended.get("startedAt")) or 0.0,
            finished_at=parse_time(ended.get("finishedAt")) or 0.0,
        )
    return RunExit(exit_code=137, reason="ContainerStatusUnknown", message="The container could not be located.")
