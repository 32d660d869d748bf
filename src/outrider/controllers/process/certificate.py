"""The certificate of the metrics endpoint: files that are replaced, or one that the process makes for itself."""

import datetime as dt
import ssl
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from outrider.kube.clock import Clock
from outrider.kube.tls import WatchedFiles, certificate_file

_DAYS = 365
"""As long as controller-runtime's own; the process makes another at its next start."""

log = structlog.get_logger(__name__)


def serving_context(files: tuple[Path, Path] | None, names: tuple[str, ...]) -> ssl.SSLContext:
    """The TLS of a server with the certificate and key of `files`, else with a new self-signed one for `names`.

    Raises `OSError` or `ssl.SSLError` where the files cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files is not None:
        context.load_cert_chain(*files)
    else:
        with certificate_file(*_self_signed(names)) as path:
            context.load_cert_chain(path)
    return context


async def keep_fresh(context: ssl.SSLContext, files: tuple[Path, Path], clock: Clock) -> None:
    """Load the files again whenever they have been replaced, until cancelled."""
    watched = WatchedFiles(files, clock)
    while True:
        await clock.sleep(watched.interval)
        if not watched.changed():
            continue
        try:
            context.load_cert_chain(*files)
        except (OSError, ssl.SSLError) as error:
            log.warning("the replaced certificate of the metrics endpoint cannot be loaded", error=str(error))
        else:
            watched.taken_over()


def _self_signed(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private
