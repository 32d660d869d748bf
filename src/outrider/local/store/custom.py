"""The rules of Outrider's own kinds, from the schemas of their CustomResourceDefinitions."""

from collections.abc import Callable
from typing import Any

from outrider.api.crd import crd, default_object, object_schema, prune_object, validate_object
from outrider.kube.api import Kind, Object
from outrider.kube.resources import CUSTOM
from outrider.local.store.errors import Cause
from outrider.local.store.rules import Rules
from outrider.local.store.shapes import shape_of_custom_kind


def custom_rules(kind: Kind[Any]) -> Rules | None:
    """The rules of a custom resource; None for a kind that Kubernetes or Gateway API defines."""
    if kind not in CUSTOM:
        return None
    schema = object_schema(kind.kind)
    subresources = crd(kind.kind, describe=False)["spec"]["versions"][0]["subresources"]
    return Rules(
        shape=shape_of_custom_kind(schema),
        has_status="status" in subresources,
        counts_generations=True,
        updates_unconditionally=False,
        has_scale="scale" in subresources,
        strategic=False,
        default=_default(schema),
        validate=_validate(schema),
    )


def _default(schema: dict[str, Any]) -> Callable[[Object], None]:
    """Fields that the schema does not know go, and its defaults come, as an API server does before it validates."""

    def default(obj: Object) -> None:
        filled = default_object(schema, prune_object(schema, obj))
        obj.clear()
        obj.update(filled)

    return default


def _validate(schema: dict[str, Any]) -> Callable[[Object, Object | None], list[Cause]]:
    def validate(new: Object, old: Object | None) -> list[Cause]:
        return [Cause(error.path, error.text, error.reason) for error in validate_object(schema, old, new)]

    return validate
