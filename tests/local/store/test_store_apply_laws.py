"""What always holds of server-side apply."""

import asyncio
import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.kube.api import Object
from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT
from outrider.local.store import Store, StoreApi
from outrider.local.store.fieldsets import from_fields_v1, leaves, to_fields_v1
from outrider.local.store.shapes import PLAIN

CONFIG = CONFIG_MAP.into(dict)
DEPLOY = DEPLOYMENT.into(dict)

Step = tuple[str, str, dict[str, str]]
"""(owner, how, data): how is apply, force or patch."""


def config(**data: str) -> Object:
    body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
    return body | {"data": data} if data else body


def owners(obj: Object, *path: str) -> dict[str, set[str]]:
    """Manager to the names of the fields that it owns below a path."""
    found = {}
    for entry in obj["metadata"].get("managedFields", ()):
        node = entry["fieldsV1"]
        for step in path:
            node = node.get(f"f:{step}", {})
        found[entry["manager"]] = {name.removeprefix("f:") for name in node}
    return found


async def tell(api: StoreApi, steps: list[Step]) -> Object:
    obj: Object = {}
    for owner, how, data in steps:
        if how == "patch":
            obj = await api.patch(CONFIG, "c", {"data": data}, "default", owner=owner)
        else:
            obj = await api.apply(CONFIG, config(**data), owner=owner, force=how == "force")
    return obj


KEYS = st.sampled_from("abcd")
VALUES = st.recursive(
    st.integers(0, 3) | st.booleans() | st.just("x"),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(st.integers(0, 2), max_size=2),
)
DATA = st.dictionaries(KEYS, st.sampled_from(["1", "2"]), max_size=4)


@given(obj=st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_set_of_fields_survives_being_written_down(obj: dict[str, Any]) -> None:
    fields = frozenset(leaves(obj, PLAIN))
    assert from_fields_v1(to_fields_v1(fields)) == fields


def gateway(listeners: dict[str, int], labels: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": name, "image": f"i:{tag}"} for name, tag in listeners.items()]},
    }


BODIES = st.builds(gateway, st.dictionaries(KEYS, st.integers(0, 2), min_size=1, max_size=3), DATA)
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def fresh(clock: Any) -> StoreApi:
    return StoreApi(Store(clock))


@relaxed
@given(data=DATA)
def test_applying_what_is_there_changes_nothing(clock: Any, data: dict[str, str]) -> None:
    async def story() -> None:
        api = fresh(clock)
        await api.create(CONFIG, config(**data))
        before = await api.get(CONFIG, "c", "default")
        after = await api.apply(CONFIG, config(**data), owner="a", force=False)
        assert after.get("data") == before.get("data")
        assert await api.apply(CONFIG, config(**data), owner="a", force=False) == after

    asyncio.run(story())


@relaxed
@given(
    mine=st.dictionaries(st.sampled_from("ab"), st.just("1")),
    yours=st.dictionaries(st.sampled_from("cd"), st.just("2")),
)
def test_owners_of_disjoint_fields_commute(clock: Any, mine: dict[str, str], yours: dict[str, str]) -> None:
    async def story(order: list[Step]) -> tuple[Any, Any]:
        api = fresh(clock)
        await api.create(CONFIG, config())
        obj = await tell(api, order)
        return obj.get("data", {}), {name: fields for name, fields in owners(obj, "data").items() if fields}

    steps: list[Step] = [("a", "apply", mine), ("b", "apply", yours)]
    assert asyncio.run(story(steps)) == asyncio.run(story(steps[::-1]))


@relaxed
@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["force", "patch"]), DATA), min_size=1, max_size=6)
)
def test_every_field_that_is_there_has_an_owner_and_no_other_has(clock: Any, steps: list[Step]) -> None:
    api = fresh(clock)

    async def story() -> Object:
        # Of an object that was made with nothing to own, no owners are kept until it is applied.
        await api.create(CONFIG, config(seed="0"))
        return await tell(api, [(owner + how, how, data) for owner, how, data in steps])

    obj = asyncio.run(story())
    owned = {field for fields in owners(obj, "data").values() for field in fields}
    # Who makes the map by a write that is no apply owns that it is there, too.
    assert owned - {"."} == obj.get("data", {}).keys()
    owner, how, data = steps[-1]
    if how == "force":
        assert owners(obj, "data").get(owner + how, set()) - {"."} == data.keys()
        assert data.items() <= obj.get("data", {}).items()


@relaxed
@given(before=BODIES, after=BODIES)
def test_a_sole_applier_gets_exactly_what_it_applies(clock: Any, before: Object, after: Object) -> None:
    """Whatever was applied before leaves no trace, if nobody else has a say."""

    async def story() -> tuple[Object, Object]:
        kind = DEPLOY
        first, second = (deployment_of(body) for body in (before, after))
        api = fresh(clock)
        await api.apply(kind, first, owner="a")
        changed = await api.apply(kind, second, owner="a")
        alone = await fresh(clock).apply(kind, second, owner="a")
        return changed, alone

    changed, alone = asyncio.run(story())
    assert changed["spec"]["template"] == alone["spec"]["template"]


def deployment_of(pod: Object) -> Object:
    labels = {**pod["metadata"]["labels"], "app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": labels}, "spec": copy.deepcopy(pod["spec"])},
        },
    }
