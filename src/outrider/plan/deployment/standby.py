"""How soon a service could be back on the version before: warm while its pods are loaded, cached while its weights lie
where its pods look for them, else cold. And what was measured of how revisions load.
"""

import math
from statistics import median

import msgspec

from outrider.api.meta import format_time, parse_time
from outrider.api.modelrevision import LoadStatus, ModelRevision, ModelRevisionStatus
from outrider.plan.deployment import fleet, weights
from outrider.plan.deployment.facts import Facts
from outrider.plan.deployment.snapshot import PodView, Snapshot

WARM_SECONDS = 10.0
"""For the traffic to move: proxies take over changed endpoints every few seconds (Traefik every 2 s)."""
MOST_NODES = 64
"""Names of nodes that are kept for one revision."""


def readiness(facts: Facts, target: ModelRevision) -> tuple[str, float | None, str]:
    """(Warm, Cached or Cold, estimated seconds, why). The estimate is what the revision's own pods took to load, in a
    drill or when they served, else what the pods that are there took; there is none after a drill that failed.
    """
    snapshot, wanted = facts.snapshot, facts.wish.replicas
    loaded, failed = fleet.ready(snapshot, target.spec.hash), _failed_drill(facts, target)
    if wanted and loaded >= wanted:
        pods = "its pod is" if loaded == 1 else f"its {loaded} pods are"
        message = f"{pods} loaded, and only the traffic has to move"
        return "Warm", WARM_SECONDS, f"{message}; but {failed}." if failed else f"{message}."
    if failed:
        return "Cold", None, f"its pods would have to load the model anew, and {failed}."
    load = facts.states.get(target.spec.hash, target.status).load
    seconds, source = _estimate(snapshot, load)
    is_cached, why = weights.cached(snapshot, target.spec, load)
    takes = f", which takes about {seconds:.0f} s ({source})" if seconds is not None else ""
    if is_cached:
        return "Cached", seconds, f"its pods would have to load the model{takes}; {why}."
    return "Cold", seconds, f"its pods would have to load the model anew{takes}; {why}."


def _failed_drill(facts: Facts, target: ModelRevision) -> str:
    """That its last drill failed, as a clause; empty where it did not, or it has served since."""
    last = facts.drill
    if last is None or (last.revision, last.outcome) != (target.spec.hash, "Failed"):
        return ""
    served = parse_time(facts.states.get(target.spec.hash, target.status).last_served_time)
    if served is not None and served > (parse_time(last.ended_at) or 0.0):
        return ""
    return f"its drill of {last.ended_at} failed: {last.message.rstrip('.')}"


def _estimate(snapshot: Snapshot, load: LoadStatus | None) -> tuple[float | None, str]:
    if load is not None and load.seconds > 0:
        how = "in the drill of" if load.measured_by == "Drill" else "when it served,"
        return _rounded(load.seconds), f"its own took {load.seconds:.0f} s {how} {load.time}"
    took = [seconds for pod in snapshot.pods if (seconds := load_seconds(pod)) is not None]
    if not took:
        return None, ""
    return _rounded(median(took)), "as the pods that are there did"


def _rounded(seconds: float) -> float:
    return float(10 * math.ceil((seconds + WARM_SECONDS) / 10))


def load_seconds(pod: PodView) -> float | None:
    """What a pod took from its creation to its first good answer; None where that is not known, or it had to start more
    than once.
    """
    if not pod.alive or pod.loaded_at is None or pod.created is None or pod.restarts:
        return None
    return max(0.0, pod.loaded_at - pod.created)


def with_loads(facts: Facts, revision: str) -> dict[str, ModelRevisionStatus]:
    """The states, with what was measured of the revision that serves in full. It is written once, and again only when
    its pods have loaded from somewhere else.
    """
    states, spec = facts.states, facts.snapshot.parsed.spec
    status, target = states.get(revision), facts.effective.target
    if status is None or spec is None or target is None or target.hash != revision:
        return states
    pods = [pod for pod in facts.rollout.ready if load_seconds(pod) is not None]
    if not pods:
        return states
    found = weights.store(spec, target)
    newest = max(pod.loaded_at for pod in pods if pod.loaded_at is not None)
    seconds = round(median(took for pod in pods if (took := load_seconds(pod)) is not None), 1)
    measured = LoadStatus(format_time(newest), seconds, "Service", found.name, found.nodes(pods))
    return dict(states) | {revision: msgspec.structs.replace(status, load=joined(status.load, measured))}


def joined(before: LoadStatus | None, measured: LoadStatus) -> LoadStatus:
    """What is known after pods that served were measured: the first time stands as long as nothing else is new."""
    if before is None or before.store != measured.store:
        return measured
    known = {*before.nodes, *measured.nodes}
    if known == set(before.nodes) or len(before.nodes) >= MOST_NODES:
        return before
    return msgspec.structs.replace(measured, nodes=tuple(sorted(known))[:MOST_NODES])


def drilled(before: LoadStatus | None, measured: LoadStatus) -> LoadStatus:
    """What is known after a drill: what it measured, and the nodes of before where the store is the same."""
    nodes = {*measured.nodes, *(before.nodes if before is not None and before.store == measured.store else ())}
    return msgspec.structs.replace(measured, nodes=tuple(sorted(nodes))[:MOST_NODES])
