"""Selectors mean what they mean to an API server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.api import BadRequest
from outrider.kube.objects import NODE, POD, SERVICE, LabelSelector, LabelSelectorRequirement
from outrider.kube.selectors import (
    NOTHING,
    Requirement,
    Selector,
    label_selector,
    parse_field_selector,
    parse_label_selector,
)

LABELS = {"app": "web", "tier": "front", "rank": "3", "empty": "", "example.com/x": "y"}

MATCHES = {
    "nothing asked": ("", True),
    "blanks": ("  ", True),
    "equal": ("app=web", True),
    "equal, doubled": ("app==web", True),
    "equal, with blanks": (" app = web ", True),
    "not that value": ("app=api", False),
    "no such label": ("gone=web", False),
    "unequal": ("app!=api", True),
    "unequal to what it is": ("app!=web", False),
    "unequal holds for a missing label": ("gone!=x", True),
    "one of": ("app in (api, web)", True),
    "none of": ("app notin (api,web)", False),
    "none of holds for a missing label": ("gone notin (x)", True),
    "exists": ("tier", True),
    "exists, but does not": ("gone", False),
    "does not exist": ("!gone", True),
    "does not exist, but does": ("! tier", False),
    "all together": ("app=web,tier!=back,rank in (1,3),empty,!gone", True),
    "one of all fails": ("app=web,gone", False),
    "empty value": ("empty=", True),
    "empty value of a missing label": ("gone=", False),
    "one of, the empty value among them": ("empty in (x,)", True),
    "prefixed key": ("example.com/x=y", True),
    "greater": ("rank>2", True),
    "not greater": ("rank>3", False),
    "less": ("rank<4", True),
    "greater, but no number": ("app>2", False),
    "a key named like an operator": ("in", False),
    "a value named like an operator": ("app=in", False),
}


@pytest.mark.parametrize("name", MATCHES)
def test_labels(name: str) -> None:
    text, matches = MATCHES[name]
    selector = parse_label_selector(text)
    assert selector.matches(LABELS) is matches
    assert parse_label_selector(str(selector)) == selector


BAD_LABELS = {
    "a trailing comma": ("a,", "found its end, expected a label key"),
    "a leading comma": (",a", "found ',', expected a label key"),
    "two words": ("a b", "found 'b', expected one of"),
    "a second value": ("a=b c", "found 'c', expected ','"),
    "no parentheses": ("a in b", "expected '('"),
    "an open list": ("a in (b", "expected ')'"),
    "an empty list": ("a in ()", "at least one value"),
    "a key with two slashes": ("a/b/c=d", "invalid label key 'a/b/c'"),
    "a key that is too long": ("k" * 64, "invalid label key"),
    "a value that is too long": ("a=" + "v" * 64, "invalid value"),
    "a value with a slash": ("a=b/c", "invalid value 'b/c'"),
    "a value that begins with a dash": ("a=-b", "invalid value '-b'"),
    "a comparison with a word": ("a>b", "with an integer"),
    "a lonely operator": ("=b", "expected a label key"),
    "a negated requirement": ("!a=b", "expected ','"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels(name: str) -> None:
    text, message = BAD_LABELS[name]
    with pytest.raises(BadRequest) as caught:
        parse_label_selector(text)
    assert message in str(caught.value)


NAMES = st.from_regex(r"[a-z]([-a-z0-9.]{0,5}[a-z0-9])?", fullmatch=True)
REQUIREMENTS = st.one_of(
    st.builds(lambda key, op, value: Requirement(key, op, (value,)), NAMES, st.sampled_from(["=", "!="]), NAMES),
    st.builds(
        lambda key, op, values: Requirement(key, op, tuple(values)),
        NAMES,
        st.sampled_from(["in", "notin"]),
        st.lists(NAMES, min_size=1, max_size=3),
    ),
    st.builds(Requirement, NAMES, st.sampled_from(["exists", "!"])),
    st.builds(lambda key, op, n: Requirement(key, op, (str(n),)), NAMES, st.sampled_from("<>"), st.integers(0, 9)),
)


@given(st.lists(REQUIREMENTS, max_size=4))
def test_the_text_of_a_selector_means_that_selector(requirements: list[Requirement]) -> None:
    selector = Selector(tuple(requirements))
    assert parse_label_selector(str(selector)) == selector


@given(st.text(alphabet="ab1=!<>(), in-./\\", max_size=12))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    for parse in (parse_label_selector, parse_field_selector):
        try:
            selector = parse(text)
        except BadRequest:
            continue
        assert parse(str(selector)) == selector


def expression(key: str, operator: str, *values: str) -> LabelSelector:
    return LabelSelector(match_expressions=(LabelSelectorRequirement(key, operator, values),))


STRUCTS = {
    "an empty one matches everything": (LabelSelector(), True),
    "a missing one matches nothing": (None, False),
    "matchLabels": (LabelSelector(match_labels={"app": "web", "tier": "front"}), True),
    "matchLabels, one differs": (LabelSelector(match_labels={"app": "web", "tier": "back"}), False),
    "In": (expression("app", "In", "web", "api"), True),
    "NotIn": (expression("app", "NotIn", "web"), False),
    "Exists": (expression("app", "Exists"), True),
    "DoesNotExist": (expression("app", "DoesNotExist"), False),
}


@pytest.mark.parametrize("name", STRUCTS)
def test_label_selectors_of_objects(name: str) -> None:
    struct, matches = STRUCTS[name]
    selector = label_selector(struct)
    assert selector.matches(LABELS) is matches
    assert parse_label_selector(str(selector)).matches(LABELS) is matches


BAD_STRUCTS = {
    "an unknown operator": (expression("app", "Gt", "1"), "use one of In, NotIn, Exists, DoesNotExist"),
    "In without values": (expression("app", "In"), "at least one value"),
    "Exists with values": (expression("app", "Exists", "x"), "takes no values"),
    "a bad key": (LabelSelector(match_labels={"a b": "c"}), "invalid label key"),
}


@pytest.mark.parametrize("name", BAD_STRUCTS)
def test_bad_label_selectors_of_objects(name: str) -> None:
    struct, message = BAD_STRUCTS[name]
    with pytest.raises(BadRequest, match=message):
        label_selector(struct)


def test_nothing_stays_nothing_on_the_wire() -> None:
    assert not NOTHING.matches({})
    for labels in ({}, {"nothing": "x"}):
        assert not parse_label_selector(str(NOTHING)).matches(labels)


OBJECT = {
    "metadata": {"name": "x", "namespace": "ns"},
    "spec": {"nodeName": "n1", "hostNetwork": True, "unschedulable": False, "odd": "a,b=c\\d"},
    "status": {"replicas": 3},
}
FIELDS = {
    "nothing asked": ("", True),
    "equal": ("metadata.name=x", True),
    "equal, doubled": ("metadata.name==x", True),
    "unequal": ("spec.nodeName!=n2", True),
    "both": ("metadata.name=x,spec.nodeName!=n1", False),
    "a missing field is empty": ("status.phase=", True),
    "a missing field is not a value": ("status.phase!=Running", True),
    "a field below a value": ("metadata.name.first=", True),
    "a boolean": ("spec.hostNetwork=true", True),
    "a number": ("status.replicas=3", True),
    "escapes": (r"spec.odd=a\,b\=c\\d", True),
    "empty terms": ("metadata.name=x,,", True),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name: str) -> None:
    text, matches = FIELDS[name]
    selector = parse_field_selector(text)
    assert selector.matches(OBJECT) is matches
    assert parse_field_selector(str(selector)) == selector


@pytest.mark.parametrize("text", ["a", "=b", "a=b=c", r"a=b\x", "a=b\\", "!=b"])
def test_bad_fields(text: str) -> None:
    with pytest.raises(BadRequest, match="invalid field selector"):
        parse_field_selector(text)


def test_fields_that_a_server_does_not_select_by_are_refused_by_name() -> None:
    assert parse_field_selector("spec.nodeName=n,status.phase!=Failed", POD).requirements
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.nodeName; services can be selected by"):
        parse_field_selector("spec.nodeName=n", SERVICE)


def test_a_node_that_does_not_say_so_is_schedulable() -> None:
    selector = parse_field_selector("spec.unschedulable=false", NODE)
    assert selector.matches({"metadata": {"name": "n"}})
    assert not selector.matches({"spec": {"unschedulable": True}})
