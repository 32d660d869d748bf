"""How a client knows an API server, and shows who it is: certificates from kubeconfigs, files that are replaced
while the process runs, and credential plugins.
"""

import base64
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from outrider.kube.clock import Clock
from outrider.kube.kubeconfig import ClusterConfig

CHECK_SECONDS = 60.0
"""How often the certificate files are looked at. They are replaced days or hours before the old ones expire."""


class WatchedFiles:
    """Files that others replace. Looks at them once a minute at most."""

    interval = CHECK_SECONDS

    def __init__(self, files: Iterable[Path], clock: Clock) -> None:
        self._files = tuple(files)
        self._clock = clock
        self._known = self._found = self._look()
        self._next_look = clock.monotonic() + CHECK_SECONDS

    def changed(self) -> bool:
        """Whether they have been replaced since `taken_over` was called last."""
        if self._clock.monotonic() < self._next_look:
            return False
        self._next_look = self._clock.monotonic() + CHECK_SECONDS
        self._found = self._look()
        return self._found != self._known

    def taken_over(self) -> None:
        """What was found has been read, and all of it was good."""
        self._known = self._found

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        with contextlib.suppress(OSError):
            stats = [path.stat() for path in self._files]
            return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
        return ()


class ClientTls:
    """The TLS settings for one cluster. Raises `ValueError` or `OSError` for certificates that cannot be loaded."""

    def __init__(self, config: ClusterConfig, clock: Clock) -> None:
        self._config = config
        self.context = self._make_context()
        files = (config.certificate_authority, config.client_certificate, config.client_key)
        self._files = WatchedFiles((path for path in files if path), clock)

    def present(self, certificate: bytes, key: bytes) -> None:
        """Show this client certificate (PEM) on connections opened from now on."""
        with certificate_file(certificate, key) as path:
            self.context.load_cert_chain(path)

    def refresh(self) -> bool:
        """Load the files again where they have been replaced; whether connections opened from now on differ.

        Looks at most once a minute. Files that cannot be loaded, as in the middle of their replacement, change nothing
        and are tried again.
        """
        if not self._files.changed():
            return False
        try:
            self._load_into(self.context)
        except (OSError, ValueError) as error:
            import structlog  # noqa: PLC0415 - 40 ms that no command needs to wait

            structlog.get_logger(__name__).warning(
                "replaced certificates cannot be loaded, and the old ones stay", error=str(error)
            )
            return False
        self._files.taken_over()
        return True

    def _make_context(self) -> ssl.SSLContext:
        config = self._config
        if config.server.startswith("http://"):
            # Loading the system's authorities takes longer than most requests; without TLS nobody reads them.
            return _unchecked()
        has_authority = bool(config.certificate_authority or config.certificate_authority_data)
        if config.insecure_skip_tls_verify:
            if has_authority:
                raise ValueError("a certificate authority and insecure-skip-tls-verify contradict each other: drop one")
            context = _unchecked()
        elif has_authority:
            # Not `ssl.create_default_context`: from Python 3.13 on it is stricter about the form of certificates than
            # Go is, and refuses authorities that clusters in use have.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = ssl.create_default_context()
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        config = self._config
        if authority := _pem(config.certificate_authority_data, config.certificate_authority):
            context.load_verify_locations(cadata=authority.decode("ascii"))
        certificate = _pem(config.client_certificate_data, config.client_certificate)
        key = _pem(config.client_key_data, config.client_key)
        if bool(certificate) != bool(key):
            raise ValueError("a client certificate needs its key, and a key its certificate")
        if certificate:
            with certificate_file(certificate, key) as path:
                context.load_cert_chain(path)


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _pem(data: str, path: Path | None) -> bytes:
    """What a kubeconfig gives as base64 data, which goes first as for kubectl, or as a file; empty without both."""
    if data:
        return base64.b64decode(data, validate=True)
    return path.read_bytes() if path is not None else b""


@contextlib.contextmanager
def certificate_file(certificate: bytes, key: bytes) -> Iterator[str]:
    """The path of a short-lived file with a certificate and its key, for `ssl` reads them from files only.

    Where the system can, it is in memory: containers often have no folder to write to, and keys do not belong on disks.
    """
    content = certificate.rstrip() + b"\n" + key
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile(suffix=".pem") as named:
        named.write(content)
        named.flush()
        yield named.name
