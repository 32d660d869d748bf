"""For any spec: reading and printing lose nothing, and the parser and the CRDs agree on what is good."""

import re
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from specs import SPECS, nearly, printed, valid

from outrider.api.crd import KINDS, CustomKind, default_object, object_schema, prune_object, validate_object
from outrider.api.errors import FieldError
from outrider.api.parse import Parsed, parse_spec
from outrider.cli.strict_yaml import load_all

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def parse(spec: Any) -> Parsed:
    return parse_spec(spec, name="llama", namespace="default")


def refusals(kind: str, spec: Any) -> list[FieldError]:
    """What the CRD's schema says of it, as an API server asks it."""
    schema = object_schema(kind)
    return validate_object(schema, None, default_object(schema, prune_object(schema, {"spec": spec})))


@settings(QUICK, max_examples=60)
@given(SPECS)
def test_what_is_good_is_good_for_the_parser_and_for_the_schema(spec: dict[str, Any]) -> None:
    assert parse(spec).errors == ()
    assert refusals("LLMDeployment", spec) == []


@settings(QUICK, max_examples=60)
@given(SPECS)
def test_json_yaml_and_python_mean_the_same(spec: dict[str, Any]) -> None:
    parsed = parse(spec)
    assert parse(msgspec.json.encode(spec)) == parsed
    (read,) = load_all(yaml.safe_dump(spec, sort_keys=False))
    assert read == spec
    assert parse(read) == parsed


@settings(QUICK, max_examples=60)
@given(SPECS)
def test_a_spec_with_all_its_defaults_written_out_is_the_same_spec(spec: dict[str, Any]) -> None:
    parsed = parse(spec)
    assert parsed.spec is not None
    again = parse(printed(parsed.spec))
    assert again.errors == ()
    assert again.spec == parsed.spec


@settings(QUICK, max_examples=150)
@given(nearly())
def test_reading_what_is_nearly_good_always_answers(spec: dict[str, Any]) -> None:
    parsed = parse(spec)
    assert (parsed.spec is None) == bool(parsed.errors)
    for error in parsed.errors:
        assert error.path.startswith("spec")
        assert str(error)


ONLY_THE_PARSER_SEES = {
    "null, which is not there for a server": r".*must be .*, not null.*",
    "what is looked up in the catalogue": r"spec\.model\.modelUri: Required.*",
    "sums over a map or a list": r"spec\.(model\.parallelism.*needs |resources\.requests.* must (not be more|equal)).*",
    "a GPU that is no whole one": r"spec\.resources\..*must be a whole number of GPUs",
    "a name in another list": r"spec\..*must be the name of one of spec\.volumes",
    "numbers with decimals, or text": r"spec\.(scheduling\.slo|scaling\.constraints|monitoring\.memory).*",
    "the registry, which is text or an object": r"spec\.model\.registry.*",
    "what the published pattern of quantities takes": r"spec\..*(must be a quantity|has the unknown suffix).*",
    "the size of a number within a text": r"spec\..*(cannot compare with more than 100%|finer than a nanosecond).*",
    "fields that the schema does not know": r"spec\..*is not an indicator.*",
    "other ways of writing a field": r"spec\..*: (Forbidden|.*for the same thing|.*bucket and prefix).*",
}
"""What an API server cannot check by a schema; the operator refuses it, and says so in the status."""


def _seen_by_the_parser_only(error: FieldError) -> bool:
    return any(re.fullmatch(pattern, str(error), re.DOTALL) for pattern in ONLY_THE_PARSER_SEES.values())


@settings(QUICK, max_examples=200)
@given(nearly())
def test_what_the_schema_refuses_the_parser_refuses_and_the_other_way_round(spec: dict[str, Any]) -> None:
    told, refused = parse(spec).errors, refusals("LLMDeployment", spec)
    if refused:
        assert told, [str(error) for error in refused]
    else:
        assert [str(error) for error in told if not _seen_by_the_parser_only(error)] == []


def test_a_name_that_is_a_list_is_refused_and_not_looked_up() -> None:
    spec = {"model": {"modelUri": "hf://a/b"}, "runtime": {"env": [{"name": []}, {"name": "B", "value": "1"}]}}
    assert any(error.path == "spec.runtime.env[0].name" for error in refusals("LLMDeployment", spec))
    assert parse(spec).errors


OTHERS = [known for known in KINDS if known.kind != "LLMDeployment"]
NEEDED = {
    "ModelRevision": {"deployment": "llama", "hash": "0123456789", "modelUri": "hf://a/b", "version": "v1.0.0"},
    "VersionPin": {"deployment": "llama", "version": "v1.0.0"},
}


@pytest.mark.parametrize("known", KINDS, ids=lambda known: known.kind)
@settings(QUICK, max_examples=30)
@given(data=st.data())
def test_every_status_is_read_as_it_was_written_and_fits_the_schema(known: CustomKind, data: st.DataObject) -> None:
    written = data.draw(valid(known.status))
    status = msgspec.convert(written, known.status)
    assert msgspec.json.decode(msgspec.json.encode(status), type=known.status) == status
    spec = NEEDED.get(known.kind, {"model": {"name": "x"}})
    schema = object_schema(known.kind)
    conditions = written.get("conditions", [])
    kinds = [one.get("type") for one in conditions if "status" in one]
    if None not in kinds and len(set(kinds)) == len(conditions):
        body = {"spec": spec, "status": written}
        assert validate_object(schema, None, default_object(schema, body)) == []


@pytest.mark.parametrize("known", OTHERS, ids=lambda known: known.kind)
@settings(QUICK, max_examples=30)
@given(data=st.data())
def test_every_spec_of_ours_is_read_as_it_was_written_and_fits_the_schema(
    known: CustomKind, data: st.DataObject
) -> None:
    written = {**data.draw(valid(known.spec)), **NEEDED[known.kind]}
    spec = msgspec.convert(written, known.spec)
    (read,) = load_all(yaml.safe_dump(msgspec.to_builtins(spec), sort_keys=False))
    assert msgspec.convert(read, known.spec) == spec
    assert refusals(known.kind, written) == []
