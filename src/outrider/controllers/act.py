"""Carries out a plan. Every step may be repeated after a crash, so nothing here remembers anything."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from outrider.api.labels import FIELD_OWNER
from outrider.api.meta import ObjectMeta
from outrider.kube.api import AlreadyExists, Api, Conflict, Invalid, Kind, NotFound, TooManyRequests
from outrider.kube.objects import DEPLOYMENT, POD
from outrider.kube.resources import written_kind
from outrider.plan.actions import Action, Apply, Create, Delete, Emit, Evict, PatchStatus, Plan, Scale, SetPodCondition

Written = Callable[[Kind[Any], Any], None]
"""Told what the API server answered to a write, so that caches can show it at once."""
Tell = Callable[[Emit], None]
"""Records an event on the object that the plan is about."""


class UnknownKind(Exception):
    """A plan names a kind that this version does not know: a defect in the plan."""


def _ignore(_kind: Kind[Any], _object: Any) -> None:
    pass


async def execute(
    api: Api,
    plan: Plan,
    kind: Kind[Any],
    metadata: ObjectMeta,
    *,
    tell: Tell | None = None,
    written: Written = _ignore,
) -> int:
    """Write the status first, then carry out the actions in their order. Gives the number of writes.

    The status patch holds only for the version of the object that the plan was made from: a plan made from an old view
    of it writes nothing at all. `tell` records events; without it there are none.

    Raises:
        Conflict: somebody else was faster; make a new plan.
        ApiError: what the API server refused, or left unknown; the same plan, or a new one, may be tried again.
        UnknownKind: a defect in the plan.
    """
    writes = 0
    if plan.status is not None:
        updated = await api.patch_status(
            kind, metadata.name, plan.status, metadata.namespace, resource_version=metadata.resource_version
        )
        written(kind, updated)
        writes += 1
    for action in plan.actions:
        writes += await _carry_out(api, action, tell, written)
    return writes


async def _carry_out(api: Api, action: Action, tell: Tell | None, written: Written) -> int:
    """One action; 1 if it was a write."""
    if isinstance(action, Emit):
        if tell is not None:
            tell(action)
        return 0
    match action:
        case Apply(body=body):
            kind = _kind_of(body)
            written(kind, await api.apply(kind, body, owner=FIELD_OWNER))
        case Create(body=body):
            return await _create(api, body, written)
        case Delete():
            return await _delete(api, action)
        case Scale():
            return await _scale(api, action, written)
        case PatchStatus():
            return await _patch_status(api, action, written)
        case SetPodCondition():
            return await _set_pod_condition(api, action, written)
        case Evict():
            return await _evict(api, action, tell)
    return 1


async def _create(api: Api, body: Mapping[str, Any], written: Written) -> int:
    kind, meta = _kind_of(body), body["metadata"]
    try:
        written(kind, await api.create(kind, body))
    except AlreadyExists:
        written(kind, await api.get(kind, meta["name"], meta.get("namespace", "")))
        return 0
    return 1


async def _delete(api: Api, action: Delete) -> int:
    try:
        await api.delete(_kind(action.api_version, action.kind), action.name, action.namespace, uid=action.uid)
    except NotFound:
        return 0
    return 1


async def _patch_status(api: Api, action: PatchStatus, written: Written) -> int:
    kind = _kind(action.api_version, action.kind)
    try:
        written(kind, await api.patch_status(kind, action.name, action.status, action.namespace))
    except NotFound:  # it went in the meantime, and its status with it
        return 0
    return 1


async def _scale(api: Api, action: Scale, written: Written) -> int:
    patch = {"metadata": {"uid": action.uid}, "spec": {"replicas": action.replicas}}
    call = api.patch(DEPLOYMENT, action.name, patch, action.namespace, owner=FIELD_OWNER)
    return await _if_still_there(DEPLOYMENT, call, written)


async def _set_pod_condition(api: Api, action: SetPodCondition, written: Written) -> int:
    # Strategic, as the kubelet itself does it: conditions are merged by their type, and those of others stay.
    patch = {"metadata": {"uid": action.uid}, "status": {"conditions": [msgspec.to_builtins(action.condition)]}}
    call = api.patch(POD, action.name, patch, action.namespace, patch_type="strategic", subresource="status")
    return await _if_still_there(POD, call, written)


async def _evict(api: Api, action: Evict, tell: Tell | None) -> int:
    try:
        await api.evict(action.name, action.namespace, uid=action.uid)
    except (NotFound, Conflict):
        return 0
    except TooManyRequests as error:
        if not error.held_back_by_budget:
            raise
        return 0  # the plan asks again, as long as there is reason to
    if tell is not None:
        tell(Emit("Warning", action.reason, action.why))
    return 1


async def _if_still_there(kind: Kind[Any], call: Awaitable[Any], written: Written) -> int:
    """A patch that names a uid: 0, and no error, where the very object that was meant is gone."""
    try:
        patched = await call
    except (NotFound, Conflict):
        return 0
    except Invalid as error:
        if not _is_of_another(error):
            raise
        return 0
    written(kind, patched)
    return 1


def _is_of_another(error: Invalid) -> bool:
    """Whether a patch was refused because the object of that name has another uid."""
    return any(cause.get("field") == "metadata.uid" for cause in error.details.get("causes") or ())


def _kind_of(body: Mapping[str, Any]) -> Kind[Any]:
    return _kind(str(body.get("apiVersion")), str(body.get("kind")))


def _kind(api_version: str, kind: str) -> Kind[Any]:
    known = written_kind(api_version, kind)
    if known is None:
        raise UnknownKind(f"no kind {kind} of {api_version} is known")
    return known
