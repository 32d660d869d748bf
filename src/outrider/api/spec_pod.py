"""The part of an LLMDeployment's spec that goes into its pods: environment, volumes, placement, probes, security."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from outrider.api.fields import INT32, LabelValue, NoneOf, Schema, SchemaOnly

AnyObject = dict[str, Any]
UserId = Annotated[int, Meta(ge=0, le=INT32)]

RESERVED_ENV = ("POD_IP", "POD_NAME", "POD_NAMESPACE")
"""What Outrider sets itself in every pod."""

_OBJECTS: Schema = {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}


def _part(*required: str, **lists: Schema) -> SchemaOnly:
    """An object of Kubernetes' own that is passed on as it is, and what it cannot be without."""
    properties = {name: {"type": "string", "minLength": 1} for name in required}
    return SchemaOnly(
        {
            "type": "object",
            "required": list(required),
            "properties": properties | lists,
            "x-kubernetes-preserve-unknown-fields": True,
        }
    )


VolumeObject = Annotated[AnyObject, _part("name")]
MountObject = Annotated[AnyObject, _part("name", "mountPath")]
ContainerObject = Annotated[AnyObject, _part("name", env=_OBJECTS, volumeMounts=_OBJECTS)]


class EnvVar(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    name: Annotated[
        str, Meta(min_length=1, max_length=253), NoneOf(RESERVED_ENV, "is set by Outrider: use another name")
    ]
    value: str | None = None
    value_from: AnyObject | None = None


class Runtime(msgspec.Struct, frozen=True, rename="camel"):
    env: Annotated[tuple[EnvVar, ...], Meta(max_length=500)] = ()
    """Environment of the engine."""


class TemplateMetadata(msgspec.Struct, frozen=True, rename="camel"):
    labels: dict[str, LabelValue] = {}
    annotations: dict[str, str] = {}


class Template(msgspec.Struct, frozen=True, rename="camel"):
    metadata: TemplateMetadata = TemplateMetadata()
    """Labels and annotations of the pods. Outrider's own labels win."""


class SecretReference(msgspec.Struct, frozen=True, rename="camel"):
    name: Annotated[str, Meta(min_length=1)]


class Capabilities(msgspec.Struct, frozen=True, rename="camel"):
    drop: tuple[str, ...] = ("ALL",)
    add: tuple[str, ...] = ()


class SeccompProfile(msgspec.Struct, frozen=True, rename="camel"):
    type: str = "RuntimeDefault"
    localhost_profile: str = ""

    def manifest(self) -> dict[str, str]:
        local = {"localhostProfile": self.localhost_profile} if self.localhost_profile else {}
        return {"type": self.type} | local


class NetworkPolicy(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = False
    isolate_tenant: bool = False


class Security(msgspec.Struct, frozen=True, rename="camel"):
    """Without a word here pods get what every engine image can live with: no privilege escalation, no capabilities,
    the runtime's seccomp profile; and the user `vllm` of vLLM's own image. `enabled: true` sets user 1000 and group
    2000 for the whole pod, as the SRE guide's book does.
    """

    enabled: bool | None = None
    """True: the whole pod runs as an ordinary user. False: leave everything to the image and the cluster, as OpenShift
    wants it, which assigns users itself."""
    run_as_non_root: bool | None = None
    run_as_user: UserId | None = None
    run_as_group: UserId | None = None
    fs_group: UserId | None = None
    read_only_root_filesystem: bool | None = None
    capabilities: Capabilities = Capabilities()
    seccomp_profile: SeccompProfile = SeccompProfile()
    network_policy: NetworkPolicy = NetworkPolicy()

    def pod_context(self) -> AnyObject:
        """The pod's `securityContext`."""
        if self.enabled is False:
            return {}
        ordinary = bool(self.enabled)
        wanted = {
            "runAsNonRoot": self.run_as_non_root if self.run_as_non_root is not None else (ordinary or None),
            "runAsUser": self.run_as_user if self.run_as_user is not None else (1000 if ordinary else None),
            "runAsGroup": self.run_as_group,
            "fsGroup": self.fs_group if self.fs_group is not None else (2000 if ordinary else None),
            "seccompProfile": self.seccomp_profile.manifest(),
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def container_context(self) -> AnyObject:
        """The engine container's `securityContext`."""
        if self.enabled is False:
            return {}
        context: AnyObject = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": list(self.capabilities.drop)},
        }
        if self.capabilities.add:
            context["capabilities"]["add"] = list(self.capabilities.add)
        if self.read_only_root_filesystem is not None:
            context["readOnlyRootFilesystem"] = self.read_only_root_filesystem
        return context


class PodSettings(msgspec.Struct, frozen=True):
    """Everything that goes into the pods as it is, from wherever in the spec it was written, as Kubernetes' JSON."""

    env: tuple[AnyObject, ...] = ()
    volumes: tuple[AnyObject, ...] = ()
    volume_mounts: tuple[AnyObject, ...] = ()
    """Mounts of the engine container."""
    sidecars: tuple[AnyObject, ...] = ()
    """Containers beside the engine."""
    image_pull_secrets: tuple[AnyObject, ...] = ()
    node_selector: dict[str, str] = {}
    tolerations: tuple[AnyObject, ...] = ()
    affinity: AnyObject = {}
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    startup_probe: AnyObject = {}
    """What the user wants of the probe; fields that are not here stay as Outrider sets them."""
    liveness_probe: AnyObject = {}
    readiness_probe: AnyObject = {}
    pod_security_context: AnyObject = {}
    container_security_context: AnyObject = {}
    shared_memory: bool = False
    """Whether `/dev/shm` must be larger than the runtime's 64 MiB."""
