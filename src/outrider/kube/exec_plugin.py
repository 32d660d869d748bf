"""Credentials from a client-go credential plugin: a program that prints an ExecCredential, as cloud providers ship.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Mapping

import msgspec

from outrider.api.meta import parse_time
from outrider.kube.api import Unauthorized
from outrider.kube.authentication import Credential
from outrider.kube.clock import Clock
from outrider.kube.kubeconfig import ClusterConfig, ExecPlugin
from outrider.kube.waiting import within

EXPIRY_MARGIN = 10.0
"""Seconds before its expiry at which a credential is no longer used: the request must arrive before it expires."""
PLUGIN_TIMEOUT = 60.0
"""Seconds that a plugin may take; those that talk to a cloud take a few."""
INTERACTIVE_TIMEOUT = 600.0
"""Seconds that a plugin may take which talks to a person: logging in through a browser takes minutes."""
API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    status: _Status = _Status()


class ExecCredentials:
    """Runs the plugin of a `ClusterConfig` when a credential is needed, and keeps it until it expires.

    `terminal` says that a person sits at standard input; by default that is found out.
    """

    def __init__(
        self, config: ClusterConfig, plugin: ExecPlugin, clock: Clock, *, terminal: bool | None = None
    ) -> None:
        self._config = config
        self._plugin = plugin
        self._clock = clock
        at_terminal = sys.stdin is not None and sys.stdin.isatty() if terminal is None else terminal
        self._interactive = at_terminal and plugin.interactive_mode != "Never"
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
        if plugin.api_version not in API_VERSIONS:
            raise self._refused(f"speaks {plugin.api_version}; what is understood is {' and '.join(API_VERSIONS)}")
        if plugin.interactive_mode == "Always" and not self._interactive:
            raise self._refused("wants to ask a person (interactiveMode: Always), and there is no terminal")
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *(plugin.args or ()),
                env=self._environment(),
                stdin=None if self._interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if self._interactive else asyncio.subprocess.PIPE,  # a person must see what is asked
            )
        except OSError as error:
            raise self._refused(f"cannot be run: {error.strerror}. {plugin.install_hint}".rstrip()) from error
        timeout = INTERACTIVE_TIMEOUT if self._interactive else PLUGIN_TIMEOUT
        try:
            output, errors = await within(self._clock, timeout, process.communicate())
        except TimeoutError as error:
            raise self._refused(f"gave nothing within {timeout:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            words = (errors or b"").decode(errors="replace").strip()
            raise self._refused(f"ended with status {process.returncode}: {words}".removesuffix(": "))
        return self._read(output)

    def _read(self, output: bytes) -> Credential:
        try:
            answer = msgspec.json.decode(output, type=_ExecCredential)
        except msgspec.MsgspecError as error:
            raise self._refused(f"printed no ExecCredential: {error}") from error
        if answer.api_version and answer.api_version != self._plugin.api_version:
            raise self._refused(f"was asked for {self._plugin.api_version} and answered {answer.api_version}")
        status = answer.status
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise self._refused("printed only one of a client certificate and its key")
        if not status.token and not status.client_certificate_data:
            raise self._refused("printed neither a token nor a client certificate with its key")
        return Credential(
            authorization=f"Bearer {status.token}" if status.token else "",
            certificate=status.client_certificate_data,
            key=status.client_key_data,
            expires_at=parse_time(status.expiration_timestamp),
        )

    def _environment(self) -> Mapping[str, str]:
        plugin = self._plugin
        spec: dict[str, object] = {"interactive": self._interactive}
        if plugin.provide_cluster_info:
            spec["cluster"] = self._cluster_info()
        info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
        own = {variable.name: variable.value for variable in plugin.env or ()}
        return {**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)}

    def _cluster_info(self) -> dict[str, object]:
        config = self._config
        authority = config.certificate_authority_data
        if not authority and config.certificate_authority is not None:
            authority = base64.b64encode(config.certificate_authority.read_bytes()).decode()
        info = {
            "server": config.server,
            "tls-server-name": config.tls_server_name,
            "insecure-skip-tls-verify": config.insecure_skip_tls_verify,
            "certificate-authority-data": authority,
            "proxy-url": config.proxy_url,
            "config": config.exec_config,
        }
        return {name: value for name, value in info.items() if value}

    def _refused(self, problem: str) -> Unauthorized:
        return Unauthorized(f"the credential plugin {self._plugin.command!r} of {self._config.source} {problem}")
