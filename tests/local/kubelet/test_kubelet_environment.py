import asyncio
import base64
from typing import Any

import pytest

from outrider.kube.api import Forbidden, Kind
from outrider.kube.clock import SystemClock
from outrider.kube.objects import CONFIG_MAP, SECRET
from outrider.local.kubelet.environment import ConfigError, Environment, PodFacts
from outrider.local.store import Store, StoreApi

FACTS = PodFacts(
    node_name="node-1", host_ip="127.0.0.1", pod_ip="127.64.0.9", allocatable={"cpu": "8", "memory": "16Gi"}
)
POD = {
    "metadata": {
        "name": "llama-0",
        "namespace": "default",
        "uid": "u-1",
        "labels": {"app": "llama"},
        "annotations": {"example.com/team": "chat"},
    },
    "spec": {
        "serviceAccountName": "runner",
        "containers": [
            {"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}, "requests": {"cpu": "250m"}}},
            {"name": "other", "resources": {"limits": {"memory": "3Mi"}}},
        ],
    },
}


def field(path: str) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource(name: str, **more: str) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"resourceFieldRef": {"resource": name, **more}}}


def config(key: str, name: str = "settings", **more: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"configMapKeyRef": {"name": name, "key": key, **more}}}


def secret(key: str, name: str = "token", **more: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": key, **more}}}


async def environment(container: dict[str, Any]) -> dict[str, str]:
    async with Store.opened(SystemClock()) as store:
        api = StoreApi(store)
        head: dict[str, Any] = {"apiVersion": "v1"}
        settings = {"metadata": {"name": "settings", "namespace": "default"}, "data": {"MODE": "fast", "LEVEL": "3"}}
        await api.create(CONFIG_MAP, head | {"kind": "ConfigMap"} | settings)
        encoded = {"KEY": base64.b64encode(b"s3cret").decode()}
        token = {"metadata": {"name": "token", "namespace": "default"}, "data": encoded}
        await api.create(SECRET, head | {"kind": "Secret"} | token)
        main = POD["spec"]["containers"][0]  # type: ignore[index]
        return await Environment(api, POD, FACTS, SystemClock()).of(main | container)


ONE_VALUE = {
    "a literal": ({"name": "X", "value": "1"}, "1"),
    "no value is an empty one": ({"name": "X"}, ""),
    "metadata.name": (field("metadata.name"), "llama-0"),
    "metadata.namespace": (field("metadata.namespace"), "default"),
    "metadata.uid": (field("metadata.uid"), "u-1"),
    "a label": (field("metadata.labels['app']"), "llama"),
    "a label that is not there is empty": (field("metadata.labels['nope']"), ""),
    "an annotation": (field("metadata.annotations['example.com/team']"), "chat"),
    "spec.nodeName": (field("spec.nodeName"), "node-1"),
    "spec.serviceAccountName": (field("spec.serviceAccountName"), "runner"),
    "status.podIP": (field("status.podIP"), "127.64.0.9"),
    "status.hostIP": (field("status.hostIP"), "127.0.0.1"),
    "limits.cpu is rounded up to whole cores": (resource("limits.cpu"), "2"),
    "limits.cpu in millicores": (resource("limits.cpu", divisor="1m"), "1500"),
    "limits.memory in MiB": (resource("limits.memory", divisor="1Mi"), "1024"),
    "another container's limit": (resource("limits.memory", containerName="other", divisor="1Mi"), "3"),
    "without a limit it is what the node has": (resource("limits.cpu", containerName="other"), "8"),
    "requests.cpu": (resource("requests.cpu", divisor="1m"), "250"),
    "without a request it is nothing": (resource("requests.memory"), "0"),
    "a key of a ConfigMap": (config("MODE"), "fast"),
    "a key of a Secret, decoded": (secret("KEY"), "s3cret"),
    "an optional key that is not there leaves the variable out": (config("NOPE", optional=True), None),
    "an optional Secret that is not there, too": (secret("KEY", name="nope", optional=True), None),
}


def test_values() -> None:
    for sentence, (entry, expected) in ONE_VALUE.items():
        assert asyncio.run(environment({"env": [entry]})).get("X") == expected, sentence


MISSING = {
    "a ConfigMap": (config("MODE", name="nope"), 'configmap "nope" not found'),
    "a key of a ConfigMap": (config("NOPE"), "couldn't find key NOPE in ConfigMap default/settings"),
    "a Secret": (secret("KEY", name="nope"), 'secret "nope" not found'),
    "a key of a Secret": (secret("NOPE"), "couldn't find key NOPE in Secret default/token"),
    "a field": (field("spec.nope"), "fieldPath 'spec.nope' is not supported"),
    "a source": ({"name": "X", "valueFrom": {"fileKeyRef": {}}}, "is not supported by the process kubelet"),
}


def test_what_is_missing_is_named() -> None:
    for sentence, (entry, message) in MISSING.items():
        with pytest.raises(ConfigError) as caught:
            asyncio.run(environment({"env": [entry]}))
        assert message in str(caught.value), sentence


def test_later_variables_refer_to_earlier_ones_and_win_over_env_from() -> None:
    container = {
        "envFrom": [
            {"configMapRef": {"name": "settings"}},
            {"prefix": "P_", "secretRef": {"name": "token"}},
            {"configMapRef": {"name": "nope", "optional": True}},
        ],
        "env": [
            {"name": "LEVEL", "value": "4"},
            {"name": "BOTH", "value": "$(MODE)-$(LEVEL)-$(LATER)"},
            {"name": "LATER", "value": "x"},
        ],
    }
    assert asyncio.run(environment(container)) == {
        "MODE": "fast",
        "LEVEL": "4",
        "P_KEY": "s3cret",
        "BOTH": "fast-4-$(LATER)",
        "LATER": "x",
    }


def test_what_points_into_an_empty_dir_is_left_to_the_process() -> None:
    """A process has no mounts: a cache that a pod keeps in an emptyDir is not a folder of this machine."""
    variables = [
        {"name": "HOME", "value": "/cache"},
        {"name": "HF_HOME", "value": "/cache/huggingface"},
        {"name": "ELSEWHERE", "value": "/cached"},
        {"name": "CLAIMED", "value": "/claim/x"},
    ]
    mounts = [{"name": "cache", "mountPath": "/cache/"}, {"name": "claim", "mountPath": "/claim"}]
    volumes = [{"name": "cache", "emptyDir": {}}, {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}}]
    pod = {"metadata": {"name": "llama-0"}, "spec": {"volumes": volumes}}

    async def found() -> dict[str, str]:
        async with Store.opened(SystemClock()) as store:
            container = {"name": "main", "env": variables, "volumeMounts": mounts}
            return await Environment(StoreApi(store), pod, FACTS, SystemClock()).of(container)

    assert asyncio.run(found()) == {"ELSEWHERE": "/cached", "CLAIMED": "/claim/x"}


class LateAuthorizer(StoreApi):
    """An API server that learns a moment later that the pod is on this node: until then it refuses."""

    refusals = 3

    async def get(self, kind: Kind[Any], name: str, namespace: str = "") -> Any:
        if kind is SECRET and self.refusals:
            self.refusals -= 1
            raise Forbidden("no relationship found between node 'node-1' and this object")
        return await super().get(kind, name, namespace)


def test_a_secret_that_the_node_may_not_read_yet_is_read_a_moment_later() -> None:
    async def found() -> dict[str, str]:
        async with Store.opened(SystemClock()) as store:
            api = LateAuthorizer(store)
            optional = secret("KEY", name="absent", optional=True)
            return await Environment(api, POD, FACTS, SystemClock()).of({"name": "main", "env": [optional]})

    assert asyncio.run(found()) == {}


def test_a_secret_that_stays_forbidden_is_told() -> None:
    async def find() -> None:
        async with Store.opened(SystemClock()) as store:
            api = LateAuthorizer(store)
            api.refusals = 100
            await Environment(api, POD, FACTS, SystemClock()).of({"name": "main", "env": [secret("KEY")]})

    with pytest.raises(Forbidden, match="no relationship"):
        asyncio.run(find())
