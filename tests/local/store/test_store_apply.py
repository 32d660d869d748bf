"""Server-side apply: who owns what, what is merged, what is taken away, and what is a conflict."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from outrider.kube.api import ApiError, BadRequest, Conflict, NotFound, Object
from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, NODE, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.store import Store, StoreApi
from outrider.local.store.fieldsets import describe

CONFIG = CONFIG_MAP.into(dict)
DEPLOY = DEPLOYMENT.into(dict)

Step = tuple[str, str, dict[str, str]]
"""(owner, how, data): how is apply, force or patch."""

STORIES: dict[str, tuple[list[Step], dict[str, str], dict[str, set[str]]]] = {
    "the first applier owns what it applied": ([("a", "apply", {"x": "1"})], {"x": "1"}, {"a": {"x"}}),
    "owners of different fields live side by side": (
        [("a", "apply", {"x": "1"}), ("b", "apply", {"y": "2"})],
        {"x": "1", "y": "2"},
        {"a": {"x"}, "b": {"y"}},
    ),
    "two who want the same value share the field": (
        [("a", "apply", {"x": "1"}), ("b", "apply", {"x": "1"})],
        {"x": "1"},
        {"a": {"x"}, "b": {"x"}},
    ),
    "what its only owner leaves out goes": (
        [("a", "apply", {"x": "1", "y": "2"}), ("a", "apply", {"x": "1"})],
        {"x": "1"},
        {"a": {"x"}},
    ),
    "what another owns too stays": (
        [("a", "apply", {"x": "1", "y": "2"}), ("b", "apply", {"y": "2"}), ("a", "apply", {"x": "1"})],
        {"x": "1", "y": "2"},
        {"a": {"x"}, "b": {"y"}},
    ),
    "force takes a field over": ([("a", "apply", {"x": "1"}), ("b", "force", {"x": "2"})], {"x": "2"}, {"b": {"x"}}),
    "who lost a field to force loses nothing more by leaving it out": (
        [("a", "apply", {"x": "1", "y": "1"}), ("b", "force", {"x": "2"}), ("a", "apply", {"y": "1"})],
        {"x": "2", "y": "1"},
        {"a": {"y"}, "b": {"x"}},
    ),
    "a patch takes ownership of what it changes": (
        [("a", "apply", {"x": "1", "y": "1"}), ("b", "patch", {"x": "2"})],
        {"x": "2", "y": "1"},
        {"a": {"y"}, "b": {"x"}},
    ),
    "a patch that changes nothing owns nothing": (
        [("a", "apply", {"x": "1"}), ("b", "patch", {"x": "1"})],
        {"x": "1"},
        {"a": {"x"}},
    ),
    "an applier that wants nothing any more is forgotten": (
        [("a", "apply", {"x": "1"}), ("b", "apply", {"y": "1"}), ("a", "apply", {})],
        {"y": "1"},
        {"b": {"y"}},
    ),
    "what a patcher added is not the applier's to remove": (
        [("a", "apply", {"x": "1"}), ("b", "patch", {"y": "2"}), ("a", "apply", {})],
        {"y": "2"},
        {"b": {"y"}},
    ),
}


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


@pytest.mark.parametrize("sentence", STORIES)
def test_ownership(api: StoreApi, sentence: str) -> None:
    steps, data, owned = STORIES[sentence]
    obj = asyncio.run(tell(api, steps))
    assert obj.get("data", {}) == data
    assert owners(obj, "data") == owned


def test_a_conflict_names_every_field_and_its_owner(api: StoreApi) -> None:
    asyncio.run(tell(api, [("git", "apply", {"x": "1", "y": "1", "z": "1"}), ("ann", "patch", {"y": "2"})]))
    with pytest.raises(Conflict) as caught:
        asyncio.run(api.apply(CONFIG, config(x="3", y="3", z="1"), owner="operator", force=False))
    assert caught.value.details["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "git"', "field": ".data.x"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "ann using v1"', "field": ".data.y"},
    ]
    assert "2 conflicts" in caught.value.message
    assert asyncio.run(api.get(CONFIG, "c", "default"))["data"] == {"x": "1", "y": "2", "z": "1"}


def test_applying_the_same_again_writes_nothing(api: StoreApi, store: Store, deployment: Callable[..., Object]) -> None:
    first = asyncio.run(api.apply(DEPLOY, deployment(), owner="a"))
    version = store.version
    assert asyncio.run(api.apply(DEPLOY, deployment(), owner="a")) == first
    assert store.version == version


def test_items_of_keyed_lists_have_owners_of_their_own(api: StoreApi, deployment: Callable[..., Object]) -> None:
    async def story() -> Object:
        await api.apply(DEPLOY, deployment(), owner="a")
        sidecar = deployment()
        sidecar["spec"] = {"template": {"spec": {"containers": [{"name": "sidecar", "image": "sidecar:1"}]}}}
        await api.apply(DEPLOY, sidecar, owner="b")
        both = await api.get(DEPLOY, "web", "default")
        assert [each["name"] for each in both["spec"]["template"]["spec"]["containers"]] == ["server", "sidecar"]
        await api.apply(DEPLOY, {**sidecar, "spec": {}}, owner="b")
        return await api.get(DEPLOY, "web", "default")

    obj = asyncio.run(story())
    assert [each["name"] for each in obj["spec"]["template"]["spec"]["containers"]] == ["server"]
    assert owners(obj).keys() == {"a"}


def test_environment_variables_merge_by_name(api: StoreApi, deployment: Callable[..., Object]) -> None:
    async def story() -> Object:
        await api.apply(DEPLOY, deployment(), owner="a")
        more = deployment()
        more["spec"] = {
            "template": {"spec": {"containers": [{"name": "server", "env": [{"name": "B", "value": "2"}]}]}}
        }
        return await api.apply(DEPLOY, more, owner="b")

    container = asyncio.run(story())["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert container["image"] == "server:1"


def test_a_probe_that_is_no_longer_wanted_goes_with_its_defaults(
    api: StoreApi, deployment: Callable[..., Object]
) -> None:
    async def story() -> Object:
        probed = deployment()
        probed["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"port": 80}}
        first = await api.apply(DEPLOY, probed, owner="a")
        assert first["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSeconds"] == 10
        return await api.apply(DEPLOY, deployment(), owner="a")

    assert "livenessProbe" not in asyncio.run(story())["spec"]["template"]["spec"]["containers"][0]


def test_the_applier_decides_the_order_of_a_list_that_is_all_its_own(
    api: StoreApi, deployment: Callable[..., Object]
) -> None:
    def with_env(*names: str) -> Object:
        obj = deployment()
        obj["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": name, "value": "1"} for name in names]
        return obj

    async def story() -> Object:
        await api.apply(DEPLOY, with_env("A", "B"), owner="a")
        return await api.apply(DEPLOY, with_env("B", "C", "A"), owner="a")

    env = asyncio.run(story())["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [each["name"] for each in env] == ["B", "C", "A"]


def test_finalizers_are_a_set_to_which_each_owner_adds(api: StoreApi) -> None:
    def with_finalizers(*names: str) -> Object:
        obj = config()
        obj["metadata"]["finalizers"] = list(names)
        return obj

    async def story() -> list[list[str]]:
        await api.apply(CONFIG, with_finalizers("x/a"), owner="a")
        both = await api.apply(CONFIG, with_finalizers("x/b"), owner="b")
        one = await api.apply(CONFIG, with_finalizers(), owner="a")
        return [both["metadata"]["finalizers"], one["metadata"]["finalizers"]]

    assert asyncio.run(story()) == [["x/a", "x/b"], ["x/b"]]


def test_a_selector_is_one_whole(api: StoreApi) -> None:
    def service(**selector: str) -> Object:
        metadata = {"name": "s", "namespace": "default"}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": selector, "ports": [{"port": 80}]},
        }

    async def story() -> Object:
        await api.apply(SERVICE, service(app="a", tier="x"), owner="a")
        return await api.apply(SERVICE.into(dict), service(app="b"), owner="a")

    assert asyncio.run(story())["spec"]["selector"] == {"app": "b"}


def test_status_and_spec_have_separate_owners(api: StoreApi, deployment: Callable[..., Object]) -> None:
    async def story() -> Object:
        await api.apply(DEPLOY, {**deployment(), "status": {"replicas": 9}}, owner="a")
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}}
        status = {"conditions": [{"type": "Available", "status": "True"}]}
        return await api.apply(
            DEPLOY, {**body, "spec": {"replicas": 7}, "status": status}, owner="a", subresource="status"
        )

    obj = asyncio.run(story())
    assert obj["status"] == {"conditions": [{"type": "Available", "status": "True"}]}
    assert obj["spec"]["replicas"] == 2
    entries = {entry.get("subresource", ""): set(entry["fieldsV1"]) for entry in obj["metadata"]["managedFields"]}
    assert entries == {"": {"f:spec"}, "status": {"f:status"}}


def test_custom_resources_merge_as_their_schema_says(api: StoreApi) -> None:
    def service(**spec: Any) -> Object:
        return {
            "apiVersion": LLM_DEPLOYMENT.api_version,
            "kind": "LLMDeployment",
            "metadata": {"name": "llama-3.1-8b", "namespace": "default"},
            "spec": spec,
        }

    async def story() -> Object:
        whole = LLM_DEPLOYMENT.into(dict)
        await api.apply(
            whole, service(model={"modelUri": "hf://x/y"}, runtime={"env": [{"name": "A", "value": "1"}]}), owner="a"
        )
        return await api.apply(whole, service(runtime={"env": [{"name": "B", "value": "2"}]}), owner="b", force=False)

    assert [each["name"] for each in asyncio.run(story())["spec"]["runtime"]["env"]] == ["A", "B"]


def test_a_list_with_repeated_keys_is_taken_as_a_whole(api: StoreApi, deployment: Callable[..., Object]) -> None:
    twice = deployment()
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    twice["spec"]["template"]["spec"]["containers"][0]["env"] = env
    asyncio.run(api.apply(DEPLOY, twice, owner="a"))
    obj = asyncio.run(api.apply(DEPLOY, twice, owner="a"))
    assert obj["spec"]["template"]["spec"]["containers"][0]["env"] == env


def test_taints_are_replaced_by_whoever_writes_them(api: StoreApi) -> None:
    async def story() -> Object:
        taints = [{"key": "a", "effect": "NoSchedule"}]
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": taints}}
        await api.apply(NODE, node, owner="a")
        patch = {"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}}
        return await api.patch(NODE.into(dict), "n", patch, patch_type="strategic", owner="b")

    obj = asyncio.run(story())
    assert [taint["key"] for taint in obj["spec"]["taints"]] == ["b"]
    assert owners(obj, "spec") == {"b": {"taints"}}


REFUSED: dict[str, tuple[Object, dict[str, Any], type[ApiError], str]] = {
    "an apply by nobody": (config(), {"owner": ""}, BadRequest, "field manager"),
    "an apply without a name": ({**config(), "metadata": {"namespace": "default"}}, {}, BadRequest, "metadata.name"),
    "an apply without an apiVersion": ({"kind": "ConfigMap", "metadata": {"name": "c"}}, {}, BadRequest, "apiVersion"),
    "an apply of another kind": ({**config(), "kind": "Secret"}, {}, BadRequest, "Secret"),
    "an apply that brings its own managedFields": (
        {**config(), "metadata": {"name": "c", "namespace": "default", "managedFields": [{"manager": "x"}]}},
        {},
        BadRequest,
        "managedFields",
    ),
    "an apply to the status of what is not there": (config(), {"subresource": "status"}, NotFound, '"c" not found'),
    "an apply to an object that is gone, by its uid": (
        {**config(), "metadata": {"name": "c", "namespace": "default", "uid": "u"}},
        {},
        NotFound,
        '"c" not found',
    ),
    "an apply into a namespace that is not there": (
        {**config(), "metadata": {"name": "c", "namespace": "nowhere"}},
        {},
        NotFound,
        'namespaces "nowhere" not found',
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_refused(api: StoreApi, sentence: str) -> None:
    body, options, error, words = REFUSED[sentence]
    with pytest.raises(error, match=words):
        asyncio.run(api.apply(CONFIG, body, **{"owner": "a", **options}))


def test_a_dry_run_tells_what_would_be_and_writes_nothing(api: StoreApi, store: Store) -> None:
    version = store.version
    made = asyncio.run(api.apply(CONFIG, config(x="1"), owner="a", dry_run=True))
    assert (made["data"], store.version) == ({"x": "1"}, version)
    asyncio.run(api.apply(CONFIG, config(x="1"), owner="a"))
    changed = asyncio.run(api.apply(CONFIG, config(x="2"), owner="a", dry_run=True))
    assert changed["data"] == {"x": "2"}
    assert asyncio.run(api.get(CONFIG, "c", "default"))["data"] == {"x": "1"}


def test_managed_fields_can_be_reset(api: StoreApi) -> None:
    asyncio.run(tell(api, [("a", "apply", {"x": "1"})]))
    obj = asyncio.run(api.patch(CONFIG, "c", {"metadata": {"managedFields": [{}]}}, "default", owner="b"))
    assert obj["metadata"].get("managedFields", []) == []
    with pytest.raises(Conflict, match="before-first-apply"):
        asyncio.run(api.apply(CONFIG, config(x="2"), owner="c", force=False))
    after = asyncio.run(api.apply(CONFIG, config(x="2"), owner="c", force=True))
    assert owners(after, "data") == {"c": {"x"}}


def test_malformed_managed_fields_are_refused(api: StoreApi) -> None:
    asyncio.run(tell(api, [("a", "apply", {"x": "1"})]))
    with pytest.raises(BadRequest, match="managedFields"):
        asyncio.run(api.patch(CONFIG, "c", {"metadata": {"managedFields": ["x"]}}, "default"))


def test_paths_are_described_as_kubernetes_prints_them() -> None:
    path = ("f:spec", "f:containers", 'k:{"name":"a"}', "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:name")
    assert describe(path) == '.spec.containers[name="a"].ports[containerPort=80,protocol="TCP"].name'
    assert describe(("f:metadata", "f:finalizers", 'v:"x/y"')) == '.metadata.finalizers[="x/y"]'
