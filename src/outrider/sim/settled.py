"""What must be so in the end: when nothing goes wrong any more, everything becomes as it was asked for, and quiet."""

from collections.abc import Iterator
from typing import Any

from outrider.api import labels
from outrider.kube.api import Kind, Object
from outrider.kube.objects import DEPLOYMENT, HTTP_ROUTE, POD, POD_DISRUPTION_BUDGET, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION
from outrider.local.store import Store
from outrider.sim.kubelet import ready
from outrider.sim.truth import Service, Truth
from outrider.sim.wish import ANY

HOLDS = frozenset({"NoPreviousStableVersion", "UnknownRevision", "InvalidSpec"})
"""Reasons for which what is asked for cannot be made true, and what serves goes on."""
NONE = "<none>"
"""What a status says for no version."""
OWNED = (DEPLOYMENT, SERVICE, POD, POD_DISRUPTION_BUDGET, HTTP_ROUTE, MODEL_REVISION)


def unsettled(store: Store, truth: Truth) -> Iterator[str]:
    """Why things are not yet as they should be, one sentence each; nothing when they are."""
    for name in sorted(truth.services):
        yield from _drilled(store, name)
        found = _one(store, LLM_DEPLOYMENT, name)
        if found is None:
            yield from _gone(store, name)
        elif found["metadata"].get("deletionTimestamp"):
            yield f"{name} is still being deleted"
        else:
            yield from _served(store, truth, name, found)


def _drilled(store: Store, name: str) -> Iterator[str]:
    """What is left of drills."""
    for kind in (DEPLOYMENT, POD):
        left = [one.name for one in store.table(kind).all() if one.labels.get(labels.DRILL_OF) == name]
        if left:
            yield f"there is still {kind.kind} {', '.join(left)} of a drill of {name}"


def unseen(store: Store) -> Iterator[str]:
    """What people changed and no status tells of, one sentence each."""
    for record in store.table(LLM_DEPLOYMENT).all():
        obj = record.object()
        seen, generation = (obj.get("status") or {}).get("observedGeneration"), obj["metadata"]["generation"]
        if seen != generation and not obj["metadata"].get("deletionTimestamp"):
            yield f"{record.name} is at generation {generation}, and {seen or 'none'} was seen"


def _gone(store: Store, name: str) -> Iterator[str]:
    for kind in OWNED:
        left = [one["metadata"]["name"] for one in _owned(store, kind, name)]
        if left:
            yield f"{name} is deleted, and there is still {kind.kind} {', '.join(left)}"


def _served(store: Store, truth: Truth, name: str, obj: Object) -> Iterator[str]:
    status, service = obj.get("status") or {}, truth.service(name)
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    condition = conditions.get("Ready") or {"status": "Unknown", "reason": "", "message": "no condition"}
    if status.get("observedGeneration") != obj["metadata"]["generation"]:
        yield f"{name} is at generation {obj['metadata']['generation']}, {status.get('observedGeneration')} was seen"
        return
    wish = service.wishes[-1]
    held = condition["reason"] in HOLDS
    taken_back = conditions.get("RolledBack", {}).get("status") == "True"
    bad = conditions.get("ReleaseHealthy", {}).get("status") == "False" or _looks_bad(status, service)
    if bad and not serving_nothing(service):
        return  # it is bad, and people are to decide: it stays where it is
    expected = str(status.get("effectiveVersion") or "").replace(NONE, "")
    if wish.version != ANY and not held and not taken_back and expected != wish.version:
        yield f"{name} should serve {wish.version}, and its status says {expected or 'nothing'}"
    wanted = wish.replicas if expected else 0
    pods = [pod for pod in _owned(store, POD, name) if (pod.get("status") or {}).get("phase") != "Failed"]
    of_version = [pod for pod in pods if pod["metadata"]["labels"].get(labels.MODEL_VERSION) == expected]
    serving = [pod for pod in of_version if ready(pod)]
    if (len(pods), len(serving)) != (wanted, wanted):
        yield (
            f"{name} should have {wanted} pods of {expected}, and has {len(pods)}, of it {len(of_version)} and "
            f"{len(serving)} ready; Ready is {condition['status']} ({condition['reason']}): {condition['message']}"
        )
    elif service.endpoints != wanted:
        yield f"{name} has {wanted} pods that are ready, and {service.endpoints} endpoints"
    elif not held and wanted and condition["status"] != "True":
        yield f"{name} serves, and Ready is {condition['status']} ({condition['reason']}): {condition['message']}"
    elif condition["status"] == "True" and (held or not wanted):
        yield f"{name} is Ready, and nobody could tell why"


def _looks_bad(status: Object, service: Service) -> bool:
    """Whether a release waits at its step because a version that failed for a while looks worse: it takes hours of good
    answers to make up for minutes of bad ones.
    """
    release = status.get("release") or {}
    waits = str(release.get("waitsFor", "")).startswith(("better evidence", "a person, for it is worse"))
    return waits and release["version"] in service.blamed


def awaits_evidence(store: Store, truth: Truth) -> bool:
    """Whether some release waits so: then both of its versions serve, and what is counted of them is written down."""
    found = ((name, _one(store, LLM_DEPLOYMENT, name)) for name in truth.services)
    return any(obj is not None and _looks_bad(obj.get("status") or {}, truth.services[name]) for name, obj in found)


def serving_nothing(service: Service) -> bool:
    return service.endpoints == 0


def _one(store: Store, kind: Kind[Any], name: str) -> Object | None:
    return next((record.object() for record in store.table(kind).all() if record.name == name), None)


def _owned(store: Store, kind: Kind[Any], name: str) -> list[Object]:
    return [record.object() for record in store.table(kind).all() if record.labels.get(labels.DEPLOYMENT) == name]
