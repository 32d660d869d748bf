"""How an object is kept: as the JSON that goes over the wire, with what is looked at often beside it."""

from typing import Any

import msgspec

from outrider.kube.api import Kind, Object
from outrider.kube.selectors import SELECTABLE_FIELDS, field_value

_encoder = msgspec.json.Encoder()
_sorted_encoder = msgspec.json.Encoder(order="sorted")
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    return _encoder.encode(value)


def decode(data: bytes) -> Any:
    return _decoder.decode(data)


def copy(value: Any) -> Any:
    """The value as JSON would carry it. A round trip is several times faster than `copy.deepcopy`."""
    return _decoder.decode(_encoder.encode(value))


def same(left: Any, right: Any) -> bool:
    """Whether two values are the same JSON. To Python alone `true` and `1` would be."""
    if isinstance(left, dict | list):
        return bool(left == right) and _sorted_encoder.encode(left) == _sorted_encoder.encode(right)
    return type(left) is type(right) and bool(left == right)


class Record(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One version of an object. It never changes: a write makes a new record."""

    namespace: str
    name: str
    uid: str
    version: int
    """`metadata.resourceVersion` as a number; 0 for what a dry run would have created."""
    labels: dict[str, str]
    fields: dict[str, str]
    """The values that field selectors of this kind may ask for."""
    data: bytes
    """The whole object as JSON."""

    def object(self) -> Object:
        """The object, decoded afresh: the caller may change it."""
        found: Object = _decoder.decode(self.data)
        return found


def make_record(kind: Kind[Any], obj: Object, data: bytes | None = None) -> Record:
    """The record of an object whose metadata is complete; `data` is its JSON, where that is there already."""
    metadata = obj["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    fields = {path: field_value(obj, path) for path in SELECTABLE_FIELDS.get(kind.plural, ())}
    fields["metadata.name"] = name
    fields["metadata.namespace"] = namespace
    return Record(
        namespace=namespace,
        name=name,
        uid=metadata["uid"],
        version=int(metadata.get("resourceVersion", 0)),
        labels=metadata.get("labels") or {},
        fields=fields,
        data=data if data is not None else encode(obj),
    )
