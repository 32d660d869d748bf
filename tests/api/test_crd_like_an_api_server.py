"""What the local world does with a custom resource is what Kubernetes does with it.

`tests/golden/crd/answers.json` holds what Kubernetes' own code (apiextensions-apiserver) made of every case: the
object after pruning and defaulting, and the fields it refused, CEL rules included. See recorder/README.md there.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from outrider.api.crd import KINDS, default_object, object_schema, prune_object, validate_object
from outrider.api.rules import RULES, UnknownRuleError, rule_for

GOLDEN = Path(__file__).parents[1] / "golden" / "crd"


@cache
def _cases() -> dict[str, dict[str, dict[str, Any]]]:
    loaded: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load((GOLDEN / "cases.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def _answers() -> dict[str, dict[str, dict[str, Any]]]:
    loaded: dict[str, dict[str, dict[str, Any]]] = json.loads((GOLDEN / "answers.json").read_text(encoding="utf-8"))
    return loaded


SENTENCES = [(kind, sentence) for kind, cases in _cases().items() for sentence in cases]


def _plain_path(path: str) -> str:
    """Paths without what the two notations disagree about: `requests[memory]` is `requests.memory`."""
    return re.sub(r"\[([^\]0-9][^\]]*)\]", r".\1", path)


def _blamed(errors: list[str]) -> set[str]:
    """The fields; `<nil>` is what the API server adds where none of `anyOf` fits, beside the field itself."""
    return {_plain_path(error.split(": ", 1)[0]) for error in errors} - {"<nil>"}


def test_every_case_has_a_recorded_answer() -> None:
    assert {kind: set(cases) for kind, cases in _cases().items()} == {
        kind: set(answers) for kind, answers in _answers().items()
    }, "run tests/golden/crd/recorder again"


@pytest.mark.parametrize(("kind", "sentence"), SENTENCES)
def test_defaults_are_those_of_an_api_server(kind: str, sentence: str) -> None:
    schema = object_schema(kind)
    made = default_object(schema, prune_object(schema, _cases()[kind][sentence]["new"]))
    assert made == _answers()[kind][sentence]["object"]


@pytest.mark.parametrize(("kind", "sentence"), SENTENCES)
def test_the_same_fields_are_refused(kind: str, sentence: str) -> None:
    schema, case = object_schema(kind), _cases()[kind][sentence]
    made = default_object(schema, prune_object(schema, case["new"]))
    errors = validate_object(schema, case.get("old"), made)
    assert {_plain_path(error.path) for error in errors} == _blamed(_answers()[kind][sentence]["errors"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.cel[:40])
def test_every_rule_was_kept_and_broken_before_an_api_server(rule: Any) -> None:
    said = [error for answers in _answers().values() for answer in answers.values() for error in answer["errors"]]
    assert any(rule.message in error for error in said)


def test_every_rule_of_the_schemas_is_known() -> None:
    def rules_in(schema: Any) -> set[str]:
        if isinstance(schema, dict):
            here = {line["rule"] for line in schema.get("x-kubernetes-validations", ()) if isinstance(line, dict)}
            return here.union(*(rules_in(part) for part in schema.values()))
        return set().union(*(rules_in(part) for part in schema)) if isinstance(schema, list) else set()

    used = set().union(*(rules_in(object_schema(known.kind)) for known in KINDS))
    assert used == {rule.cel for rule in RULES}


def test_a_rule_without_a_python_function_is_an_error_and_not_passed_over() -> None:
    with pytest.raises(UnknownRuleError, match=re.escape("self.x > 1")):
        rule_for("self.x > 1")
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": "self.x > 1", "message": "x"}]}
    with pytest.raises(UnknownRuleError):
        validate_object(schema, None, {})


def test_the_object_that_is_handed_in_stays_as_it_is() -> None:
    schema = object_schema("LLMDeployment")
    written = {"spec": {"model": {"name": "x", "version": None}}}
    default_object(schema, written)
    prune_object(schema, written)
    assert written == {"spec": {"model": {"name": "x", "version": None}}}
    first, second = (default_object(schema, {"spec": {}}) for _ in range(2))
    first["status"]["rollback"]["target"] = "changed"
    assert second["status"]["rollback"]["target"] == "<none>"
