"""The part of an LLMDeployment's spec that says what is served: the model, its resources, the engine's settings."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from outrider.api import catalog
from outrider.api.fields import ANY, EXACT, INT32, ModelUriField, QuantityField, SchemaOnly, VersionField, words
from outrider.api.labels import GPU_RESOURCE, HTTP_PORT
from outrider.api.model_uri import ModelUri
from outrider.api.quantity import Quantity
from outrider.api.version import LATEST, Version

QuantizationType = Literal["auto", "none", "fp16", "bf16", "fp8", "int8", "int4", "gptq", "awq"]
QUANTIZATION_TYPES = ("auto", "none", "fp16", "bf16", "fp8", "int8", "int4", "gptq", "awq")

SHA256_PATTERN = r"^([0-9A-Fa-f]{64}|[0-9A-Fa-f]{0,63}\.\.\.)?$"
"""A digest, or a placeholder for one: the first digits and three dots."""

Count = Annotated[int, Meta(ge=1, le=INT32)]
NotNegative = Annotated[int, Meta(ge=0, le=INT32)]
Sha256 = Annotated[
    str, Meta(pattern=SHA256_PATTERN, max_length=66, description="must be 64 hex digits, as sha256sum prints them")
]
FileSha256 = Annotated[
    str, Meta(pattern=r"^[0-9A-Fa-f]{64}$", description="must be 64 hex digits, as sha256sum prints them")
]


class Quantization(msgspec.Struct, frozen=True, rename="camel"):
    type: Annotated[QuantizationType, words(*QUANTIZATION_TYPES, refusal="Invalid quantization type: ")] = "auto"
    """How the weights are stored. `auto`: as published; `none`: 16 bits."""


class RegistryCredentials(msgspec.Struct, frozen=True, rename="camel"):
    secret_name: str = ""
    """Secret in the deployment's namespace that holds the credentials."""


class Registry(msgspec.Struct, frozen=True, rename="camel"):
    """Where models are mirrored. In a manifest also just text: the endpoint."""

    endpoint: str = ""
    """Host and path, for example `company-registry.com/models`."""
    credentials: RegistryCredentials = RegistryCredentials()


class Checksums(msgspec.Struct, frozen=True, rename="camel"):
    sha256: Sha256 = ""
    """SHA-256 of the model's manifest: the sorted lines that `sha256sum` prints for its files. 64 hex digits."""
    files: dict[str, FileSha256] = {}
    """SHA-256 of single files, by their path in the model."""

    @property
    def placeholder(self) -> bool:
        """Whether the digest is only hinted at (`a1b2c3d4e5f6...`), so that nothing can be verified with it."""
        return self.sha256.endswith("...")

    @property
    def digest(self) -> str:
        """The digest to verify; empty where there is none or only a placeholder."""
        return "" if self.placeholder else self.sha256.lower()


class Parallelism(msgspec.Struct, frozen=True, rename="camel"):
    tensor: Count | None = None
    """GPUs that share each layer. Default: the GPUs of a replica, divided by `pipeline`."""
    pipeline: Count = 1
    """Groups of layers, each on GPUs of its own."""
    data: Count = 1
    """Engine copies within one replica."""


class Loading(msgspec.Struct, frozen=True, rename="camel"):
    preload: bool = False
    pin_memory: bool = False
    warmup_samples: NotNegative = 0
    """Requests that a replica answers before it takes traffic."""
    use_shared_memory: bool = False
    """Give the pod a larger `/dev/shm`, which tensor parallelism exchanges data through."""
    num_workers: NotNegative = 0


class ModelCache(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = False
    max_size: QuantityField | None = None
    preallocation: bool = False


class Model(msgspec.Struct, frozen=True, rename="camel"):
    model_uri: ModelUriField = ModelUri("hf", "")
    """Where the model is: `hf://NAMESPACE/NAME[@REVISION]`, `s3://`, `gs://`, `oci://`, `pvc://`, `file://` or `http(s)://`."""
    version: VersionField = Version(LATEST, "latest")
    """The logical release: a semantic version such as `v1.2.0`, `latest`, a tag, or `previous-stable`."""
    name: Annotated[str, Meta(max_length=253)] = ""
    """The name that clients put into requests. Default: the last part of the URI."""
    quantization: Quantization = Quantization()
    registry: Annotated[Registry, SchemaOnly(ANY)] = Registry()
    """A mirror to fetch from: its endpoint as text, or an object with `endpoint` and `credentials.secretName`."""
    checksums: Checksums = Checksums()
    framework: str = ""
    architecture: str = ""
    parameters: Annotated[int, Meta(ge=1, le=EXACT)] | None = None
    """Number of parameters, where the catalogue does not know it; sizes defaults and load-time estimates."""
    parallelism: Parallelism = Parallelism()
    cache: ModelCache = ModelCache()
    loading: Loading = Loading()
    preload: bool = False
    warmup_requests: NotNegative = 0
    """Requests that a replica answers before it takes traffic."""
    image: str = ""
    """Container image of the engine. Default: the operator's."""

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that requests may use: first the one that metrics and labels show, then the full repository."""
        names = (self.name, self.model_uri.repository)
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def warmup(self) -> int:
        """Requests that a replica answers before it takes traffic."""
        return max(self.warmup_requests, self.loading.warmup_samples)

    @property
    def weights_bytes(self) -> int:
        """Size of the weights once loaded, estimated by the catalogue."""
        return catalog.weights_bytes(self.model_uri, self.quantization.type, self.parameters)


class ResourcePolicies(msgspec.Struct, frozen=True, rename="camel"):
    cost_optimization: str = ""
    spot_preference: str = ""
    utilization_target: Annotated[float, Meta(ge=0, le=1)] | None = None


class Resources(msgspec.Struct, frozen=True, rename="camel"):
    requests: dict[str, QuantityField] = {}
    """Per replica. Default: from the size of the model's weights."""
    limits: dict[str, QuantityField] = {}
    """Per replica. Default: the requests."""
    policies: ResourcePolicies = ResourcePolicies()

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        found = self.requests.get(GPU_RESOURCE) or self.limits.get(GPU_RESOURCE)
        return found.whole if found else 0

    def manifest(self) -> dict[str, dict[str, str]]:
        """As a container's `resources`."""
        return {"requests": _texts(self.requests), "limits": _texts(self.limits)}


def _texts(amounts: dict[str, Quantity]) -> dict[str, str]:
    return {name: str(amount) for name, amount in sorted(amounts.items())}


class Serving(msgspec.Struct, frozen=True, rename="camel"):
    """The engine's settings. Unset ones are the engine's own defaults."""

    protocol: Annotated[Literal["http", "grpc"], words("http", "grpc")] = "http"
    port: Annotated[int, Meta(ge=1, le=65535)] = HTTP_PORT
    """Port of the Service."""
    batch_size: Count | None = None
    """Most sequences that the engine works on at once (`--max-num-seqs`)."""
    max_sequence_length: Count | None = None
    """Longest prompt and answer together, in tokens (`--max-model-len`)."""
    max_concurrency: Count | None = None
    """Most requests that a replica takes at once."""
    mode: str = ""
