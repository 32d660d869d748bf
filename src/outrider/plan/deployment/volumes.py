"""What the engine's container has for files: the model's volume, caches, shared memory; and the variables that say so.

The engine downloads a model from the Hugging Face hub into `HF_HOME`, and keeps what it compiles below `HOME`. Both lie
in a volume of the pod (an emptyDir), not in the container's own layer: a container that is restarted, after a crash or
by its liveness probe, finds them again. Without it every restart would download the weights once more, which takes
minutes and counts against the same start-up probe. A volume of the user's own at `CACHE_PATH`, such as a claim or a
folder of the node, takes the emptyDir's place, and then also pods that come later find the weights there.
"""

from typing import Any

import msgspec

from outrider.api.model_uri import ModelUri
from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.spec import LLMDeploymentSpec, PodSettings
from outrider.plan.deployment.engine import MODEL_PATH

CACHE_PATH = "/model-cache"
"""Where the cache is mounted, as in llm-d's recipes."""
USER_NAME = "vllm"
"""`USER`: PyTorch asks for the user's name when it is imported, and ends where neither this variable nor the image's
/etc/passwd knows it (pytorch 2.11, vllm-project/vllm#44548). So any user id will do."""
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 - a mount path
SCRATCH_PATH = "/tmp"  # noqa: S108 - a mount path
LARGEST_SHARED_MEMORY = 20 * 2**30
"""Of llm-d's recipe (guides/recipes/modelserver)."""
ROOT_HOME = "/root"

Body = dict[str, Any]


class Storage(msgspec.Struct, frozen=True):
    volumes: tuple[Body, ...] = ()
    mounts: tuple[Body, ...] = ()
    environment: dict[str, str] = {}


def storage(spec: LLMDeploymentSpec, revision: ModelRevisionSpec) -> Storage:
    """The user's volumes first; ours only where the user has put nothing of his own."""
    pod = spec.pod
    caches = not lives_in_roots_home(pod)
    wanted: list[tuple[str, Body, Body]] = []
    if source := _model_volume(revision):
        wanted.append(("model", source, {"mountPath": MODEL_PATH, "readOnly": True}))
    if caches:
        wanted.append(("model-cache", {"emptyDir": {}}, {"mountPath": CACHE_PATH}))
    if spec.security.read_only_root_filesystem:
        wanted.append(("tmp", {"emptyDir": {}}, {"mountPath": SCRATCH_PATH}))
    if pod.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": _shared_memory(spec)}
        wanted.append(("shm", {"emptyDir": memory}, {"mountPath": SHARED_MEMORY_PATH}))
    occupied = {str(mount.get("mountPath")).rstrip("/") for mount in pod.volume_mounts}
    names = {str(volume.get("name")) for volume in pod.volumes}
    ours = [
        (f"{name}-of-engine" if name in names else name, source, mount)
        for name, source, mount in wanted
        if mount["mountPath"] not in occupied
    ]
    return Storage(
        volumes=(*pod.volumes, *({"name": name, **source} for name, source, _ in ours)),
        mounts=(*pod.volume_mounts, *({"name": name, **mount} for name, _, mount in ours)),
        environment=_environment() if caches else {},
    )


def lives_in_roots_home(pod: PodSettings) -> bool:
    """Whether the user has mounted something in the home folder of root, as `docker run` examples do for caches: then
    the engine has to run as root and find its caches where it looks for them by itself.
    """
    return any(f"{mount.get('mountPath')}/".startswith(f"{ROOT_HOME}/") for mount in pod.volume_mounts)


def _environment() -> dict[str, str]:
    return {"HOME": CACHE_PATH, "HF_HOME": f"{CACHE_PATH}/huggingface", "USER": USER_NAME}


def _shared_memory(spec: LLMDeploymentSpec) -> str:
    """Half of the pod's memory at most: it counts against the container's limit."""
    limit = spec.resources.limits.get("memory") or spec.resources.requests.get("memory")
    half = limit.whole // 2 if limit is not None else LARGEST_SHARED_MEMORY
    return f"{min(half, LARGEST_SHARED_MEMORY) // 2**20}Mi"


def _model_volume(revision: ModelRevisionSpec) -> Body:
    """A model in a volume: an OCI artifact as an image volume (Kubernetes 1.35 has them by default), or a claim."""
    uri = ModelUri.parse(revision.model_uri)
    if uri.scheme == "oci":
        return {"image": {"reference": _oci_reference(uri, revision.version), "pullPolicy": "IfNotPresent"}}
    if uri.scheme == "pvc":
        claim, _, _ = uri.location.partition("/")
        return {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    return {}


def _oci_reference(uri: ModelUri, version: str) -> str:
    """The tag or digest of the URI; else the version is the tag."""
    tag = uri.revision or version
    return f"{uri.location}{'@' if tag.startswith('sha256:') else ':'}{tag}"


def without_empty(body: Body) -> Body:
    """The body without fields that say nothing."""
    return {key: value for key, value in body.items() if value not in ({}, [], None, "")}
