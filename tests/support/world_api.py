"""A local world's API and its simulated servers, asked directly: a command costs half a second of a processor."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from story_world import LocalWorld

from outrider.api.labels import MODEL_VERSION
from outrider.kube.api import Kind
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import load_kubeconfig
from outrider.kube.objects import POD

TIMEOUT = 10.0


def call(world: LocalWorld, path: str, patch: object = None, *, method: str = "GET") -> Any:
    """What the world's API answers to a request, or to a merge patch."""
    headers = {"Authorization": f"Bearer {world.folder.token()}", "Content-Type": "application/merge-patch+json"}
    body = json.dumps(patch).encode() if patch is not None else None
    made = urllib.request.Request(f"{world.info.api_url}{path}", body, headers, method="PATCH" if body else method)
    with urllib.request.urlopen(made, timeout=TIMEOUT) as answer:
        return json.load(answer)


def listed(world: LocalWorld, kind: Kind[Any], namespace: str) -> list[dict[str, Any]]:
    """All objects of a kind, from whatever keeps them: a Kubernetes API server too."""

    async def ask() -> list[dict[str, Any]]:
        async with HttpApi(load_kubeconfig([Path(world.info.kubeconfig)])) as api:
            return list((await api.list(kind.into(dict), namespace=namespace)).items)

    return asyncio.run(ask())


def pods_of(world: LocalWorld, namespace: str, version: str) -> list[dict[str, Any]]:
    """The pods that run this version of a model and are not on their way out."""
    there = [pod for pod in listed(world, POD, namespace) if not pod["metadata"].get("deletionTimestamp")]
    return [pod for pod in there if pod["metadata"]["labels"].get(MODEL_VERSION) == version]


def configure(pod: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Tell a pod's simulated server what it does from now on."""
    url = f"http://{pod['status']['podIP']}:8080/admin/config"
    urllib.request.urlopen(url, json.dumps(settings).encode(), timeout=TIMEOUT).close()


def say_not_ready(world: LocalWorld, node: str) -> None:
    """Say of a node that it is not ready, as its kubelet would. The kubelet says otherwise again after ten seconds."""
    path = f"/api/v1/nodes/{node}"
    conditions = call(world, path)["status"]["conditions"]
    [ready] = [one for one in conditions if one["type"] == "Ready"]
    if ready["status"] == "True":
        others = [one for one in conditions if one["type"] != "Ready"]
        not_ready = {
            **ready,
            "status": "False",
            "reason": "KubeletNotReady",
            "message": "the GPU driver does not answer",
        }
        call(world, f"{path}/status", {"status": {"conditions": [*others, not_ready]}})
