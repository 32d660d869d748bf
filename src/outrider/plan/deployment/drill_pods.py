"""What the pods of a drill have come to: loaded and answering, broken, or still on the way."""

import msgspec

from outrider.api.llmdeployment import DrillOutcome, DrillStatus
from outrider.api.meta import Instant, find_condition, parse_time
from outrider.api.names import drill_name
from outrider.plan.deployment import capacity
from outrider.plan.deployment.capacity import count
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.rollout import CRASH_REASONS, IMAGE_REASONS
from outrider.plan.deployment.snapshot import PodView

LOADED = "Loaded"
"""Reason of a drill for which nothing has to be started: the version is on standby."""
PAUSE = 5.0
"""Seconds between two looks where nothing that changes would cause one."""
SCHEDULED_WITHIN = 30.0
"""Seconds after which a pod without a node will get none: the scheduler looks anew whenever something goes, and a
cluster that adds nodes takes minutes, for which nobody waits in an emergency."""


class Judged(msgspec.Struct, frozen=True):
    """How a drill fares, or what came of it."""

    outcome: DrillOutcome
    reason: str
    message: str
    seconds: float | None = None
    looks_again_at: Instant | None = None
    """While it runs."""


def of(facts: Facts, drill: DrillStatus) -> tuple[PodView, ...]:
    """The pods of this very drill."""
    return tuple(pod for pod in facts.snapshot.drill_pods if pod.alive and pod.drill == drill.requested_at)


def answered(facts: Facts, drill: DrillStatus) -> tuple[PodView, ...]:
    """Those that have answered a real completion."""
    return tuple(pod for pod in of(facts, drill) if pod.containers_ready and pod.probe is not None and pod.probe.ok)


def asks_loaded(pods: int) -> str:
    """What a drill does where the version is on standby."""
    return f"it is loaded already, as standby: {count(pods, 'pod')} of it {capacity.are(pods)} asked for a completion"


def judge_loaded(facts: Facts, drill: DrillStatus) -> Judged:
    """Of a version on standby: each of its pods has to answer a completion for which it was asked since the start."""
    started, now = _started(facts, drill), facts.now
    pods = [pod for pod in facts.snapshot.pods if pod.alive and pod.ready and pod.revision == drill.revision]
    if not pods:
        return Judged("Interrupted", "StandbyEnded", "its pods on standby are gone")
    fresh = [pod for pod in pods if pod.probe is not None and pod.probe.at >= started]
    good = [pod.probe.at for pod in fresh if pod.probe is not None and pod.probe.ok]
    if len(good) == len(pods):
        seconds = round(max(0.0, max(good) - started), 1)
        all_of = "its pod" if len(pods) == 1 else f"all {len(pods)} pods of it"
        return Judged(
            "Passed", LOADED, f"it is loaded already, as standby, and {all_of} answered a completion", seconds
        )
    since, patience = max(started, _asking_since(facts)), facts.snapshot.config.probe_freshness
    if now - (started if len(fresh) == len(pods) else since) < patience:
        return Judged("Running", LOADED, asks_loaded(len(pods)), looks_again_at=now + PAUSE)
    bad = [pod for pod in fresh if pod.probe is not None and not pod.probe.ok]
    if bad:
        return Judged("Failed", "WrongAnswers", _badly(bad[0]))
    return _unasked(next(pod for pod in pods if pod not in fresh))


def judge_started(facts: Facts, drill: DrillStatus) -> Judged:
    """Of a version for which a pod was started."""
    good, pods = answered(facts, drill), of(facts, drill)
    if good:
        return _passed(facts, drill, good[0])
    broken = [pod for pod in pods if pod.waiting in CRASH_REASONS or pod.waiting in IMAGE_REASONS]
    if broken:
        why = f": {broken[0].waiting_message}" if broken[0].waiting_message else ""
        return Judged("Failed", "LoadFailed", f"{broken[0].name} does not start: {broken[0].waiting}{why}")
    deadline = _started(facts, drill) + _deadline(facts)
    if not pods:
        return _no_pod(facts, drill)
    pod = pods[0]
    if not pod.node:
        return _unplaced(facts, drill, pod)
    if pod.containers_ready:
        return _asked(facts, pod)
    if facts.now >= deadline:
        waiting = f" ({pod.waiting}: {pod.waiting_message})" if pod.waiting else ""
        late = f"after {_deadline(facts):.0f} s {pod.name} is still loading on {pod.node}{waiting}"
        return Judged("Failed", "DeadlineExceeded", late)
    return Judged("Running", "Loading", f"{pod.name} loads the model on {pod.node}", looks_again_at=deadline)


def _passed(facts: Facts, drill: DrillStatus, pod: PodView) -> Judged:
    assert pod.probe is not None, "it has answered"
    since = pod.created if pod.created is not None else _started(facts, drill)
    seconds = round(max(0.0, pod.probe.at - since), 1)
    again = f" (it had to start {pod.restarts + 1} times)" if pod.restarts else ""
    message = f"a pod of it loaded and answered a completion after {seconds:.0f} s{again}"
    return Judged("Passed", "Answered", message, seconds)


def _no_pod(facts: Facts, drill: DrillStatus) -> Judged:
    """Its controllers make none: a quota, or whoever admits pods. That is not the version's fault."""
    until = _started(facts, drill) + SCHEDULED_WITHIN
    if facts.now < until:
        return Judged("Running", "Starting", "its pod is started", looks_again_at=until)
    name = drill_name(facts.snapshot.name, drill.revision)
    seen = next((one for one in facts.snapshot.drill_workloads if one.name == name), None)
    refused = find_condition(seen.conditions, "ReplicaFailure") if seen is not None else None
    why = refused.message if refused is not None and refused.status == "True" else "nobody says why"
    return Judged("NotPossible", "NoPod", f"Deployment {name} gets no pod: {why.rstrip('.')}")


def _unplaced(facts: Facts, drill: DrillStatus, pod: PodView) -> Judged:
    since = pod.created if pod.created is not None else _started(facts, drill)
    if not pod.unschedulable or facts.now - since < SCHEDULED_WITHIN:
        return Judged("Running", "Scheduling", f"{pod.name} waits for a node", looks_again_at=since + SCHEDULED_WITHIN)
    why = no_room(facts) or pod.unschedulable.rstrip(".")
    return Judged("NotPossible", "NoGPUs", f"{pod.name} finds no node: {why}")


def no_room(facts: Facts) -> str:
    """What is missing for one pod more, as a clause; empty where nothing is, or nobody can tell."""
    need = capacity.Need(facts.snapshot.deployment.metadata.key, facts.wish.gpus_per_replica, wanted=1, unplaced=1)
    verdict = capacity.assess(need, facts.snapshot.gpus)
    return verdict.message.rstrip(".") if verdict.available is False else ""


def _asked(facts: Facts, pod: PodView) -> Judged:
    """Its server runs: it has as long to answer well as an answer counts for. A first request may take longer than the
    later ones, and whoever asks may only just have begun.
    """
    patience, now = facts.snapshot.config.probe_freshness, facts.now
    since = pod.up_since if pod.up_since is not None else now
    if pod.probe is None:
        since = max(since, _asking_since(facts))
    if now - since < patience:
        said = f", and not well: {pod.probe.message}" if pod.probe is not None else ""
        doing = f"{pod.name} is asked for a completion" if pod.probe is None else f"{pod.name} answers{said}"
        return Judged("Running", "Asking", doing, looks_again_at=since + patience)
    return Judged("Failed", "WrongAnswers", _badly(pod)) if pod.probe is not None else _unasked(pod)


def _asking_since(facts: Facts) -> Instant:
    """Since when whoever looks asks pods at all; who does not ask has not begun yet."""
    since = facts.snapshot.probing_since
    return since if since is not None else facts.now


def _badly(pod: PodView) -> str:
    return f"{pod.name} does not answer a completion as it should: {pod.probe.message if pod.probe else ''}"


def _unasked(pod: PodView) -> Judged:
    return Judged("Interrupted", "NotAsked", f"the operator could not ask {pod.name} for a completion")


def _deadline(facts: Facts) -> float:
    """Seconds that a pod may take to load: as long as in a release."""
    spec = facts.snapshot.parsed.spec
    return float(spec.workload_deadline_seconds) if spec is not None else 0.0


def _started(facts: Facts, drill: DrillStatus) -> Instant:
    found = parse_time(drill.started_at)
    return found if found is not None else facts.now
