"""The CustomResourceDefinitions as files, and what `kubectl get` prints by them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from outrider.api.aliases import MOVED
from outrider.api.columns import printer_columns
from outrider.api.crd import KINDS, crd, default_object, object_schema, write_crds
from outrider.kube.resources import CUSTOM

REPOSITORY = Path(__file__).parents[2]

SMALLEST: dict[str, dict[str, Any]] = {
    "LLMDeployment": {"model": {"name": "llama-3.1-8b"}},
    "ModelRevision": {"deployment": "llama", "sequence": 1, "hash": "1", "modelUri": "hf://a/b", "version": "v1.0.0"},
    "VersionPin": {"deployment": "llama", "version": "v1.0.0"},
}


def test_the_files_are_up_to_date(tmp_path: Path) -> None:
    folder = REPOSITORY / "deploy" / "crds"
    written = write_crds(tmp_path)
    assert {path.name for path in written} == {path.name for path in folder.iterdir()}
    for path in written:
        assert path.read_text() == (folder / path.name).read_text(), "run `python -m outrider.api.crd`"


@pytest.mark.parametrize("kind", SMALLEST)
def test_the_yaml_says_what_the_code_says(kind: str, tmp_path: Path) -> None:
    path = next(path for path in write_crds(tmp_path) if f"kind: {kind}\n" in path.read_text())
    assert yaml.safe_load(path.read_text()) == crd(kind)


@pytest.mark.parametrize("kind", CUSTOM, ids=lambda kind: kind.kind)
def test_names_are_those_that_the_client_uses(kind: Any) -> None:
    definition = crd(kind.kind)["spec"]
    names = definition["names"]
    assert (definition["group"], definition["versions"][0]["name"]) == (kind.group, kind.version)
    assert (names["plural"], names["singular"], tuple(names["shortNames"])) == (
        kind.plural,
        kind.singular,
        kind.short_names,
    )
    assert names["categories"] == ["outrider"]


def _cell(value: Any, path: str) -> Any:
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _row(kind: str, status: dict[str, Any] | None = None) -> list[str]:
    """What `kubectl get -A --no-headers` prints: namespace, name, and the columns without `--output wide`."""
    item = {"metadata": {"creationTimestamp": "1h"}, "spec": SMALLEST[kind]} | ({"status": status} if status else {})
    stored = default_object(object_schema(kind), item)
    columns = [column for column in printer_columns(kind) if not column.get("priority")]
    return ["production", "llama", *(str(_cell(stored, column["jsonPath"])) for column in columns)]


@pytest.mark.parametrize("kind", SMALLEST)
def test_no_printed_column_is_empty_even_before_the_operator_has_seen_the_object(kind: str) -> None:
    row = _row(kind)
    assert all(cell not in {"", "None"} for cell in row)
    assert len(" ".join(row).split()) == len(row), "awk counts the same columns"


def test_wide_columns_of_a_deployment_are_never_empty_either() -> None:
    stored = default_object(object_schema("LLMDeployment"), {"spec": SMALLEST["LLMDeployment"]})
    wide = [column for column in printer_columns("LLMDeployment") if column.get("priority")]
    assert [column["name"].upper() for column in wide] == [
        "MODEL",
        "STAGE",
        "STABLE-VERSION",
        "GPUS",
        "P95",
        "ERR%",
        "$/H",
        "URL",
    ]
    assert all(_cell(stored, column["jsonPath"]) for column in wide)


def test_the_fourth_word_is_the_phase_as_the_books_procedures_read_it() -> None:
    """`kubectl get llmdeployments -A --no-headers | awk '$4 != "Ready"'` lists what is not ready."""
    ready = _row("LLMDeployment", {"phase": "Ready", "effectiveVersion": "v1.2.0", "ready": "2/2"})
    pending = _row("LLMDeployment")
    assert [column["name"] for column in printer_columns("LLMDeployment")][:4] == ["Version", "Phase", "Ready", "Age"]
    assert (ready[3], pending[3]) == ("Ready", "Pending")


def test_a_deployment_can_be_scaled() -> None:
    assert crd("LLMDeployment")["spec"]["versions"][0]["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def _nodes(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, dict):
        return [schema, *(node for part in schema.values() for node in _nodes(part))]
    return [node for part in schema for node in _nodes(part)] if isinstance(schema, list) else []


@pytest.mark.parametrize("known", KINDS, ids=lambda known: known.kind)
def test_schemas_refer_to_nothing(known: Any) -> None:
    assert not any("$ref" in node for node in _nodes(object_schema(known.kind)))


def test_every_alias_is_in_the_schema_with_what_it_stands_for() -> None:
    spec = object_schema("LLMDeployment")["properties"]["spec"]
    for alias, canonical in MOVED:
        found, wanted = spec, spec
        for part in alias.split("."):
            found = found["properties"][part]
        for part in canonical.split("."):
            wanted = wanted["properties"][part]
        for word in ("type", "pattern", "additionalProperties", "items", "maximum"):
            assert found.get(word) == wanted.get(word)
        assert canonical in found["description"]


def test_every_object_of_a_written_spec_keeps_unknown_fields() -> None:
    spec = object_schema("LLMDeployment")["properties"]["spec"]
    for node in _nodes(spec):
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            assert node["x-kubernetes-preserve-unknown-fields"] is True
