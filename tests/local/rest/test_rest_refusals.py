"""What the REST door refuses, to whom, and in which words."""

from collections.abc import Callable
from typing import Any

import pytest

from outrider.local.rest import make_app

AtDoor = Callable[..., None]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
LLMS = "/apis/inference.llm-d.io/v1alpha1/namespaces/default/llmdeployments"


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


REFUSALS: dict[str, tuple[str, str, Any, dict[str, str], int, str]] = {
    "a kind that is not served": (
        "POST",
        "/apis/monitoring.coreos.com/v1/namespaces/default/servicemonitors",
        {},
        {},
        404,
        "outrider up --kubernetes",
    ),
    "a version that is not served": ("GET", "/apis/apps/v1beta1/deployments", None, {}, 404, "it does in v1"),
    "a subresource that is not served": ("POST", f"{PODS}/p/exec", {}, {}, 404, "outrider up --kubernetes"),
    "a path of nothing": ("GET", "/openapi/v3", None, {}, 404, "outrider up --kubernetes"),
    "the deletion of a whole collection": ("DELETE", CONFIG_MAPS, None, {}, 405, "outrider up --kubernetes"),
    "a creation outside of any namespace": ("POST", "/api/v1/configmaps", config_map(), {}, 405, "POST"),
    "a POST to an object": ("POST", f"{CONFIG_MAPS}/c", config_map(), {}, 405, "POST"),
    "a POST to discovery": ("POST", "/apis", {}, {}, 405, "POST"),
    "an object without its namespace": ("GET", "/api/v1/configmaps/c", None, {}, 404, "/namespaces/NAMESPACE/"),
    "a node in a namespace": ("GET", "/api/v1/namespaces/default/nodes/n", None, {}, 404, "not in namespaces"),
    "a patch of no known type": ("PATCH", f"{CONFIG_MAPS}/c", {}, {"Content-Type": "text/plain"}, 415, "merge-patch"),
    "a strategic patch of a custom resource": (
        "PATCH",
        f"{LLMS}/m",
        {},
        {"Content-Type": "application/strategic-merge-patch+json"},
        415,
        "custom resource",
    ),
    "protobuf": ("POST", CONFIG_MAPS, {}, {"Content-Type": "application/vnd.kubernetes.protobuf"}, 415, "JSON"),
    "a body that is a list": ("POST", CONFIG_MAPS, [], {}, 400, "must be an object"),
    "a body for another namespace": (
        "POST",
        CONFIG_MAPS,
        {"metadata": {"name": "c", "namespace": "x"}},
        {},
        400,
        "namespace of the object (x)",
    ),
    "a body for another name": ("PUT", f"{CONFIG_MAPS}/c", config_map("d"), {}, 400, "name of the object (d)"),
    "an invalid object": ("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {}}, {}, 422, "spec.selector"),
    "a selector that is none": ("GET", f"{CONFIG_MAPS}?labelSelector=a+in+(", None, {}, 400, "selector"),
    "a flag that is none": ("GET", f"{CONFIG_MAPS}?watch=maybe", None, {}, 400, "true or false"),
    "a continue token": ("GET", f"{CONFIG_MAPS}?continue=x", None, {}, 410, "list again"),
    "a watch from the future": ("GET", f"{CONFIG_MAPS}?watch=1&resourceVersion=99999", None, {}, 410, "list again"),
    "a log of a pod that is not there": ("GET", f"{PODS}/x/log", None, {}, 404, 'pods "x" not found'),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals_are_status_objects_that_say_what_to_do(at_door: AtDoor, sentence: str) -> None:
    method, path, body, headers, expected, words = REFUSALS[sentence]

    async def story(door: Any) -> None:
        await door.ask("POST", LLMS, {"metadata": {"name": "m"}, "spec": {"model": {"modelUri": "hf://x/y"}}})
        await door.ask("POST", CONFIG_MAPS, config_map("c"))
        status, answer = await door.ask(method, path, body, headers=headers)
        assert status == expected, answer
        assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Failure", expected)
        assert words in answer["message"]

    at_door(story)


def test_a_body_that_is_no_json(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        headers = {"Content-Type": "application/json"}
        for body, words in ((b"{", "not JSON"), (b"kind: ConfigMap", "not JSON"), (b"[" * 100_000, "")):
            async with door.session.post(door.url + CONFIG_MAPS, data=body, headers=headers) as response:
                assert response.status == 400
                assert words in (await response.json())["message"]
        deep = b'{"metadata":{"name":"c"},"data":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}"
        async with door.session.post(door.url + CONFIG_MAPS, data=deep, headers=headers) as response:
            assert response.status in (400, 422)

    at_door(story)


def test_a_request_that_is_too_large(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        status, answer = await door.ask("POST", CONFIG_MAPS, config_map(a="x" * 4_000_000))
        assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")

    at_door(story)


STRANGERS: dict[str, tuple[str, dict[str, str], int]] = {
    "no token": (CONFIG_MAPS, {"Authorization": ""}, 401),
    "a wrong token": (CONFIG_MAPS, {"Authorization": "Bearer wrong"}, 401),
    "a token that begins right": (CONFIG_MAPS, {"Authorization": "Bearer correct-hors"}, 401),
    "a token beyond ASCII": (CONFIG_MAPS, {"Authorization": "Bearer caf\u00e9"}, 401),
    "another scheme": (CONFIG_MAPS, {"Authorization": "Basic correct-horse"}, 401),
    "a name that resolves to this machine": (CONFIG_MAPS, {"Host": "evil.example:80"}, 403),
    "a name that looks like this machine": (CONFIG_MAPS, {"Host": "localhost.evil.example"}, 403),
    "a foreign address": (CONFIG_MAPS, {"Host": "192.0.2.1"}, 403),
    "a foreign name at a public path": ("/version", {"Host": "evil.example"}, 403),
    "the token and localhost": (CONFIG_MAPS, {"Host": "localhost:1234"}, 200),
    "the token and IPv6 loopback": (CONFIG_MAPS, {"Host": "[::1]:1234"}, 200),
    "no token at a health check": ("/readyz", {"Authorization": ""}, 200),
    "no token at the version": ("/version", {"Authorization": ""}, 200),
}


@pytest.mark.parametrize("sentence", STRANGERS)
def test_who_is_let_in(at_door: AtDoor, sentence: str) -> None:
    path, headers, expected = STRANGERS[sentence]

    async def story(door: Any) -> None:
        async with door.session.get(door.url + path, headers=headers) as response:
            assert response.status == expected
            assert not any(name.lower().startswith("access-control") for name in response.headers)

    at_door(story)


def test_a_page_of_another_origin_gets_no_leave(at_door: AtDoor) -> None:
    async def story(door: Any) -> None:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Authorization": ""}
        async with door.session.options(door.url + CONFIG_MAPS, headers=headers) as response:
            assert response.status == 401
            assert "Access-Control-Allow-Origin" not in response.headers

    at_door(story)


def test_a_door_without_a_token_is_not_built() -> None:
    with pytest.raises(ValueError, match="needs a token"):
        make_app(None, token="")  # type: ignore[arg-type]
