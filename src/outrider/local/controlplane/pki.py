"""The certificates of a control plane: three authorities, and what they sign.

The authorities and the key that signs service account tokens are made once and kept, since kubeconfigs that users
copied trust them. Everything else is issued anew at every start: that takes milliseconds, and nothing expires in use.
Names and groups: https://kubernetes.io/docs/setup/best-practices/certificates/.
"""

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from outrider.kube.files import make_private_folder, write_private

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
"""A world that runs for a year without a restart is not what it is for."""
CLOCK_SKEW = timedelta(hours=1)
SERVER_AND_CLIENT = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True)
class KeyPair:
    """The files of a certificate and its key, both PEM."""

    certificate: Path
    key: Path

    @property
    def certificate_data(self) -> str:
        """The certificate as kubeconfigs hold it."""
        return base64.b64encode(self.certificate.read_bytes()).decode()

    @property
    def key_data(self) -> str:
        return base64.b64encode(self.key.read_bytes()).decode()


class Authority:
    """A certificate authority, kept in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.pair = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
        self._folder = folder
        if not (self.pair.certificate.exists() and self.pair.key.exists()):
            self._make(name)
        key = serialization.load_pem_private_key(self.pair.key.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())

    @property
    def certificate_data(self) -> str:
        return self.pair.certificate_data

    def issue(
        self, file: str, common_name: str, organizations: Sequence[str] = (), names: Sequence[str] = ()
    ) -> KeyPair:
        """A new certificate for servers and clients. `names` are the DNS names and addresses that it is served at."""
        pair = KeyPair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name, organizations), self._certificate.subject, key, LEAF_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(SERVER_AND_CLIENT), critical=False)
        if names:
            alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        _write(pair, builder.sign(self._key, hashes.SHA256()), key)
        return pair

    def _make(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"outrider-{name}", ())
        builder = _builder(subject, subject, key, AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        _write(self.pair, builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256()), key)


class Pki:
    """All certificates of one control plane, in one private folder."""

    def __init__(self, folder: Path, *, server_names: Sequence[str]) -> None:
        make_private_folder(folder)
        self._folder = folder
        self.cluster = Authority(folder, "cluster-ca")
        """Signs the API server and everybody who speaks to it."""
        self.front_proxy = Authority(folder, "front-proxy-ca")
        """Signs the API server's own calls to aggregated APIs, which believe what it says about users."""
        self.etcd = Authority(folder, "etcd-ca")
        """Signs etcd and its one client: nobody else can read the database."""
        self.etcd_server = self.etcd.issue("etcd-server", "etcd", names=("localhost", "127.0.0.1"))
        self.etcd_client = self.etcd.issue("etcd-client", "kube-apiserver")
        self.api_server = self.cluster.issue("api-server", "kube-apiserver", names=server_names)
        self.kubelet_client = self.cluster.issue("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
        self.proxy_client = self.front_proxy.issue("front-proxy-client", "front-proxy-client")
        self.admin = self.cluster.issue("admin", "outrider-admin", ["system:masters"])
        self.controller_manager = self.client("system:kube-controller-manager")
        self.scheduler = self.client("system:kube-scheduler")
        self.tokens = self._token_key()
        """The public (`certificate`) and private key of service account tokens."""

    def client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A certificate by which the API server knows `user`, a member of `groups`."""
        return self.cluster.issue(user.replace(":", "-").replace("/", "-"), user, groups)

    def service_account(self, namespace: str, name: str) -> KeyPair:
        """A certificate that means a service account, as its tokens do."""
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        return self.client(f"system:serviceaccount:{namespace}:{name}", groups)

    def node(self, name: str) -> KeyPair:
        """The certificate with which a kubelet speaks to the API server."""
        return self.cluster.issue(f"node-{name}", f"system:node:{name}", ["system:nodes"])

    def node_server(self, name: str, address: str) -> KeyPair:
        """The certificate with which a kubelet serves the API server."""
        return self.cluster.issue(f"node-{name}-server", name, names=(name, address))

    def _token_key(self) -> KeyPair:
        pair = KeyPair(self._folder / "tokens.pub", self._folder / "tokens.key")
        if not (pair.certificate.exists() and pair.key.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_private(pair.key, _pem(key))
            write_private(pair.certificate, public)
        return pair


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(pair: KeyPair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    write_private(pair.key, _pem(key))
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
