"""The door as `kube.http.HttpApi` sees it: the same `Api` as the store in process."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast

import pytest

from outrider.kube.api import AlreadyExists, Conflict, Expired, Invalid, NotFound, Object, TooManyRequests, Unauthorized
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig
from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, POD, POD_DISRUPTION_BUDGET
from outrider.kube.resources import LLM_DEPLOYMENT

AtDoor = Callable[..., None]
LABELS = {"app": "web"}
CONFIG: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
POD_BODY: Object = {
    "metadata": {"name": "p", "namespace": "default", "labels": LABELS},
    "spec": {"nodeName": "n", "containers": [{"name": "server", "image": "i:1"}]},
}


def client(door: Any, token: str = "") -> HttpApi:
    return HttpApi(ClusterConfig(server=door.url, token=token or door.token, context="local", source="test"))


def test_the_same_answers_as_in_process(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        async with client(door) as api:
            whole = CONFIG_MAP.into(dict)
            made = await api.create(whole, {**CONFIG, "data": {"a": "1"}})
            assert made == await door.api.get(whole, "c", "default") == await api.get(whole, "c", "default")
            assert (await api.list(CONFIG_MAP)) == (await door.api.list(CONFIG_MAP))
            applied = await api.apply(whole, {**CONFIG, "data": {"b": "2"}}, owner="me")
            assert applied["data"] == {"a": "1", "b": "2"}
            patched = await api.patch(whole, "c", [{"op": "remove", "path": "/data/a"}], "default", patch_type="json")
            assert patched["data"] == {"b": "2"}
            tried = await api.patch(whole, "c", {"data": {"z": "9"}}, "default", dry_run=True)
            assert tried["data"] == {"b": "2", "z": "9"}
            await api.delete(CONFIG_MAP, "c", "default", uid=made["metadata"]["uid"])
            assert (await api.list(CONFIG_MAP)).items == ()

    at_door(story)


def test_errors_keep_their_meaning(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        async with client(door) as api:
            await api.apply(CONFIG_MAP, {**CONFIG, "data": {"a": "1"}}, owner="me")
            with pytest.raises(AlreadyExists):
                await api.create(CONFIG_MAP, CONFIG)
            with pytest.raises(Conflict) as caught:
                await api.apply(CONFIG_MAP, {**CONFIG, "data": {"a": "2"}}, owner="you", force=False)
            assert caught.value.details["causes"][0]["field"] == ".data.a"
            with pytest.raises(NotFound):
                await api.get(CONFIG_MAP, "x", "default")
            with pytest.raises(Conflict):
                await api.delete(CONFIG_MAP, "c", "default", uid="other")
            with pytest.raises(Invalid) as invalid:
                await api.create(LLM_DEPLOYMENT, {"metadata": {"name": "m", "namespace": "default"}, "spec": {}})
            assert invalid.value.details["causes"][0]["field"] == "spec.model"
            with pytest.raises(Expired):
                await anext(api.watch(CONFIG_MAP, resource_version="99999"))
        async with client(door, "wrong") as stranger:
            with pytest.raises(Unauthorized):
                await stranger.list(CONFIG_MAP)

    at_door(story)


def test_status_scale_and_eviction(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        async with client(door) as api:
            template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
            spec = {"selector": {"matchLabels": LABELS}, "template": template}
            await api.create(DEPLOYMENT, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
            assert (await api.patch_status(DEPLOYMENT, "web", {"replicas": 1}, "default")).status.replicas == 1
            await api.patch(DEPLOYMENT.into(dict), "web", {"spec": {"replicas": 4}}, "default", subresource="scale")
            assert (await api.get(DEPLOYMENT, "web", "default")).spec.replicas == 4
            await api.create(POD, POD_BODY)
            ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            await api.patch_status(POD, "p", ready, "default")
            budget = {"minAvailable": 1, "selector": {"matchLabels": LABELS}}
            await api.create(POD_DISRUPTION_BUDGET, {"metadata": {"name": "b", "namespace": "default"}, "spec": budget})
            with pytest.raises(TooManyRequests) as caught:
                await api.evict("p", "default")
            assert caught.value.details["causes"][0]["reason"] == "DisruptionBudget"
            await api.delete(POD, "p", "default", grace_seconds=9)
            assert (await api.get(POD, "p", "default")).metadata.deletion_grace_period_seconds == 9

    at_door(story)


def test_a_watch_over_http(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        async with client(door) as api:
            start = (await api.list(CONFIG_MAP)).resource_version
            stream = cast("Any", api.watch(CONFIG_MAP, labels="app=web", resource_version=start, timeout=60))
            async with aclosing(stream), asyncio.timeout(10):
                waiting = asyncio.create_task(anext(stream))
                await api.create(CONFIG_MAP, CONFIG)
                await api.patch(CONFIG_MAP, "c", {"metadata": {"labels": LABELS}}, "default")
                await api.patch(CONFIG_MAP, "c", {"metadata": {"labels": None}}, "default")
                assert (await waiting).type == "ADDED"
                assert (await anext(stream)).type == "DELETED"

    at_door(story)
