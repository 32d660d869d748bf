"""A pod's service account, for the processes of its containers.

An API server asks for a volume with a token in every pod. Nothing can be mounted for a process of this machine, at the
path where programs look for it; but they also look for a kubeconfig in their home folder. So that is what a pod gets,
with the token beside it, which is renewed before it ends: `kubectl` in a pod acts as the pod's service account.

HOME/.kube/config, token, ca.crt, namespace
"""

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from outrider.api.meta import parse_time
from outrider.kube.api import Api, ApiError, Kind
from outrider.kube.clock import Clock
from outrider.kube.files import make_private_folder
from outrider.kube.objects import CONFIG_MAP, SERVICE
from outrider.local.kubelet.layout import write_atomically

FOLDER = ".kube"
AUTHORITY = "kube-root-ca.crt"
"""ConfigMap of every namespace with the certificate of the API server's authority."""
FIRST_SECONDS = 1.0
"""How long a pod's start waits for its token."""
RENEWED_AT = 0.8
"""The share of a token's life after which it is renewed: a kubelet's."""
_LOOK_SECONDS = 60.0
"""How soon it is noticed that the wall clock was set."""
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 5.0)

_SERVICE = SERVICE.into(dict)

log = structlog.get_logger(__name__)


def token_request(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the pod's volumes ask of a service account token; None if they ask for none."""
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (wanted := source.get("serviceAccountToken")) is not None:
                return wanted  # type: ignore[no-any-return]
    return None


class ServiceAccounts:
    """Keeps the tokens of one node's pods."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._cluster: tuple[str, str] | None = None
        """The API server as pods reach it, and its authority's certificate (PEM)."""

    async def keep(self, pod: Mapping[str, Any], home: Path, first: asyncio.Event) -> None:
        """Write the files and keep the token alive, until cancelled. `first` is set once they are there.

        No error ends it: the API server lets a node ask for a pod's token once it has itself noted that they belong.
        """
        delays = _delays()
        while True:
            try:
                seconds = await self._write(pod, home)
            except (ApiError, OSError) as error:
                log.debug("a pod's token could not be renewed", pod=pod["metadata"]["name"], error=str(error))
                await self._clock.sleep(next(delays))
                continue
            delays = _delays()
            first.set()
            await self._until_due(max(1.0, seconds * RENEWED_AT))

    async def _until_due(self, seconds: float) -> None:
        """Wait for so long, or less where the wall clock is set forward: the API server goes by that one."""
        steady, wall = self._clock.monotonic() + seconds, self._clock.now() + seconds
        while (left := min(steady - self._clock.monotonic(), wall - self._clock.now())) > 0:
            await self._clock.sleep(min(left, _LOOK_SECONDS))

    async def _write(self, pod: Mapping[str, Any], home: Path) -> float:
        """Write everything; how many seconds the token lives."""
        namespace = pod["metadata"]["namespace"]
        token, seconds = await self._token(pod, namespace)
        server, authority = await self._find_cluster(namespace)
        files = {
            "token": token.encode(),
            "ca.crt": authority.encode(),
            "namespace": namespace.encode(),
            "config": msgspec.json.encode(_kubeconfig(server, namespace)),
        }
        await asyncio.to_thread(_write_all, home / FOLDER, files)
        return seconds

    async def _token(self, pod: Mapping[str, Any], namespace: str) -> tuple[str, float]:
        account = pod["spec"].get("serviceAccountName") or "default"
        kind = Kind("", "v1", "TokenRequest", f"serviceaccounts/{account}/token", True, dict)
        wanted = token_request(pod) or {}
        metadata = pod["metadata"]
        spec: dict[str, Any] = {
            "audiences": [wanted["audience"]] if wanted.get("audience") else [],
            "expirationSeconds": wanted.get("expirationSeconds") or 3600,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
        }
        body = {"apiVersion": "authentication.k8s.io/v1", "metadata": {"namespace": namespace}, "spec": spec}
        status = (await self._api.create(kind, body))["status"]
        ends = parse_time(status["expirationTimestamp"]) or 0.0
        return str(status["token"]), ends - self._clock.now()

    async def _find_cluster(self, namespace: str) -> tuple[str, str]:
        """Both are the same for all namespaces, and do not change."""
        if self._cluster is None:
            authority = (await self._api.get(CONFIG_MAP, AUTHORITY, namespace)).data.get("ca.crt", "")
            spec = (await self._api.get(_SERVICE, "kubernetes", "default"))["spec"]
            self._cluster = f"https://{spec['clusterIP']}:{spec['ports'][0]['port']}", authority
        return self._cluster


def _kubeconfig(server: str, namespace: str) -> dict[str, Any]:
    """Paths in a kubeconfig are relative to it."""
    name = "pod"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
        "users": [{"name": name, "user": {"tokenFile": "token"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    make_private_folder(folder)
    for name, content in files.items():
        write_atomically(folder / name, content)


def _delays() -> Iterator[float]:
    return itertools.chain(_RETRY_SECONDS, itertools.repeat(_RETRY_SECONDS[-1]))
