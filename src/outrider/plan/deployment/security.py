"""The security contexts of a pod: what the spec says, and for images that are known to allow it more than that.

`vllm/vllm-openai` runs as root unless told otherwise, but carries a user `vllm` with id 2000 and a home of its own, and
works as any user (vllm-project/vllm#40275). With that user the pod meets Kubernetes' Pod Security Standard *restricted*
(https://kubernetes.io/docs/concepts/security/pod-security-standards/): no privilege escalation, no capabilities, the
runtime's seccomp profile, not root. GPUs need none of these: the device files are open to every user. Of other images
nothing is known, so they keep the user that they bring.

The user is set on the engine's container only. Sidecars are somebody else's images.
"""

from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.spec import LLMDeploymentSpec
from outrider.plan.deployment.volumes import Body, lives_in_roots_home

NON_ROOT_IMAGE = "vllm/vllm-openai"
"""The repository, whatever the registry that mirrors it."""
NON_ROOT_USER = 2000
"""`vllm` of that image."""
FILES_GROUP = 2000
"""Group of the files in volumes, so that a cache in a claim can be written."""


def pod_context(spec: LLMDeploymentSpec, revision: ModelRevisionSpec) -> Body:
    """The pod's `securityContext`."""
    context = spec.pod.pod_security_context
    if not runs_as_engines_user(spec, revision) or "fsGroup" in context:
        return context
    # Without the policy every start would walk all files of a volume, which takes minutes for a cache of models.
    return context | {"fsGroup": FILES_GROUP, "fsGroupChangePolicy": "OnRootMismatch"}


def container_context(spec: LLMDeploymentSpec, revision: ModelRevisionSpec) -> Body:
    """The `securityContext` of the engine's container."""
    context = spec.pod.container_security_context
    if not runs_as_engines_user(spec, revision):
        return context
    return context | {"runAsNonRoot": True, "runAsUser": NON_ROOT_USER}


def runs_as_engines_user(spec: LLMDeploymentSpec, revision: ModelRevisionSpec) -> bool:
    """Whether the engine runs as the user of its image although the spec says nothing about users."""
    security = spec.security
    unsaid = security.enabled is None and security.run_as_user is None and security.run_as_non_root is None
    return unsaid and _repository(revision.image) == NON_ROOT_IMAGE and not lives_in_roots_home(spec.pod)


def _repository(image: str) -> str:
    """The last two parts of an image's name, without registry, tag and digest."""
    *parents, last = image.partition("@")[0].split("/")
    return "/".join([*parents, last.partition(":")[0]][-2:])
