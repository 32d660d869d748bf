"""Certificates: who signs what, for whom, and what outlives a restart."""

import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from outrider.local.controlplane.pki import KeyPair, Pki

NAMES = ("localhost", "127.0.0.1", "10.96.0.1")


def _certificate(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


def _who(pair: KeyPair) -> tuple[str, set[str]]:
    subject = _certificate(pair).subject
    groups = {str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value), groups


def test_every_client_is_who_kubernetes_expects(tmp_path: Path) -> None:
    pki = Pki(tmp_path, server_names=NAMES)
    assert _who(pki.admin) == ("outrider-admin", {"system:masters"})
    assert _who(pki.controller_manager) == ("system:kube-controller-manager", set())
    assert _who(pki.scheduler) == ("system:kube-scheduler", set())
    assert _who(pki.node("node-1")) == ("system:node:node-1", {"system:nodes"})
    account = (
        "system:serviceaccount:outrider-system:outrider",
        {"system:serviceaccounts", "system:serviceaccounts:outrider-system"},
    )
    assert _who(pki.service_account("outrider-system", "outrider")) == account


def test_the_database_and_the_front_proxy_have_authorities_of_their_own(tmp_path: Path) -> None:
    pki = Pki(tmp_path, server_names=NAMES)
    issuers = {
        "cluster": _certificate(pki.api_server).issuer,
        "etcd": _certificate(pki.etcd_client).issuer,
        "front proxy": _certificate(pki.proxy_client).issuer,
    }
    assert len(set(issuers.values())) == 3
    _certificate(pki.etcd_client).verify_directly_issued_by(_certificate(pki.etcd.pair))
    _certificate(pki.proxy_client).verify_directly_issued_by(_certificate(pki.front_proxy.pair))


def test_the_api_server_is_known_by_every_name_it_is_reached_by(tmp_path: Path) -> None:
    pki = Pki(tmp_path, server_names=NAMES)
    names = _certificate(pki.api_server).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == list(NAMES)


def test_a_restart_keeps_the_authorities_and_the_key_of_tokens_and_issues_the_rest_anew(tmp_path: Path) -> None:
    first = Pki(tmp_path, server_names=NAMES)
    kept = [first.cluster.pair, first.etcd.pair, first.front_proxy.pair, first.tokens]
    before = [pair.key.read_bytes() + pair.certificate.read_bytes() for pair in kept]
    admin = first.admin.certificate.read_bytes()
    second = Pki(tmp_path, server_names=NAMES)
    again = [second.cluster.pair, second.etcd.pair, second.front_proxy.pair, second.tokens]
    assert [pair.key.read_bytes() + pair.certificate.read_bytes() for pair in again] == before
    assert second.admin.certificate.read_bytes() != admin


def test_only_the_owner_can_read_a_key_and_every_pair_fits(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki", server_names=NAMES)
    for path in (tmp_path / "pki").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for pair in (pki.api_server, pki.admin, pki.etcd_server):
        context.load_cert_chain(pair.certificate, pair.key)
