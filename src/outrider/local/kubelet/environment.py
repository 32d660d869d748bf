"""The environment that a pod's spec gives to a container: literals, downward API, ConfigMaps and Secrets."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from outrider.api.quantity import Quantity
from outrider.kube.api import Api, Forbidden, Kind, NotFound
from outrider.kube.clock import Clock
from outrider.kube.objects import CONFIG_MAP, SECRET
from outrider.local.kubelet.expansion import expand

BOUND_A_MOMENT_AGO = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each new try. A busy API server was seen to learn of a pod's node within half a second."""

T = TypeVar("T")

_MAP_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """The container cannot be configured as its spec asks: state waiting, reason CreateContainerConfigError."""


@dataclass(frozen=True, kw_only=True)
class PodFacts:
    """What a pod is told about itself and its node."""

    node_name: str
    host_ip: str
    pod_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """Of the node: what a container without a limit may use."""


class Environment:
    """Builds the environments of a pod's containers. ConfigMaps and Secrets are read anew for each container start."""

    def __init__(self, api: Api, pod: Mapping[str, Any], facts: PodFacts, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._pod = pod
        self._facts = facts
        self._namespace: str = pod["metadata"].get("namespace", "")

    async def of(self, container: Mapping[str, Any]) -> dict[str, str]:
        """The variables that the spec names. Later ones win, and may refer to earlier ones.

        Raises:
            ConfigError: something that the spec refers to is missing or not understood.
            ApiError: it could not be read.
        """
        variables: dict[str, str] = {}
        for source in container.get("envFrom") or ():
            prefix = source.get("prefix") or ""
            variables.update({prefix + name: value for name, value in (await self._all_of(source)).items()})
        for entry in container.get("env") or ():
            if "valueFrom" in entry and entry["valueFrom"] is not None:
                value = await self._value_from(entry["valueFrom"], container)
            else:
                value = expand(str(entry.get("value") or ""), variables)
            if value is not None:
                variables[entry["name"]] = value
        folders = self._empty_folders(container)
        return {name: value for name, value in variables.items() if not f"{value}/".startswith(folders)}

    def _empty_folders(self, container: Mapping[str, Any]) -> tuple[str, ...]:
        """Where the container's emptyDirs are mounted. A local process has no mounts: a variable that points into one,
        such as `HOME` or the place of a cache, is left out, and the process's own home folder stands for it.
        """
        empty = {volume["name"] for volume in self._pod["spec"].get("volumes") or () if "emptyDir" in volume}
        return tuple(
            f"{str(mount['mountPath']).rstrip('/')}/"
            for mount in container.get("volumeMounts") or ()
            if mount["name"] in empty
        )

    async def _all_of(self, source: Mapping[str, Any]) -> dict[str, str]:
        if reference := source.get("configMapRef"):
            return await self._config_map(reference) or {}
        if reference := source.get("secretRef"):
            return await self._secret(reference) or {}
        return {}

    async def _value_from(self, source: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
        """The value; None for something optional that is not there."""
        if reference := source.get("fieldRef"):
            return field_value(self._pod, reference.get("fieldPath", ""), self._facts)
        if reference := source.get("resourceFieldRef"):
            return self._resource(reference, container)
        if reference := source.get("configMapKeyRef"):
            return self._key(await self._config_map(reference), reference, "ConfigMap")
        if reference := source.get("secretKeyRef"):
            return self._key(await self._secret(reference), reference, "Secret")
        raise ConfigError(f"env valueFrom {sorted(source)} is not supported by the process kubelet")

    def _key(self, data: Mapping[str, str] | None, reference: Mapping[str, Any], kind: str) -> str | None:
        key = reference.get("key", "")
        if data is not None and key in data:
            return data[key]
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {key} in {kind} {self._namespace}/{reference.get('name')}")

    async def _config_map(self, reference: Mapping[str, Any]) -> dict[str, str] | None:
        name = reference.get("name", "")
        try:
            return (await self._read(CONFIG_MAP, name)).data
        except NotFound:
            if reference.get("optional"):
                return None
            raise ConfigError(f'configmap "{name}" not found') from None

    async def _secret(self, reference: Mapping[str, Any]) -> dict[str, str] | None:
        name = reference.get("name", "")
        try:
            encoded = (await self._read(SECRET, name)).data
        except NotFound:
            if reference.get("optional"):
                return None
            raise ConfigError(f'secret "{name}" not found') from None
        try:
            return {key: base64.b64decode(value).decode() for key, value in encoded.items()}
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigError(f'secret "{name}" holds a value that is not base64 of text') from None

    async def _read(self, kind: Kind[T], name: str) -> T:
        """What the pod refers to. The API server lets a node read what the node's pods refer to, and learns of a pod's
        node from a watch: for a moment after a pod was bound it may still refuse.
        """
        for seconds in BOUND_A_MOMENT_AGO:
            try:
                return await self._api.get(kind, name, self._namespace)
            except Forbidden:
                await self._clock.sleep(seconds)
        return await self._api.get(kind, name, self._namespace)

    def _resource(self, reference: Mapping[str, Any], container: Mapping[str, Any]) -> str:
        resource = reference.get("resource", "")
        section, _, name = resource.partition(".")
        if named := reference.get("containerName"):
            everyone = [*(self._pod["spec"].get("initContainers") or ()), *self._pod["spec"]["containers"]]
            container = next((other for other in everyone if other["name"] == named), container)
        amounts = (container.get("resources") or {}).get(section) or {}
        raw = amounts.get(name, self._facts.allocatable.get(name, "0") if section == "limits" else "0")
        try:
            value = Quantity.from_json(raw).value
            divisor = Quantity.from_json(reference.get("divisor") or "1").value or Fraction(1)
        except ValueError as error:
            raise ConfigError(f"resourceFieldRef {resource}: {error}") from None
        return str(-(-value // divisor))


def field_value(pod: Mapping[str, Any], path: str, facts: PodFacts) -> str:
    """What the downward API tells under a field path.

    Raises:
        ConfigError: there is no such field, or the downward API does not offer it.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if found := _MAP_FIELD.fullmatch(path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    known = {
        "metadata.name": metadata.get("name", ""),
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if path not in known:
        raise ConfigError(f"fieldPath {path!r} is not supported: use one of {', '.join(known)}, metadata.labels['KEY']")
    return str(known[path])
