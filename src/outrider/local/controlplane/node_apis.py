"""What the nodes of a local world serve to the API server: each kubelet's own API, and the metrics of all of them."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from outrider.kube.api import Api, Kind
from outrider.kube.installed import CLUSTER_ROLE
from outrider.kube.objects import ENDPOINT_SLICE, SERVICE
from outrider.local.controlplane.definitions import FIELD_OWNER
from outrider.local.controlplane.metrics_api import SERVER_NAMES, MetricsApi, registration
from outrider.local.controlplane.pki import Authority, KeyPair, Pki
from outrider.local.kubelet import Kubelet
from outrider.local.kubelet.server import KubeletServer
from outrider.local.kubelet.usage import UsageMonitor

API_SERVICE: Kind[Any] = Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", False, dict)
_KINDS = {kind.kind: kind.into(dict) for kind in (SERVICE, ENDPOINT_SLICE, CLUSTER_ROLE, API_SERVICE)}


@asynccontextmanager
async def served_node_apis(
    pki: Pki, kubelets: Sequence[Kubelet], usage: UsageMonitor, api: Api, *, address: str
) -> AsyncIterator[None]:
    """Serve every kubelet's API at its node's address, and `metrics.k8s.io` at `address`; tell the API server of it."""
    async with AsyncExitStack() as stack:
        for kubelet in kubelets:
            pair = pki.node_server(kubelet.node.name, kubelet.node.address)
            await stack.enter_async_context(KubeletServer(kubelet, usage, _context(pair, pki.cluster)))
        pair = pki.cluster.issue("metrics-server", "metrics-server", names=SERVER_NAMES)
        metrics = MetricsApi(kubelets, usage, _context(pair, pki.front_proxy), address=address)
        await stack.enter_async_context(metrics)
        for body in registration(address, metrics.port, pki.cluster.pair.certificate.read_bytes()):
            await api.apply(_KINDS[body["kind"]], body, owner=FIELD_OWNER)
        yield


def _context(pair: KeyPair, clients: Authority) -> ssl.SSLContext:
    """TLS with this certificate, for clients whose certificates `clients` signed, and for nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(clients.pair.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
