"""Releases and rollbacks of a service while its world is killed again and again: what is done, and what must hold."""

import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from story_world import ROOT, LocalWorld, wait_for

from outrider.cli.demo.traffic import Answer, Tally
from outrider.cli.errors import Exit
from outrider.local.kubelet.leftovers import programs

NAME, NAMESPACE = "llama-3.1-8b", "production"
MODEL = "Llama-3.1-8B-Instruct"
MANIFEST = (ROOT / "examples" / "llama-3.1-8b.yaml").read_text()
REPLICAS = 2
HISTORY = 10
"""Revisions that the operator keeps at least."""
LOG_LINES = 60
"""That a failure shows."""
LONGEST_DELAY = 4.0
"""Seconds. A release of two simulated model servers takes about as long, with the draining of the old ones."""


class Service:
    """What was asked for, and the commands that ask for it. A command may be cut off anywhere: it is then repeated."""

    def __init__(self, world: LocalWorld, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self.versions: list[str] = []
        """All that were ever released, oldest first."""
        self.wanted = ""
        self.pinned = False

    def release(self) -> None:
        """A version that there never was, from Git's side; a pin that holds an older one is lifted."""
        self.wanted = f"v1.{len(self.versions) + 2}.0"
        self.versions.append(self.wanted)
        self._until_done("apply", "--filename", "-", stdin=MANIFEST.replace("v1.2.0", self.wanted))
        if self.pinned:
            self._until_done("unpin", NAME, "--namespace", NAMESPACE, "--no-wait", done=Exit.NOT_FOUND)
        self.pinned = False

    def roll_back(self) -> None:
        """To any of the last versions but the one that serves."""
        self.wanted = self._rng.choice([version for version in self.versions[-4:] if version != self.wanted])
        words = ("rollback", NAME, "--namespace", NAMESPACE, "--to", self.wanted, "--no-wait")
        self._until_done(*words, done=Exit.CONFLICT)
        self.pinned = True

    def _until_done(self, *words: str, stdin: str = "", done: int = Exit.OK) -> None:
        """Run a command until it is done; `done` is how it ends where an attempt that was cut off had done it all."""

        def attempt() -> bool:
            finished = self._world.outrider(*words, stdin=stdin, code=None)
            if finished.code in (Exit.OK, done):
                return True
            # The world is away, or went away meanwhile; or the command was killed with everything else.
            assert finished.code in (Exit.UNREACHABLE, -signal.SIGKILL), finished
            assert "mistake" not in finished.err, finished
            return False

        wait_for(attempt, " ".join(words))


@dataclass(frozen=True)
class Outage:
    """When requests may fail: those under way within, in monotonic seconds."""

    began: float
    ended: float

    def explains(self, answer: Answer, tally: Tally) -> bool:
        started = tally.began + answer.started
        return started <= self.ended and started + answer.seconds >= self.began


class Crash:
    """One of the ways in which processes are killed; `who` is a key of `CRASHES`."""

    def __init__(self, world: LocalWorld, rng: random.Random, who: str) -> None:
        self._world = world
        self._rng = rng
        self.who = who

    def happen(self) -> Outage:
        """Kill, bring the world up again where that was killed, and tell when requests may have failed for it."""
        began = time.monotonic()
        CRASHES[self.who](self)
        return Outage(began, time.monotonic())

    def up(self) -> None:
        self._end([self._world.info.pid])
        self._world.up()

    def up_and_next(self) -> None:
        self._end([self._world.info.pid])
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(self._world.outrider, "up", "--detach", code=None)
            wait_for(self._starting, "the next world to start")
            time.sleep(self._rng.uniform(0.0, 1.0))  # not to wait for something: when in its start it hits is random
            self._end(self._starting())
            starting.result()
        self._world.up()

    def up_and_pod(self) -> None:
        self._end([self._world.info.pid])
        self.pod()
        self._world.up()

    def pod(self) -> None:
        self._end([self._rng.choice(sorted(_programs(self._world)))])

    def shim(self) -> None:
        # Its program ends with it.
        before = _programs(self._world)
        self._end([self._rng.choice(sorted(_shims(self._world)))])
        wait_for(lambda: before - _programs(self._world), "the program of the shim to be dead")

    def everything(self) -> None:
        self._end([pid for pid, _ in self._world.processes()])
        self._world.up()
        wait_for(lambda: self._world.outrider("status", code=None).code == 0, "the service to be ready again")

    def _starting(self) -> list[int]:
        return [pid for pid, command in self._world.processes() if " up --world " in command]

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not {pid for pid, _ in self._world.processes()} & set(pids), "the killed to be dead")


CRASHES: dict[str, Callable[[Crash], None]] = {
    "up": Crash.up,
    "a pod": Crash.pod,
    "up, and a pod while no world runs": Crash.up_and_pod,
    "the shim of a pod": Crash.shim,
    "everything at once": Crash.everything,
    "up, and the next up while it starts": Crash.up_and_next,
}


def random_moment(world: LocalWorld, rng: random.Random) -> str:
    """Wait for a moment of a release: some time, or some starts and ends of programs. Returns what was waited for."""
    delay = rng.uniform(0.0, LONGEST_DELAY)
    wanted = rng.choice([None, 1, 2, 3, 4])
    if wanted is None:
        time.sleep(delay)  # not to wait for something: the moment of the fault is random
        return f"after {delay:.2f} s"
    before, seen = _programs(world), 0
    until = time.monotonic() + LONGEST_DELAY
    while seen < wanted and time.monotonic() < until:
        now = _programs(world)
        seen, before = seen + len(now ^ before), now
        time.sleep(0.02)
    return f"after {seen} starts and ends of programs"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def settle(world: LocalWorld, service: Service) -> None:
    """Wait until the version that was asked for serves, and no process, pod, endpoint or file is there but its own."""
    world.outrider("rollout", "status", NAME, "--namespace", NAMESPACE)
    problem = ""

    def good() -> bool:
        nonlocal problem
        problem = _problem(world, service)
        return not problem

    try:
        wait_for(good, "the world to settle", deadline=60)
    except AssertionError as error:
        raise AssertionError(f"{error}: {problem}\n{_as_it_is(world)}") from None


def _as_it_is(world: LocalWorld) -> str:
    """The pods, what the service says of itself, and the last lines of the log: for who looks for the cause."""
    pods = world.json("get", "pods", "--namespace", NAMESPACE)["items"]
    lines = [json.dumps(pod) for pod in pods]
    lines += [f"program {pid} of {run}" for pid, run in programs(world.folder.pods).items()]
    lines += [json.dumps(world.get(NAME)["status"], indent=1)]
    return "\n".join([*lines, *world.folder.log.read_text().splitlines()[-LOG_LINES:]])


def _problem(world: LocalWorld, service: Service) -> str:
    """What is not as it must be in the end; empty when all is."""
    if len(running := _programs(world)) != REPLICAS:
        return f"{len(running)} programs instead of {REPLICAS}"
    pods = {pod["metadata"]["uid"]: pod for pod in world.json("get", "pods", "--namespace", NAMESPACE)["items"]}
    return (
        _processes(world, set(pods)) or _endpoints(world, pods) or _status(world, service) or _history(world, service)
    )


def _processes(world: LocalWorld, pods: set[str]) -> str:
    runs = programs(world.folder.pods).values()
    owners = sorted(run.relative_to(world.folder.pods).parts[1] for run in runs)
    folders = {path.name for path in world.folder.pods.glob("*/*") if not path.name.startswith(".")}
    if len(pods) != REPLICAS or owners != sorted(pods):
        return f"programs run for the pods {owners}, and the pods are {sorted(pods)}"
    if len(_shims(world)) != REPLICAS:
        return f"{len(_shims(world))} shims for {REPLICAS} programs"
    return f"folders of pods: {sorted(folders)}, and the pods are {sorted(pods)}" if folders != pods else ""


def _endpoints(world: LocalWorld, pods: Mapping[str, Any]) -> str:
    addresses = sorted(pod["status"]["podIP"] for pod in pods.values())
    slices = world.json("get", "endpointslices", "--namespace", NAMESPACE)["items"]
    for one in slices:
        ready = sorted(each["addresses"][0] for each in one["endpoints"] if each["conditions"]["ready"])
        if ready != addresses or len(one["endpoints"]) != len(ready):
            return f"the endpoints of {one['metadata']['name']} are {one['endpoints']}, and the pods' are {addresses}"
    return "" if slices else "no endpoints"


def _status(world: LocalWorld, service: Service) -> str:
    said = world.json("status")
    (one,) = said["services"]
    expected = {
        "ready": True,
        "replicas": f"{REPLICAS}/{REPLICAS}",
        "asked": service.versions[-1],
        "serving": service.wanted,
        "stable": service.wanted,
        "pinned": service.pinned,
    }
    wrong = {key: one[key] for key, value in expected.items() if one[key] != value}
    if wrong:
        return f"status says {wrong} instead of {expected}"
    nodes = said["nodes"]
    return "" if (nodes["ready"], nodes["gpusUsed"]) == (2, REPLICAS) else f"status says of the nodes {nodes}"


def _history(world: LocalWorld, service: Service) -> str:
    entries = world.json("rollout", "history", NAME, "--namespace", NAMESPACE)
    versions, current = [each["version"] for each in entries], [each["version"] for each in entries if each["current"]]
    if versions[:HISTORY] != service.versions[: -HISTORY - 1 : -1] or len(set(versions)) != len(versions):
        return f"the history is {versions}, and {service.versions} were released, in this order"
    if current != [service.wanted]:
        return f"{current} is current in the history, instead of {service.wanted}"
    rejected = [each["version"] for each in entries if each["state"] == "Quarantined"]
    return "" if bool(rejected) == service.pinned else f"{rejected} are quarantined, and pinned is {service.pinned}"


def unexplained(tally: Tally, outages: Sequence[Outage]) -> list[Answer]:
    """The failed requests that no outage explains."""
    failed = [answer for answer in list(tally.answers) if answer.failure]
    return [answer for answer in failed if not any(outage.explains(answer, tally) for outage in outages)]


def files_left(world: LocalWorld) -> set[str]:
    """What is in the world's folder, but for what is below `pods`."""
    base = world.folder.path
    names = {path.relative_to(base) for path in base.rglob("*") if path.is_file()}
    return {str(name) for name in names if name.parts[0] != "pods"}


def _programs(world: LocalWorld) -> set[int]:
    return set(programs(world.folder.pods))


def _shims(world: LocalWorld) -> set[int]:
    return {pid for pid, command in world.processes() if "shim.py" in command}
