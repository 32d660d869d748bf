"""Operators that break a promise: what stands between an operator and its API, and falsifies what is written."""

import copy
from collections.abc import Callable
from typing import Any, cast

from outrider.api import labels
from outrider.kube.api import Api
from outrider.kube.objects import DEPLOYMENT, HTTP_ROUTE, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION


class Saboteur:
    """Passes everything on; `writes` maps (call, kind) to what falsifies what is written."""

    def __init__(self, api: Api, falsify: Callable[[str, Any, dict[str, Any]], dict[str, Any]]) -> None:
        self._api = api
        self._falsify = falsify

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def create(self, kind: Any, body: Any, **options: Any) -> Any:
        return await self._api.create(kind, self._falsify("create", kind, copy.deepcopy(body)), **options)

    async def apply(self, kind: Any, body: Any, **options: Any) -> Any:
        return await self._api.apply(kind, self._falsify("apply", kind, copy.deepcopy(body)), **options)

    async def patch_status(self, kind: Any, name: str, status: Any, *arguments: Any, **options: Any) -> Any:
        changed = self._falsify("patch_status", kind, copy.deepcopy(status))
        return await self._api.patch_status(kind, name, changed, *arguments, **options)


def saboteur(falsify: Callable[[str, Any, dict[str, Any]], dict[str, Any]]) -> Callable[[Api], Api]:
    return lambda api: cast("Api", Saboteur(api, falsify))


def scales_to_nothing(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """On every release the workload is scaled to zero first."""
    if (call, kind) == ("apply", DEPLOYMENT) and "v1.1.0" in str(body):
        body["spec"]["replicas"] = 0
    return body


def scales_too_far(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    if (call, kind) == ("apply", DEPLOYMENT):
        body["spec"]["replicas"] += 3
    return body


def releases_what_it_likes(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    if (call, kind) == ("apply", DEPLOYMENT):
        body["spec"]["template"]["metadata"]["labels"][labels.MODEL_VERSION] = "v9.9.9"
    return body


def says_ready(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Whatever is really so."""
    if (call, kind) == ("patch_status", LLM_DEPLOYMENT):
        for condition in body["conditions"]:
            if condition["type"] == "Ready":
                condition |= {"status": "True", "reason": "Serving"}
    return body


def says_ready_on_its_steps(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Whatever is to come."""
    return says_ready(call, kind, body) if "'stage': 'Canary'" in str(body) else body


def gives_more_than_its_step(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """All that a step has, and as much again."""
    if (call, kind) == ("apply", HTTP_ROUTE):
        for rule in body["spec"]["rules"]:
            one, *others = rule["backendRefs"][:2]
            for other in others:
                one["weight"], other["weight"] = one["weight"] - other["weight"], 2 * other["weight"]
    return body


def points_the_service_elsewhere(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    if (call, kind) == ("apply", SERVICE):
        body["spec"]["selector"] = {"app": "elsewhere"}
    return body


def numbers_all_alike(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    if (call, kind) == ("create", MODEL_REVISION):
        body["spec"]["sequence"] = 1
    return body


def never_rests() -> Callable[[str, Any, dict[str, Any]], dict[str, Any]]:
    """Every status differs from the one before."""
    count = 0

    def falsify(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        if (call, kind) == ("patch_status", LLM_DEPLOYMENT):
            count += 1
            body["latencyP95"] = f"{count}ms"
        return body

    return falsify


def cries_wolf(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Once a revision is noted as served well for long, its service is called broken."""
    if (call, kind) == ("patch_status", LLM_DEPLOYMENT) and '"Verified"' in str(body).replace("'", '"'):
        for condition in body["conditions"]:
            if condition["type"] == "Ready":
                condition |= {"status": "False", "reason": "Degraded"}
    return body


def takes_back_what_is_good(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    if (call, kind) == ("patch_status", MODEL_REVISION) and body.get("firstServedTime"):
        body["rejection"] = {"time": body["firstServedTime"], "reason": "ErrorsWorse", "message": "made up"}
    return body


def serves_by_drills(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The pod of a drill is ready as soon as it is loaded."""
    if (call, kind) == ("apply", DEPLOYMENT) and labels.DRILL_OF in body["metadata"]["labels"]:
        body["spec"]["template"]["spec"].pop("readinessGates")
    return body


def has_services_select_drills(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The pod of a drill is one of the service's, for whoever selects those."""
    if (call, kind) == ("apply", DEPLOYMENT) and labels.DRILL_OF in body["metadata"]["labels"]:
        body["spec"]["template"]["metadata"]["labels"][labels.DEPLOYMENT] = "llama"
    return body


def forgets_its_drills(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """What it drilled passed long ago, as it says; so it is not its drill that is left."""
    if (call, kind) == ("apply", DEPLOYMENT) and labels.DRILL_OF in body["metadata"]["labels"]:
        body["metadata"]["name"] += "-left"
    return body


def moves_all_traffic_to_nobody() -> Callable[[str, Any, dict[str, Any]], dict[str, Any]]:
    """At the end of a release by steps the Service selects a revision that there is not."""
    first = ""

    def falsify(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal first
        if (call, kind) == ("apply", SERVICE) and body["metadata"]["name"] == "llama":
            selector = body["spec"]["selector"]
            first = first or selector[labels.REVISION]
            if selector[labels.REVISION] != first:
                selector[labels.REVISION] = "nobody"
        return body

    return falsify


def divides_badly(first: int, second: int) -> Callable[[str, Any, dict[str, Any]], dict[str, Any]]:
    """While two revisions have traffic, these are their weights."""

    def falsify(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
        if (call, kind) == ("apply", HTTP_ROUTE):
            for rule in body["spec"]["rules"]:
                for backend, weight in zip(rule["backendRefs"][:2], (first, second), strict=False):
                    backend["weight"] = weight
        return body

    return falsify


def has_a_defect(call: str, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("a defect")


def cuts_off_traffic(api: Api) -> Api:
    """With a release the Service loses its pods."""

    class CutsOffTraffic(Saboteur):
        async def apply(self, kind: Any, body: Any, **options: Any) -> Any:
            if kind == DEPLOYMENT and "v1.1.0" in str(body):
                meta = body["metadata"]
                nobody = {"spec": {"selector": {"app": "elsewhere"}}}
                await self._api.patch(SERVICE, meta["name"], nobody, meta["namespace"])
            return await super().apply(kind, body, **options)

    return cast("Api", CutsOffTraffic(api, lambda _call, _kind, body: body))
