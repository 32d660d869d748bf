"""What objects must look like, and what of them may change."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from outrider.kube.api import (
    ApiError,
    BadRequest,
    Invalid,
    Kind,
    NotFound,
    Object,
)
from outrider.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE,
)
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION
from outrider.local.store import Store, StoreApi

Make = Callable[..., Object]
DEPLOY = DEPLOYMENT.into(dict)


def named(name: Any, **more: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, **more}


def with_container(**container: Any) -> Object:
    return named("p", spec={"containers": [{"name": "a", "image": "i", **container}]})


def model(**spec: Any) -> Object:
    return named("m", spec=spec)


INVALID: dict[str, tuple[Kind[Any], Object, str, str]] = {
    "a name with capitals": (CONFIG_MAP, named("Llama"), "metadata.name", "lower case"),
    "a name that is too long": (CONFIG_MAP, named("x" * 254), "metadata.name", "no more than 253"),
    "a name that is a number": (CONFIG_MAP, named(8), "metadata.name", "must be text"),
    "no name at all": (CONFIG_MAP, {"metadata": {"namespace": "default"}}, "metadata.name", "Required value"),
    "a Service with a dot in its name": (SERVICE, named("llama-3.1-8b"), "metadata.name", "llama-3-1-8b"),
    "a Service whose name begins with a digit": (SERVICE, named("8b"), "metadata.name", "begins with a letter"),
    "a namespace with a dot in its name": (NAMESPACE, {"metadata": {"name": "a.b"}}, "metadata.name", "DNS-1123 label"),
    "a label with a space": (
        CONFIG_MAP,
        {"metadata": {"name": "c", "namespace": "default", "labels": {"a": "b c"}}},
        "metadata.labels",
        "label's value",
    ),
    "a label that is no text": (
        CONFIG_MAP,
        {"metadata": {"name": "c", "namespace": "default", "labels": {"a": True}}},
        "metadata.labels.a",
        "put it in quotes",
    ),
    "a label key with two slashes": (
        CONFIG_MAP,
        {"metadata": {"name": "c", "namespace": "default", "labels": {"a/b/c": ""}}},
        "metadata.labels",
        "DNS prefix",
    ),
    "an annotation that is no text": (
        CONFIG_MAP,
        {"metadata": {"name": "c", "namespace": "default", "annotations": {"a": 1}}},
        "metadata.annotations.a",
        "quotes",
    ),
    "annotations beyond 256 KiB": (
        CONFIG_MAP,
        {"metadata": {"name": "c", "namespace": "default", "annotations": {"a": "x" * 300_000}}},
        "metadata.annotations",
        "Too long",
    ),
    "an owner without a uid": (
        CONFIG_MAP,
        {
            "metadata": {
                "name": "c",
                "namespace": "default",
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}],
            }
        },
        "metadata.ownerReferences[0].uid",
        "Required value",
    ),
    "a config map with a number": (CONFIG_MAP, named("c", data={"a": 1}), "data[a]", "put it in quotes"),
    "a pod without containers": (POD, named("p", spec={}), "spec.containers", "Required value"),
    "a container without an image": (
        POD,
        named("p", spec={"containers": [{"name": "a"}]}),
        "spec.containers[0].image",
        "Required value",
    ),
    "two containers of one name": (
        POD,
        named("p", spec={"containers": [{"name": "a", "image": "i"}] * 2}),
        "spec.containers[1].name",
        "Duplicate value",
    ),
    "a port beyond 65535": (
        POD,
        with_container(ports=[{"containerPort": 80800}]),
        "spec.containers[0].ports[0].containerPort",
        "65535",
    ),
    "an environment variable that is a number": (
        POD,
        with_container(env=[{"name": "A", "value": 1}]),
        "spec.containers[0].env[0].value",
        "put it in quotes",
    ),
    "a quantity that is none": (
        POD,
        with_container(resources={"limits": {"memory": "16 gigs"}}),
        "spec.containers[0].resources.limits[memory]",
        "16Gi",
    ),
    "GPUs without a limit": (
        POD,
        with_container(resources={"requests": {"nvidia.com/gpu": "1"}}),
        "spec.containers[0].resources.limits",
        "need a limit",
    ),
    "fewer GPUs asked for than the limit": (
        POD,
        with_container(resources={"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": 2}}),
        "spec.containers[0].resources.requests",
        "must be equal",
    ),
    "a restart policy that there is not": (
        POD,
        named("p", spec={"restartPolicy": "Sometimes", "containers": [{"name": "a", "image": "i"}]}),
        "spec.restartPolicy",
        '"Always", "OnFailure", "Never"',
    ),
    "a Deployment without a selector": (DEPLOYMENT, named("d", spec={}), "spec.selector", "Required value"),
    "a budget with both limits": (
        POD_DISRUPTION_BUDGET,
        named("b", spec={"minAvailable": 1, "maxUnavailable": 1}),
        "spec",
        "cannot be both set",
    ),
    "a budget of half a pod": (
        POD_DISRUPTION_BUDGET,
        named("b", spec={"minAvailable": "half"}),
        "spec.minAvailable",
        "50%",
    ),
    "a Service port out of range": (SERVICE, named("s", spec={"ports": [{"port": 0}]}), "spec.ports[0].port", "65535"),
    "a Service with two ports without names": (
        SERVICE,
        named("s", spec={"ports": [{"port": 1}, {"port": 2}]}),
        "spec.ports[0].name",
        "names each",
    ),
    "a custom resource without what its schema requires": (LLM_DEPLOYMENT, model(), "spec.model", "Required value"),
    "a custom resource of the wrong type": (
        LLM_DEPLOYMENT,
        model(model={"modelUri": "hf://x/y"}, replicas="two"),
        "spec.replicas",
        "integer",
    ),
    "a custom resource that breaks a CEL rule": (
        LLM_DEPLOYMENT,
        model(model={"modelUri": "hf://x/y"}, autoscaling={"minReplicas": 4, "maxReplicas": 2}),
        "spec.autoscaling.minReplicas",
        "maxReplicas",
    ),
}


@pytest.mark.parametrize("sentence", INVALID)
def test_invalid(api: StoreApi, store: Store, sentence: str) -> None:
    kind, body, field, words = INVALID[sentence]
    version = store.version
    with pytest.raises(Invalid) as caught:
        asyncio.run(api.create(kind, body))
    causes = {cause["field"]: cause["message"] for cause in caught.value.details["causes"]}
    assert words in causes[field]
    assert caught.value.details["kind"] == kind.kind
    assert store.version == version


def test_all_that_is_wrong_is_said_at_once(api: StoreApi) -> None:
    body = named("p", spec={"containers": [{"name": "A", "ports": [{"containerPort": 0}]}]})
    with pytest.raises(Invalid) as caught:
        asyncio.run(api.create(POD, body))
    assert [cause["field"] for cause in caught.value.details["causes"]] == [
        "spec.containers[0].name",
        "spec.containers[0].image",
        "spec.containers[0].ports[0].containerPort",
    ]
    assert caught.value.message.startswith('Pod "p" is invalid: [spec.containers[0].name: Invalid value: "A"')


POD_CHANGES: dict[str, tuple[Object, bool]] = {
    "the image may change": ({"spec": {"containers": [{"name": "server", "image": "server:2"}]}}, True),
    "a node may be given once": ({"spec": {"nodeName": "n1"}}, True),
    "tolerations may be added": (
        {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]}},
        True,
    ),
    "the deadline may change": ({"spec": {"activeDeadlineSeconds": 5}}, True),
    "labels may change": ({"metadata": {"labels": {"x": "y"}}}, True),
    "tolerations may not be removed": ({"spec": {"tolerations": []}}, False),
    "the command may not change": (
        {"spec": {"containers": [{"name": "server", "image": "server:1", "command": ["x"]}]}},
        False,
    ),
    "containers may not be added": (
        {"spec": {"containers": [{"name": "server", "image": "server:1"}, {"name": "b", "image": "b"}]}},
        False,
    ),
    "the restart policy may not change": ({"spec": {"restartPolicy": "Never"}}, False),
}


@pytest.mark.parametrize("sentence", POD_CHANGES)
def test_pod_changes(api: StoreApi, pod: Make, sentence: str) -> None:
    patch, allowed = POD_CHANGES[sentence]

    async def story() -> None:
        await api.create(POD, pod(tolerations=[{"key": "a", "operator": "Exists"}]))
        if "containers" in patch.get("spec", {}):
            whole = (await api.get(POD.into(dict), "p", "default"))["spec"]["containers"][0]
            patch["spec"]["containers"][0] = {**whole, **patch["spec"]["containers"][0]}
        await api.patch(POD, "p", patch, "default")

    if allowed:
        asyncio.run(story())
        return
    with pytest.raises(Invalid, match="a pod's spec cannot change"):
        asyncio.run(story())


def test_a_pod_does_not_move(api: StoreApi, pod: Make) -> None:
    async def story() -> None:
        await api.create(POD, pod(nodeName="n1"))
        for node in ("n2", ""):
            with pytest.raises(Invalid, match="nodeName"):
                await api.patch(POD, "p", {"spec": {"nodeName": node}}, "default")

    asyncio.run(story())


IMMUTABLE: dict[str, tuple[Kind[Any], Object, Object, str]] = {
    "a Service's address": (
        SERVICE,
        named("s", spec={"ports": [{"port": 80}]}),
        {"spec": {"clusterIP": "10.0.0.1"}},
        "spec.clusterIP",
    ),
    "an immutable ConfigMap": (CONFIG_MAP, named("c", data={"a": "b"}, immutable=True), {"data": {"a": "c"}}, "data"),
    "a ModelRevision": (
        MODEL_REVISION,
        named("m", spec={"deployment": "d", "hash": "h", "modelUri": "hf://x/y", "version": "v1"}),
        {"spec": {"version": "v2"}},
        "spec",
    ),
}


@pytest.mark.parametrize("sentence", IMMUTABLE)
def test_immutable(api: StoreApi, sentence: str) -> None:
    kind, body, patch, field = IMMUTABLE[sentence]

    async def story() -> None:
        await api.create(kind, body)
        await api.patch(kind, body["metadata"]["name"], patch, "default")

    with pytest.raises(Invalid) as caught:
        asyncio.run(story())
    assert [cause["field"] for cause in caught.value.details["causes"]] == [field]


@pytest.mark.parametrize("metadata", [{"name": "d"}, {"namespace": "kube-system"}], ids=["name", "namespace"])
def test_a_patch_cannot_name_another_object(api: StoreApi, metadata: dict[str, str]) -> None:
    async def story() -> None:
        await api.create(CONFIG_MAP, named("c"))
        await api.patch(CONFIG_MAP, "c", {"metadata": metadata}, "default")

    with pytest.raises(BadRequest, match="is not that of the object"):
        asyncio.run(story())


def test_a_selector_matches_its_template_and_never_changes(api: StoreApi, deployment: Make) -> None:
    async def story() -> None:
        with pytest.raises(Invalid, match="does not match template"):
            await api.create(DEPLOYMENT, deployment(selector={"matchLabels": {"app": "other"}}))
        await api.create(DEPLOYMENT, deployment())
        template = {"metadata": {"labels": {"app": "web", "tier": "x"}}}
        with pytest.raises(Invalid, match=r"spec.selector.*immutable"):
            await api.patch(
                DEPLOYMENT,
                "web",
                {"spec": {"selector": {"matchLabels": {"tier": "x"}}, "template": template}},
                "default",
            )

    asyncio.run(story())


BAD: dict[str, tuple[Kind[Any], Object, type[ApiError], str]] = {
    "an object in no namespace": (CONFIG_MAP, {"metadata": {"name": "c"}}, BadRequest, "lives in a namespace"),
    "an object in a namespace that is not there": (
        CONFIG_MAP,
        {"metadata": {"name": "c", "namespace": "x"}},
        NotFound,
        'namespaces "x" not found',
    ),
    "an object of another kind": (CONFIG_MAP, {**named("c"), "kind": "Secret"}, BadRequest, "kind is 'Secret'"),
    "an object of another version": (CONFIG_MAP, {**named("c"), "apiVersion": "v2"}, BadRequest, "apiVersion is 'v2'"),
    "an object that has a version already": (
        CONFIG_MAP,
        {"metadata": {"name": "c", "namespace": "default", "resourceVersion": "1"}},
        BadRequest,
        "resourceVersion should not be set",
    ),
    "metadata that is a list": (CONFIG_MAP, {"metadata": ["x"]}, BadRequest, "metadata must be a map"),
    "metadata that is text": (CONFIG_MAP, {"metadata": "x"}, BadRequest, "metadata must be a map"),
    "a kind that is not served": (
        Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", True, dict),
        named("m"),
        NotFound,
        "outrider up --kubernetes",
    ),
    "a version that is not served": (
        Kind("apps", "v1beta1", "Deployment", "deployments", True, dict),
        named("m"),
        NotFound,
        "outrider up --kubernetes",
    ),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_requests(api: StoreApi, sentence: str) -> None:
    kind, body, error, words = BAD[sentence]
    with pytest.raises(error, match=words):
        asyncio.run(api.create(kind, body))
