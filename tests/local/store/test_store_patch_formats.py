"""Merge patch, JSON patch and strategic merge patch."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.api import ApiError
from outrider.local.store.patches import json_patch, merge_patch
from outrider.local.store.shapes import BUILT_IN_SHAPES
from outrider.local.store.strategic import strategic_merge

MERGE: dict[str, tuple[Any, Any, Any]] = {  # the examples of RFC 7386, appendix A
    "a value replaces a value": ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    "a new field is added": ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    "null removes a field": ({"a": "b"}, {"a": None}, {}),
    "null removes only that field": ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    "a value replaces a list": ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    "a list replaces a value": ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    "maps merge, and null removes inside them": ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    "a list replaces a list as a whole": ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    "a list is no map to be merged": (["a", "b"], ["c", "d"], ["c", "d"]),
    "a list replaces a map": ({"a": "b"}, ["c"], ["c"]),
    "null replaces everything": ({"a": "foo"}, None, None),
    "text replaces everything": ({"a": "foo"}, "bar", "bar"),
    "a null that was there stays": ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    "a map replaces a list, without its nulls": ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    "nulls in new maps are not kept": ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
}

JSON: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "add puts a field into a map": ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    "add replaces a field that is there": ({"a": 1}, [{"op": "add", "path": "/a", "value": 2}], {"a": 2}),
    "add inserts before an index": ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
    "add with a dash appends": ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
    "add at the root replaces everything": ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
    "remove takes a field away": ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
    "remove takes an item away": ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
    "replace changes a field": ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
    "replace changes an item": ({"a": [1, 2]}, [{"op": "replace", "path": "/a/1", "value": 3}], {"a": [1, 3]}),
    "move renames a field": ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
    "move reorders a list": ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/2", "path": "/a/0"}], {"a": [3, 1, 2]}),
    "copy repeats a value": (
        {"a": {"x": 1}},
        [{"op": "copy", "from": "/a", "path": "/b"}],
        {"a": {"x": 1}, "b": {"x": 1}},
    ),
    "a test that holds changes nothing": ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
    "~1 is a slash and ~0 a tilde": (
        {"a/b": 1, "c~d": 2},
        [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/c~0d"}],
        {},
    ),
    "a copy does not follow later changes of what it was copied from": (
        {"a": {"x": 1}},
        [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "replace", "path": "/a/x", "value": 2}],
        {"a": {"x": 2}, "b": {"x": 1}},
    ),
}

JSON_REFUSED: dict[str, tuple[Any, Any, int, str]] = {
    "a test that fails": ({"a": 1}, [{"op": "test", "path": "/a", "value": 2}], 422, "test of '/a' failed"),
    "a test that takes true for 1": ({"a": 1}, [{"op": "test", "path": "/a", "value": True}], 422, "failed"),
    "a removal of what is not there": ({}, [{"op": "remove", "path": "/a"}], 422, "nothing at 'a'"),
    "a replacement of what is not there": ({}, [{"op": "replace", "path": "/a", "value": 1}], 422, "nothing at 'a'"),
    "an addition into what is not there": ({}, [{"op": "add", "path": "/a/b", "value": 1}], 422, "nothing at 'a'"),
    "an index beyond the end": ({"a": [1]}, [{"op": "add", "path": "/a/5", "value": 1}], 422, "not an index"),
    "an index that is no number": ({"a": [1]}, [{"op": "remove", "path": "/a/x"}], 422, "not an index"),
    "an index with a leading zero": ({"a": [1, 2]}, [{"op": "remove", "path": "/a/01"}], 422, "not an index"),
    "an addition into a number": (
        {"a": 1},
        [{"op": "add", "path": "/a/b", "value": 1}],
        422,
        "neither a map nor a list",
    ),
    "a move into itself": ({"a": {}}, [{"op": "move", "from": "/a", "path": "/a/b"}], 422, "into itself"),
    "a removal of everything": ({}, [{"op": "remove", "path": ""}], 422, "whole object"),
    "an unknown operation": ({}, [{"op": "frob", "path": "/a"}], 400, "unknown operation"),
    "an operation without a value": ({}, [{"op": "add", "path": "/a"}], 400, "needs a `value`"),
    "a copy without a source": ({}, [{"op": "copy", "path": "/a"}], 400, "needs a `from`"),
    "a path that is no pointer": ({}, [{"op": "remove", "path": "a"}], 400, "not a JSON pointer"),
    "an operation without a path": ({}, [{"op": "remove"}], 400, "needs `op` and `path`"),
    "a patch that is a map": ({}, {"op": "remove"}, 400, "is a list of operations"),
}

A, B, C = ({"name": name, "image": f"{name}:1"} for name in "abc")
STRATEGIC: dict[str, tuple[Any, Any, Any]] = {
    "containers merge by name": (
        {"containers": [A, B]},
        {"containers": [{"name": "b", "image": "b:2"}]},
        {"containers": [A, {"name": "b", "image": "b:2"}]},
    ),
    "a new container goes first, as a real server has it": (
        {"containers": [A, B]},
        {"containers": [C]},
        {"containers": [C, A, B]},
    ),
    "a new container named after a known one follows it": (
        {"containers": [A, B]},
        {"containers": [{"name": "b"}, C]},
        {"containers": [A, B, C]},
    ),
    "$setElementOrder orders the list": (
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [C]},
        {"containers": [B, C, A]},
    ),
    "$setElementOrder alone reorders": (
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
        {"containers": [B, A]},
    ),
    "$patch delete removes an item": (
        {"containers": [A, B]},
        {"containers": [{"name": "a", "$patch": "delete"}]},
        {"containers": [B]},
    ),
    "$patch replace replaces a list": (
        {"containers": [A, B]},
        {"containers": [{"$patch": "replace"}, C]},
        {"containers": [C]},
    ),
    "$patch replace replaces a map": (
        {"securityContext": {"runAsUser": 1}},
        {"securityContext": {"$patch": "replace", "fsGroup": 2}},
        {"securityContext": {"fsGroup": 2}},
    ),
    "$patch delete empties a map": (
        {"securityContext": {"runAsUser": 1}},
        {"securityContext": {"$patch": "delete"}},
        {"securityContext": {}},
    ),
    "null removes a field of an item": (
        {"containers": [A]},
        {"containers": [{"name": "a", "image": None}]},
        {"containers": [{"name": "a"}]},
    ),
    "ports merge by containerPort": (
        {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]},
        {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}]},
        {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}]},
    ),
    "tolerations are replaced as a whole": (
        {"tolerations": [{"key": "a"}]},
        {"tolerations": [{"key": "b"}]},
        {"tolerations": [{"key": "b"}]},
    ),
    "$retainKeys drops the other fields": (
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
        {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
        {"strategy": {"type": "Recreate"}},
    ),
}

POD_SPEC = BUILT_IN_SHAPES[("", "Pod")].field("spec")
METADATA = BUILT_IN_SHAPES[("", "Pod")].field("metadata")

SETS: dict[str, tuple[Any, Any, Any]] = {
    "members are added to a set": ({"finalizers": ["a"]}, {"finalizers": ["b"]}, {"finalizers": ["b", "a"]}),
    "a member that is there is not repeated": ({"finalizers": ["a"]}, {"finalizers": ["a"]}, {"finalizers": ["a"]}),
    "$deleteFromPrimitiveList removes members": (
        {"finalizers": ["a", "b"]},
        {"$deleteFromPrimitiveList/finalizers": ["a"]},
        {"finalizers": ["b"]},
    ),
}


@pytest.mark.parametrize("sentence", MERGE)
def test_merge_patch(sentence: str) -> None:
    target, patch, expected = MERGE[sentence]
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == expected
    assert target == before


@pytest.mark.parametrize("sentence", JSON)
def test_json_patch(sentence: str) -> None:
    target, patch, expected = JSON[sentence]
    assert json_patch(copy.deepcopy(target), patch) == expected


@pytest.mark.parametrize("sentence", JSON_REFUSED)
def test_json_patch_refuses(sentence: str) -> None:
    target, patch, status, words = JSON_REFUSED[sentence]
    with pytest.raises(ApiError) as caught:
        json_patch(copy.deepcopy(target), patch)
    assert caught.value.status == status
    assert words in caught.value.message


@pytest.mark.parametrize("sentence", STRATEGIC)
def test_strategic_merge_patch(sentence: str) -> None:
    live, patch, expected = STRATEGIC[sentence]
    before = copy.deepcopy(live)
    assert strategic_merge(live, patch, POD_SPEC) == expected
    assert live == before


@pytest.mark.parametrize("sentence", SETS)
def test_strategic_merge_patch_of_sets(sentence: str) -> None:
    live, patch, expected = SETS[sentence]
    assert strategic_merge(live, patch, METADATA) == expected


def test_a_strategic_item_without_its_key_is_refused() -> None:
    with pytest.raises(ApiError, match="needs a 'name'"):
        strategic_merge({"containers": [A]}, {"containers": [{"image": "x"}]}, POD_SPEC)


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=3)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
)
WITHOUT_NULLS = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
)
MAPS = st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON_VALUES, max_size=4)


@given(target=JSON_VALUES, patch=JSON_VALUES)
def test_merging_twice_is_merging_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(target=JSON_VALUES)
def test_an_empty_merge_patch_changes_no_map(target: Any) -> None:
    assert merge_patch(target, {}) == (target if isinstance(target, dict) else {})


@given(patch=WITHOUT_NULLS)
def test_a_patch_without_nulls_laid_over_nothing_is_itself(patch: Any) -> None:
    assert merge_patch({}, patch) == patch


@given(target=WITHOUT_NULLS, wanted=WITHOUT_NULLS)
def test_a_merge_patch_can_turn_any_value_into_any_other(target: Any, wanted: Any) -> None:
    def difference(old: Any, new: Any) -> Any:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return new
        return dict.fromkeys(old.keys() - new.keys()) | {
            name: difference(old.get(name), value) for name, value in new.items()
        }

    patch = difference(target, wanted)
    assert merge_patch(target, patch) == wanted


@given(target=MAPS, name=st.text("abc~/", min_size=1, max_size=3), value=JSON_VALUES)
def test_json_patch_adds_and_removes_any_name(target: dict[str, Any], name: str, value: Any) -> None:
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    added = json_patch(
        copy.deepcopy(target),
        [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}],
    )
    assert added == {**target, name: value}
    removed = json_patch(copy.deepcopy(added), [{"op": "remove", "path": path}])
    assert removed == {key: part for key, part in target.items() if key != name}


@given(live=MAPS, patch=MAPS)
def test_without_keyed_lists_a_strategic_patch_is_a_merge_patch(live: dict[str, Any], patch: dict[str, Any]) -> None:
    assert strategic_merge(live, patch, POD_SPEC) == merge_patch(live, patch)
