"""Which objects a controller has: it adopts orphans that its selector matches, and releases what no longer matches.

So a pod that is relabelled leaves its ReplicaSet and can be looked into while a replacement takes its place.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from outrider.api.meta import ObjectMeta, OwnerReference
from outrider.kube.api import Api, Conflict, Kind, NotFound
from outrider.kube.informer import Informer
from outrider.kube.objects import LabelSelector
from outrider.kube.selectors import Selector, label_selector
from outrider.local.actors.shared import BY_CONTROLLER, BY_NAMESPACE, reference_json, without_owner

T = TypeVar("T")


def _selector(selector: LabelSelector) -> Selector | None:
    """None for a selector without requirements, which the API server would not have let in: it claims nothing."""
    made = label_selector(selector)
    return made if made.requirements else None


async def claim(
    api: Api, owner_kind: Kind[Any], owner: ObjectMeta, selector: LabelSelector, informer: Informer[T]
) -> tuple[T, ...]:
    """The objects of the informer's kind that belong to `owner`, after adopting and releasing.

    Raises `ApiError`s other than the object having gone meanwhile.
    """
    wanted = _selector(selector)
    claimed = []
    for obj in informer.by_index(BY_CONTROLLER, owner.uid):
        metadata: ObjectMeta = obj.metadata  # type: ignore[attr-defined]
        if wanted is None or wanted.matches(metadata.labels) or metadata.deletion_timestamp is not None:
            claimed.append(obj)
        elif owner.deletion_timestamp is None:
            await _set_owners(api, informer, metadata, without_owner(metadata.owner_references, [owner.uid]))
    if wanted is None or owner.deletion_timestamp is not None:
        return tuple(claimed)
    for obj in _orphans(informer, owner.namespace):
        metadata = obj.metadata  # type: ignore[attr-defined]
        if not wanted.matches(metadata.labels):
            continue
        live = await api.get(owner_kind, owner.name, owner.namespace)
        if live.metadata.uid != owner.uid or live.metadata.deletion_timestamp is not None:
            break  # the owner is not what the cache says: adopt nothing
        reference = OwnerReference(owner_kind.api_version, owner_kind.kind, owner.name, owner.uid, True, True)
        references = [*without_owner(metadata.owner_references, ()), reference_json(reference)]
        adopted = await _set_owners(api, informer, metadata, references)
        if adopted is not None:
            claimed.append(adopted)
    return tuple(claimed)


def possible_owners(obj: Any, owners: Informer[Any]) -> list[str]:
    """The keys of the owners that would adopt `obj`, if it is an orphan: those whose selector matches it."""
    metadata: ObjectMeta = obj.metadata
    if metadata.controller is not None or metadata.deletion_timestamp is not None or not metadata.labels:
        return []
    candidates = owners.by_index(BY_NAMESPACE, metadata.namespace)
    selectors = ((each.metadata.key, _selector(each.spec.selector)) for each in candidates)
    return [key for key, selector in selectors if selector is not None and selector.matches(metadata.labels)]


def _orphans(informer: Informer[T], namespace: str) -> Iterable[T]:
    for obj in informer.by_index(BY_NAMESPACE, namespace):
        metadata: ObjectMeta = obj.metadata  # type: ignore[attr-defined]
        if metadata.controller is None and metadata.deletion_timestamp is None:
            yield obj


async def _set_owners(
    api: Api, informer: Informer[T], metadata: ObjectMeta, references: list[dict[str, Any]]
) -> T | None:
    patch = {"metadata": {"resourceVersion": metadata.resource_version, "ownerReferences": references}}
    try:
        written = await api.patch(informer.kind, metadata.name, patch, metadata.namespace)
    except (NotFound, Conflict):  # gone or changed: the event that says so brings the owner back
        return None
    informer.written(written)
    return written
