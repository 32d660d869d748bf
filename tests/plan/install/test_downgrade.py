"""What would be lost if older CustomResourceDefinitions took the place of newer ones."""

import copy
from typing import Any

import pytest

from outrider.plan.install.downgrade import losses
from outrider.plan.install.manifests import crds


def _definition(properties: dict[str, Any], *versions: str, stored: tuple[str, ...] = ()) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    made = [{"name": name, "served": True, "schema": copy.deepcopy(schema)} for name in versions or ("v1",)]
    return {"spec": {"names": {"kind": "Thing"}, "versions": made}, "status": {"storedVersions": list(stored)}}


TEXT = {"type": "string"}
CASES = {
    "the same loses nothing": (_definition({"a": TEXT}), _definition({"a": TEXT}), []),
    "a field more loses nothing": (_definition({"a": TEXT}), _definition({"a": TEXT, "b": TEXT}), []),
    "a field less is lost": (_definition({"a": TEXT, "b": TEXT}), _definition({"a": TEXT}), ["v1 field b"]),
    "a field deep within is lost": (
        _definition({"a": {"type": "object", "properties": {"b": TEXT}}}),
        _definition({"a": {"type": "object", "properties": {}}}),
        ["v1 field a.b"],
    ),
    "of what is lost as a whole the parts are not listed": (
        _definition({"a": {"type": "object", "properties": {"b": TEXT}}}),
        _definition({}),
        ["v1 field a"],
    ),
    "a field of the items of a list": (
        _definition({"a": {"type": "array", "items": {"type": "object", "properties": {"b": TEXT}}}}),
        _definition({"a": {"type": "array", "items": {"type": "object"}}}),
        ["v1 field a[].b"],
    ),
    "a field of the values of a map": (
        _definition({"a": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": TEXT}}}}),
        _definition({"a": {"type": "object", "additionalProperties": {"type": "object"}}}),
        ["v1 field a.*.b"],
    ),
    "what a map takes under any name is not lost": (
        _definition({"a": {"type": "object", "properties": {"b": TEXT}}}),
        _definition({"a": {"type": "object", "additionalProperties": TEXT}}),
        [],
    ),
    "a field that is kept without being known is lost all the same": (
        _definition({"a": TEXT}),
        {"spec": {"names": {"kind": "Thing"}, "versions": [{"name": "v1", "served": True, "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}},
        ["v1 field a"],
    ),
    "a version that is no longer served": (
        _definition({}, "v1", "v2"), _definition({}, "v1"), ["version v2 would no longer be served"],
    ),
    "a version in which objects are stored": (
        _definition({}, "v1", "v2", stored=("v1", "v2")),
        _definition({}, "v1"),
        ["version v2: objects are stored in it, and could no longer be read"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("installed", "wanted", "lost"), CASES.values(), ids=CASES.keys())
def test_what_is_lost_is_listed(installed, wanted, lost) -> None:
    assert [one.what for one in losses(installed, wanted)] == lost


def test_our_own_definitions_lose_nothing_of_themselves() -> None:
    assert [loss for one in crds() for loss in losses(one, one)] == []


def test_a_loss_names_the_kind() -> None:
    (loss,) = losses(_definition({"a": TEXT}), _definition({}))
    assert str(loss) == "Thing: v1 field a"
