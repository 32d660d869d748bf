"""The garbage collector: what belongs to nobody any more goes; what is deleted in the foreground waits for its own.

It works on objects of all kinds by their owner references. A cache may be behind, so that nothing is deleted on its
word: that an owner is gone is checked with a live GET, and the deletion names the uid of the very object meant.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from outrider.api.meta import ObjectMeta, OwnerReference
from outrider.kube import resources
from outrider.kube.api import Conflict, Kind, NotFound, Propagation
from outrider.kube.controller import Controller, Result
from outrider.kube.informer import Informer
from outrider.kube.metadata import metadata_of
from outrider.local.actors.objects import Dependent
from outrider.local.actors.shared import BY_OWNER, Shared, without_owner

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_SEPARATOR = "|"


class OwnerState(Enum):
    SOLID = "solid"
    """It exists, and stays; or nobody can tell, which must count as such."""
    GONE = "gone"
    """There is no such object, or another one has its name."""
    WAITING = "waiting"
    """It is being deleted in the foreground, and waits for its dependents to go first."""


class Verdict(NamedTuple):
    """What to do about an object, seen from its owners."""

    delete: Propagation | None = None
    release_from: tuple[str, ...] = ()
    """Uids of owners that it must no longer name."""


def judge(metadata: ObjectMeta, owners: Mapping[str, OwnerState], *, has_dependents: bool) -> Verdict:
    """An object goes when no owner of it is solid; it only loses the references to the others when one is."""
    if not metadata.owner_references:
        return Verdict()
    states = [owners[reference.uid] for reference in metadata.owner_references]
    lost = tuple(uid for uid, state in owners.items() if state is not OwnerState.SOLID)
    if OwnerState.SOLID in states:
        return Verdict(None, lost)
    if metadata.deletion_timestamp is not None:
        return Verdict()
    if OwnerState.WAITING in states and has_dependents:
        return Verdict("Foreground")  # the owner waits for the whole tree, not for its first level
    if ORPHAN in metadata.finalizers:
        return Verdict("Orphan")
    return Verdict("Foreground" if FOREGROUND in metadata.finalizers else "Background")


def blocks(metadata: ObjectMeta, owner_uid: str) -> bool:
    """Whether the owner's foreground deletion has to wait for this dependent."""
    return any(each.uid == owner_uid and each.block_owner_deletion for each in metadata.owner_references)


class GarbageCollector:
    def __init__(self, shared: Shared) -> None:
        self._shared, self._api = shared, shared.api
        self._gone: set[str] = set()
        """Uids of owners known to be gone: a uid never comes back."""

    def controller(self) -> Controller:
        controller = self._shared.controller("garbage_collector", self.reconcile, concurrency=4)
        for informer in self._shared.informers:
            controller.maps(informer, _own_key(informer.kind), _has_to_do_with_owners)
            controller.maps(informer, self._dependents_of, _may_free_dependents)
            controller.maps(informer, self._owners_of, _may_free_owners)
        return controller

    def _dependents_of(self, obj: Any) -> list[str]:
        uid = metadata_of(obj).uid
        return [_key(kind, metadata) for kind, metadata in self._dependents(uid)] if uid else []

    def _owners_of(self, obj: Any) -> list[str]:
        metadata = metadata_of(obj)
        kinds = ((reference, _kind_of(reference)) for reference in metadata.owner_references)
        return [
            _SEPARATOR.join(
                (kind.api_version, kind.kind, metadata.namespace if kind.namespaced else "", reference.name)
            )
            for reference, kind in kinds
            if kind is not None
        ]

    def _dependents(self, owner_uid: str) -> Iterable[tuple[Kind[Any], ObjectMeta]]:
        for informer in self._shared.informers:
            for obj in informer.by_index(BY_OWNER, owner_uid):
                yield informer.kind, metadata_of(obj)

    async def reconcile(self, key: str) -> Result | None:
        api_version, kind_name, namespace, name = key.split(_SEPARATOR)
        kind = resources.kind_for(api_version, kind_name)
        informer = self._shared.informer(kind) if kind is not None else None
        cached = informer.get(f"{namespace}/{name}" if namespace else name) if informer else None
        if informer is None or cached is None:
            return None
        metadata = metadata_of(cached)
        dependents = list(self._dependents(metadata.uid))
        if metadata.deletion_timestamp is not None:
            if ORPHAN in metadata.finalizers:
                await self._orphan(informer, metadata, dependents)
                return None
            if FOREGROUND in metadata.finalizers and not await self._finish_foreground(informer, metadata, dependents):
                return Result(self._shared.settings.resync_period)
        if not metadata.owner_references:
            return None
        states = {each.uid: await self._state_of(metadata, each) for each in metadata.owner_references}
        verdict = judge(metadata, states, has_dependents=bool(dependents))
        if verdict.release_from:
            references = without_owner(metadata.owner_references, verdict.release_from)
            await self._patch(informer, metadata, {"ownerReferences": references})
        if verdict.delete is not None and await self._is_as_cached(informer.kind, metadata):
            await self._delete(informer.kind, metadata, verdict.delete)
        return None

    async def _is_as_cached(self, kind: Kind[Any], metadata: ObjectMeta) -> bool:
        """Whether the live object still is the one judged. One with other owners by now comes back with its event."""
        try:
            live = await self._api.get(kind.into(Dependent), metadata.name, metadata.namespace)
        except NotFound:
            return False
        return live.metadata.uid == metadata.uid and live.metadata.owner_references == metadata.owner_references

    async def _state_of(self, metadata: ObjectMeta, reference: OwnerReference) -> OwnerState:
        if reference.uid in self._gone:
            return OwnerState.GONE
        kind = _kind_of(reference)
        informer = self._shared.informer(kind) if kind is not None else None
        if kind is None or informer is None:
            return OwnerState.SOLID  # a kind that is not known here: nobody can say that the owner is gone
        namespace = metadata.namespace if kind.namespaced else ""
        cached = informer.get(f"{namespace}/{reference.name}" if namespace else reference.name)
        if cached is not None and metadata_of(cached).uid == reference.uid:
            return _state(metadata_of(cached))
        try:
            live = await self._api.get(kind.into(Dependent), reference.name, namespace)
        except NotFound:
            live = Dependent()
        if live.metadata.uid == reference.uid:
            return _state(live.metadata)
        self._gone.add(reference.uid)
        return OwnerState.GONE

    async def _finish_foreground(
        self, informer: Informer[Any], metadata: ObjectMeta, dependents: Sequence[tuple[Kind[Any], ObjectMeta]]
    ) -> bool:
        """Let the object go once nothing that blocks it is left. The dependents are deleted on their own keys."""
        if any(blocks(each, metadata.uid) for _, each in dependents):
            return False
        await self._drop_finalizer(informer, metadata, FOREGROUND)
        return True

    async def _orphan(
        self, informer: Informer[Any], metadata: ObjectMeta, dependents: Sequence[tuple[Kind[Any], ObjectMeta]]
    ) -> None:
        """Make the dependents forget the object, then let it go."""
        for kind, each in dependents:
            owner = self._shared.informer(kind)
            if owner is not None:
                references = without_owner(each.owner_references, [metadata.uid])
                await self._patch(owner, each, {"ownerReferences": references})
        await self._drop_finalizer(informer, metadata, ORPHAN)

    async def _drop_finalizer(self, informer: Informer[Any], metadata: ObjectMeta, finalizer: str) -> None:
        await self._patch(
            informer, metadata, {"finalizers": [each for each in metadata.finalizers if each != finalizer]}
        )

    async def _patch(self, informer: Informer[Any], metadata: ObjectMeta, change: dict[str, Any]) -> None:
        """Change an object's metadata, if it is still the version that the change was worked out for."""
        patch = {"metadata": {"resourceVersion": metadata.resource_version, **change}}
        try:
            await self._api.patch(informer.kind.into(dict), metadata.name, patch, metadata.namespace)
        except NotFound:
            return

    async def _delete(self, kind: Kind[Any], metadata: ObjectMeta, propagation: Propagation) -> None:
        try:
            await self._api.delete(kind, metadata.name, metadata.namespace, uid=metadata.uid, propagation=propagation)
        except (NotFound, Conflict):  # gone, or another object by now
            return


def _state(owner: ObjectMeta) -> OwnerState:
    waiting = owner.deletion_timestamp is not None and FOREGROUND in owner.finalizers
    return OwnerState.WAITING if waiting else OwnerState.SOLID


def _kind_of(reference: OwnerReference) -> Kind[Any] | None:
    return resources.kind_for(reference.api_version, reference.kind)


def _key(kind: Kind[Any], metadata: ObjectMeta) -> str:
    return _SEPARATOR.join((kind.api_version, kind.kind, metadata.namespace, metadata.name))


def _own_key(kind: Kind[Any]) -> Any:
    return lambda obj: (_key(kind, metadata_of(obj)),)


def _finalizers(obj: Any) -> bool:
    return bool({FOREGROUND, ORPHAN} & set(metadata_of(obj).finalizers))


def _has_to_do_with_owners(old: Any, new: Any) -> bool:
    """An object with owners came or got other ones, or one with the collector's finalizers is being deleted."""
    if new is None:
        return False
    after = metadata_of(new)
    if after.deletion_timestamp is not None and _finalizers(new):
        return True
    before = metadata_of(old).owner_references if old is not None else ()
    return bool(after.owner_references) and (old is None or before != after.owner_references)


def _may_free_dependents(old: Any, new: Any) -> bool:
    """An object is gone, or began to wait for its dependents."""
    if new is None:
        return True
    began = old is None or metadata_of(old).deletion_timestamp is None
    return metadata_of(new).deletion_timestamp is not None and began and _finalizers(new)


def _may_free_owners(old: Any, new: Any) -> bool:
    """A dependent is gone, or forgot an owner."""
    if old is None or not metadata_of(old).owner_references:
        return False
    return new is None or metadata_of(old).owner_references != metadata_of(new).owner_references
