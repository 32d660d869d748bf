"""An object's metadata and the order of its versions, whatever type the object was decoded into."""

from collections.abc import Mapping
from typing import Any

import msgspec

from outrider.api.meta import ObjectMeta


def metadata_of(obj: Any) -> ObjectMeta:
    """The metadata of a struct with a `metadata` field, or of an object as decoded JSON.

    Raises `msgspec.ValidationError` when the JSON's metadata is not that of a Kubernetes object.
    """
    if isinstance(obj, dict):
        return msgspec.convert(obj.get("metadata") or {}, ObjectMeta)
    metadata: ObjectMeta = obj.metadata
    return metadata


def raw_identity(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Key and resource version of an object as decoded JSON, of which nothing else need be sound."""
    metadata = raw.get("metadata") or {}
    namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    return (f"{namespace}/{name}" if namespace else name), str(metadata.get("resourceVersion") or "")


def split_key(key: str) -> tuple[str, str]:
    """`(namespace, name)` of `namespace/name`; the namespace is empty for a cluster-scoped object's key."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def is_older(version: str, other: str) -> bool:
    """Whether resource version `version` came before `other`.

    Resource versions of one kind are decimal numbers that grow (Kubernetes promises so since 1.35, KEP-5504, and every
    etcd-backed server has always done so). Where either is anything else, nobody knows: then False.
    """
    return version.isdecimal() and other.isdecimal() and int(version) < int(other)


def same_version(obj: ObjectMeta, other: ObjectMeta) -> bool:
    """Whether both are the same version of the same object, and not of one deleted and created anew."""
    return obj.uid == other.uid and obj.resource_version == other.resource_version
