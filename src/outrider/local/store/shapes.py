"""How lists and maps merge, kind by kind: which lists are keyed by what, which are sets, and what is one whole.

JSON alone does not say that `containers` is really a map keyed by `name`. Kubernetes declares it in its Go types
(`+listType`, `+listMapKey`, `+structType`, `patchMergeKey`) and in the schemas of custom resources
(`x-kubernetes-list-type` and its kin). The declarations here are those of k8s.io/api 1.34 and Gateway API 1.4, for the
kinds that the local world serves. What is not declared is what Kubernetes takes it for: a map merges key by key, a
list is replaced as a whole.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class Shape(msgspec.Struct, frozen=True):
    """How one value of an object merges."""

    fields: Mapping[str, "Shape"] = {}
    """Of a map: those of its fields that are not of the plain shape."""
    items: "Shape | None" = None
    """Of a list, its items; of a map, the values of the fields not named in `fields`."""
    atomic: bool = False
    """Server-side apply owns it as one whole, although it is a map."""
    always: bool = False
    """A map or list that is part of every object of the kind (neither a pointer nor `omitempty`): nobody owns it."""
    keys: tuple[str, ...] = ()
    """Of a list of maps: the fields that tell its items apart."""
    key_defaults: Mapping[str, Any] = {}
    """What a key field means that an item leaves out."""
    is_set: bool = False
    """A list of distinct scalars without order."""
    merge_key: str = ""
    """The key that a strategic merge patch goes by, where it is not the only one of `keys`."""

    def field(self, name: str) -> "Shape":
        return self.fields.get(name) or self.items or PLAIN

    @property
    def item(self) -> "Shape":
        return self.items or PLAIN

    @property
    def strategic_key(self) -> str:
        return self.merge_key or (self.keys[0] if self.keys else "")


PLAIN = Shape()
_ATOMIC = Shape(atomic=True)
_SET = Shape(is_set=True)


def _keyed(*keys: str, items: Shape = PLAIN, merge_key: str = "", defaults: Mapping[str, Any] | None = None) -> Shape:
    return Shape(keys=keys, items=items, merge_key=merge_key, key_defaults=defaults or {})


_TCP = {"protocol": "TCP"}
_METADATA = Shape(fields={"finalizers": _SET, "ownerReferences": _keyed("uid", items=_ATOMIC)}, always=True)
_CONDITIONS = _keyed("type")
_ENV = Shape(
    fields={
        "valueFrom": Shape(
            fields=dict.fromkeys(("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"), _ATOMIC)
        )
    }
)
_CONTAINER = Shape(
    fields={
        "env": _keyed("name", items=_ENV),
        "ports": _keyed("containerPort", "protocol", merge_key="containerPort", defaults=_TCP),
        "volumeMounts": _keyed("mountPath"),
        "volumeDevices": _keyed("devicePath"),
        "resources": Shape(fields={"claims": _keyed("name")}),
    }
)
_POD_SPEC = Shape(
    fields={
        "containers": msgspec.structs.replace(_keyed("name", items=_CONTAINER), always=True),
        "initContainers": _keyed("name", items=_CONTAINER),
        "ephemeralContainers": _keyed("name", items=_CONTAINER),
        "volumes": _keyed("name"),
        "imagePullSecrets": _keyed("name", items=_ATOMIC, defaults={"name": ""}),
        "hostAliases": _keyed("ip"),
        "topologySpreadConstraints": _keyed(
            "topologyKey", "whenUnsatisfiable", items=Shape(fields={"labelSelector": _ATOMIC}), merge_key="topologyKey"
        ),
        "schedulingGates": _keyed("name"),
        "resourceClaims": _keyed("name"),
        "nodeSelector": _ATOMIC,
    },
    always=True,
)
_TEMPLATE = Shape(fields={"metadata": _METADATA, "spec": _POD_SPEC}, always=True)
_SCALED = Shape(fields={"template": _TEMPLATE, "selector": _ATOMIC, "strategy": Shape(always=True)}, always=True)


_STRUCT = Shape(always=True)


def _kind(spec: Shape = _STRUCT, status: Mapping[str, Shape] | None = None, *, custom: bool = False) -> Shape:
    """A kind's objects; their conditions are keyed by type, as those of every kind here are."""
    known = {"conditions": _CONDITIONS, **(status or {})}
    spec = msgspec.structs.replace(spec, always=not custom)
    return Shape(fields={"metadata": _METADATA, "spec": spec, "status": Shape(fields=known, always=not custom)})


PLAIN_KIND = _kind()
BUILT_IN_SHAPES: dict[tuple[str, str], Shape] = {
    ("", "Node"): _kind(
        Shape(fields={"podCIDRs": _SET}), {"addresses": _keyed("type"), "volumesAttached": _keyed("name")}
    ),
    ("", "Pod"): _kind(
        _POD_SPEC, {"podIPs": _keyed("ip"), "hostIPs": _ATOMIC, "resourceClaimStatuses": _keyed("name")}
    ),
    ("", "Service"): _kind(
        Shape(
            fields={"ports": _keyed("port", "protocol", merge_key="port", defaults=_TCP), "selector": _ATOMIC},
        )
    ),
    ("apps", "Deployment"): _kind(_SCALED),
    ("apps", "ReplicaSet"): _kind(_SCALED),
    ("policy", "PodDisruptionBudget"): _kind(Shape(fields={"selector": _ATOMIC})),
    ("gateway.networking.k8s.io", "Gateway"): _kind(
        Shape(fields={"listeners": _keyed("name")}),
        {"listeners": _keyed("name", items=Shape(fields={"conditions": _CONDITIONS}))},
        custom=True,
    ),
    ("gateway.networking.k8s.io", "HTTPRoute"): _kind(PLAIN, custom=True),
}
"""By group and kind; the other built-in kinds have only what all kinds have (`PLAIN_KIND`)."""


def shape_of_schema(schema: Mapping[str, Any]) -> Shape:
    """The shape that the structural schema of a custom resource declares, to be used below `metadata`."""
    fields = {name: shape_of_schema(part) for name, part in (schema.get("properties") or {}).items()}
    items = schema.get("items") or schema.get("additionalProperties")
    list_type = schema.get("x-kubernetes-list-type")
    item_schema = items if isinstance(items, Mapping) else None
    properties = (item_schema or {}).get("properties") or {}
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if list_type == "map" else ()
    return Shape(
        fields={name: shape for name, shape in fields.items() if shape != PLAIN},
        items=shape_of_schema(item_schema) if item_schema is not None else None,
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
        keys=keys,
        key_defaults={key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})},
        is_set=list_type == "set",
    )


def shape_of_custom_kind(schema: Mapping[str, Any]) -> Shape:
    """The shape of a whole custom resource."""
    shape = shape_of_schema(schema)
    return msgspec.structs.replace(shape, fields={**shape.fields, "metadata": _METADATA})
