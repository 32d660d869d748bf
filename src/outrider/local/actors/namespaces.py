"""The namespace controller: a Namespace that is deleted is emptied first."""

from typing import Any

from outrider.kube import resources
from outrider.kube.api import Conflict, Kind, NotFound
from outrider.kube.controller import Controller, Result
from outrider.kube.metadata import metadata_of
from outrider.kube.predicates import content_changed
from outrider.local.actors.objects import NAMESPACE, Dependent, Namespace
from outrider.local.actors.shared import Shared

FINALIZER = "kubernetes"


class Namespaces:
    def __init__(self, shared: Shared) -> None:
        self._shared, self._api = shared, shared.api

    def controller(self) -> Controller:
        controller = self._shared.controller("namespaces", self.reconcile, concurrency=2)
        controller.for_(self._shared.namespaces, content_changed)
        for informer in self._shared.informers:
            if informer.kind.namespaced:
                controller.maps(informer, self._terminating_namespace, _is_gone)
        return controller

    def _terminating_namespace(self, obj: Any) -> tuple[str, ...]:
        name = metadata_of(obj).namespace
        namespace = self._shared.namespaces.get(name)
        return (name,) if namespace is not None and namespace.metadata.deletion_timestamp is not None else ()

    async def reconcile(self, name: str) -> Result | None:
        namespace = self._shared.namespaces.get(name)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return None
        left = 0
        for kind in resources.ALL:
            if kind.namespaced:
                left += await self._empty(kind, name)
        if left:
            return Result(self._shared.settings.resync_period)
        await self._finalize(namespace)
        return None

    async def _empty(self, kind: Kind[Any], namespace: str) -> int:
        """Delete all objects of a kind; gives how many there were, by a live list."""
        try:
            listed = await self._api.list(kind.into(Dependent), namespace)
        except NotFound:  # the cluster does not have this kind
            return 0
        for obj in listed.items:
            if obj.metadata.deletion_timestamp is None:
                try:
                    await self._api.delete(kind, obj.metadata.name, namespace, uid=obj.metadata.uid)
                except (NotFound, Conflict):
                    continue
        return len(listed.items)

    async def _finalize(self, namespace: Namespace) -> None:
        metadata = namespace.metadata
        patch = {
            "metadata": {"resourceVersion": metadata.resource_version},
            "spec": {"finalizers": [each for each in namespace.spec.finalizers if each != FINALIZER]},
        }
        try:
            await self._api.patch(NAMESPACE, metadata.name, patch, subresource="finalize")
        except NotFound:
            return


def _is_gone(_old: Any, new: Any) -> bool:
    return new is None
