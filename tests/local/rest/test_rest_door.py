"""The REST door: paths, verbs, bodies, answers, and who is let in."""

from collections.abc import Callable
from typing import Any

import pytest

AtDoor = Callable[..., None]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
LLMS = "/apis/inference.llm-d.io/v1alpha1/namespaces/default/llmdeployments"


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web") -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "i:1"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def pod(name: str = "p", node: str = "n", **containers: str) -> dict[str, Any]:
    made = [{"name": each, "image": image} for each, image in (containers or {"server": "i:1"}).items()]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": made},
    }


def test_the_life_of_an_object(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        status, made = await door.ask("POST", CONFIG_MAPS, config_map(a="1"))
        assert (status, made["metadata"]["namespace"]) == (201, "default")
        assert await door.ask("GET", f"{CONFIG_MAPS}/c") == (200, made)
        status, listed = await door.ask("GET", CONFIG_MAPS)
        assert (status, listed["kind"], listed["apiVersion"]) == (200, "ConfigMapList", "v1")
        assert listed["items"] == [made]
        assert listed["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        status, replaced = await door.ask("PUT", f"{CONFIG_MAPS}/c", {**made, "data": {"b": "2"}})
        assert (status, replaced["data"]) == (200, {"b": "2"})
        status, refused = await door.ask("PUT", f"{CONFIG_MAPS}/c", {**made, "data": {"c": "3"}})
        assert (status, refused["reason"]) == (409, "Conflict")
        status, gone = await door.ask("DELETE", f"{CONFIG_MAPS}/c")
        assert (status, gone["status"], gone["details"]["uid"]) == (200, "Success", made["metadata"]["uid"])
        status, missing = await door.ask("GET", f"{CONFIG_MAPS}/c")
        assert (status, missing["kind"], missing["reason"], missing["code"]) == (404, "Status", "NotFound", 404)

    at_door(story)


PATCHES: dict[str, Any] = {
    "application/merge-patch+json": {"spec": {"replicas": 5}},
    "application/strategic-merge-patch+json": {"spec": {"replicas": 5}},
    "application/json-patch+json": [{"op": "replace", "path": "/spec/replicas", "value": 5}],
    "application/apply-patch+yaml": {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 5}},
}


@pytest.mark.parametrize("content_type", PATCHES)
def test_every_kind_of_patch(at_door: AtDoor, content_type: str) -> None:
    async def story(door: Any) -> None:
        await door.ask("POST", DEPLOYMENTS, deployment())
        path = f"{DEPLOYMENTS}/web?fieldManager=me&force=true"
        headers = {"Content-Type": content_type}
        status, patched = await door.ask("PATCH", path, PATCHES[content_type], headers=headers)
        assert (status, patched["spec"]["replicas"]) == (200, 5)
        entry = next(each for each in patched["metadata"]["managedFields"] if each["manager"] == "me")
        assert entry["operation"] == ("Apply" if "apply" in content_type else "Update")
        assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}

    at_door(story)


def test_an_apply_creates_what_is_not_there_and_names_conflicts(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        headers = {"Content-Type": "application/apply-patch+yaml"}
        path = f"{CONFIG_MAPS}/c?fieldManager="
        status, made = await door.ask("PATCH", path + "a", config_map(x="1"), headers=headers)
        assert (status, made["data"]) == (201, {"x": "1"})
        assert (await door.ask("PATCH", path + "a", config_map(x="1"), headers=headers)) == (200, made)
        status, refused = await door.ask("PATCH", path + "b", config_map(x="2"), headers=headers)
        assert status == 409
        assert [cause["field"] for cause in refused["details"]["causes"]] == [".data.x"]
        status, forced = await door.ask("PATCH", path + "b&force=true", config_map(x="2"), headers=headers)
        assert (status, forced["data"]) == (200, {"x": "2"})
        status, _ = await door.ask("PATCH", f"{CONFIG_MAPS}/c", config_map(x="2"), headers=headers)
        assert status == 400, "an apply needs a field manager"

    at_door(story)


def test_the_field_manager_is_the_client_s_program_if_it_does_not_say(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        headers = {"User-Agent": "kubectl/v1.34.0 (linux/amd64)"}
        _, made = await door.ask("POST", CONFIG_MAPS, config_map(a="1"), headers=headers)
        assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["kubectl"]

    at_door(story)


def test_status_has_a_door_of_its_own(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        _, made = await door.ask("POST", DEPLOYMENTS, deployment())
        headers = {"Content-Type": "application/merge-patch+json"}
        body = {"spec": {"replicas": 9}, "status": {"replicas": 1}}
        status, patched = await door.ask("PATCH", f"{DEPLOYMENTS}/web/status", body, headers=headers)
        assert (status, patched["status"], patched["spec"]["replicas"]) == (200, {"replicas": 1}, 2)
        status, put = await door.ask("PUT", f"{DEPLOYMENTS}/web/status", {**patched, "status": {"replicas": 2}})
        assert (status, put["status"], put["metadata"]["generation"]) == (
            200,
            {"replicas": 2},
            made["metadata"]["generation"],
        )
        assert (await door.ask("GET", f"{DEPLOYMENTS}/web/status"))[1] == put

    at_door(story)


def test_scale(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        await door.ask("POST", DEPLOYMENTS, deployment())
        status, scale = await door.ask("GET", f"{DEPLOYMENTS}/web/scale")
        assert (status, scale["kind"], scale["spec"], scale["status"]) == (
            200,
            "Scale",
            {"replicas": 2},
            {"replicas": 0, "selector": "app=web"},
        )
        status, put = await door.ask("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 3}})
        assert (status, put["spec"]) == (200, {"replicas": 3})
        status, late = await door.ask("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 4}})
        assert (status, late["reason"]) == (409, "Conflict")
        headers = {"Content-Type": "application/merge-patch+json"}
        path = f"{DEPLOYMENTS}/web/scale"
        status, dry = await door.ask("PATCH", path + "?dryRun=All", {"spec": {"replicas": 6}}, headers=headers)
        assert (status, dry["spec"]) == (200, {"replicas": 6})
        status, patched = await door.ask("PATCH", path, {"spec": {"replicas": 5}}, headers=headers)
        assert (status, patched["spec"]) == (200, {"replicas": 5})
        assert (await door.ask("GET", f"{DEPLOYMENTS}/web"))[1]["spec"]["replicas"] == 5
        body = {"metadata": {"name": "m"}, "spec": {"model": {"modelUri": "hf://x/y"}, "replicas": 3}}
        await door.ask("POST", LLMS, body)
        assert (await door.ask("GET", f"{LLMS}/m/scale"))[1]["spec"] == {"replicas": 3}

    at_door(story)


def test_eviction_is_held_back_by_a_budget(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        await door.ask("POST", PODS, {**pod(), "metadata": {"name": "p", "labels": {"app": "web"}}})
        headers = {"Content-Type": "application/merge-patch+json"}
        ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        await door.ask("PATCH", f"{PODS}/p/status", ready, headers=headers)
        budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        await door.ask("POST", budgets, {"metadata": {"name": "b"}, "spec": spec})
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        async with door.session.post(f"{door.url}{PODS}/p/eviction", json=eviction) as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "10"
            body = await response.json()
        assert body["details"]["causes"][0]["reason"] == "DisruptionBudget"
        allowed = {"status": {"disruptionsAllowed": 1, "observedGeneration": 1}}
        await door.ask("PATCH", f"{budgets}/b/status", allowed, headers=headers)
        options = {"gracePeriodSeconds": 7}
        status, _ = await door.ask("POST", f"{PODS}/p/eviction", {**eviction, "deleteOptions": options})
        assert status == 201
        assert (await door.ask("GET", f"{PODS}/p"))[1]["metadata"]["deletionGracePeriodSeconds"] == 7

    at_door(story)


DELETES: dict[str, tuple[str, Any, int, dict[str, Any]]] = {
    "a grace period in the query": ("?gracePeriodSeconds=5", None, 200, {"deletionGracePeriodSeconds": 5}),
    "a grace period in the body": ("", {"gracePeriodSeconds": 6}, 200, {"deletionGracePeriodSeconds": 6}),
    "propagation in the query": ("?propagationPolicy=Foreground", None, 200, {"finalizers": ["foregroundDeletion"]}),
    "propagation in the body": ("", {"propagationPolicy": "Orphan"}, 200, {"finalizers": ["orphan"]}),
    "the older word for orphans": ("", {"orphanDependents": True}, 200, {"finalizers": ["orphan"]}),
    "another object's uid": ("", {"preconditions": {"uid": "other"}}, 409, {}),
    "another version": ("", {"preconditions": {"resourceVersion": "1"}}, 409, {}),
    "an unknown propagation": ("?propagationPolicy=Sideways", None, 400, {}),
    "a grace period that is no number": ("", {"gracePeriodSeconds": "soon"}, 400, {}),
    "a negative grace period": ("", {"gracePeriodSeconds": -1}, 422, {}),
    "a dry run in the query": ("?dryRun=All", None, 200, {"deletionGracePeriodSeconds": 30}),
    "a dry run in the body": ("", {"dryRun": ["All"]}, 200, {"deletionGracePeriodSeconds": 30}),
    "a dry run that there is not": ("?dryRun=Some", None, 400, {}),
}


@pytest.mark.parametrize("sentence", DELETES)
def test_delete_options(at_door: AtDoor, sentence: str) -> None:
    query, body, expected, metadata = DELETES[sentence]

    async def story(door: Any) -> None:
        _, before = await door.ask("POST", PODS, pod())
        status, answer = await door.ask("DELETE", f"{PODS}/p{query}", body)
        assert status == expected
        assert metadata.items() <= answer["metadata"].items()
        if "dry run" in sentence:
            assert (await door.ask("GET", f"{PODS}/p"))[1] == before

    at_door(story)


def test_discovery(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        assert (await door.ask("GET", "/api"))[1]["versions"] == ["v1"]
        groups = [group["name"] for group in (await door.ask("GET", "/apis"))[1]["groups"]]
        assert {"apps", "policy", "inference.llm-d.io"} <= set(groups)
        _, found = await door.ask("GET", "/apis/apps/v1")
        names = {each["name"]: each["shortNames"] for each in found["resources"] if "/" not in each["name"]}
        assert names == {"deployments": ["deploy"], "replicasets": ["rs"]}
        assert {"deployments/scale", "deployments/status"} <= {each["name"] for each in found["resources"]}
        assert (await door.ask("GET", "/apis/policy"))[1]["preferredVersion"]["groupVersion"] == "policy/v1"
        assert (await door.ask("GET", "/apis/nonsense"))[0] == 404
        assert (await door.ask("GET", "/version"))[1]["gitVersion"].startswith("v1.")

    at_door(story)
