"""Which changes are worth a reconcile: small functions `(old, new) -> bool`.

`old` is None for a new object, `new` for one that is gone.

Use several as separate arguments to mean "all of them", and `any_of` to mean "at least one of them". New and deleted
objects always pass.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from outrider.kube.metadata import metadata_of

Predicate = Callable[[Any, Any], bool]


def generation_changed(old: Any, new: Any) -> bool:
    """The spec changed: API servers count `metadata.generation` up for it, and not for status or metadata."""
    return old is None or new is None or metadata_of(old).generation != metadata_of(new).generation


def labels_changed(old: Any, new: Any) -> bool:
    return old is None or new is None or metadata_of(old).labels != metadata_of(new).labels


def annotations_changed(old: Any, new: Any) -> bool:
    return old is None or new is None or metadata_of(old).annotations != metadata_of(new).annotations


def deletion_requested(old: Any, new: Any) -> bool:
    """The object began to terminate."""
    if old is None or new is None:
        return True
    return metadata_of(old).deletion_timestamp != metadata_of(new).deletion_timestamp


def content_changed(old: Any, new: Any) -> bool:
    """Something changed that the projection shows, beyond the resource version.

    This drops heartbeats: a kubelet updates its Node's `lastHeartbeatTime` for ever, which the projection leaves out.
    """
    if old is None or new is None:
        return True
    return bool(_without_version(old) != _without_version(new))


def any_of(*predicates: Predicate) -> Predicate:
    """At least one of the predicates holds."""

    def any_holds(old: Any, new: Any) -> bool:
        return any(predicate(old, new) for predicate in predicates)

    return any_holds


def _without_version(obj: Any) -> Any:
    if isinstance(obj, dict):
        hidden = ("resourceVersion", "managedFields")
        metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name not in hidden}
        return {**obj, "metadata": metadata}
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, resource_version=""))
