"""Spec -> ModelRevisionSpec: the complete snapshot of everything that decides how a model answers, and its hash."""

import hashlib
from typing import Any

import msgspec

from outrider.api import labels
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.modelrevision import ModelRevisionSpec
from outrider.api.names import label_value, revision_name
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.version import Version
from outrider.plan.deployment.engine import engine_args

HASH_LENGTH = 10
"""Hex digits of a revision's hash: 40 bits, of which a deployment needs to tell some dozens apart."""
HASHED_FIELDS = ("model_uri", "model_name", "version", "digest", "registry", "quantization", "image", "args")
"""All of the snapshot but its name, its number, its hash and where the image came from: none of them changes how the
model answers."""


def revision_spec(
    deployment: str, spec: LLMDeploymentSpec, default_image: str, *, version: Version | None = None
) -> ModelRevisionSpec:
    """The snapshot of what the spec asks for, at `version` where one is given instead of the spec's own."""
    model = spec.model
    version = version or model.version
    names = model.served_names or (deployment,)
    return with_hash(
        ModelRevisionSpec(
            deployment=deployment,
            model_uri=str(model.model_uri),
            model_name=names[0],
            version=version.text,
            digest=model.checksums.digest,
            registry=model.registry.endpoint,
            quantization=model.quantization.type,
            image=model.image or default_image,
            image_from_spec=bool(model.image),
            args=engine_args(spec, version, names),
        )
    )


def with_hash(revision: ModelRevisionSpec) -> ModelRevisionSpec:
    return msgspec.structs.replace(revision, hash=revision_hash(revision))


def revision_hash(revision: ModelRevisionSpec) -> str:
    """The same for the same content on every machine and in every run: SHA-256 of its JSON with sorted keys."""
    content = {name: getattr(revision, name) for name in HASHED_FIELDS}
    return content_hash(content)[:HASH_LENGTH]


def content_hash(content: Any) -> str:
    """SHA-256, in hex, of anything that msgspec can encode, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def revision_body(owner: LLMDeployment, revision: ModelRevisionSpec) -> dict[str, Any]:
    """The ModelRevision to create."""
    meta = owner.metadata
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "ModelRevision",
        "metadata": {
            "name": revision_name(meta.name, revision.hash),
            "namespace": meta.namespace,
            "labels": {
                labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
                labels.DEPLOYMENT: label_value(meta.name),
                labels.REVISION: revision.hash,
            },
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": msgspec.to_builtins(revision),
    }


def owner_reference(owner: LLMDeployment) -> dict[str, Any]:
    """Makes an object go with its LLMDeployment."""
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "LLMDeployment",
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
