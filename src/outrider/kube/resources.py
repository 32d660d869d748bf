"""Outrider's own kinds, as resources."""

from typing import Any

from outrider.api.labels import GROUP, VERSION
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.modelrevision import ModelRevision
from outrider.api.versionpin import VersionPin
from outrider.kube.api import Kind
from outrider.kube.objects import BUILT_IN, CLUSTER_ONLY

LLM_DEPLOYMENT = Kind(GROUP, VERSION, "LLMDeployment", "llmdeployments", True, LLMDeployment, ("llmd", "lld"))
MODEL_REVISION = Kind(GROUP, VERSION, "ModelRevision", "modelrevisions", True, ModelRevision, ("mrev",))
VERSION_PIN = Kind(GROUP, VERSION, "VersionPin", "versionpins", True, VersionPin, ("vpin",))

CUSTOM: tuple[Kind[Any], ...] = (LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN)
ALL: tuple[Kind[Any], ...] = BUILT_IN + CUSTOM


def find_kind(word: str) -> Kind[Any] | None:
    """The kind that people mean by a plural, singular, short name or Kind, with or without `.group`."""
    name, _, group = word.lower().partition(".")
    for kind in ALL:
        if name in (kind.plural, kind.singular, *kind.short_names) and (not group or group == kind.group):
            return kind
    return None


def kind_for(api_version: str, kind: str) -> Kind[Any] | None:
    """The kind that a manifest's `apiVersion` and `kind` name."""
    return next((known for known in ALL if known.api_version == api_version and known.kind == kind), None)


def written_kind(api_version: str, kind: str) -> Kind[Any] | None:
    """The kind of an object that the operator writes, also of those that the local world does not have."""
    return kind_for(api_version, kind) or next(
        (known for known in CLUSTER_ONLY if known.api_version == api_version and known.kind == kind), None
    )
