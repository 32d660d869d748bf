"""What all objects of an installation have in common: names and labels."""

from typing import Any

from outrider import __version__

NAME = "outrider-operator"
ACCOUNT = NAME
"""The operator's ServiceAccount."""

PART_OF = "app.kubernetes.io/part-of"
PART_OF_VALUE = "outrider"
COMPONENT = "app.kubernetes.io/component"
OPERATOR = "operator"
"""What goes when Outrider is uninstalled."""
API = "api"
"""What stays: the CustomResourceDefinitions, and the roles by which people may use them."""
INSTANCE = "app.kubernetes.io/instance"
"""The namespace of the installation that an object of the operator belongs to."""
VERSION = "app.kubernetes.io/version"
KEEP = {"helm.sh/resource-policy": "keep"}
"""Helm leaves such objects where they are when a release is uninstalled: with the CRDs, every model would go."""

POD_LABELS = {"app.kubernetes.io/name": NAME}
"""Selects the operator's pods within their namespace. Selectors are immutable: it names no more than it must."""


def operator_object(api_version: str, kind: str, namespace: str, name: str = NAME, *, where: str) -> dict[str, Any]:
    """The beginning of an object that belongs to the installation in `namespace` and lives in `where` ("": nowhere)."""
    metadata: dict[str, Any] = {"name": name}
    if where:
        metadata["namespace"] = where
    metadata["labels"] = {
        "app.kubernetes.io/name": NAME,
        INSTANCE: namespace,
        PART_OF: PART_OF_VALUE,
        COMPONENT: OPERATOR,
        VERSION: __version__,
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def api_object(api_version: str, kind: str, name: str) -> dict[str, Any]:
    """The beginning of a cluster-scoped object that all installations of a cluster share, and none takes away."""
    labels = {PART_OF: PART_OF_VALUE, COMPONENT: API, VERSION: __version__}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": labels, "annotations": dict(KEEP)},
    }
