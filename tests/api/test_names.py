import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.api import names

SUBDOMAINS = st.from_regex(
    r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?){0,5}", fullmatch=True
)

SERVICES = {
    "dots become dashes": ("llama-3.1-8b", "llama-3-1-8b"),
    "a good name stays": ("mistral-7b", "mistral-7b"),
    "a digit gets a letter in front": ("7b.chat", "m-7b-chat"),
}


@pytest.mark.parametrize("sentence", SERVICES)
def test_service_names_follow_from_the_deployment(sentence: str) -> None:
    name, service = SERVICES[sentence]
    assert names.service_name(name) == service


@given(SUBDOMAINS)
def test_every_deployment_gets_a_valid_service_name(name: str) -> None:
    assert names.is_service_name(names.service_name(name))
    assert names.is_service_name(names.service_name(name, {names.service_name(name): "another"}))


def test_two_deployments_that_want_one_name_both_get_one_and_keep_it() -> None:
    first = names.service_name("llama-3.1-8b", {})
    taken = {first: "llama-3.1-8b"}
    second = names.service_name("llama-3-1-8b", taken)
    taken[second] = "llama-3-1-8b"
    assert first == "llama-3-1-8b"
    assert second != first
    assert names.service_name("llama-3.1-8b", taken) == first
    assert names.service_name("llama-3-1-8b", taken) == second
    del taken[first]
    assert names.service_name("llama-3-1-8b", taken) == second, "a Service that exists never changes its name"


def test_a_service_that_is_nobodys_is_left_alone() -> None:
    assert names.service_name("llama", {"llama": ""}) == names.service_name("llama", {"llama": "somebody"})
    assert names.service_name("llama", {"llama": ""}).startswith("llama-")


def test_even_a_taken_hash_has_a_way_out() -> None:
    taken: dict[str, str] = {}
    for _ in range(len(names.HASH_LENGTHS) + 1):
        taken[names.service_name("llama", taken)] = "others"
    assert len(taken) == len(names.HASH_LENGTHS) + 1


def test_long_names_that_begin_alike_stay_apart() -> None:
    one, other = names.service_name("a" * 80 + "1"), names.service_name("a" * 80 + "2")
    assert one != other
    assert len(one) <= names.LABEL_LENGTH


@given(st.text(max_size=100))
def test_anything_becomes_a_label_value(text: str) -> None:
    value = names.label_value(text)
    assert names.is_label_value(value)
    assert names.label_value(value) == value


@given(SUBDOMAINS)
def test_names_that_are_label_values_stay_as_they_are(name: str) -> None:
    if names.is_label_value(name):
        assert names.label_value(name) == name


@given(st.integers(1, 253))
def test_revision_names_are_valid_however_long_the_deployment_is_called(length: int) -> None:
    name = names.revision_name("a" * length, "0123456789")
    assert names.subdomain_problem(name) is None
    assert name.endswith("-0123456789")


PROBLEMS = {
    "nothing": ("", "must not be empty"),
    "upper case": ("Llama", "lower-case"),
    "an underscore": ("llama_3", "lower-case"),
    "an end that is no letter or digit": ("llama-", "lower-case"),
    "two dots": ("a..b", "lower-case"),
    "too long": ("a" * 254, "at most 253"),
    "a line break": ("llama\n", "lower-case"),
}


@pytest.mark.parametrize("sentence", PROBLEMS)
def test_bad_object_names_are_explained(sentence: str) -> None:
    name, said = PROBLEMS[sentence]
    assert said in (names.subdomain_problem(name) or "")
