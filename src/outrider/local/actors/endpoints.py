"""The endpoint slice controller: which pods stand behind each Service, as soon as they do and no longer."""

from typing import Any

import msgspec

from outrider.kube.api import NotFound
from outrider.kube.controller import Controller
from outrider.kube.objects import EndpointSlice
from outrider.kube.predicates import content_changed
from outrider.kube.queue import URGENT_PRIORITY
from outrider.local.actors.endpoint_slices import MANAGED_BY, MANAGER, slice_bodies
from outrider.local.actors.objects import ENDPOINT_SLICE, Pod
from outrider.local.actors.shared import BY_NAMESPACE, BY_SERVICE, Shared, service_of


class Endpoints:
    def __init__(self, shared: Shared) -> None:
        self._shared, self._api = shared, shared.api

    def controller(self) -> Controller:
        shared = self._shared
        controller = shared.controller("endpoints", self.reconcile, concurrency=4)
        controller.for_(shared.services, content_changed)
        controller.maps(shared.pods, self._services_of, content_changed, priority=URGENT_PRIORITY)
        return controller.maps(shared.endpoint_slices, service_of, content_changed)

    def _services_of(self, pod: Pod) -> list[str]:
        labels = pod.metadata.labels.items()
        services = self._shared.services.by_index(BY_NAMESPACE, pod.metadata.namespace)
        return [each.metadata.key for each in services if each.spec.selector and each.spec.selector.items() <= labels]

    async def reconcile(self, key: str) -> None:
        service = self._shared.services.get(key)
        existing = {
            each.metadata.name: each
            for each in self._shared.endpoint_slices.by_index(BY_SERVICE, key)
            if each.metadata.labels.get(MANAGED_BY) == MANAGER
        }
        gone = service is None or service.metadata.deletion_timestamp is not None
        if service is not None and not gone and not service.spec.selector:
            return  # its endpoints are somebody else's to write
        wanted: dict[str, dict[str, Any]] = {}
        if service is not None and not gone:
            selector = service.spec.selector.items()
            pods = self._shared.pods.by_index(BY_NAMESPACE, service.metadata.namespace)
            wanted = slice_bodies(service, [pod for pod in pods if selector <= pod.metadata.labels.items()])
        # What is new first, what is old last: an endpoint that moves between slices is never in none.
        for name, body in wanted.items():
            await self._write(body, existing.get(name))
        for name, old in existing.items():
            if name not in wanted:
                await self._delete(old)

    async def _write(self, body: dict[str, Any], existing: EndpointSlice | None) -> None:
        informer = self._shared.endpoint_slices
        if existing is None:
            informer.written(await self._api.create(ENDPOINT_SLICE, body))
            return
        desired = msgspec.convert(body, EndpointSlice)
        same = (desired.endpoints, desired.ports) == (existing.endpoints, existing.ports)
        owners = desired.metadata.owner_references == existing.metadata.owner_references
        if same and owners and desired.metadata.labels == existing.metadata.labels:
            return
        metadata = {**body["metadata"], "resourceVersion": existing.metadata.resource_version}
        patch = {"metadata": metadata, "endpoints": body["endpoints"], "ports": body["ports"]}
        name, namespace = existing.metadata.name, existing.metadata.namespace
        informer.written(await self._api.patch(ENDPOINT_SLICE, name, patch, namespace))

    async def _delete(self, old: EndpointSlice) -> None:
        try:
            await self._api.delete(ENDPOINT_SLICE, old.metadata.name, old.metadata.namespace, uid=old.metadata.uid)
        except NotFound:
            return
