"""The CustomResourceDefinitions of Outrider's kinds, generated from their types.

`python -m outrider.api.crd [FOLDER]` writes them as YAML, by default to `deploy/crds/`.
"""

import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from outrider.api import rules
from outrider.api.aliases import MOVED
from outrider.api.columns import printer_columns
from outrider.api.fields import FORMS, NOT_SAYS, SAYS, Schema
from outrider.api.labels import GROUP, VERSION
from outrider.api.llmdeployment import UNKNOWN, LLMDeploymentStatus
from outrider.api.meta import Condition
from outrider.api.modelrevision import ModelRevisionSpec, ModelRevisionStatus
from outrider.api.schema import KEEP_UNKNOWN, Extra, Generator
from outrider.api.schema_check import default_object, prune_object, validate_object
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.spec_model import Model, Resources
from outrider.api.spec_operations import Autoscaling, Canary, RollingUpdate, WrittenTriggers
from outrider.api.spec_pod import EnvVar, Runtime, Security
from outrider.api.versionpin import VersionPinSpec, VersionPinStatus

__all__ = ["KINDS", "crd", "default_object", "object_schema", "prune_object", "validate_object"]

LONGEST_WORD = 64
"""Characters of a text that has a pattern and no limit of its own: no word that is taken is as long."""

_CONDITIONS = {"conditions": ("type",)}

EXTRAS: Mapping[type, Extra] = {
    LLMDeploymentSpec: Extra(required=("model",)),
    Model: Extra(rules=(rules.MODEL_SAYS_WHERE,)),
    Resources: Extra(rules=(rules.GPUS_NOT_OVERCOMMITTED,)),
    Autoscaling: Extra(rules=(rules.MINIMUM_BELOW_MAXIMUM,)),
    RollingUpdate: Extra(rules=(rules.ROLLING_UPDATE_MOVES,)),
    WrittenTriggers: Extra(rules=(rules.TRIGGER_NAMES_INDICATOR,)),
    Canary: Extra(rules=(rules.STEPS_RISE,)),
    Runtime: Extra(lists={"env": ("name",)}),
    EnvVar: Extra(rules=(rules.ONE_SOURCE,)),
    Security: Extra(rules=(rules.NOT_ROOT,)),
    LLMDeploymentStatus: Extra(lists=_CONDITIONS),
    ModelRevisionSpec: Extra(rules=(rules.IMMUTABLE,), required=("deployment", "hash", "modelUri", "version")),
    ModelRevisionStatus: Extra(lists=_CONDITIONS),
    VersionPinSpec: Extra(rules=(rules.PIN_NAMES_TARGET,), required=("deployment",)),
    VersionPinStatus: Extra(lists=_CONDITIONS, defaults={"version": UNKNOWN}),
    Condition: Extra(required=("type", "status")),
}


@dataclass(frozen=True)
class CustomKind:
    """One of Outrider's own kinds, as its CRD describes it."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    spec: type[msgspec.Struct]
    status: type[msgspec.Struct]
    columns: tuple[dict[str, Any], ...]
    people_write_it: bool = False
    """Whether unknown fields of the spec are kept, for the status to report them."""
    scale: bool = False
    """Whether it has a scale subresource."""
    adjust: Callable[[Schema], None] | None = None
    """Last changes to the spec's schema."""


def _add_aliases(spec: Schema) -> None:
    """Give every alias the schema of what it stands for."""
    for alias, canonical in MOVED:
        target = copy.deepcopy(_part(spec, canonical))
        target.pop("x-kubernetes-validations", None)
        target["description"] = f"Another way to write `{canonical}`."
        parent, _, name = alias.rpartition(".")
        _part(spec, parent)["properties"][name] = target
    quantization = _part(spec, "model.quantization")["properties"]
    quantization["enabled"] = {"type": "boolean", "description": "false is another way to write `type: none`."}
    s3 = {"bucket": {"type": "string"}, "prefix": {"type": "string"}, "region": {"type": "string"}}
    _part(spec, "model.source")["properties"]["s3"] = {
        "type": "object",
        "description": "Another way to write `modelUri: s3://BUCKET/PREFIX`.",
        "properties": s3,
        "required": ["bucket"],
        KEEP_UNKNOWN: True,
    }


def _part(schema: Schema, path: str) -> Schema:
    """The schema below a path of property names; made as an open object where there is none yet."""
    for name in filter(None, path.split(".")):
        properties = schema.setdefault("properties", {})
        schema = properties.setdefault(name, {"type": "object", "properties": {}, KEEP_UNKNOWN: True})
    return schema


KINDS: tuple[CustomKind, ...] = (
    CustomKind(
        "LLMDeployment",
        "llmdeployments",
        ("llmd", "lld"),
        LLMDeploymentSpec,
        LLMDeploymentStatus,
        printer_columns("LLMDeployment"),
        people_write_it=True,
        scale=True,
        adjust=_add_aliases,
    ),
    CustomKind(
        "ModelRevision",
        "modelrevisions",
        ("mrev",),
        ModelRevisionSpec,
        ModelRevisionStatus,
        printer_columns("ModelRevision"),
    ),
    CustomKind(
        "VersionPin",
        "versionpins",
        ("vpin",),
        VersionPinSpec,
        VersionPinStatus,
        printer_columns("VersionPin"),
    ),
)


_BY_KIND = {known.kind: known for known in KINDS}


@cache
def object_schema(kind: str, *, describe: bool = False) -> Schema:
    """The `openAPIV3Schema` of a kind. Callers must not change it. Raises KeyError."""
    known = _BY_KIND[kind]
    written = known.people_write_it
    spec = Generator(EXTRAS, keep_unknown=written, defaults=False, describe=describe).schema(known.spec)
    if known.adjust is not None:
        known.adjust(spec)
    status = Generator(EXTRAS, defaults=True, describe=describe).schema(known.status)
    text = {"description": f"{known.kind} of Outrider: see its documentation."} if describe else {}
    return {
        **text,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status | {"default": {}},
        },
    }


def published(schema: Schema, *, repeated: bool = False) -> Schema:
    """A copy as an API server takes it, which refuses text by a rule that says what is allowed.

    Of a pattern it would print the regular expression alone, and of a `not` not even the field. Within lists and maps
    (`repeated`) patterns stay: the server estimates what a rule costs on as many items as fit into a request, and would
    refuse the CRD.
    """
    plain: Schema = {}
    for key, value in schema.items():
        if key in ("items", "additionalProperties") and isinstance(value, Mapping):
            plain[key] = published(dict(value), repeated=True)
        elif key == "properties":
            plain[key] = {name: published(part, repeated=repeated) for name, part in value.items()}
        elif not key.startswith("x-outrider-"):
            plain[key] = value
    if plain.get("type") != "string":
        return plain
    texts = _text_rules(schema, repeated=repeated)
    if texts:
        plain.setdefault("maxLength", LONGEST_WORD)
        plain["x-kubernetes-validations"] = texts
        plain.pop("not", None)
        if not repeated:
            plain.pop("pattern", None)
    return plain


def _text_rules(schema: Schema, *, repeated: bool) -> list[dict[str, str]]:
    """What a text has to keep, as rules that say what is allowed."""
    found = []
    if schema.get(SAYS) and not repeated:
        found.append({"rule": f"self.matches({_cel_text(schema['pattern'])})", "message": schema[SAYS]})
    if "not" in schema:
        words = ", ".join(map(_cel_text, schema["not"]["enum"]))
        found.append({"rule": f"!(self in [{words}])", "message": schema[NOT_SAYS]})
    return found + [
        {"rule": f"!self.startsWith('{beginning}') || self.matches({_cel_text(form)})", "message": told}
        for beginning, form, told in schema.get(FORMS, ())
    ]


def _cel_text(text: str) -> str:
    """The text as a literal of CEL; between raw quotes a backslash stands for itself."""
    assert "'" not in text
    return f"r'{text}'"


def crd(kind: str, *, describe: bool = True) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, as `kubectl apply` takes it."""
    known = _BY_KIND[kind]
    subresources: dict[str, Any] = {"status": {}}
    if known.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": published(object_schema(kind, describe=describe))},
        "subresources": subresources,
        "additionalPrinterColumns": list(known.columns),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{known.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": known.kind,
                "listKind": f"{known.kind}List",
                "plural": known.plural,
                "singular": known.kind.lower(),
                "shortNames": list(known.short_names),
                "categories": ["outrider"],
            },
            "versions": [version],
        },
    }


def crd_yaml(kind: str) -> str:
    """The CustomResourceDefinition as the YAML text that `deploy/crds/` holds."""
    import yaml  # noqa: PLC0415 - only this needs it, and every command imports this module

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
            return True

    text = yaml.dump(crd(kind), Dumper=Plain, sort_keys=False, width=120, allow_unicode=True)
    return f"# Generated by `python -m outrider.api.crd`. Do not edit.\n{text}"


def write_crds(folder: Path) -> list[Path]:
    """Write one file per kind and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for known in KINDS:
        path = folder / f"{GROUP}_{known.plural}.yaml"
        path.write_text(crd_yaml(known.kind), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written_path in write_crds(Path(sys.argv[1] if len(sys.argv) > 1 else "deploy/crds")):
        sys.stdout.write(f"{written_path}\n")
