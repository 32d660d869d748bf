"""Who we are to an API server: a fixed token or password, a token in a file that is replaced, or a plugin's answer."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from outrider.api.meta import Instant
from outrider.kube.api import Unauthorized
from outrider.kube.clock import Clock
from outrider.kube.kubeconfig import ClusterConfig

TOKEN_FILE_SECONDS = 60.0
"""How long a token file is believed, as in client-go. Service account tokens are replaced well before they expire."""


@dataclass(frozen=True)
class Credential:
    """What is shown to the server: the `Authorization` header, a client certificate with its key (PEM), or both."""

    authorization: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    expires_at: Instant | None = None


class Authenticator(Protocol):
    async def get(self, *, instead_of: Credential | None = None) -> Credential:
        """The credential to show; another than the one that was refused, where there is another.

        Raises `Unauthorized` where there is none at all.
        """
        ...


class FixedCredential:
    """One credential for ever."""

    def __init__(self, authorization: str = "") -> None:
        self._credential = Credential(authorization)

    async def get(self, *, instead_of: Credential | None = None) -> Credential:  # noqa: ARG002
        return self._credential


class TokenFile:
    """A bearer token from a file, read again every minute, and at once when the server refuses what it held."""

    def __init__(self, path: Path, source: str, clock: Clock) -> None:
        self._path = path
        self._source = source
        self._clock = clock
        self._current: Credential | None = None
        self._read_at = 0.0

    async def get(self, *, instead_of: Credential | None = None) -> Credential:
        current = self._current
        fresh = self._clock.monotonic() < self._read_at + TOKEN_FILE_SECONDS
        if current is not None and fresh and current is not instead_of:
            return current
        self._read_at = self._clock.monotonic()
        try:
            token = self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if current is not None and current is not instead_of:  # it may be in the middle of its replacement
                return current
            reason = getattr(error, "strerror", None) or error
            raise Unauthorized(f"{self._source}: cannot read the token file {self._path}: {reason}") from error
        if not token:
            raise Unauthorized(f"{self._source}: the token file {self._path} is empty")
        if current is None or current.authorization != f"Bearer {token}":
            current = self._current = Credential(f"Bearer {token}")
        return current


def fixed_or_file(config: ClusterConfig, clock: Clock) -> Authenticator | None:
    """The authenticator of a configuration that names a token or password; None where only a plugin may know.

    A token file goes before a token, as for kubectl.
    """
    if config.token_file is not None:
        return TokenFile(config.token_file, config.source or config.server, clock)
    if config.token:
        return FixedCredential(f"Bearer {config.token}")
    if config.username:
        pair = f"{config.username}:{config.password}".encode()
        return FixedCredential(f"Basic {base64.b64encode(pair).decode()}")
    return None if config.exec is not None else FixedCredential()
