"""What `metadata` may say: names, labels, annotations, owners and finalizers of every kind."""

import re
from typing import Any

from outrider.kube.api import Object
from outrider.local.store.errors import Cause, forbidden, invalid_value, required

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_FORMS: dict[str, tuple[re.Pattern[str], int, str]] = {
    "subdomain": (
        re.compile(rf"{_LABEL}(\.{_LABEL})*"),
        253,
        (
            "a name is made of lower case letters, digits, '-' and '.', and begins and ends with a letter or digit "
            "(a DNS-1123 subdomain, such as llama-3.1-8b)"
        ),
    ),
    "label": (
        re.compile(_LABEL),
        63,
        (
            "a name is made of lower case letters, digits and '-', and begins and ends with a letter or digit "
            "(a DNS-1123 label, such as production)"
        ),
    ),
    "service": (
        re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?"),
        63,
        (
            "the name of a Service is made of lower case letters, digits and '-', begins with a letter "
            "and ends with a letter or digit (a DNS-1035 label, such as llama-3-1-8b)"
        ),
    ),
}
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)")
_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")
"""Kubernetes' own, which have no prefix."""
_ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of all keys and values together (k8s.io/apimachinery validation.TotalAnnotationSizeLimitB)."""


def check_name(name: Any, form: str, field: str = "metadata.name") -> list[Cause]:
    """What is wrong with a name; `form` is `subdomain`, `label` or `service`."""
    pattern, longest, explanation = _FORMS[form]
    if name is None or name == "":
        return [required(field, "name or generateName is required")]
    if not isinstance(name, str):
        return [invalid_value(field, name, "must be text")]
    if len(name) > longest:
        return [invalid_value(field, name, f"must be no more than {longest} characters")]
    return [] if pattern.fullmatch(name) else [invalid_value(field, name, explanation)]


def _check_key(key: str, field: str) -> list[Cause]:
    prefix, slash, name = key.rpartition("/")
    good = len(name) <= 63 and _QUALIFIED_NAME.fullmatch(name)
    if not good or (slash and check_name(prefix, "subdomain")):
        return [
            invalid_value(
                field, key, "a key is a name of at most 63 letters, digits, '-', '_' and '.', that begins and ends "
                "with a letter or digit, with or without a DNS prefix and '/', as in example.com/name",
            )
        ]  # fmt: skip
    return []


def check_labels(labels: Any, field: str = "metadata.labels") -> list[Cause]:
    if labels is None:
        return []
    if not isinstance(labels, dict):
        return [invalid_value(field, labels, "must be a map")]
    causes = []
    for key, value in labels.items():
        causes += _check_key(key, field)
        if not isinstance(value, str):
            causes.append(invalid_value(f"{field}.{key}", value, "the value of a label is text: put it in quotes"))
        elif len(value) > 63 or (value and not _QUALIFIED_NAME.fullmatch(value)):
            causes.append(
                invalid_value(
                    field, value, "a label's value is empty or at most 63 letters, digits, '-', '_' and '.', "
                    "and begins and ends with a letter or digit",
                )
            )  # fmt: skip
    return causes


def check_annotations(annotations: Any) -> list[Cause]:
    field = "metadata.annotations"
    if annotations is None:
        return []
    if not isinstance(annotations, dict):
        return [invalid_value(field, annotations, "must be a map")]
    causes, size = [], 0
    for key, value in annotations.items():
        # Upper case is allowed in the keys of annotations, but not in their prefix.
        causes += _check_key(key, field)
        if isinstance(value, str):
            size += len(key.encode()) + len(value.encode())
        else:
            causes.append(
                invalid_value(f"{field}.{key}", value, "the value of an annotation is text: put it in quotes")
            )
    if size > _ANNOTATIONS_LIMIT:
        causes.append(Cause(field, f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes", "FieldValueTooLong"))
    return causes


def _check_owners(owners: Any) -> list[Cause]:
    field = "metadata.ownerReferences"
    if not isinstance(owners, list):
        return [invalid_value(field, owners, "must be a list")]
    causes, controllers = [], 0
    for number, owner in enumerate(owners):
        if not isinstance(owner, dict):
            causes.append(invalid_value(f"{field}[{number}]", owner, "must be a map"))
            continue
        causes += [
            required(f"{field}[{number}].{name}")
            for name in ("apiVersion", "kind", "name", "uid")
            if not owner.get(name)
        ]
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        causes.append(invalid_value(field, owners, "only one owner can be the controller"))
    return causes


def check_metadata(metadata: Object, form: str) -> list[Cause]:
    """All that is wrong with the metadata of an object."""
    causes = check_name(metadata.get("name"), form)
    causes += check_labels(metadata.get("labels"))
    causes += check_annotations(metadata.get("annotations"))
    causes += _check_owners(metadata.get("ownerReferences") or [])
    finalizers = metadata.get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(name, str) for name in finalizers):
        return [*causes, invalid_value("metadata.finalizers", finalizers, "must be a list of names")]
    for name in finalizers:
        if name not in _FINALIZERS and ("/" not in name or _check_key(name, "")):
            why = f"must be a name with a DNS prefix, as in example.com/name, or one of {', '.join(_FINALIZERS)}"
            causes.append(invalid_value("metadata.finalizers", name, why))
    return causes


def check_finalizers(new: Object, old: Object) -> list[Cause]:
    """An object that is being deleted may lose finalizers, and may not gain any."""
    if not old.get("deletionTimestamp"):
        return []
    added = [name for name in new.get("finalizers") or [] if name not in (old.get("finalizers") or [])]
    if not added:
        return []
    return [
        forbidden(
            "metadata.finalizers", f"the object is being deleted, so no finalizer can be added: {', '.join(added)}"
        )
    ]
