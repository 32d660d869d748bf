"""Other ways of writing a field, folded into the one way that the types know, before the types are read.

Every function takes the spec's JSON, changes it in place, and says under which written path a canonical path goes, so
that a mistake is reported where its author wrote it. Values of the wrong type are left alone for the types to refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outrider.api import catalog
from outrider.api.errors import FORBIDDEN, INVALID, TYPE_INVALID, FieldError, kind_of
from outrider.api.walk import join

Json = dict[str, Any]

MOVED: tuple[tuple[str, str], ...] = (
    ("schedulerName", "scheduling.scheduler"),
    ("nodeSelector", "scheduling.nodeSelector"),
    ("tolerations", "scheduling.tolerations"),
    ("affinity", "scheduling.affinity"),
    ("monitoring.port", "monitoring.metrics.port"),
    ("monitoring.path", "monitoring.metrics.path"),
    ("observability.tracing", "monitoring.tracing"),
    ("model.source.modelUri", "model.modelUri"),
    ("model.quantization.precision", "model.quantization.type"),
)
"""Alias and canonical path, both under `spec`. Maps given both ways are merged, lists joined, others must agree."""


@dataclass
class Folded:
    """A spec in canonical form."""

    spec: Json
    written: dict[str, str] = field(default_factory=dict)
    """Canonical path to the path that it was written under, where they differ."""
    errors: list[FieldError] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    """Paths that were folded away completely, as written."""

    def path_as_written(self, path: str) -> str:
        """The path that the author knows a canonical path by."""
        for canonical, alias in self.written.items():
            if path == canonical or path.startswith((f"{canonical}.", f"{canonical}[")):
                return alias + path[len(canonical) :]
        return path


def fold(spec: Mapping[str, Any]) -> Folded:
    """The spec without aliases. The argument stays as it is."""
    folded = Folded(_copy(spec))
    for alias, canonical in MOVED:
        _move(folded, alias, canonical)
    _fold_s3_source(folded)
    _fold_quantization_switch(folded)
    _fold_registry_text(folded)
    _fold_model_name(folded)
    _drop_empty(folded.spec, "observability")
    model = folded.spec.get("model")
    if isinstance(model, dict):
        _drop_empty(model, "source")
    return folded


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    return value


def _drop_empty(parent: Json, key: str) -> None:
    if parent.get(key) == {}:
        del parent[key]


def _parent(spec: Json, path: str, *, make: bool = False) -> tuple[Json | None, str]:
    """The object that holds the last part of `path`; None where there is none (or something else stands there)."""
    *parts, last = path.split(".")
    node: Any = spec
    for part in parts:
        node = node.setdefault(part, {}) if make else node.get(part)
        if not isinstance(node, dict):
            return None, last
    return node, last


def _move(folded: Folded, alias: str, canonical: str) -> None:
    source, source_key = _parent(folded.spec, alias)
    if source is None or source_key not in source:
        return
    target, target_key = _parent(folded.spec, canonical, make=True)
    if target is None:
        return
    value = source.pop(source_key)
    if target_key not in target:
        target[target_key] = value
        folded.written[f"spec.{canonical}"] = f"spec.{alias}"
        return
    target[target_key] = _merge(folded, alias, value, canonical, target[target_key])


def _merge(folded: Folded, alias: str, new: Any, canonical: str, old: Any) -> Any:
    if isinstance(new, dict) and isinstance(old, dict):
        for key in sorted(new.keys() & old.keys()):
            if new[key] != old[key]:
                folded.errors.append(_disagree(join(alias, key), new[key], join(canonical, key), old[key]))
        return old | new
    if isinstance(new, list) and isinstance(old, list):
        return old + [item for item in new if item not in old]
    if new != old:
        folded.errors.append(_disagree(alias, new, canonical, old))
    return old


def _disagree(alias: str, new: Any, canonical: str, old: Any) -> FieldError:
    return FieldError(
        f"spec.{alias}", new, f"spec.{canonical} says {old!r} for the same thing: keep one of them", INVALID
    )


def _fold_s3_source(folded: Folded) -> None:
    """`model.source.s3.{bucket,prefix}` is `model.modelUri: s3://BUCKET/PREFIX`."""
    source, key = _parent(folded.spec, "model.source.s3")
    if source is None or key not in source:
        return
    s3 = source[key]
    if not isinstance(s3, dict) or not isinstance(s3.get("bucket"), str) or not isinstance(s3.get("prefix", ""), str):
        message = f"must be an object with the texts bucket and prefix, not {kind_of(s3)}"
        folded.errors.append(FieldError("spec.model.source.s3", source.pop(key), message, TYPE_INVALID))
        return
    uri = f"s3://{s3.pop('bucket')}/{s3.pop('prefix', '').strip('/')}".rstrip("/")
    model, name = _parent(folded.spec, "model.modelUri")
    if model is not None and name in model:
        message = f"spec.model.modelUri says {model[name]!r}: keep one of them"
        folded.errors.append(FieldError("spec.model.source.s3", uri, message, FORBIDDEN))
    elif model is not None:
        model[name] = uri
        folded.written["spec.model.modelUri"] = "spec.model.source.s3"
    if s3.pop("region", None) is not None:
        folded.touched.append("spec.model.source.s3.region")
    _drop_empty(source, key)


def _fold_quantization_switch(folded: Folded) -> None:
    """`quantization.enabled: false` means `type: none`, whatever else stands there; true adds nothing."""
    quantization, key = _parent(folded.spec, "model.quantization.enabled")
    if quantization is None or key not in quantization:
        return
    enabled = quantization.pop(key)
    if not isinstance(enabled, bool):
        message = f"must be true or false, not {kind_of(enabled)}"
        folded.errors.append(FieldError("spec.model.quantization.enabled", enabled, message, TYPE_INVALID))
    elif not enabled:
        quantization["type"] = "none"


def _fold_registry_text(folded: Folded) -> None:
    model, key = _parent(folded.spec, "model.registry")
    if model is not None and isinstance(model.get(key), str):
        model[key] = {"endpoint": model[key]}
        folded.written["spec.model.registry.endpoint"] = "spec.model.registry"


def _fold_model_name(folded: Folded) -> None:
    """A model that has only a name gets the URI of the repository that the name means."""
    model, key = _parent(folded.spec, "model.name")
    if model is None or "modelUri" in model or not isinstance(model.get(key), str):
        return
    known = catalog.find_model(model[key])
    if known is not None:
        model["modelUri"] = f"hf://{known.repository}"
    elif "/" in model[key]:
        model["modelUri"] = f"hf://{model[key]}"
    if "modelUri" in model:
        folded.written["spec.model.modelUri"] = "spec.model.name"
