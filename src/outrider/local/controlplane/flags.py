"""The command lines of the control plane's programs.

Why each flag that is not obvious: docs/design/0003-control-plane.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outrider.local.controlplane.pki import Pki

SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
"""The first address of the service network: the Service `kubernetes`."""
LOOPBACK = "127.0.0.1"
CLIENT_LIMITS = ("--kube-api-qps=500", "--kube-api-burst=500")
"""With the default of 20 requests a second the controller-manager takes five seconds to begin."""


@dataclass(frozen=True)
class Ports:
    """Where the programs listen, all on loopback."""

    api: int = 6443
    etcd: int = 2379
    etcd_peer: int = 2380


@dataclass(frozen=True)
class PlaneSettings:
    """What the control plane is like. Times are seconds."""

    ports: Ports = Ports()
    address: str = LOOPBACK
    """Where the API server is found beside loopback, in a network of its own: the Service `kubernetes` leads there."""
    node_grace: int = 40
    """How long a node may be silent before it is not ready; Kubernetes' default is 50."""
    toleration_seconds: int = 300
    """How long pods stay on a node that is not ready, or cannot be reached."""
    audit_policy: Path | None = None
    """A file that says what the API server writes into `audit.log` of the control plane's folder."""
    controllers: bool = True
    """Whether the controller-manager and the scheduler run."""


def etcd_flags(settings: PlaneSettings, folder: Path, pki: Pki) -> list[str]:
    ports = settings.ports
    client, peer = f"https://127.0.0.1:{ports.etcd}", f"https://127.0.0.1:{ports.etcd_peer}"
    return [
        "--name=default",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--cert-file={pki.etcd_server.certificate}",
        f"--key-file={pki.etcd_server.key}",
        f"--trusted-ca-file={pki.etcd.pair.certificate}",
        "--client-cert-auth",
        f"--peer-cert-file={pki.etcd_server.certificate}",
        f"--peer-key-file={pki.etcd_server.key}",
        f"--peer-trusted-ca-file={pki.etcd.pair.certificate}",
        "--peer-client-cert-auth",
        # A laptop's world survives the end of its processes, not that of the machine: waiting for the disk is for those
        # that must survive both.
        "--unsafe-no-fsync",
        "--auto-compaction-retention=10m",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def api_server_flags(settings: PlaneSettings, folder: Path, pki: Pki) -> list[str]:
    flags = [
        f"--etcd-servers=https://127.0.0.1:{settings.ports.etcd}",
        f"--etcd-cafile={pki.etcd.pair.certificate}",
        f"--etcd-certfile={pki.etcd_client.certificate}",
        f"--etcd-keyfile={pki.etcd_client.key}",
        f"--secure-port={settings.ports.api}",
        *_listening(settings),
        f"--tls-cert-file={pki.api_server.certificate}",
        f"--tls-private-key-file={pki.api_server.key}",
        f"--client-ca-file={pki.cluster.pair.certificate}",
        "--anonymous-auth=true",  # /livez and /readyz; RBAC gives nothing else to the anonymous
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.tokens.certificate}",
        f"--service-account-signing-key-file={pki.tokens.key}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--kubelet-certificate-authority={pki.cluster.pair.certificate}",
        f"--kubelet-client-certificate={pki.kubelet_client.certificate}",
        f"--kubelet-client-key={pki.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki.front_proxy.pair.certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.proxy_client.certificate}",
        f"--proxy-client-key-file={pki.proxy_client.key}",
        "--enable-aggregator-routing=true",
        f"--default-not-ready-toleration-seconds={settings.toleration_seconds}",
        f"--default-unreachable-toleration-seconds={settings.toleration_seconds}",
        "--profiling=false",
    ]
    if settings.audit_policy is not None:
        audit = [f"--audit-policy-file={settings.audit_policy}", f"--audit-log-path={folder / 'audit.log'}"]
        flags += [*audit, "--audit-log-mode=blocking"]
    return flags


def _listening(settings: PlaneSettings) -> list[str]:
    if settings.address == LOOPBACK:  # an endpoint may not be a loopback address, so that there can be none
        return [f"--bind-address={LOOPBACK}", f"--advertise-address={LOOPBACK}", "--endpoint-reconciler-type=none"]
    return ["--bind-address=0.0.0.0", f"--advertise-address={settings.address}"]


def controller_manager_flags(settings: PlaneSettings, kubeconfig: Path, pki: Pki) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={pki.tokens.key}",
        f"--root-ca-file={pki.cluster.pair.certificate}",
        f"--cluster-signing-cert-file={pki.cluster.pair.certificate}",
        f"--cluster-signing-key-file={pki.cluster.pair.key}",
        # With one identity for all, every controller is denied what only its own account may do, and nothing moves.
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        f"--node-monitor-grace-period={settings.node_grace}s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        *CLIENT_LIMITS,
    ]


def scheduler_flags(kubeconfig: Path) -> Sequence[str]:
    return [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0", *CLIENT_LIMITS]
