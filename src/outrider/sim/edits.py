"""Random edits of a spec, each from the state that the last one left: the end is what a fresh install would be."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from outrider.api import labels
from outrider.api.version import is_previous_stable
from outrider.kube.api import Kind, Object
from outrider.kube.objects import DEPLOYMENT, HTTP_ROUTE, POD, POD_DISRUPTION_BUDGET, REPLICA_SET, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION
from outrider.local.store import Store
from outrider.local.store.patches import merge_patch
from outrider.sim.crashes import NAME
from outrider.sim.draw_specs import edit, first_spec
from outrider.sim.incidents import Apply, Edit
from outrider.sim.logs import captured
from outrider.sim.loop import run_virtually
from outrider.sim.operators import OperatorProcess
from outrider.sim.settled import unsettled
from outrider.sim.truth import Truth
from outrider.sim.world import World

LIMIT = 3600.0
"""Virtual seconds in which an edit must have become true."""
LOOK_SECONDS = 2.0
KEPT_REPLICA_SETS = 3
"""The present one, and the two old ones that a Deployment keeps (revisionHistoryLimit)."""
KEPT_REVISIONS = 10
MADE_BY_HISTORY = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/restartedAt")
SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink")


@dataclass(frozen=True)
class Difference:
    """An edit after which the state is not that of a fresh install."""

    seed: int
    number: int
    """Which edit, from 1."""
    spec: dict[str, Any]
    message: str


def edits(seed: int, count: int) -> Iterator[Difference | None]:
    """Make so many edits, one after another; gives for each None, or what is different, and ends there."""
    rng = random.Random(seed)  # noqa: S311
    spec = first_spec(rng)
    patches = [_plain_edit(rng) for _ in range(count)]
    wishes = []
    for patch in patches:
        spec = merge_patch(spec, patch)
        wishes.append(spec)
    with captured():
        states = run_virtually(lambda: _edited(seed, first_spec(random.Random(seed)), patches))  # noqa: S311
    for number, (wish, state) in enumerate(zip(wishes, states, strict=True), start=1):
        message = state.complaint or _compared(state, seed, wish)
        yield Difference(seed, number, wish, message) if message else None
        if message:
            return


def _plain_edit(rng: random.Random) -> dict[str, Any]:
    """An edit that means the same whatever was before: what an alias means, history decides."""
    patch = edit(rng)
    while is_previous_stable(str(patch.get("model", {}).get("version"))):
        patch = edit(rng)
    return patch


@dataclass(frozen=True)
class State:
    """What there is after an edit."""

    objects: dict[str, Any]
    """Kind to what is wanted of its objects, without what only history can explain."""
    complaint: str = ""


def _compared(state: State, seed: int, spec: dict[str, Any]) -> str:
    with captured():
        (fresh,) = run_virtually(lambda: _edited(seed, spec, [{}]))
    if fresh.complaint:
        return f"a fresh install: {fresh.complaint}"
    for kind in sorted(state.objects):
        if kind == POD_DISRUPTION_BUDGET.kind and not state.objects[POD.kind]:
            continue  # one that is suspended keeps the budget that it had
        here, there = state.objects.get(kind), fresh.objects.get(kind)
        if here != there:
            return _told(kind, here, there)
    return ""


def _told(path: str, here: Any, there: Any) -> str:
    """Where two values differ first, in words."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                return _told(f"{path}.{name}", here.get(name), there.get(name))
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for place, (one, other) in enumerate(zip(here, there, strict=True)):
            if one != other:
                return _told(f"{path}[{place}]", one, other)
    return f"{path} is {msgspec.json.encode(here).decode()}, and freshly {msgspec.json.encode(there).decode()}"


async def _edited(seed: int, spec: dict[str, Any], patches: list[dict[str, Any]]) -> list[State]:
    async with World(nodes=3, gpus=8, load_seconds=3.0, seed=seed) as world:
        truth = Truth(60.0)
        world.observe(truth.follow)
        process = OperatorProcess(
            "operator", world.store, random.Random(seed), lambda: (), _Nobody(), world.kubelet.answers, elected=False  # noqa: S311
        )  # fmt: skip
        running = asyncio.create_task(process.run())
        try:
            await world.apply(Apply(at=0.0, deployment=NAME, spec=spec))
            await _until_settled(world.store, truth)
            states = []
            for patch in patches:
                if patch:
                    await world.edit(Edit(at=0.0, deployment=NAME, spec=patch))
                complaint = await _until_settled(world.store, truth)
                states.append(_state(world.store, complaint))
            return states
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class _Nobody:
    """Watches nothing."""

    def writing(self, who: str) -> None:
        pass

    def wrote(self, who: str, call: str, kind: Kind[Any], name: str, refusal: str) -> None:
        pass


async def _until_settled(store: Store, truth: Truth) -> str:
    """Wait until all is as asked for, twice in a row; gives what is missing when it never is."""
    loop = asyncio.get_running_loop()
    end, times = loop.time() + LIMIT, 0
    why: list[str] = []
    while times < 2:
        if loop.time() > end:
            return "; ".join(why)
        await asyncio.sleep(LOOK_SECONDS)
        why = list(unsettled(store, truth))
        times = 0 if why else times + 1
    return ""


def _state(store: Store, complaint: str) -> State:
    (deployment,) = [record.object() for record in store.table(LLM_DEPLOYMENT).all()]
    status = deployment["status"]
    objects = {
        kind.kind: sorted((_wanted(obj) for obj in _all(store, kind)), key=msgspec.json.encode)
        for kind in (DEPLOYMENT, SERVICE, HTTP_ROUTE, POD_DISRUPTION_BUDGET, POD)
    }
    revision = status.get("effectiveRevision", "")
    objects["ModelRevision"] = [
        {**obj["spec"], "sequence": 0} for obj in _all(store, MODEL_REVISION) if obj["spec"]["hash"] == revision
    ]
    left = _left_over(store)
    return State(objects, complaint or left)


def _left_over(store: Store) -> str:
    sets = _all(store, REPLICA_SET)
    busy = [one["metadata"]["name"] for one in sets if one["spec"]["replicas"]]
    if len(sets) > KEPT_REPLICA_SETS or len(busy) > 1:
        return f"{len(sets)} ReplicaSets are left, of which {', '.join(busy)} want pods"
    revisions = _all(store, MODEL_REVISION)
    return f"{len(revisions)} ModelRevisions are left" if len(revisions) > KEPT_REVISIONS else ""


def _all(store: Store, kind: Kind[Any]) -> list[Object]:
    return [record.object() for record in store.table(kind).all() if labels.DEPLOYMENT in record.labels]


def _wanted(obj: Object) -> Object:
    """What was asked for of an object: no status, no names by chance, nothing that only its history explains."""
    meta = {name: value for name, value in obj["metadata"].items() if name not in SERVER_FIELDS}
    for owner in meta.get("ownerReferences", ()):
        owner.pop("uid", None)
    meta["annotations"] = {
        name: value for name, value in (meta.get("annotations") or {}).items() if name not in MADE_BY_HISTORY
    }
    spec = dict(obj.get("spec") or {})
    if obj["kind"] == POD.kind:
        for name in ("name", "generateName", "ownerReferences"):
            meta.pop(name, None)
        meta["labels"].pop("pod-template-hash", None)
        spec.pop("nodeName", None)
    return {"metadata": meta, "spec": spec}
