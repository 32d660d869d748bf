"""Releases of several services of one local world at once, each under its own traffic and with its own fault.

One world for all stories of a strategy, since a world and its pods cost more than the stories: what is told of one
service is asked only of that service. Git applies all manifests again every five seconds throughout.
"""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash_story import Outage, unexplained
from story_world import Finished, LocalWorld, ended, wait_for
from world_api import configure, listed, pods_of

from outrider.cli.demo.traffic import PROMPTS, Tally, Traffic
from outrider.cli.errors import Exit
from outrider.kube.resources import LLM_DEPLOYMENT

NAMESPACE = "production"
MODEL = "Llama-3.1-8B-Instruct"
GOOD, BAD = "v1.0.0", "v2.0.0"
LONG_PROMPT = "Summarise what follows. " + "The disk was full and nobody had looked. " * 60
"""Some 600 tokens, where the usual prompts have 30."""
GIT_SECONDS = 5.0
AFTERWARDS = 4.0
"""Seconds of traffic for which a story goes on after its end and after routes have followed, to see that nobody meets
the bad version any more."""
BETWEEN_LOOKS = 0.5
NODES = 6
"""Of eight GPUs each: for three pods of each service."""
PATIENCE = 10.0
"""Seconds that users wait for an answer."""
LONGEST = 400.0
"""Seconds after which a story that has not come to its end is ended, four times what the longest takes on busy
cores."""
STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "RollingUpdate": {"rolloutStrategy": "RollingUpdate"},
    "Canary": {
        "rolloutStrategy": "Canary",
        "canary": {"steps": [{"weight": 30, "duration": "6s"}, {"weight": 60, "duration": "6s"}]},
    },
    "BlueGreen": {"rolloutStrategy": "BlueGreen", "blueGreen": {"previewDuration": "8s"}},
}


@dataclass(frozen=True)
class Look:
    """What the status of a service said at one moment."""

    at: float
    """Monotonic seconds."""
    status: Mapping[str, Any]

    @property
    def release(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.status.get("release") or {}
        return found

    @property
    def stage(self) -> str:
        return str(self.release.get("stage", ""))

    @property
    def verdict(self) -> tuple[str, str]:
        return self.release.get("verdict", ""), self.release.get("reason", "")

    @property
    def serving(self) -> str:
        return str(self.status.get("servingVersion", ""))

    def condition(self, kind: str) -> Mapping[str, Any]:
        found = self.status.get("conditions") or ()
        return next((one for one in found if one["type"] == kind), {})

    @property
    def essence(self) -> tuple[Any, ...]:
        """What makes two looks differ for a reader; the numbers in messages do not."""
        waits_for = self.release.get("waitsFor", "")
        return (self.status.get("phase"), self.serving, self.stage, self.release.get("weight"), self.verdict, waits_for)


Moment = Callable[[Look], bool]


def taken_back(look: Look) -> bool:
    return look.release.get("phase") == "RolledBack" and look.status.get("phase") == "RolledBack"


def is_tried(look: Look) -> bool:
    """The candidate is ready and has its share of the traffic; of a blue-green release: its preview has begun."""
    return bool(look.release.get("trialSince") or look.release.get("stepSince"))


def has_all_traffic(look: Look) -> bool:
    alone = look.serving == look.release.get("version") and look.status.get("phase") == "Ready"
    return alone and (look.release.get("strategy") == "RollingUpdate" or look.stage == "Standby")


def is_held(reason: str) -> Moment:
    return lambda look: look.verdict == ("Hold", reason)


@dataclass(frozen=True)
class Incident:
    """At a moment of the release, what simulated servers of some versions are told, as of `/admin/config`."""

    when: Moment
    settings: Mapping[str, Any]
    versions: Sequence[str] = (BAD,)
    lasts: float = 0.0
    """Seconds for which the moment has to have lasted."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """One service and its release."""

    name: str
    """The service's."""
    ends: Moment = taken_back
    """The moment that has to come."""
    reasons: Sequence[str] = ()
    """Why it is taken back: one of these; empty where it must not be."""
    held: str = ""
    """The reason for which the release has to be held meanwhile."""
    says: str = ""
    """What the status has to say at some time, in a condition or of the release."""
    lossless: bool = False
    """No request fails."""
    fault: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the candidate's simulated servers from their start."""
    everybody: Mapping[str, Any] = field(default_factory=dict)
    """The same for both versions."""
    first: bool = False
    """There is no version before the candidate."""
    replicas: int = 1
    per_second: float = 4.0
    """Requests; 0: nobody asks anything."""
    prompts: Sequence[str] = PROMPTS
    window: str = "10s"
    strategy: str = ""
    """Empty: the one of all stories of the world."""
    deployment: Mapping[str, Any] = field(default_factory=dict)
    """Of `spec.deployment`, over what the strategy has."""
    scheduling: Mapping[str, Any] = field(default_factory=dict)
    """`spec.scheduling`."""
    incidents: Sequence[Incident] = ()
    routes_follow: float = 1.0
    """Seconds after the end from which on no request may meet the candidate: a gateway's routes follow the status."""


class Told:
    """What became of a story."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.looks: list[Look] = []
        """One for each change."""
        self.tally = Tally()
        self.outages: list[Outage] = []
        """When requests may fail whatever the release does."""
        self.began = time.monotonic()
        self.ended_at: float | None = None
        self.over = False
        self._happened = 0
        """How many of its incidents."""
        self._moment_since: float | None = None
        self._said = not story.says

    @property
    def journal(self) -> str:
        """For a person who looks for the cause."""
        lines = [f"{look.at - self.began:6.1f} s {look.essence} {look.release.get('message')}" for look in self.looks]
        last = self.looks[-1]
        return "\n".join([*lines, f"{self.tally.failures} of {self.tally.requests}", json.dumps(last.status, indent=1)])

    def seen(self, look: Look) -> None:
        self._said = self._said or self.story.says in json.dumps(look.status)
        if not self.looks or self.looks[-1].essence != look.essence:
            self.looks.append(look)
        if self.ended_at is None and self._happened == len(self.story.incidents) and self.story.ends(look):
            self.ended_at = look.at
        self.over = self.ended_at is not None and look.at - self.ended_at >= self.story.routes_follow + AFTERWARDS

    def due(self, look: Look) -> Incident | None:
        """The next incident, if its moment has come."""
        if self._happened == len(self.story.incidents):
            return None
        incident = self.story.incidents[self._happened]
        if not incident.when(look):
            self._moment_since = None
            return None
        self._moment_since = self._moment_since if self._moment_since is not None else look.at
        if look.at - self._moment_since < incident.lasts:
            return None
        self._happened, self._moment_since = self._happened + 1, None
        return incident

    def check(self) -> None:
        """Fails the test unless all is as the story has it."""
        problem = self._problem()
        if problem:
            print(self.journal)
        assert not problem, f"{self.story.name}: {problem}"

    def _problem(self) -> str:
        story, verdicts = self.story, {look.verdict for look in self.looks}
        if self.ended_at is None:
            return "it did not come to its end"
        if story.held and ("Hold", story.held) not in verdicts:
            return f"it was never held for {story.held}"
        if not self._said:
            return f"nothing ever said {story.says!r}"
        if story.lossless and (failed := unexplained(self.tally, self.outages)):
            return _some("requests failed", failed)
        if not story.reasons:
            return "it was taken back" if any(kind == "RollBack" for kind, _ in verdicts) else ""
        return self._not_taken_back(self.looks[-1]) or self._still_met(self.looks[-1])

    def _not_taken_back(self, last: Look) -> str:
        said = last.condition("RolledBack")
        if said.get("status") != "True" or said["reason"] not in self.story.reasons:
            return f"the condition RolledBack is {said}, and not for one of {self.story.reasons}"
        serving = (last.serving, last.status.get("effectiveVersion"))
        return "" if serving == (f"{GOOD}-{self.story.name}",) * 2 else f"{serving} serve"

    def _still_met(self, last: Look) -> str:
        """Requests that began after the end, and failed or were answered by the candidate."""
        assert self.ended_at is not None, "the caller looked"
        since = self.ended_at + self.story.routes_follow - self.tally.began
        after = [one for one in list(self.tally.answers) if one.started >= since]
        if self.story.per_second and not after:
            return "there was no traffic after it"
        failed = unexplained(self.tally, self.outages)
        met = [one for one in after if one in failed or one.revision == last.release["revision"]]
        return _some("requests met the bad version after its end, or failed", met) if met else ""


def _some(what: str, answers: Sequence[Any]) -> str:
    return f"{len(answers)} {what}, such as {list(answers[:3])}"


def with_long_prompts() -> tuple[str, ...]:
    """Two of seven are long: a number that no two or three backends to which a gateway deals in turn share, or one of
    them would get all the long ones.
    """
    return (*PROMPTS, LONG_PROMPT, LONG_PROMPT)


@contextmanager
def told_in_one_world(folder: Path, strategy: str, stories: Mapping[str, Story]) -> Iterator[dict[str, Told]]:
    """The stories, told; the world is ended before anybody looks at them, for others want the processors."""
    world = LocalWorld(folder / "home")
    with ended(world):
        world.up("--nodes", str(NODES))
        found = tell(world, strategy, stories)
    yield found


def tell(
    world: LocalWorld,
    strategy: str,
    stories: Mapping[str, Story],
    *,
    gateway_url: str = "",
    meanwhile: Callable[[Mapping[str, Told]], None] = lambda _: None,
    may_be_away: bool = False,
) -> dict[str, Told]:
    """Release all of them at once and watch until each has come to its end. `stories` are by a sentence.

    Users come by the world's own gateway, or by the one at `gateway_url`.

    `meanwhile` is called after every look. The world `may_be_away` when Git comes: then it comes again.
    """
    told = {sentence: Told(story) for sentence, story in stories.items()}
    by_name = {one.story.name: one for one in told.values()}
    world.outrider("apply", "--filename", "-", stdin=json.dumps(_faults(stories.values())))
    before = [_manifest(strategy, story, GOOD) for story in stories.values() if not story.first]
    world.outrider("apply", "--filename", "-", "--wait", stdin=_stream(before))
    after = _stream([_manifest(strategy, story, BAD) for story in stories.values()])
    gateway = gateway_url or world.info.gateway_url
    for story in stories.values():
        wait_for(lambda story=story: story.first or _is_open(gateway, story.name), f"the way to {story.name}")  # type: ignore[misc]
    with _traffic(gateway, by_name), _git(world, after, may_be_away=may_be_away):
        until = time.monotonic() + LONGEST
        while time.monotonic() < until and not all(one.over for one in told.values()):
            for name, look in _looks(world):
                by_name[name].seen(look)
                incident = by_name[name].due(look)
                if incident is not None:
                    _happen(world, name, incident)
            meanwhile(by_name)
            time.sleep(BETWEEN_LOOKS)  # at all services at once
    return told


def _manifest(strategy: str, story: Story, version: str) -> dict[str, Any]:
    triggers = [{"errorRate": ">1%"}, {"latencyP95": ">2s"}]
    auto = {"enabled": True, "window": story.window, "minRequests": 10, "triggers": triggers}
    return {
        "apiVersion": "inference.llm-d.io/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": story.name, "namespace": NAMESPACE},
        "spec": {
            "model": {"modelUri": f"hf://meta-llama/{MODEL}", "version": f"{version}-{story.name}"},
            "replicas": story.replicas,
            "resources": {"requests": {"nvidia.com/gpu": "1"}},
            "deployment": {**STRATEGIES[story.strategy or strategy], **story.deployment},
            "scheduling": story.scheduling,
            "rollback": {"standby": "10m", "autoRollback": auto},
        },
    }


def _faults(stories: Iterable[Story]) -> dict[str, Any]:
    """How the simulated servers of each version behave."""
    data: dict[str, Mapping[str, Any]] = {"default": {"load-seconds": 0.2}}
    for story in stories:
        data[f"{GOOD}-{story.name}"] = story.everybody
        data[f"{BAD}-{story.name}"] = {**story.everybody, **story.fault}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "outrider-simulator", "namespace": NAMESPACE},
        "data": {version: json.dumps(settings) for version, settings in data.items()},
    }


def _stream(manifests: Sequence[Mapping[str, Any]]) -> str:
    return "\n---\n".join(json.dumps(manifest) for manifest in manifests)


def _is_open(gateway: str, name: str) -> bool:
    """Whether the gateway knows the way: Traefik looks at changes every two seconds."""
    try:
        with urllib.request.urlopen(f"{gateway}/{NAMESPACE}/{name}/v1/models", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _traffic(gateway_url: str, told: Mapping[str, Told]) -> Iterator[None]:
    """Everybody's requests, from one event loop in a thread of its own."""
    loop, makers = asyncio.new_event_loop(), []
    for name, one in told.items():
        if one.story.per_second:
            url = f"{gateway_url}/{NAMESPACE}/{name}"
            made = Traffic(url, MODEL, per_second=one.story.per_second, timeout=PATIENCE, prompts=one.story.prompts)
            one.tally = made.tally
            makers.append(made)

    async def run() -> None:
        await asyncio.gather(*(maker.run() for maker in makers))

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        yield
    finally:
        for maker in makers:
            loop.call_soon_threadsafe(maker.stop)
        thread.join()
        loop.close()


@contextmanager
def _git(world: LocalWorld, manifests: str, *, may_be_away: bool) -> Iterator[None]:
    """Apply the manifests now, and again every five seconds, as GitOps tools do whatever became of them."""
    stop = threading.Event()
    refused: list[Finished] = []

    def work() -> None:
        while not stop.wait(GIT_SECONDS):
            done = world.outrider("apply", "--filename", "-", stdin=manifests, code=None)
            if done.code != Exit.OK and not (may_be_away and done.code == Exit.UNREACHABLE):
                refused.append(done)

    world.outrider("apply", "--filename", "-", stdin=manifests)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not refused, f"Git's manifests were refused: {refused}"


def _looks(world: LocalWorld) -> list[tuple[str, Look]]:
    found = listed(world, LLM_DEPLOYMENT, NAMESPACE)
    now = time.monotonic()
    return [(one["metadata"]["name"], Look(now, one.get("status") or {})) for one in found]


def _happen(world: LocalWorld, name: str, incident: Incident) -> None:
    pods = [pod for version in incident.versions for pod in pods_of(world, NAMESPACE, f"{version}-{name}")]
    assert pods, f"{name} has no pod to which this could happen: {incident}"
    for pod in pods:
        configure(pod, incident.settings)
