"""Which records a list or watch is about."""

from collections.abc import Mapping
from typing import Any

import msgspec

from outrider.kube.api import Kind
from outrider.kube.selectors import FieldRequirement, parse_field_selector, parse_label_selector
from outrider.kube.selectors import Selector as LabelSelector
from outrider.local.store.records import Record


class Selection(msgspec.Struct, frozen=True):
    """A namespace ("" for all) and the labels and fields that an object must have."""

    namespace: str
    labels: LabelSelector
    fields: tuple[FieldRequirement, ...]

    def matches(self, record: Record) -> bool:
        return (
            (not self.namespace or record.namespace == self.namespace)
            and self.labels.matches(record.labels)
            and all(_has(record.fields, term) for term in self.fields)
        )


def _has(fields: Mapping[str, str], term: FieldRequirement) -> bool:
    return (fields.get(term.path, "") == term.value) == term.equal


def select(kind: Kind[Any], namespace: str, labels: str, fields: str) -> Selection:
    """Raises `BadRequest` for what is no selector: to ignore it would be to match everything."""
    return Selection(
        namespace if kind.namespaced else "",
        parse_label_selector(labels),
        parse_field_selector(fields, kind).requirements,
    )
