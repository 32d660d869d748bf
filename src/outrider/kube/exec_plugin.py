"""Credentials from a client-go credential plugin: a program that prints an ExecCredential, as cloud providers ship.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import asyncio
import json
import os
import ssl
import tempfile
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import httpx2
import msgspec

from outrider.api.meta import parse_time
from outrider.kube.api import Unauthorized
from outrider.kube.clock import Clock
from outrider.kube.kubeconfig import ClusterConfig, ExecPlugin
from outrider.kube.waiting import within

EXPIRY_MARGIN = 10.0
"""Seconds before its expiry at which a credential is no longer used: the request must arrive before it expires."""
PLUGIN_TIMEOUT = 60.0
"""Seconds that a plugin may take; those that talk to a cloud take a few."""


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    status: _Status = _Status()


@dataclass(frozen=True)
class Credential:
    """What a plugin gave: a bearer token, a client certificate with its key (PEM), or both."""

    token: str
    certificate: str
    key: str
    expires_at: float | None


class ExecCredentials:
    """Runs the plugin of a `ClusterConfig` when a credential is needed, and keeps it until it expires."""

    def __init__(self, config: ClusterConfig, plugin: ExecPlugin, clock: Clock) -> None:
        self._config = config
        self._plugin = plugin
        self._clock = clock
        self._current: Credential | None = None
        self._lock = asyncio.Lock()

    async def get(self, *, instead_of: Credential | None = None) -> Credential:
        """A valid credential; not the one that the server has just refused. Raises `Unauthorized`."""
        async with self._lock:  # many requests at once run the plugin once
            current = self._current
            if current is None or current is instead_of or self._expired(current):
                current = self._current = await self._run()
            return current

    def _expired(self, credential: Credential) -> bool:
        return credential.expires_at is not None and credential.expires_at - EXPIRY_MARGIN <= self._clock.now()

    async def _run(self) -> Credential:
        plugin = self._plugin
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *(plugin.args or ()),
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise self._refused(f"cannot be run: {error.strerror}. {plugin.install_hint}".rstrip()) from error
        try:
            output, errors = await within(self._clock, PLUGIN_TIMEOUT, process.communicate())
        except TimeoutError as error:
            raise self._refused(f"gave nothing within {PLUGIN_TIMEOUT:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise self._refused(f"ended with status {process.returncode}: {errors.decode(errors='replace').strip()}")
        return self._read(output)

    def _read(self, output: bytes) -> Credential:
        try:
            status = msgspec.json.decode(output, type=_ExecCredential).status
        except msgspec.MsgspecError as error:
            raise self._refused(f"printed no ExecCredential: {error}") from error
        if not status.token and not (status.client_certificate_data and status.client_key_data):
            raise self._refused("printed neither a token nor a client certificate with its key")
        expires = parse_time(status.expiration_timestamp)
        return Credential(status.token, status.client_certificate_data, status.client_key_data, expires)

    def _environment(self) -> Mapping[str, str]:
        plugin, config = self._plugin, self._config
        spec: dict[str, object] = {"interactive": False}
        if plugin.provide_cluster_info:
            spec["cluster"] = {
                "server": config.server,
                "tls-server-name": config.tls_server_name,
                "insecure-skip-tls-verify": config.insecure_skip_tls_verify,
                "certificate-authority-data": config.certificate_authority_data,
                "proxy-url": config.proxy_url,
            }
        info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
        own = {variable.name: variable.value for variable in plugin.env or ()}
        return {**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)}

    def _refused(self, problem: str) -> Unauthorized:
        return Unauthorized(f"the credential plugin {self._plugin.command!r} of {self._config.source} {problem}")


class ExecAuth(httpx2.Auth):
    """Authenticates by what a credential plugin gives, and asks it again when the server refuses that."""

    def __init__(self, credentials: ExecCredentials, tls: ssl.SSLContext) -> None:
        self._credentials = credentials
        self._tls = tls
        self._presented: Credential | None = None

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        credential = await self._credentials.get()
        response = yield self._authenticated(request, credential)
        if response.status_code == 401:
            yield self._authenticated(request, await self._credentials.get(instead_of=credential))

    def _authenticated(self, request: httpx2.Request, credential: Credential) -> httpx2.Request:
        if credential.certificate and credential is not self._presented:
            self._presented = credential
            _present(self._tls, credential)  # connections opened from now on show it
        if credential.token:
            request.headers["Authorization"] = f"Bearer {credential.token}"
        return request


def _present(tls: ssl.SSLContext, credential: Credential) -> None:
    """Show a client certificate. Python takes it from a file only, here one that none else can read, and briefly."""
    with tempfile.NamedTemporaryFile(mode="w", suffix=".pem") as file:
        file.write(f"{credential.certificate}\n{credential.key}\n")
        file.flush()
        tls.load_cert_chain(file.name)
