"""Whatever stands in a stored object, reading it answers; it never raises."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.api.crd import object_schema, validate_object
from outrider.api.parse import parse_spec

URI = "hf://meta-llama/Llama-3.1-8B-Instruct"


def _property_names(schema: dict[str, Any]) -> set[str]:
    """Every property name below a schema, so that made-up specs come near to real ones."""
    properties = schema.get("properties", {})
    parts = [*properties.values(), *(part for part in (schema.get("items"),) if part)]
    return set(properties).union(*(_property_names(part) for part in parts))


NAMES = st.sampled_from(sorted(_property_names(object_schema("LLMDeployment")["properties"]["spec"])))
TOP = st.sampled_from(sorted(object_schema("LLMDeployment")["properties"]["spec"]["properties"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
NEAR_MISSES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from(["", "x", URI, "v1.0.0", "latest", "1Gi", "0", "25%", ">1%", "int8", "production", "$1", "30s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
SPECS = st.dictionaries(TOP, NEAR_MISSES | JSON, max_size=8)


@settings(max_examples=150)
@given(SPECS)
def test_reading_always_answers(spec: dict[str, Any]) -> None:
    parsed = parse_spec(spec, name="llama", namespace="default")
    assert (parsed.spec is None) == bool(parsed.errors)
    for error in parsed.errors:
        assert str(error).startswith("spec")
    assert parse_spec(msgspec.json.encode(spec), name="llama", namespace="default").errors == parsed.errors
    if parsed.spec is not None:
        assert parsed.spec.pod is not None
        assert parsed.spec.disruption_budget
        assert parsed.spec.progress_deadline_seconds > 0


@settings(max_examples=100)
@given(SPECS)
def test_checking_against_the_schema_always_answers(spec: dict[str, Any]) -> None:
    for error in validate_object(object_schema("LLMDeployment"), {"spec": {}}, {"spec": spec}):
        assert str(error)
