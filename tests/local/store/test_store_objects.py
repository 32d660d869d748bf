"""What an API server does with an object: versions, generation, status, defaults, validation, names, namespaces."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from outrider.kube.api import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    Kind,
    NotFound,
    Object,
    Undecodable,
)
from outrider.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    SERVICE,
)
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.store import Store, StoreApi
from outrider.local.store.event_expiry import MOST_EVENTS, SWEEP_AFTER

Make = Callable[..., Object]
DEPLOY = DEPLOYMENT.into(dict)


def meta(obj: Object) -> dict[str, Any]:
    found: dict[str, Any] = obj["metadata"]
    return found


def test_a_new_object_is_named_dated_and_numbered(api: StoreApi, deployment: Make) -> None:
    body = deployment()
    body["metadata"] |= {"uid": "mine", "generation": 7, "deletionTimestamp": "2020-01-01T00:00:00Z", "selfLink": "x"}
    made = asyncio.run(api.create(DEPLOY, body))
    assert meta(made)["uid"] not in ("", "mine")
    assert meta(made)["creationTimestamp"] == "2026-11-23T12:00:00Z"
    assert meta(made)["generation"] == 1
    assert int(meta(made)["resourceVersion"]) > 0
    assert not {"deletionTimestamp", "selfLink"} & meta(made).keys()
    assert body["metadata"]["uid"] == "mine", "the caller's body stays as it is"


GENERATION: dict[str, tuple[str, Object, int]] = {
    "a change of the spec counts": ("", {"spec": {"replicas": 5}}, 2),
    "a change of labels does not count": ("", {"metadata": {"labels": {"a": "b"}}}, 1),
    "a change of the status does not count": ("status", {"status": {"replicas": 5}}, 1),
    "a spec sent to the status does not count": ("status", {"spec": {"replicas": 5}}, 1),
    "a status sent to the object does not count": ("", {"status": {"replicas": 5}}, 1),
    "what changes nothing does not count": ("", {"spec": {"replicas": 2}}, 1),
}


@pytest.mark.parametrize("sentence", GENERATION)
def test_generation(api: StoreApi, deployment: Make, sentence: str) -> None:
    subresource, patch, expected = GENERATION[sentence]

    async def story() -> Object:
        await api.create(DEPLOY, deployment())
        return await api.patch(DEPLOY, "web", patch, "default", subresource=subresource)

    assert meta(asyncio.run(story()))["generation"] == expected


def test_status_is_written_through_its_subresource_alone(api: StoreApi, deployment: Make) -> None:
    async def story() -> tuple[Object, Object, Object]:
        created = await api.create(DEPLOY, {**deployment(), "status": {"replicas": 9}})
        patched = await api.patch(DEPLOY, "web", {"status": {"replicas": 9}}, "default")
        body = {"spec": {"replicas": 9}, "metadata": {"labels": {"a": "b"}}, "status": {"replicas": 3}}
        status = await api.patch(DEPLOY, "web", body, "default", subresource="status")
        return created, patched, status

    created, patched, status = asyncio.run(story())
    assert (created["status"], patched["status"]) == ({}, {})
    assert (status["status"], status["spec"]["replicas"]) == ({"replicas": 3}, 2)
    assert "labels" not in meta(status)


def test_a_node_comes_with_its_status(api: StoreApi) -> None:
    node = {"metadata": {"name": "n"}, "status": {"capacity": {"nvidia.com/gpu": "8"}}}
    assert asyncio.run(api.create(NODE.into(dict), node))["status"] == {"capacity": {"nvidia.com/gpu": "8"}}


def test_what_changes_nothing_writes_nothing(api: StoreApi, store: Store, deployment: Make) -> None:
    made = asyncio.run(api.create(DEPLOY, deployment()))
    version = store.version
    for patch in ({}, {"spec": {"replicas": 2}}, {"metadata": {"labels": None}}, {"spec": {"paused": None}}):
        assert asyncio.run(api.patch(DEPLOY, "web", patch, "default")) == made
    assert store.version == version


def test_true_is_not_taken_for_one(api: StoreApi) -> None:
    node = {"metadata": {"name": "n"}, "spec": {"x": 1}}

    async def story() -> tuple[Object, Object]:
        return await api.create(NODE.into(dict), node), await api.patch(NODE.into(dict), "n", {"spec": {"x": True}})

    before, after = asyncio.run(story())
    assert (before["spec"]["x"], after["spec"]["x"]) == (1, True)
    assert isinstance(after["spec"]["x"], bool)


def test_a_write_can_be_conditional_on_the_version(api: StoreApi, deployment: Make) -> None:
    async def story() -> None:
        old = await api.create(DEPLOY, deployment())
        await api.patch(DEPLOY, "web", {"spec": {"replicas": 3}}, "default")
        late = {"metadata": {"resourceVersion": meta(old)["resourceVersion"]}, "spec": {"replicas": 4}}
        with pytest.raises(Conflict, match=r'deployments.apps "web": the object has been modified'):
            await api.patch(DEPLOY, "web", late, "default")
        with pytest.raises(Conflict, match="has been modified"):
            await api.patch_status(DEPLOY, "web", {}, "default", resource_version=meta(old)["resourceVersion"])
        with pytest.raises(Conflict, match="has been modified"):
            await api.apply(DEPLOY, {**deployment(), "metadata": meta(old) | {"managedFields": None}}, owner="a")
        new = await api.get(DEPLOY, "web", "default")
        good = {"metadata": {"resourceVersion": meta(new)["resourceVersion"]}, "spec": {"replicas": 4}}
        assert (await api.patch(DEPLOY, "web", good, "default"))["spec"]["replicas"] == 4

    asyncio.run(story())


def test_a_write_can_be_conditional_on_the_uid(api: StoreApi, pod: Make) -> None:
    async def story() -> None:
        await api.create(POD, pod())
        with pytest.raises(Invalid, match=r"metadata\.uid: Invalid value"):
            await api.patch(
                POD,
                "p",
                {"metadata": {"uid": "other"}, "status": {"phase": "Running"}},
                "default",
                subresource="status",
            )

    asyncio.run(story())


def test_server_decided_metadata_cannot_be_changed(api: StoreApi, config_map: Make) -> None:
    async def story() -> tuple[Object, Object]:
        made = await api.create(CONFIG_MAP.into(dict), config_map())
        forged = {
            "creationTimestamp": "2020-01-01T00:00:00Z",
            "generation": 9,
            "deletionTimestamp": "2020-01-01T00:00:00Z",
        }
        return made, await api.patch(CONFIG_MAP.into(dict), "c", {"metadata": forged}, "default")

    made, after = asyncio.run(story())
    assert after == made


def test_names_are_generated(api: StoreApi, config_map: Make) -> None:
    async def story() -> set[str]:
        body = config_map()
        body["metadata"] = {"namespace": "default", "generateName": "job-"}
        return {meta(await api.create(CONFIG_MAP.into(dict), body))["name"] for _ in range(20)}

    names = asyncio.run(story())
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


def test_a_generated_name_fits_a_label(api: StoreApi, config_map: Make) -> None:
    body = config_map()
    body["metadata"] = {"namespace": "default", "generateName": "x" * 100}
    assert len(meta(asyncio.run(api.create(CONFIG_MAP.into(dict), body)))["name"]) == 63


def test_an_object_can_be_read_back_as_a_struct_or_as_all_of_it(api: StoreApi, deployment: Make) -> None:
    asyncio.run(api.create(DEPLOYMENT, deployment()))
    assert asyncio.run(api.get(DEPLOYMENT, "web", "default")).spec.replicas == 2
    whole = asyncio.run(api.get(DEPLOY, "web", "default"))
    whole["spec"]["replicas"] = 99
    assert asyncio.run(api.get(DEPLOY, "web", "default"))["spec"]["replicas"] == 2, "readers get copies of their own"


def test_what_does_not_decode_says_so(api: StoreApi) -> None:
    async def story() -> None:
        await api.create(NODE.into(dict), {"metadata": {"name": "n"}, "spec": {"unschedulable": "perhaps"}})
        with pytest.raises(Undecodable, match="unschedulable"):
            await api.get(NODE, "n")

    asyncio.run(story())


LISTS: dict[str, tuple[str, str, str, list[str]]] = {
    "everything, by namespace and name": ("", "", "", ["default/a", "default/b", "kube-system/a"]),
    "one namespace": ("default", "", "", ["default/a", "default/b"]),
    "by label": ("", "app=x", "", ["default/a", "kube-system/a"]),
    "by the absence of a label": ("", "app!=x", "", ["default/b"]),
    "by set": ("", "app in (x, y)", "", ["default/a", "kube-system/a"]),
    "by name": ("", "", "metadata.name=a", ["default/a", "kube-system/a"]),
    "by node": ("", "", "spec.nodeName=n1", ["default/a"]),
    "by another node": ("", "", "spec.nodeName!=n1", ["default/b", "kube-system/a"]),
    "by phase": ("", "", "status.phase=Pending", ["default/a", "default/b", "kube-system/a"]),
    "by both": ("", "app=x", "spec.nodeName=n1", ["default/a"]),
    "of nowhere": ("nowhere", "", "", []),
}


@pytest.mark.parametrize("sentence", LISTS)
def test_list(api: StoreApi, store: Store, pod: Make, sentence: str) -> None:
    namespace, labels, fields, expected = LISTS[sentence]

    async def story() -> list[str]:
        for where, name, label, node in (
            ("kube-system", "a", "x", ""),
            ("default", "b", "", ""),
            ("default", "a", "x", "n1"),
        ):
            body = pod(name, nodeName=node)
            body["metadata"] |= {"namespace": where, "labels": {"app": label} if label else {}}
            await api.create(POD, body)
        listed = await api.list(POD, namespace, labels=labels, fields=fields)
        assert listed.resource_version == str(store.version)
        return [item.metadata.key for item in listed.items]

    assert asyncio.run(story()) == expected


@pytest.mark.parametrize("selector", [{"labels": "a in ("}, {"fields": "spec.image=x"}, {"fields": "nonsense"}])
def test_a_bad_selector_is_refused_and_not_ignored(api: StoreApi, selector: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        asyncio.run(api.list(POD, **selector))


def test_a_namespace_is_there_from_the_start(api: StoreApi) -> None:
    listed = asyncio.run(api.list(NAMESPACE.into(dict)))
    assert [meta(item)["name"] for item in listed.items] == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert listed.items[0]["status"] == {"phase": "Active"}
    assert meta(listed.items[0])["labels"] == {"kubernetes.io/metadata.name": "default"}


def test_a_namespace_on_its_way_out_takes_nothing_new_and_goes_when_it_is_finalized(
    api: StoreApi, config_map: Make
) -> None:
    async def story() -> None:
        await api.create(NAMESPACE, {"metadata": {"name": "team"}})
        body = config_map()
        body["metadata"]["namespace"] = "team"
        await api.create(CONFIG_MAP, body)
        await api.delete(NAMESPACE, "team")
        left = await api.get(NAMESPACE.into(dict), "team")
        assert left["status"]["phase"] == "Terminating"
        body["metadata"]["name"] = "late"
        with pytest.raises(Forbidden, match="because namespace team is being terminated") as caught:
            await api.create(CONFIG_MAP, body)
        assert caught.value.details["causes"][0]["reason"] == "NamespaceTerminating"
        unchanged = await api.patch(NAMESPACE.into(dict), "team", {"spec": {"finalizers": []}})
        assert unchanged["spec"]["finalizers"] == ["kubernetes"], "only the finalize subresource changes them"
        await api.patch(NAMESPACE, "team", {"spec": {"finalizers": []}}, subresource="finalize")
        with pytest.raises(NotFound, match='namespaces "team" not found'):
            await api.get(NAMESPACE, "team")

    asyncio.run(story())


DEFAULTS: dict[str, tuple[Kind[Any], Object, tuple[str | int, ...], Any]] = {
    "a Service without ports is headless": (
        SERVICE,
        {"metadata": {"name": "s", "namespace": "default"}},
        ("spec", "clusterIP"),
        "None",
    ),
    "a Service's port goes to the same port": (
        SERVICE,
        {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}},
        ("spec", "ports", 0),
        {"port": 80, "protocol": "TCP", "targetPort": 80},
    ),
    "a Secret's plain values are encoded": (
        SECRET,
        {"metadata": {"name": "s", "namespace": "default"}, "stringData": {"a": "b"}},
        ("data",),
        {"a": "Yg=="},
    ),
    "a pod waits for a node": (
        POD,
        {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "a", "image": "i"}]}},
        ("status",),
        {"phase": "Pending", "qosClass": "BestEffort"},
    ),
    "requests are what limits are": (
        POD,
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {
                "containers": [
                    {
                        "name": "a",
                        "image": "i",
                        "resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "1", "memory": "1Gi"}},
                    }
                ]
            },
        },
        ("spec", "containers", 0, "resources", "requests"),
        {"nvidia.com/gpu": "1", "cpu": "1", "memory": "1Gi"},
    ),
    "a probe has Kubernetes' periods": (
        POD,
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "a", "image": "i", "readinessProbe": {"httpGet": {"port": 80}}}]},
        },
        ("spec", "containers", 0, "readinessProbe"),
        {
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
    ),
    "an image with a tag is pulled once": (
        POD,
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "a", "image": "registry:5000/i:v1"}]},
        },
        ("spec", "containers", 0, "imagePullPolicy"),
        "IfNotPresent",
    ),
    "an image without a tag is pulled always": (
        POD,
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "a", "image": "registry:5000/i"}]},
        },
        ("spec", "containers", 0, "imagePullPolicy"),
        "Always",
    ),
    "a custom resource has the defaults of its schema": (
        LLM_DEPLOYMENT,
        {"metadata": {"name": "m", "namespace": "default"}, "spec": {"model": {"modelUri": "hf://x/y"}}},
        ("status", "phase"),
        "Pending",
    ),
    "an unknown field of an LLMDeployment's spec is kept": (
        LLM_DEPLOYMENT,
        {"metadata": {"name": "m", "namespace": "default"}, "spec": {"model": {"modelUri": "hf://x/y"}, "surprise": 1}},
        ("spec", "surprise"),
        1,
    ),
}


@pytest.mark.parametrize("sentence", DEFAULTS)
def test_defaults(api: StoreApi, sentence: str) -> None:
    kind, body, path, expected = DEFAULTS[sentence]
    found: Any = asyncio.run(api.create(kind.into(dict), body))
    for step in path:
        found = found[step]
    assert found == expected


def test_a_deployment_has_kubernetes_defaults(api: StoreApi, deployment: Make) -> None:
    body = deployment()
    del body["spec"]["replicas"]
    spec = asyncio.run(api.create(DEPLOY, body))["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30


def test_an_object_is_created_once(api: StoreApi, config_map: Make) -> None:
    asyncio.run(api.create(CONFIG_MAP, config_map()))
    with pytest.raises(AlreadyExists, match='configmaps "c" already exists') as caught:
        asyncio.run(api.create(CONFIG_MAP, config_map()))
    assert caught.value.details == {"name": "c", "kind": "configmaps"}


def test_what_is_not_there_is_not_found(api: StoreApi) -> None:
    with pytest.raises(NotFound, match=r'deployments.apps "x" not found') as caught:
        asyncio.run(api.get(DEPLOYMENT, "x", "default"))
    assert caught.value.details == {"name": "x", "group": "apps", "kind": "deployments"}
    with pytest.raises(NotFound, match=r'deployments.apps "x" not found'):
        asyncio.run(api.patch(DEPLOYMENT, "x", {}, "default"))


def model(**spec: Any) -> Object:
    return {"metadata": {"name": "m", "namespace": "default"}, "spec": spec}


def test_a_custom_resource_takes_no_strategic_patch(api: StoreApi) -> None:
    async def story() -> None:
        await api.create(LLM_DEPLOYMENT, model(model={"modelUri": "hf://x/y"}))
        with pytest.raises(ApiError) as caught:
            await api.patch(LLM_DEPLOYMENT, "m", {}, "default", patch_type="strategic")
        assert caught.value.status == 415

    asyncio.run(story())


def test_scale_is_a_door_to_the_replicas(api: StoreApi, deployment: Make) -> None:
    async def story() -> None:
        await api.create(DEPLOYMENT, deployment())
        scaled = await api.patch(DEPLOYMENT, "web", {"spec": {"replicas": 7}}, "default", subresource="scale")
        assert scaled.spec.replicas == 7
        with pytest.raises(Invalid, match="0 or more"):
            await api.patch(DEPLOYMENT, "web", {"spec": {"replicas": -1}}, "default", subresource="scale")
        with pytest.raises(NotFound, match="no subresource"):
            await api.patch(CONFIG_MAP, "c", {}, "default", subresource="scale")
        with pytest.raises(NotFound, match="no subresource"):
            await api.patch(DEPLOYMENT, "web", {}, "default", subresource="exec")

    asyncio.run(story())


def test_two_stores_with_the_same_seed_make_the_same_objects(clock: Any, config_map: Make) -> None:
    async def story() -> Object:
        api = StoreApi(Store(clock, rng=random.Random(7)))
        body = config_map()
        body["metadata"] = {"namespace": "default", "generateName": "x-"}
        return await api.create(CONFIG_MAP.into(dict), body)

    assert asyncio.run(story()) == asyncio.run(story())


def test_events_are_forgotten_after_an_hour_unless_they_go_on(api: StoreApi, clock: Any) -> None:
    def event(name: str, **more: Any) -> Object:
        return {"metadata": {"name": name, "namespace": "default"}, **more}

    async def story() -> set[str]:
        await api.create(EVENT, event("old"))
        await api.create(
            EVENT, event("repeated", series={"count": 2, "lastObservedTime": "2026-11-23T12:59:00.000000Z"})
        )
        clock.advance(3601)
        for number in range(SWEEP_AFTER):
            await api.create(EVENT, event(f"new{number}"))
        return {item.metadata.name for item in (await api.list(EVENT)).items}

    assert asyncio.run(story()) == {"repeated", *(f"new{number}" for number in range(SWEEP_AFTER))}


def test_the_oldest_of_too_many_events_are_forgotten(clock: Any) -> None:
    async def story() -> tuple[list[str], list[str]]:
        api, made = StoreApi(Store(clock)), []
        for number in range(MOST_EVENTS + 3 * SWEEP_AFTER):
            clock.advance(1)
            made.append(f"e{number:04}")
            await api.create(EVENT, {"metadata": {"name": made[-1], "namespace": "default"}})
        return made, sorted(item.metadata.name for item in (await api.list(EVENT)).items)

    made, left = asyncio.run(story())
    assert left == made[-len(left) :], "the newest stay"
    assert MOST_EVENTS <= len(left) < MOST_EVENTS + SWEEP_AFTER
