"""Which endpoints are ready, per Service port: built from Services, EndpointSlices and pods as they change."""

import weakref
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from outrider.api.labels import HTTP_PORT_NAME
from outrider.api.meta import ObjectMeta
from outrider.kube.objects import EndpointSlice, ObjectReference, Service
from outrider.local.gateway.pool import Endpoint, Pool

SERVICE_OF_SLICE = "kubernetes.io/service-name"
ANY_PORT = 0
"""A reference without a port means the Service's port `http`, or its first."""


class PodMeta(msgspec.Struct, frozen=True, rename="camel"):
    """Of a pod only what it is and whether it is going."""

    metadata: ObjectMeta = ObjectMeta()


class EndpointTable:
    """Every `put_` may be repeated, and every `remove_` be of what is not there; objects may arrive in any order.

    A change costs as much as the Service that it concerns. Pods are looked up when they are asked for.
    """

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._pools: dict[str, dict[int, Pool]] = {}
        self._slices: dict[str, dict[str, EndpointSlice]] = {}
        self._pods: dict[str, PodMeta] = {}
        self._gone: set[str] = set()
        """Pods that are deleted but that a slice still lists."""
        self._pods_of: dict[str, set[str]] = {}
        self._services_of: dict[str, set[str]] = {}
        # Weak, but kept by requests in flight: an endpoint that comes back is the same, with its count.
        self._endpoints: weakref.WeakValueDictionary[tuple[str, int, str], Endpoint] = weakref.WeakValueDictionary()

    def pool(self, service: str, port: int) -> Pool | None:
        """The ready endpoints of a port (`ANY_PORT` for the usual one) of a Service; None if there is no such port."""
        pools = self._pools.get(service)
        return pools.get(port) if pools is not None else None

    def services(self) -> tuple[str, ...]:
        """`namespace/name` of all Services."""
        return tuple(self._services)

    def labels_of_pod(self, uid: str) -> Mapping[str, str]:
        """The labels of the pod with this uid; empty when it is not known."""
        pod = self._pods.get(uid)
        return pod.metadata.labels if pod is not None else {}

    def why_not(self, service: str, port: int) -> str:
        """Why no endpoint of a Service's port can be had, for people."""
        if service not in self._services:
            return f"the Service {service} does not exist"
        if self.pool(service, port) is None:
            return f"the Service {service} has no port {port}"
        total = sum(len(piece.endpoints) for piece in self._slices.get(service, {}).values())
        if not total:
            return f"the Service {service} has no pod: is it scaled to zero, or are its pods waiting for a node?"
        return f"none of the {total} pods of the Service {service} is ready: still loading, failing, or terminating"

    def put_service(self, service: Service) -> None:
        key = service.metadata.key
        self._services[key] = service
        pools = self._pools.setdefault(key, {})
        ports = {port.port for port in service.spec.ports} | {ANY_PORT}
        for port in pools.keys() - ports:
            pools.pop(port).replace(())
        for port in ports - pools.keys():
            pools[port] = Pool()
        self._refresh(key)

    def remove_service(self, key: str) -> None:
        self._services.pop(key, None)
        for pool in self._pools.pop(key, {}).values():
            pool.replace(())

    def put_slice(self, piece: EndpointSlice) -> None:
        service = service_of(piece)
        self._slices.setdefault(service, {})[piece.metadata.name] = piece
        self._refresh(service)

    def remove_slice(self, piece: EndpointSlice) -> None:
        service = service_of(piece)
        pieces = self._slices.get(service, {})
        pieces.pop(piece.metadata.name, None)
        if not pieces:
            self._slices.pop(service, None)
        self._refresh(service)

    def put_pod(self, pod: PodMeta) -> None:
        uid = pod.metadata.uid
        before = self._pods.get(uid)
        self._pods[uid] = pod
        if _going(before) != _going(pod):
            self._refresh_services_of(uid)

    def remove_pod(self, uid: str) -> None:
        self._pods.pop(uid, None)
        if uid in self._services_of:
            self._gone.add(uid)
            self._refresh_services_of(uid)

    def _refresh_services_of(self, uid: str) -> None:
        """Pods are watched too, to be ahead of the EndpointSlices: one that terminates gets no new request at once."""
        for service in tuple(self._services_of.get(uid, ())):
            self._refresh(service)

    def _refresh(self, service: str) -> None:
        pieces = tuple(self._slices.get(service, {}).values())
        self._note_pods(service, {_pod_uid(endpoint.target_ref) for piece in pieces for endpoint in piece.endpoints})
        known = self._services.get(service)
        if known is None:
            return
        usual = next((port for port in known.spec.ports if port.name == HTTP_PORT_NAME), None) or next(
            iter(known.spec.ports), None
        )
        for number, pool in self._pools[service].items():
            port = usual if number == ANY_PORT else next(port for port in known.spec.ports if port.port == number)
            pool.replace(self._takers(pieces, port.name) if port is not None else ())

    def _note_pods(self, service: str, uids: set[str]) -> None:
        before = self._pods_of.get(service, set())
        for uid in before - uids:
            self._services_of[uid].discard(service)
            if not self._services_of[uid]:
                del self._services_of[uid]
                self._gone.discard(uid)
        for uid in uids - before:
            self._services_of.setdefault(uid, set()).add(service)
        if uids:
            self._pods_of[service] = uids
        else:
            self._pods_of.pop(service, None)

    def _takers(self, pieces: Iterable[EndpointSlice], port_name: str) -> tuple[Endpoint, ...]:
        """The endpoints that requests go to: those that are ready, else those that are leaving and serve meanwhile.

        So kube-proxy has it (KEP-1669). A pod is known to leave at once, and its successor to be ready only when the
        slice has been written: of a service with one replica there may be neither in between.
        """
        return tuple(self._listed(pieces, port_name, leaving=False)) or tuple(
            self._listed(pieces, port_name, leaving=True)
        )

    def _listed(self, pieces: Iterable[EndpointSlice], port_name: str, *, leaving: bool) -> Iterator[Endpoint]:
        """The endpoints in the slices that are ready, or that are leaving, on the port with the Service port's name."""
        for piece in pieces:
            port = next((port.port for port in piece.ports if port.name == port_name), 0)
            for listed in piece.endpoints if port else ():
                uid = _pod_uid(listed.target_ref)
                conditions = listed.conditions
                if uid in self._gone or not listed.addresses:
                    continue
                leaves = bool(conditions.terminating) or _going(self._pods.get(uid))
                # Kubernetes: unset means yes, but a pod that terminates is ready never, and `serving` as long as it is.
                serves = conditions.serving if conditions.serving is not None else conditions.ready
                if leaves == leaving and (serves if leaving else conditions.ready) is not False:
                    # All addresses of an endpoint are the same pod.
                    yield self._endpoint(listed.addresses[0], port, uid)

    def _endpoint(self, address: str, port: int, uid: str) -> Endpoint:
        key = (address, port, uid)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = Endpoint(address, port, uid)
        return endpoint


def service_of(piece: EndpointSlice) -> str:
    """`namespace/name` of the Service that a slice belongs to."""
    return f"{piece.metadata.namespace}/{piece.metadata.labels.get(SERVICE_OF_SLICE, '')}"


def _pod_uid(reference: ObjectReference | None) -> str:
    return reference.uid if reference is not None else ""


def _going(pod: PodMeta | None) -> bool:
    return pod is not None and pod.metadata.deletion_timestamp is not None
